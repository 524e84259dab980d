"""Formation energies of vacancies, divacancies and self-interstitials, by size of the cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from ase.geometry import find_mic
from pydantic import Field, NonNegativeFloat, NonNegativeInt, model_validator

from pescape.figures.crystals import draw_formation
from pescape.plugins.structures.defects import divacancy as divacancy_in
from pescape.plugins.structures.defects import interstitial as interstitial_in
from pescape.plugins.structures.defects import interstitial_sites
from pescape.plugins.structures.defects import vacancy as vacancy_in
from pescape.validation.properties.defects.supercells import (
    SAME_ENERGY,
    DefectConfig,
    OneCell,
    Repeats,
    SeveralCells,
    cell_of,
    cells_by_size,
    formation_energy,
    freed_defect,
    relaxed_defect,
    relaxed_host,
    size_curve,
)
from pescape.validation.property import (
    Curve,
    PropertyError,
    PropertyResult,
    Value,
    register_property,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator

    from pescape.validation.crystals import Crystal, Repeat


class VacancyConfig(DefectConfig):
    """A vacancy in cells of fixed shape, their atoms relaxed."""

    kind: Literal["vacancy"] = "vacancy"
    repeats: SeveralCells = None

    @property
    def cells(self) -> dict[int, Repeat]:
        """The supercells by the number of their sites, the largest last."""
        return cells_by_size(self.crystal, self.repeats)

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives."""
        limit = ("extrapolated",) if len(self.cells) > 1 else ()
        return ("formation", "unrelaxed", *limit, *(f"formation_{n}" for n in self.cells))


@register_property(VacancyConfig, version=2, draw=draw_formation)
def vacancy(calculator: BaseCalculator, config: VacancyConfig) -> PropertyResult:
    """Compute what it costs to take an atom out and put it back as one of the crystal.

    Parameters
    ----------
    calculator
        With stress, for the lattice parameters.
    config
        The crystal and the cells.

    Returns
    -------
    PropertyResult
        eV: ``formation`` and ``unrelaxed`` in the largest cell, ``extrapolated`` to a cell without
        end if there are several, and ``formation_N`` in each cell, of N sites.
    """
    host, energy = relaxed_host(config.crystal, calculator)
    energies: dict[int, float] = {}
    structures = []
    for size, repeat in config.cells.items():
        atoms = vacancy_in(host, repeat)
        atoms.calc = calculator
        unrelaxed = formation_energy(atoms, energy)
        structures.append(relaxed_defect(atoms, calculator, config.relaxation, f"vacancy_{size}"))
        energies[size] = formation_energy(structures[-1], energy)
    numbers = {"formation": energies[size], "unrelaxed": unrelaxed}
    if len(energies) > 1:
        numbers["extrapolated"] = _extrapolated(energies)
    numbers |= {f"formation_{size}": one for size, one in energies.items()}
    return config.result(
        {name: Value(one, "eV") for name, one in numbers.items()},
        curves={"formation": size_curve(energies, "formation energy")},
        structures=structures,
    )


def _extrapolated(energies: Mapping[int, float]) -> float:
    """Give the formation energy (eV) in a cell without end, from the two largest cells.

    In cells of fixed shape and size a defect and its images interact elastically, which falls as
    the cell's volume grows (Varvenne et al., Phys. Rev. B 88, 134102 (2013)).
    """
    (small, above), (large, nearer) = sorted(energies.items())[-2:]
    return nearer - (above - nearer) * small / (large - small)


#: Pairs of neighbors that are about as far from each other as nearest neighbors.
_NEIGHBOR_PAIRS = {"hcp": ("basal", "out_of_basal"), "bcc": ("first", "second")}


