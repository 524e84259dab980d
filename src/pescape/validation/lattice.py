"""Lattice constants, cohesive energies and energy differences of phases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ase import Atoms
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from pescape.validation.base import PropertyConfig
from pescape.validation.crystals import Crystal, Crystals, check_titles, relaxed_crystal
from pescape.validation.result import PropertyResult, Value, snapshot

if TYPE_CHECKING:
    from ase.calculators.calculator import BaseCalculator


class LatticeConfig(PropertyConfig):
    """Relaxed crystals: a, c, volume, energies against atoms and against the first phase."""

    kind: Literal["lattice"] = "lattice"
    phases: Crystals
    atom_energy: float | None = Field(
        None, description="of an isolated atom, eV; computed if unset"
    )
    box: PositiveFloat = Field(20.0, description="edge of the isolated atom's cell, Å")
    fmax: PositiveFloat = Field(0.001, description="largest force left, eV/Å")
    steps: PositiveInt = Field(200, description="more mean that the property fails")

    @model_validator(mode="after")
    def _phases(self) -> LatticeConfig:
        check_titles(self.phases)
        if self.atom_energy is not None and len({phase.element for phase in self.phases}) > 1:
            raise ValueError("atom_energy is that of one element, but the phases have several")
        return self

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives."""
        return tuple(f"{phase.title}.{name}" for phase in self.phases for name in _names(phase))


def _names(phase: Crystal) -> tuple[str, ...]:
    shape = ("a", "c", "c_over_a") if phase.hexagonal else ("a",)
    return (*shape, "volume", "energy", "cohesive", "relative")


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
        For each phase ``a`` and ``c`` (Å), ``c_over_a``, ``volume`` (Å³/atom), ``energy``
        (eV/atom), ``cohesive`` (eV/atom, what it takes to part the crystal into atoms) and
        ``relative`` (meV/atom above the first phase).
    """
    values: dict[str, Value] = {}
    structures = []
    atoms_apart: dict[str, float] = {}
    first: float | None = None
    for phase in config.phases:
        atoms = relaxed_crystal(phase, calculator, fmax=config.fmax, steps=config.steps)
        relaxed = snapshot(atoms, phase.title)
        structures.append(relaxed)
        energy = relaxed.get_potential_energy() / len(relaxed)
        first = energy if first is None else first
        if phase.element not in atoms_apart:
            atoms_apart[phase.element] = _atom_energy(phase.element, calculator, config)
        found = phase.parameters(relaxed)
        shape = {name: Value(length, "Å") for name, length in found.items()}
        if phase.hexagonal:
            shape["c_over_a"] = Value(found["c"] / found["a"])
        numbers = {
            **shape,
            "volume": Value(relaxed.get_volume() / len(relaxed), "Å³/atom"),
            "energy": Value(energy, "eV/atom"),
            "cohesive": Value(atoms_apart[phase.element] - energy, "eV/atom"),
            "relative": Value(1000.0 * (energy - first), "meV/atom"),
        }
        values |= {f"{phase.title}.{name}": one for name, one in numbers.items()}
    return PropertyResult(
        "lattice", values, tuple(structures), settings=config.model_dump(mode="json")
    )


def _atom_energy(element: str, calculator: BaseCalculator, config: LatticeConfig) -> float:
    if config.atom_energy is not None:
        return config.atom_energy
    # Periodic, for calculators that know nothing else; the box is wider than any cut-off.
    atoms = Atoms(element, cell=[config.box] * 3, pbc=True)
    atoms.calc = calculator
    return float(atoms.get_potential_energy())
