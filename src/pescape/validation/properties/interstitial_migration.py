"""Barriers of the self-interstitial's jumps: BO-BS-BO and BO-O-BO of hcp, dumbbells of cubic."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from pescape.plugins.structures.hosts import kept_apart
from pescape.plugins.structures.point_defects import interstitial as interstitial_in
from pescape.validation.crystals import Repeat  # noqa: TC001 (pydantic reads it)
from pescape.validation.properties.defects import (
    DefectConfig,
    freed_defect,
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

#: Jumps by lattice, named by the sites that they pass.
JUMPS = {"hcp": ("BO_BS_BO", "BO_O_BO"), "fcc": ("dumbbell_100",), "bcc": ("dumbbell_110",)}
# A dumbbell's atom goes to this neighbour (in units of a) and forms one along that direction.
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
    repeat: Repeat | None = Field(
        None, description="of the conventional cell, orthorhombic for hcp; about 12 Å if unset"
    )
    min_distance: float = Field(
        0.7, gt=0.0, le=1.0, description="atoms that start nearer are pushed apart; nearest = 1"
    )
    band: InterstitialBandConfig = InterstitialBandConfig()  # type: ignore[call-arg]

    @model_validator(mode="after")
    def _known(self) -> InterstitialMigrationConfig:
        lattice = self.crystal.lattice
        if lattice not in JUMPS:
            raise ValueError(f"interstitials jump in {', '.join(JUMPS)} here, not in {lattice}")
        for jump in self.jumps or ():
            if jump not in JUMPS[lattice]:
                known = ", ".join(JUMPS[lattice])
                raise ValueError(f"jumps: {jump!r} of {lattice} is not one of {known}")
        return self

    @property
    def chosen(self) -> tuple[str, ...]:
        """The jumps to compute."""
        return self.jumps or JUMPS[self.crystal.lattice]

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives."""
        return tuple(f"{jump}{what}" for jump in self.chosen for what in ("", "_minima", "_span"))


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
    repeat = repeat_of(config.crystal, config.repeat)
    apart = config.min_distance * host.nearest
    site = "BO" if config.crystal.lattice == "hcp" else config.chosen[0]
    start = interstitial_in(host, repeat, site)

    def relaxed(atoms: Atoms, name: str) -> Atoms:
        return relaxed_defect(kept_apart(atoms, apart), calculator, config.relaxation, name)

    first = relaxed(start.copy(), site)
    _, remarks = freed_defect(
        first,
        calculator,
        config.relaxation,
        site,
        rattle=config.band.rattle,
        seed=config.band.seed,
    )

    def path(jump: str) -> Path:
        last = relaxed(_jumped(start, host, repeat, jump), f"{jump}_end")
        return minimum_energy_path(
            first, last, calculator, config.band, name=jump, min_distance=apart
        )

    paths = {jump: functools.partial(path, jump) for jump in config.chosen}
    return migration_result(
        "interstitial_migration",
        paths,
        config.model_dump(mode="json"),
        spans=True,
        remarks=remarks,
    )


def _jumped(start: Atoms, host: Host, repeat: Repeat, jump: str) -> Atoms:
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
        neighbour = _atom_at(perfect, site)
        atoms.positions[0] = perfect.positions[0]
        atoms.positions[-1] = site - arm
        atoms.positions[neighbour] += arm
    return atoms


def _atom_at(perfect: Atoms, position: np.ndarray) -> int:
    """Find the atom at a place of the periodic crystal."""
    scaled = perfect.cell.scaled_positions(perfect.positions - position)
    return int(np.linalg.norm(scaled - np.round(scaled), axis=1).argmin())
