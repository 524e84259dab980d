"""Barriers of jumps of vacancies and self-interstitials, by climbing nudged elastic bands.

Vacancies jump in and out of the basal plane of hcp crystals, or to a nearest neighbor of cubic
ones; self-interstitials by BO-BS-BO and BO-O-BO of hcp crystals, as dumbbells of cubic ones.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from pescape.plugins.structures.crystals import enforce_min_distance
from pescape.plugins.structures.defects import interstitial as interstitial_in
from pescape.validation.properties.defects.supercells import (
    DefectConfig,
    OneCell,
    cell_of,
    freed_defect,
    relaxed_defect,
    relaxed_host,
)
from pescape.validation.properties.paths.bands import (
    BandConfig,
    migration_result,
    minimum_energy_path,
)
from pescape.validation.property import register_property

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator

    from pescape.plugins.structures.crystals import BulkCrystal
    from pescape.validation.crystals import Repeat
    from pescape.validation.properties.paths.bands import Path
    from pescape.validation.property import PropertyResult


class VacancyMigrationConfig(DefectConfig):
    """Jumps of a vacancy in a cell of fixed shape, by climbing nudged elastic bands."""

    kind: Literal["vacancy_migration"] = "vacancy_migration"
    repeat: OneCell = None
    band: BandConfig = BandConfig()

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


@register_property(VacancyMigrationConfig, heading="Migration of the vacancy")
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
    perfect = host.atoms(repeat=cell_of(config.crystal, config.repeat))

    def relaxed(jumped: int, name: str) -> Atoms:
        atoms = _with_vacancy(perfect, jumped)
        return relaxed_defect(atoms, calculator, config.relaxation, name)

    start = relaxed(0, "vacancy")

    def path(jump: str, neighbor: int) -> Path:
        last = relaxed(neighbor, f"{jump}_end")
        return minimum_energy_path(start, last, calculator, config.band, name=jump)

    jumps = _neighbors(perfect, host, config)
    paths = {jump: functools.partial(path, jump, atom) for jump, atom in jumps.items()}
    return migration_result(config, paths)


def _neighbors(perfect: Atoms, host: BulkCrystal, config: VacancyMigrationConfig) -> dict[str, int]:
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


def _with_vacancy(perfect: Atoms, jumped: int) -> Atoms:
    """Build a vacancy at site 0, or at that of an atom which has jumped to site 0."""
    atoms = perfect.copy()
    vector = perfect.get_distance(jumped, 0, mic=True, vector=True) if jumped else np.zeros(3)
    atoms.positions[jumped] += vector
    del atoms[0]
    return atoms


#: Jumps by lattice, named by the sites that they pass.
_JUMPS = {"hcp": ("BO_BS_BO", "BO_O_BO"), "fcc": ("dumbbell_100",), "bcc": ("dumbbell_110",)}
# A dumbbell's atom goes to this neighbor (in units of a) and forms one along that direction.
_DUMBBELL_JUMPS = {
    "fcc": ((0.5, 0.5, 0.0), (0.0, 1.0, 0.0)),
    "bcc": ((0.5, 0.5, 0.5), (0.0, 1.0, 1.0)),
}


class InterstitialBandConfig(BandConfig):
    """How paths of interstitials are found: they wind, and leave symmetric ways."""

    images: PositiveInt = Field(7, description="between the ends")
    fmax: PositiveFloat = Field(0.01, description="largest force component left, eV/Å")
    # By symmetry a band may hang on a ridge, where rounding alone decides what becomes of it: those
    # of zirconium that run straight through O do not even converge.
    rattle: NonNegativeFloat = Field(
        0.05,
        description="of the atoms that jump, Å, so that symmetry does not hold the images",
    )


class InterstitialMigrationConfig(DefectConfig):
    """Jumps of a self-interstitial in a cell of fixed shape, by climbing nudged elastic bands."""

    kind: Literal["interstitial_migration"] = "interstitial_migration"
    jumps: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        None, description="BO_BS_BO within, BO_O_BO across basal planes; all if unset"
    )
    repeat: OneCell = None
    min_distance: float = Field(
        0.7, gt=0.0, le=1.0, description="atoms that start nearer are pushed apart; nearest = 1"
    )
    band: InterstitialBandConfig = InterstitialBandConfig()

    @model_validator(mode="after")
    def _known(self) -> InterstitialMigrationConfig:
        lattice = self.crystal.lattice
        if lattice not in _JUMPS:
            raise ValueError(f"interstitials jump in {', '.join(_JUMPS)} here, not in {lattice}")
        for jump in self.jumps or ():
            if jump not in _JUMPS[lattice]:
                known = ", ".join(_JUMPS[lattice])
                raise ValueError(f"jumps: {jump!r} of {lattice} is not one of {known}")
        return self

    @property
    def chosen(self) -> tuple[str, ...]:
        """The jumps to compute."""
        return self.jumps or _JUMPS[self.crystal.lattice]

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives."""
        return tuple(f"{jump}{what}" for jump in self.chosen for what in ("", "_minima", "_span"))


