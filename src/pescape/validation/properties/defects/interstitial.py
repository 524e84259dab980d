"""Formation energies of self-interstitials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from ase.geometry import find_mic
from pydantic import Field, NonNegativeFloat, NonNegativeInt, model_validator

from pescape.plugins.structures.defects import interstitial as interstitial_in
from pescape.plugins.structures.defects import interstitial_sites
from pescape.validation.crystals import Repeat  # noqa: TC001 (pydantic reads it)
from pescape.validation.properties.defects.supercells import (
    SAME_ENERGY,
    DefectConfig,
    Repeats,
    formation_energy,
    freed_defect,
    relaxed_defect,
    relaxed_host,
    repeat_of,
    repeats_of,
    size_curve,
)
from pescape.validation.property import PropertyError, PropertyResult, Value

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator

    from pescape.plugins.structures.crystals import BulkCrystal
    from pescape.validation.property import Curve


class InterstitialConfig(DefectConfig):
    """Self-interstitials in cells of fixed shape, their atoms relaxed."""

    kind: Literal["interstitial"] = "interstitial"
    sites: tuple[str, ...] | None = Field(None, description="all known of the lattice if unset")
    repeat: Repeat | None = Field(
        None, description="of the conventional cell, orthorhombic for hcp; about 12 Å if unset"
    )
    repeats: Repeats | None = Field(None, description="several cells, instead of `repeat`")
    min_distance: float = Field(
        0.7, gt=0.0, le=1.0, description="atoms that start nearer are pushed apart; nearest = 1"
    )
    # Symmetry holds an atom on a saddle, and rounding alone, not the potential, would decide
    # whether it leaves it. Less than 0.05 Å has been seen to leave zirconium's O where it is.
    rattle: NonNegativeFloat = Field(
        0.05, description="of relaxed sites, Å, to see which of them hold their atom; 0: do not"
    )
    seed: NonNegativeInt = 0

    @model_validator(mode="after")
    def _known(self) -> InterstitialConfig:
        known = interstitial_sites(self.crystal.lattice)
        for site in self.sites or ():
            if site not in known:
                raise ValueError(
                    f"site {site!r} of {self.crystal.lattice} is not one of {', '.join(known)}"
                )
        if self.repeat is not None and self.repeats is not None:
            raise ValueError("repeat and repeats: give one cell or several, not both")
        return self

    @property
    def chosen(self) -> tuple[str, ...]:
        """The sites to compute."""
        return self.sites or interstitial_sites(self.crystal.lattice)

    @property
    def cells(self) -> tuple[Repeat, ...]:
        """The supercells, the largest last."""
        if self.repeats is None:
            return (repeat_of(self.crystal, self.repeat),)
        return repeats_of(self.crystal, self.repeats)

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives."""
        sizes = [] if self.repeats is None else [self.crystal.count(r) for r in self.cells]
        return (
            *self.chosen,
            "lowest",
            *(f"{site}_moved" for site in self.chosen),
            *(f"{site}_freed" for site in self.chosen if self.rattle),
            *(f"{site}_{size}" for site in self.chosen for size in sizes),
        )


@dataclass(frozen=True, eq=False)
class _Site:
    """A site relaxed in one cell.

    Parameters
    ----------
    atoms
        Relaxed.
    energy
        Of formation, eV.
    moved
        How far the atom that moved most is from where it began, Å.
    freed
        Rattled and relaxed again; None if that was not asked for or does not converge.
    """

    atoms: Atoms
    energy: float
    moved: float
    freed: Atoms | None = None


def interstitial(calculator: BaseCalculator, config: InterstitialConfig) -> PropertyResult:
    """Compute what it costs to take an atom of the crystal and put it between the others.

    Parameters
    ----------
    calculator
        With stress, for the lattice parameters.
    config
        The crystal, the cells and the sites.

    Returns
    -------
    PropertyResult
        By site, in the largest cell: the relaxed formation energy (eV); with ``_moved`` added,
        how far from where it began the atom that moved most is (Å); with ``_freed`` added, the
        energy when it has been rattled and relaxed again, lower if the site is a saddle;
        ``lowest`` of all these energies. With several cells also the energy in each of them, with
        ``_N`` added, of N lattice sites. A site that does not hold its atom gives the energy of
        where it goes, with a warning; one that does not relax is left out, with a warning.
    """
    host, energy = relaxed_host(config.crystal, calculator)
    told: list[str] = []
    by_size: dict[str, dict[int, float]] = {site: {} for site in config.chosen}
    for repeat in config.cells:
        size = config.crystal.count(repeat)
        found = _sites(host, energy, repeat, calculator, config, told)
        for site, one in found.items():
            by_size[site][size] = one.energy
    if not found:
        raise PropertyError("; ".join(told))
    values = {site: Value(one.energy, "eV") for site, one in found.items()}
    freed = {
        site: formation_energy(one.freed, energy)
        for site, one in found.items()
        if one.freed is not None
    }
    lowest = min([one.energy for one in found.values()] + list(freed.values()))
    values["lowest"] = Value(lowest, "eV")
    values |= {f"{site}_moved": Value(one.moved, "Å") for site, one in found.items()}
    values |= {f"{site}_freed": Value(one, "eV") for site, one in freed.items()}
    curves: dict[str, Curve] = {}
    if config.repeats is not None:
        for site, energies in by_size.items():
            values |= {f"{site}_{size}": Value(one, "eV") for size, one in energies.items()}
            if energies:
                curves[site] = size_curve(energies, "formation energy")
    return PropertyResult(
        "interstitial",
        values,
        tuple(
            atoms for one in found.values() for atoms in (one.atoms, one.freed) if atoms is not None
        ),
        curves,
        config.model_dump(mode="json"),
        (*told, *_alike(found)),
    )


def _sites(
    host: BulkCrystal,
    energy: float,
    repeat: Repeat,
    calculator: BaseCalculator,
    config: InterstitialConfig,
    told: list[str],
) -> dict[str, _Site]:
    """Relax all sites in one cell; those that do not converge are told and left out."""
    found = {}
    last = repeat == config.cells[-1]
    for site in config.chosen:
        atoms = interstitial_in(host, repeat, site, min_distance=config.min_distance * host.nearest)
        start = atoms.positions.copy()
        try:
            relaxed = relaxed_defect(atoms, calculator, config.relaxation, site)
        except PropertyError as error:
            told.append(f"interstitial among {len(atoms) - 1} sites at {error}")
            continue
        _, lengths = find_mic(atoms.positions - start, atoms.cell, atoms.pbc)
        freed = None
        if config.rattle and last:
            freed, remarks = freed_defect(
                relaxed,
                calculator,
                config.relaxation,
                site,
                rattle=config.rattle,
                seed=config.seed,
            )
            told += remarks
        moved = float(np.max(lengths))
        found[site] = _Site(relaxed, formation_energy(relaxed, energy), moved, freed)
    return found


def _alike(found: dict[str, _Site]) -> list[str]:
    """Say which sites have relaxed to others: of those with one energy, all but the unmoved."""
    told = []
    ordered = sorted(found, key=lambda site: found[site].moved)
    for index, site in enumerate(ordered):
        energy = found[site].energy
        same = [
            other for other in ordered[:index] if abs(found[other].energy - energy) < SAME_ENERGY
        ]
        if same:
            told.append(f"{site} has relaxed to {same[0]}, whose energy it has")
    return told
