"""Barriers of the vacancy's jumps: in and out of the basal plane, or to a nearest neighbour."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, model_validator

from pescape.validation.crystals import Repeat  # noqa: TC001 (pydantic reads it)
from pescape.validation.properties.defects import (
    DefectConfig,
    relaxed_defect,
    relaxed_host,
    repeat_of,
)
from pescape.validation.properties.paths import BandConfig, migration_result, minimum_energy_path

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator

    from pescape.plugins.structures.hosts import Host
    from pescape.validation.properties.paths import Path
    from pescape.validation.result import PropertyResult


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
        ``_minima`` added, the number of minima between the ends, none for a simple jump. A jump
        whose path is not found is left out, with a warning.
    """
    host, _ = relaxed_host(config.crystal, calculator)
    perfect = host.atoms(repeat=repeat_of(config.crystal, config.repeat))
    start = _relaxed(perfect, 0, calculator, config, "vacancy")

    def path(jump: str, neighbour: int) -> Path:
        last = _relaxed(perfect, neighbour, calculator, config, f"{jump}_end")
        return minimum_energy_path(start, last, calculator, config.band, name=jump)

    jumps = _neighbours(perfect, host, config)
    paths = {jump: functools.partial(path, jump, atom) for jump, atom in jumps.items()}
    return migration_result("vacancy_migration", paths, config.model_dump(mode="json"))


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
    return relaxed_defect(atoms, calculator, config.relaxation, name)
