"""Barriers of the vacancy's jumps: in and out of the basal plane, or to a nearest neighbour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, model_validator

from pescape.validation.crystals import Repeat  # noqa: TC001 (pydantic reads it)
from pescape.validation.defects import DefectConfig, relaxed_host, repeat_of
from pescape.validation.paths import BandConfig, minimum_energy_path
from pescape.validation.relaxation import minimised
from pescape.validation.result import PropertyResult, Value, snapshot

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator

    from pescape.plugins.structures.hosts import Host

# Ends of a jump that differ by more than this (eV) are not the same vacancy.
_DIFFERENT = 1e-3


class VacancyMigrationConfig(DefectConfig):
    """Jumps of a vacancy in a cell of fixed shape, by climbing nudged elastic bands."""

    kind: Literal["vacancy_migration"] = "vacancy_migration"
    repeat: Repeat | None = Field(
        None, description="of the conventional cell, orthorhombic for hcp; about 12 Å if unset"
    )
    band: BandConfig = BandConfig()  # type: ignore[call-arg]

    @model_validator(mode="after")
    def _lattice(self) -> VacancyMigrationConfig:
        if self.crystal.lattice not in ("bcc", "fcc", "hcp"):
            raise ValueError("vacancies jump in bcc, fcc and hcp here")
        return self

    @property
    def jumps(self) -> tuple[str, ...]:
        """Names of the jumps."""
        return ("basal", "out_of_basal") if self.crystal.lattice == "hcp" else ("barrier",)

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives."""
        return tuple(name for jump in self.jumps for name in (jump, f"{jump}_minima"))


def vacancy_migration(calculator: BaseCalculator, config: VacancyMigrationConfig) -> PropertyResult:
    """Compute barriers of jumps to neighbouring sites.

    Parameters
    ----------
    calculator
        With stress, for the lattice parameters.
    config
        The crystal, the cell and the band.

    Returns
    -------
    PropertyResult
        In hcp crystals ``basal`` and ``out_of_basal``, in cubic ones ``barrier`` (eV); with
        ``_minima`` added, the number of minima between the ends, none for a simple jump.
    """
    host, _ = relaxed_host(config.crystal, calculator)
    perfect = host.atoms(repeat=repeat_of(config.crystal, config.repeat))
    start = _relaxed(perfect, 0, calculator, config, "vacancy")
    values: dict[str, Value] = {}
    curves, told = {}, []
    structures = [start]
    for jump, neighbour in _neighbours(perfect, host, config).items():
        last = _relaxed(perfect, neighbour, calculator, config, f"{jump}_end")
        path = minimum_energy_path(start, last, calculator, config.band, name=jump)
        if abs(path.barrier - path.reverse) > _DIFFERENT:
            told.append(f"{jump}: its ends differ by {path.barrier - path.reverse:.2g} eV")
        values[jump] = Value(path.barrier, "eV")
        values[f"{jump}_minima"] = Value(float(path.minima))
        curves[jump] = path.curve
        structures += path.images[1:]
    settings = config.model_dump(mode="json")
    return PropertyResult(
        "vacancy_migration", values, tuple(structures), curves, settings, tuple(told)
    )


def _neighbours(perfect: Atoms, host: Host, config: VacancyMigrationConfig) -> dict[str, int]:
    """Find which atom jumps into the vacancy left by atom 0, for each jump."""
    others = np.arange(1, len(perfect))
    vectors = perfect.get_distances(0, others, mic=True, vector=True)
    lengths = np.linalg.norm(vectors, axis=1)
    if config.crystal.lattice != "hcp":
        return {"barrier": int(others[lengths.argmin()])}
    basal = np.abs(vectors[:, 2]) < 0.1 * host.a
    return {
        "basal": int(others[np.where(basal, lengths, np.inf).argmin()]),
        "out_of_basal": int(others[np.where(basal, np.inf, lengths).argmin()]),
    }


def _relaxed(
    perfect: Atoms,
    jumped: int,
    calculator: BaseCalculator,
    config: VacancyMigrationConfig,
    name: str,
) -> Atoms:
    """Relax the vacancy at site 0, or at that of an atom which has jumped to site 0."""
    atoms = perfect.copy()
    vector = perfect.get_distance(jumped, 0, mic=True, vector=True) if jumped else np.zeros(3)
    atoms.positions[jumped] += vector
    del atoms[0]
    atoms.calc = calculator
    minimised(atoms, **config.relaxation.model_dump(), what=name)
    return snapshot(atoms, name)
