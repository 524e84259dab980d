"""Lattice parameters, cohesive energies and energy differences of phases."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveFloat, model_validator

from pescape.plugins.structures.limits import energy_of_atom
from pescape.validation.crystals import relaxed_crystal
from pescape.validation.properties.crystal.phases import (
    PhasesConfig,
    changed_symmetry,
    compared,
    for_each,
)
from pescape.validation.property import PropertyResult, Value, snapshot
from pescape.validation.symmetry import parameter_unit

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator

    from pescape.validation.compounds import Solid


class LatticeConfig(PhasesConfig):
    """Relaxed crystals: a, c, volume, energies against atoms and against other phases."""

    kind: Literal["lattice"] = "lattice"
    atom_energy: float | dict[str, float] | None = Field(
        None, description="of an isolated atom, eV, or of one of each element; computed if unset"
    )
    box: PositiveFloat = Field(20.0, description="edge of the isolated atom's cell, Å")

    @model_validator(mode="after")
    def _one_element(self) -> LatticeConfig:
        elements = {element for phase in self.phases for element in phase.composition}
        if isinstance(self.atom_energy, float) and len(elements) > 1:
            raise ValueError(
                "atom_energy is that of one element, but the phases have several: "
                f"give {{ {' = ..., '.join(sorted(elements))} = ... }}"
            )
        return self

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives."""
        return tuple(
            f"{phase.title}.{name}"
            for phase in self.phases
            for name in (*_shape_names(phase), "volume", "energy", "cohesive", *self.energy_names)
        )


def _shape_names(phase: Solid) -> tuple[str, ...]:
    names = phase.parameter_names
    return (*names, "c_over_a") if names == ("a", "c") else names


def lattice(calculator: BaseCalculator, config: LatticeConfig) -> PropertyResult:
    """Relax phases and compare their energies.

    Parameters
    ----------
    calculator
        With stress.
    config
        The phases.

    Returns
    -------
    PropertyResult
        For each phase the lattice parameters of its conventional cell that its symmetry leaves
        free, such as ``a``, ``c`` (Å) and ``beta`` (degrees), ``c_over_a`` where it has these
        two lengths, ``volume`` (Å³/atom), ``energy`` (eV/atom), ``cohesive`` (eV/atom, what it
        takes to part the crystal into atoms), ``relative`` (meV/atom above the first phase of
        the same composition, or the one it is to be compared with) and, if there are end
        members, ``formation`` (eV/atom). A phase that cannot be computed is left out.
    """

    @functools.cache
    def alone(element: str) -> float:
        return _atom_energy(element, calculator, config)

    def relaxed(phase: Solid) -> tuple[Atoms, dict[str, Value]]:
        atoms = relaxed_crystal(phase, calculator, fmax=config.fmax, steps=config.steps)
        found = snapshot(atoms, phase.title)
        energy = float(found.get_potential_energy()) / len(found)
        apart = sum(share * alone(element) for element, share in phase.composition.items())
        return found, {
            **_shape(phase, found),
            "volume": Value(found.get_volume() / len(found), "Å³/atom"),
            "energy": Value(energy, "eV/atom"),
            "cohesive": Value(apart - energy, "eV/atom"),
        }

    found, told = for_each(config.by_title, relaxed)
    told += changed_symmetry(config, {title: atoms for title, (atoms, _) in found.items()})
    energies = {title: values["energy"].value for title, (_, values) in found.items()}
    differences, of_zeros = compared(config, energies)
    values = {
        f"{title}.{name}": one
        for title, (_, numbers) in found.items()
        for name, one in {**numbers, **differences[title]}.items()
    }
    return PropertyResult(
        "lattice",
        values,
        tuple(atoms for atoms, _ in found.values()),
        settings=config.model_dump(mode="json"),
        warnings=(*told, *of_zeros),
    )


def _shape(phase: Solid, relaxed: Atoms) -> dict[str, Value]:
    found = phase.parameters(relaxed)
    shape = {name: Value(one, parameter_unit(name)) for name, one in found.items()}
    if "c_over_a" in _shape_names(phase):
        shape["c_over_a"] = Value(found["c"] / found["a"])
    return shape


def _atom_energy(element: str, calculator: BaseCalculator, config: LatticeConfig) -> float:
    given = config.atom_energy
    if isinstance(given, dict) and element in given:
        return given[element]
    if isinstance(given, float):
        return given
    # Periodic, for calculators that know nothing else; the box is wider than any cut-off.
    return energy_of_atom(calculator, element, config.box, pbc=True)