@register_property(InterstitialMigrationConfig, heading="Migration of interstitials")
def interstitial_migration(
    calculator: BaseCalculator, config: InterstitialMigrationConfig
) -> PropertyResult:
    """Compute barriers of jumps between equivalent sites.

    Parameters
    ----------
    calculator
        With stress, for the lattice parameters.
    config
        The crystal, the cell and the band.

    Returns
    -------
    PropertyResult
        By jump the barrier (eV), above the site it begins at; with ``_minima`` added, the number
        of minima between the ends; with ``_span`` added, the height of the saddle above the
        lowest of the path (eV), which is what hinders the jump if that is not the site it begins
        at. A jump whose path is not found is left out, with a warning.
    """
    host, _ = relaxed_host(config.crystal, calculator)
    repeat = cell_of(config.crystal, config.repeat)
    apart = config.min_distance * host.nearest
    site = "BO" if config.crystal.lattice == "hcp" else config.chosen[0]
    start = interstitial_in(host, repeat, site)

    def relaxed(atoms: Atoms, name: str) -> Atoms:
        return relaxed_defect(
            enforce_min_distance(atoms, apart), calculator, config.relaxation, name
        )

    first = relaxed(start.copy(), site)
    _, remarks = freed_defect(
        first, calculator, config.relaxation, rattle=config.band.rattle, seed=config.band.seed
    )

    def path(jump: str) -> Path:
        last = relaxed(_jumped(start, host, repeat, jump), f"{jump}_end")
        return minimum_energy_path(
            first, last, calculator, config.band, name=jump, min_distance=apart
        )

    paths = {jump: functools.partial(path, jump) for jump in config.chosen}
    return migration_result(config, paths, spans=True, remarks=remarks)


def _jumped(start: Atoms, host: BulkCrystal, repeat: Repeat, jump: str) -> Atoms:
    """Move the atoms that jump to where they end; the atom put in is the last one."""
    atoms = start.copy()
    perfect = host.atoms(repeat=repeat)
    if jump == "BO_O_BO":  # up a column that holds no atoms
        atoms.positions[-1, 2] += float(host.atoms().cell[2, 2]) / 2.0
    elif jump == "BO_BS_BO":  # the atom put in takes the site of another, which goes on
        atoms.positions[-1] = perfect.positions[0]
        atoms.positions[0] += [host.a / 2.0, -host.a / 12**0.5, 0.0]
    else:
        way, along = _DUMBBELL_JUMPS[host.lattice]
        site = perfect.positions[0] + host.a * np.array(way)
        half = np.linalg.norm(start.positions[-1] - perfect.positions[0])
        arm = half * np.array(along) / np.linalg.norm(along)
        neighbor = _atom_at(perfect, site)
        atoms.positions[0] = perfect.positions[0]
        atoms.positions[-1] = site - arm
        atoms.positions[neighbor] += arm
    return atoms


def _atom_at(perfect: Atoms, position: np.ndarray) -> int:
    """Find the atom at a place of the periodic crystal."""
    scaled = perfect.cell.scaled_positions(perfect.positions - position)
    return int(np.linalg.norm(scaled - np.round(scaled), axis=1).argmin())
