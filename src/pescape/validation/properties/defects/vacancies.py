"""Formation energy of the vacancy, against the size of the cell.

Formation and binding energies of divacancies, against the size of the cell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from pescape.plugins.structures.defects import divacancy as divacancy_in
from pescape.plugins.structures.defects import vacancy as vacancy_in
from pescape.validation.properties.defects.supercells import (
    DefectConfig,
    Repeats,
    extrapolated,
    formation_energy,
    relaxed_defect,
    relaxed_host,
    repeats_of,
    size_curve,
)
from pescape.validation.property import PropertyError, PropertyResult, Value

if TYPE_CHECKING:
    from ase.calculators.calculator import BaseCalculator

    from pescape.validation.crystals import Crystal


class VacancyConfig(DefectConfig):
    """A vacancy in cells of fixed shape, their atoms relaxed."""

    kind: Literal["vacancy"] = "vacancy"
    repeats: Repeats | None = Field(
        None, description="of the conventional cell, orthorhombic for hcp; some sizes if unset"
    )

    @property
    def _sizes(self) -> tuple[int, ...]:
        return tuple(self.crystal.count(r) for r in repeats_of(self.crystal, self.repeats))

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives."""
        limit = ("extrapolated",) if len(set(self._sizes)) > 1 else ()
        return ("formation", "unrelaxed", *limit, *(f"formation_{n}" for n in self._sizes))


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
    for repeat in repeats_of(config.crystal, config.repeats):
        atoms = vacancy_in(host, repeat)
        atoms.calc = calculator
        size = len(atoms) + 1
        unrelaxed = formation_energy(atoms, energy)
        structures.append(relaxed_defect(atoms, calculator, config.relaxation, f"vacancy_{size}"))
        energies[size] = formation_energy(structures[-1], energy)
    numbers = {"formation": energies[size], "unrelaxed": unrelaxed}
    if len(energies) > 1:
        numbers["extrapolated"] = extrapolated(energies)
    numbers |= {f"formation_{size}": one for size, one in energies.items()}
    return PropertyResult(
        "vacancy",
        {name: Value(one, "eV") for name, one in numbers.items()},
        tuple(structures),
        {"formation": size_curve(energies, "formation energy")},
        config.model_dump(mode="json"),
    )


#: Pairs of neighbours that are about as far from each other as nearest neighbours.
_NEAR = {"hcp": ("basal", "out_of_basal"), "bcc": ("first", "second")}


class DivacancyConfig(DefectConfig):
    """Two vacancies beside each other in cells of fixed shape, their atoms relaxed."""

    kind: Literal["divacancy"] = "divacancy"
    pairs: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        None,
        description="basal, out_of_basal, basal_2, … of hcp, else first, second, …, by distance; "
        "neighbours if unset",
    )
    repeats: Repeats | None = Field(
        None, description="of the conventional cell, orthorhombic for hcp; some sizes if unset"
    )

    @model_validator(mode="after")
    def _possible(self) -> DivacancyConfig:
        if len(set(self.chosen)) < len(self.chosen):
            raise ValueError("pairs: one is given twice")
        guess = self.crystal.host(self.crystal.primitive())
        for repeat in repeats_of(self.crystal, self.repeats):
            for pair in self.chosen:
                divacancy_in(guess, repeat, pair)
        return self

    @property
    def chosen(self) -> tuple[str, ...]:
        """The pairs to compute."""
        return self.pairs or neighbours(self.crystal)

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives."""
        sizes = [self.crystal.count(r) for r in repeats_of(self.crystal, self.repeats)]
        each = ["", *(f"_{size}" for size in sizes)]
        return tuple(
            f"{pair}.{name}{size}"
            for pair in self.chosen
            for size in each
            for name in ("formation", "binding")
        )


def neighbours(crystal: Crystal) -> tuple[str, ...]:
    """Name the pairs of neighbouring sites of a lattice."""
    return _NEAR.get(crystal.lattice, ("first",))


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
    structures, told = [], []
    for repeat in repeats_of(config.crystal, config.repeats):
        size = config.crystal.count(repeat)
        single = relaxed_defect(
            vacancy_in(host, repeat), calculator, config.relaxation, f"vacancy_{size}"
        )
        for pair in config.chosen:
            atoms = divacancy_in(host, repeat, pair)
            try:
                relaxed = relaxed_defect(atoms, calculator, config.relaxation, f"{pair}_{size}")
            except PropertyError as error:
                told.append(str(error))
                continue
            structures.append(relaxed)
            formation[pair][size] = formation_energy(relaxed, energy)
            binding[pair][size] = 2.0 * formation_energy(single, energy) - formation[pair][size]
    if not structures:
        raise PropertyError("; ".join(told))
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
    settings = config.model_dump(mode="json")
    return PropertyResult("divacancy", values, tuple(structures), curves, settings, tuple(told))
