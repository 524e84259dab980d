"""Formation energy of the vacancy, against the size of the cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from pescape.plugins.structures.point_defects import vacancy as vacancy_in
from pescape.validation.defects import DefectConfig, Repeats, relaxed_host, repeats_of
from pescape.validation.relaxation import minimised
from pescape.validation.result import Curve, PropertyResult, Value, snapshot

if TYPE_CHECKING:
    from ase.calculators.calculator import BaseCalculator


class VacancyConfig(DefectConfig):
    """A vacancy in cells of fixed shape, their atoms relaxed."""

    kind: Literal["vacancy"] = "vacancy"
    repeats: Repeats | None = Field(
        None, description="of the conventional cell, orthorhombic for hcp; some sizes if unset"
    )

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives."""
        sizes = (self.crystal.count(r) for r in repeats_of(self.crystal, self.repeats))
        return ("formation", "unrelaxed", *(f"formation_{size}" for size in sizes))


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
        eV: ``formation`` and ``unrelaxed`` in the largest cell, and ``formation_N`` in each cell,
        of N sites.
    """
    host, energy = relaxed_host(config.crystal, calculator)
    values: dict[str, Value] = {}
    structures, sizes = [], []
    for repeat in repeats_of(config.crystal, config.repeats):
        atoms = vacancy_in(host, repeat)
        atoms.calc = calculator
        size = len(atoms) + 1
        unrelaxed = atoms.get_potential_energy() - len(atoms) * energy
        minimised(atoms, **config.relaxation.model_dump(), what=f"vacancy among {size} sites")
        structures.append(snapshot(atoms, f"vacancy_{size}"))
        formation = structures[-1].get_potential_energy() - len(atoms) * energy
        values[f"formation_{size}"] = Value(formation, "eV")
        sizes.append(size)
    largest = {"formation": Value(formation, "eV"), "unrelaxed": Value(unrelaxed, "eV")}
    curve = Curve(
        np.array(sizes, dtype=float),
        np.array([values[f"formation_{size}"].value for size in sizes]),
        "lattice sites",
        "formation energy (eV)",
    )
    return PropertyResult(
        "vacancy",
        largest | values,
        tuple(structures),
        {"formation": curve},
        config.model_dump(mode="json"),
    )
