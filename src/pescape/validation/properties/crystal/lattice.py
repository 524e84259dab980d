"""Phases: lattice parameters, cohesive energies, energy differences, and equations of state."""

from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING, Literal

import numpy as np
from ase.eos import EquationOfState
from ase.units import GPa
from pydantic import Field, PositiveFloat, model_validator

from pescape.figures.crystals import draw_eos, draw_lattice
from pescape.plugins.structures.limits import energy_of_atom
from pescape.validation.compounds import parameter_unit
from pescape.validation.crystals import relaxed_crystal
from pescape.validation.properties.crystal.phases import PhasesConfig, PhaseValues, phases_result
from pescape.validation.property import (
    Curve,
    Floats,
    PropertyError,
    PropertyResult,
    Value,
    register_property,
    snapshot,
)

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator

    from pescape.validation.compounds import Solid

# A curve that leaves its fit by more than this (meV/atom) is not smooth.
_ROUGH_RMSE = 1.0
# What ASE calls the forms.
_EOS_FORMS = {"birch_murnaghan": "birchmurnaghan", "murnaghan": "murnaghan"}


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


@register_property(LatticeConfig, heading="Lattice and phases", draw=draw_lattice)
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
        takes to part the crystal into atoms), and the energies of `phases_result`.
    """

    @functools.cache
    def alone(element: str) -> float:
        given = config.atom_energy
        if isinstance(given, dict) and element in given:
            return given[element]
        if isinstance(given, float):
            return given
        # Periodic, for calculators that know nothing else; the box is wider than any cut-off.
        return energy_of_atom(calculator, element, config.box, pbc=True)

    def relaxed(phase: Solid) -> PhaseValues:
        atoms = relaxed_crystal(phase, calculator, fmax=config.fmax, steps=config.steps)
        found = snapshot(atoms, phase.title)
        energy = float(found.get_potential_energy()) / len(found)
        apart = sum(share * alone(element) for element, share in phase.composition.items())
        values = {
            **_shape(phase, found),
            "volume": Value(found.get_volume() / len(found), "Å³/atom"),
            "energy": Value(energy, "eV/atom"),
            "cohesive": Value(apart - energy, "eV/atom"),
        }
        return PhaseValues(found, values)

    return phases_result(config, relaxed)


def _shape(phase: Solid, relaxed: Atoms) -> dict[str, Value]:
    found = phase.parameters(relaxed)
    shape = {name: Value(one, parameter_unit(name)) for name, one in found.items()}
    if "c_over_a" in _shape_names(phase):
        shape["c_over_a"] = Value(found["c"] / found["a"])
    return shape


class EosConfig(PhasesConfig):
    """Energy-volume curves about the minimum of each phase."""

    kind: Literal["eos"] = "eos"
    spread: float = Field(0.04, gt=0.0, lt=0.5, description="largest relative change of volume")
    points: int = Field(9, ge=5, description="volumes, evenly spaced")
    form: Literal["birch_murnaghan", "murnaghan"] = Field(
        "birch_murnaghan", description="what is fitted to the energies"
    )
    dilation: Literal["relaxed", "isotropic"] = Field(
        "relaxed",
        description="relax the shape of the cell and the atoms in it at every volume, or scale "
        "the relaxed crystal",
    )

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives."""
        names = ("volume", "bulk_modulus", "energy", "rmse", *self.energy_names)
        return tuple(f"{phase.title}.{name}" for phase in self.phases for name in names)


@register_property(EosConfig, heading="Energy-volume curves", draw=draw_eos)
def eos(calculator: BaseCalculator, config: EosConfig) -> PropertyResult:
    """Compute energy-volume curves about the minimum of each phase.

    Parameters
    ----------
    calculator
        With stress.
    config
        The phases and volumes.

    Returns
    -------
    PropertyResult
        Of the fit, for each phase: ``volume`` (Å³/atom), ``bulk_modulus`` (GPa), ``energy``
        (eV/atom), ``rmse`` (meV/atom, how far the curve is from the fit), and the energies of
        `phases_result`.
    """

    def fitted(phase: Solid) -> PhaseValues:
        volumes, energies, relaxed = _curve(phase, calculator, config)
        values = _fitted(phase.title, volumes, energies, _EOS_FORMS[config.form])
        off = values["rmse"].value
        return PhaseValues(
            relaxed,
            values,
            Curve(volumes, energies, "volume (Å³/atom)", "energy (eV/atom)"),
            (f"{phase.title}: the curve is {off:.2g} meV/atom off its fit",) * (off > _ROUGH_RMSE),
        )

    return phases_result(config, fitted)


def _curve(
    phase: Solid, calculator: BaseCalculator, config: EosConfig
) -> tuple[Floats, Floats, Atoms]:
    """Volumes (Å³/atom), energies (eV/atom) and the crystal at its minimum."""
    relax = functools.partial(
        relaxed_crystal, phase, calculator, fmax=config.fmax, steps=config.steps
    )
    relaxed = snapshot(relax(), phase.title)
    changes = np.linspace(1.0 - config.spread, 1.0 + config.spread, config.points)
    volumes = relaxed.get_volume() / len(relaxed) * changes
    energies = []
    for volume, change in zip(volumes, changes, strict=True):
        if config.dilation == "relaxed":
            # From the relaxed shape, which is close to what it relaxes to.
            atoms = relax(volume=float(volume), start=relaxed)
        else:
            atoms = relaxed.copy()
            atoms.set_cell(relaxed.cell.array * change ** (1 / 3), scale_atoms=True)
            atoms.calc = calculator
        energies.append(atoms.get_potential_energy() / len(atoms))
    return volumes, np.array(energies), relaxed


def _fitted(title: str, volumes: Floats, energies: Floats, form: str) -> dict[str, Value]:
    """Fit a form, by ASE's name, to volumes (Å³/atom) and energies (eV/atom)."""
    curve = EquationOfState(volumes, energies, eos=form)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            volume, energy, modulus = curve.fit(warn=True)
    except (RuntimeError, ValueError, Warning) as error:
        raise PropertyError(f"{title}: no minimum in the energy-volume curve ({error})") from error
    if not volumes[0] < volume < volumes[-1] or modulus <= 0.0:
        raise PropertyError(f"{title}: the energy-volume curve has no minimum in its range")
    fit = curve.func(volumes, *curve.eos_parameters)
    rmse = 1000.0 * float(np.sqrt(np.mean((fit - energies) ** 2)))
    return {
        "volume": Value(float(volume), "Å³/atom"),
        "bulk_modulus": Value(float(modulus / GPa), "GPa"),
        "energy": Value(float(energy), "eV/atom"),
        "rmse": Value(rmse, "meV/atom"),
    }