class DivacancyConfig(DefectConfig):
    """Two vacancies beside each other in cells of fixed shape, their atoms relaxed."""

    kind: Literal["divacancy"] = "divacancy"
    pairs: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        None,
        description="basal, out_of_basal, basal_2, … of hcp, else first, second, …, by distance; "
        "neighbors if unset",
    )
    repeats: SeveralCells = None

    @model_validator(mode="after")
    def _possible(self) -> DivacancyConfig:
        if len(set(self.chosen)) < len(self.chosen):
            raise ValueError("pairs: one is given twice")
        guess = self.crystal.host(self.crystal.primitive())
        for repeat in self.cells.values():
            for pair in self.chosen:
                divacancy_in(guess, repeat, pair)
        return self

    @property
    def chosen(self) -> tuple[str, ...]:
        """The pairs to compute."""
        return self.pairs or _neighbor_pairs(self.crystal)

    @property
    def cells(self) -> dict[int, Repeat]:
        """The supercells by the number of their sites, the largest last."""
        return cells_by_size(self.crystal, self.repeats)

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives."""
        each = ["", *(f"_{size}" for size in self.cells)]
        return tuple(
            f"{pair}.{name}{size}"
            for pair in self.chosen
            for size in each
            for name in ("formation", "binding")
        )


def _neighbor_pairs(crystal: Crystal) -> tuple[str, ...]:
    return _NEIGHBOR_PAIRS.get(crystal.lattice, ("first",))


@register_property(DivacancyConfig, heading="Divacancies", draw=draw_formation)
def divacancy(calculator: BaseCalculator, config: DivacancyConfig) -> PropertyResult:
    """Compute what it costs to take two atoms out, and what it gains to do so side by side.

    Parameters
    ----------
    calculator
        With stress, for the lattice parameters.
    config
        The crystal, the pairs and the cells.

    Returns
    -------
    PropertyResult
        eV, by pair: ``formation`` and ``binding`` in the largest cell, and with ``_N`` added in
        each cell, of N sites. The binding energy is that of two single vacancies, each in a cell
        of the same size, less that of the pair: positive where vacancies attract each other.
    """
    host, energy = relaxed_host(config.crystal, calculator)
    formation: dict[str, dict[int, float]] = {pair: {} for pair in config.chosen}
    binding: dict[str, dict[int, float]] = {pair: {} for pair in config.chosen}
    structures, warnings = [], []
    for size, repeat in config.cells.items():
        single = relaxed_defect(
            vacancy_in(host, repeat), calculator, config.relaxation, f"vacancy_{size}"
        )
        for pair in config.chosen:
            atoms = divacancy_in(host, repeat, pair)
            try:
                relaxed = relaxed_defect(atoms, calculator, config.relaxation, f"{pair}_{size}")
            except PropertyError as error:
                warnings.append(str(error))
                continue
            structures.append(relaxed)
            formation[pair][size] = formation_energy(relaxed, energy)
            binding[pair][size] = 2.0 * formation_energy(single, energy) - formation[pair][size]
    if not structures:
        raise PropertyError("; ".join(warnings))
    values: dict[str, Value] = {}
    for pair in config.chosen:
        for name, found in (("formation", formation[pair]), ("binding", binding[pair])):
            if size in found:
                values[f"{pair}.{name}"] = Value(found[size], "eV")
            values |= {f"{pair}.{name}_{n}": Value(one, "eV") for n, one in found.items()}
    curves = {
        f"{pair}.binding": size_curve(found, "binding energy")
        for pair, found in binding.items()
        if found
    }
    return config.result(values, curves=curves, structures=structures, warnings=warnings)


class InterstitialConfig(DefectConfig):
    """Self-interstitials in cells of fixed shape, their atoms relaxed."""

    kind: Literal["interstitial"] = "interstitial"
    sites: tuple[str, ...] | None = Field(None, description="all known of the lattice if unset")
    repeat: OneCell = None
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
    def cells(self) -> dict[int, Repeat]:
        """The supercells by the number of their sites, the largest last."""
        one = (cell_of(self.crystal, self.repeat),)
        return cells_by_size(self.crystal, one if self.repeats is None else self.repeats)

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives."""
        sizes = () if self.repeats is None else tuple(self.cells)
        return (
            *self.chosen,
            "lowest",
            *(f"{site}_moved" for site in self.chosen),
            *(f"{site}_freed" for site in self.chosen if self.rattle),
            *(f"{site}_{size}" for site in self.chosen for size in sizes),
        )


@dataclass(frozen=True, eq=False)
class _RelaxedSite:
    """A site relaxed in one cell.

    Parameters
    ----------
    atoms
        Relaxed.
    energy
        Of formation, eV.
    moved
        How far the atom that moved most is from where it began, Å.
    """

    atoms: Atoms
    energy: float
    moved: float


@register_property(InterstitialConfig, heading="Self-interstitials", draw=draw_formation)
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
    largest = max(config.cells)
    warnings: list[str] = []
    found: dict[str, dict[int, _RelaxedSite]] = {site: {} for site in config.chosen}
    freed: dict[str, Atoms] = {}
    for size, repeat in config.cells.items():
        for site in config.chosen:
            least = config.min_distance * host.nearest
            atoms = interstitial_in(host, repeat, site, min_distance=least)
            start = atoms.positions.copy()
            try:
                relaxed = relaxed_defect(atoms, calculator, config.relaxation, site)
            except PropertyError as error:
                warnings.append(f"interstitial among {len(atoms) - 1} sites at {error}")
                continue
            _, lengths = find_mic(atoms.positions - start, atoms.cell, atoms.pbc)
            formed = formation_energy(relaxed, energy)
            found[site][size] = _RelaxedSite(relaxed, formed, float(np.max(lengths)))
            if config.rattle and size == largest:
                again, remarks = freed_defect(
                    relaxed,
                    calculator,
                    config.relaxation,
                    rattle=config.rattle,
                    seed=config.seed,
                )
                warnings += remarks
                if again is not None:
                    freed[site] = again
    last = {site: by_size[largest] for site, by_size in found.items() if largest in by_size}
    if not last:
        raise PropertyError("; ".join(warnings))
    values = {site: Value(one.energy, "eV") for site, one in last.items()}
    freed_energies = {site: formation_energy(one, energy) for site, one in freed.items()}
    lowest = min([one.energy for one in last.values()] + list(freed_energies.values()))
    values["lowest"] = Value(lowest, "eV")
    values |= {f"{site}_moved": Value(one.moved, "Å") for site, one in last.items()}
    values |= {f"{site}_freed": Value(one, "eV") for site, one in freed_energies.items()}
    curves: dict[str, Curve] = {}
    for site, by_size in found.items() if config.repeats is not None else ():
        energies = {size: one.energy for size, one in by_size.items()}
        values |= {f"{site}_{size}": Value(one, "eV") for size, one in energies.items()}
        if energies:
            curves[site] = size_curve(energies, "formation energy")
    structures = [a for s, one in last.items() for a in (one.atoms, freed.get(s)) if a is not None]
    return config.result(
        values, curves=curves, structures=structures, warnings=(*warnings, *_same_sites(last))
    )


def _same_sites(found: dict[str, _RelaxedSite]) -> list[str]:
    """Say which sites have relaxed to others: of those with one energy, all but the unmoved."""
    remarks = []
    ordered = sorted(found, key=lambda site: found[site].moved)
    for index, site in enumerate(ordered):
        energy = found[site].energy
        same = [
            other for other in ordered[:index] if abs(found[other].energy - energy) < SAME_ENERGY
        ]
        if same:
            remarks.append(f"{site} has relaxed to {same[0]}, whose energy it has")
    return remarks
