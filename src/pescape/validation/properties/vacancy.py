"""Formation energy of the vacancy, against the size of the cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pescape.plugins.structures.point_defects import vacancy as vacancy_in
from pescape.validation.properties.defects import (
    DefectConfig,
    Repeats,
    extrapolated,
    formation_energy,
    relaxed_defect,
    relaxed_host,
    repeats_of,
    size_curve,
)
from pescape.validation.result import PropertyResult, Value

if TYPE_CHECKING:
    from ase.calculators.calculator import BaseCalculator


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
