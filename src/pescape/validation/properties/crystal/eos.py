"""Energy against volume, and the fit of Birch and Murnaghan."""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from ase.eos import EquationOfState
from ase.units import GPa
from pydantic import Field

from pescape.validation.crystals import relaxed_crystal
from pescape.validation.properties.crystal.phases import (
    PhasesConfig,
    changed_symmetry,
    compared,
    for_each,
)
from pescape.validation.property import Curve, PropertyError, PropertyResult, Value, snapshot

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator
    from numpy.typing import NDArray

    from pescape.validation.compounds import Solid

    Floats = NDArray[np.float64]

# A curve that leaves its fit by more than this (meV/atom) is not smooth.
_ROUGH = 1.0
# What ASE calls the forms.
_FORMS = {"birch_murnaghan": "birchmurnaghan", "murnaghan": "murnaghan"}


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


@dataclass(frozen=True, eq=False)
class _Fit:
    """A curve (Å³/atom, eV/atom), the crystal at its minimum, and the values of the fit."""

    curve: Curve
    relaxed: Atoms
    values: dict[str, Value]


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
        (eV/atom), ``rmse`` (meV/atom, how far the curve is from the fit), ``relative``
        (meV/atom above the first phase of the same composition, or the one it is to be compared
        with) and, if there are end members, ``formation`` (eV/atom). A phase that cannot be
        computed is left out.
    """

    def fitted(phase: Solid) -> _Fit:
        volumes, energies, relaxed = _curve(phase, calculator, config)
        values = _fitted(phase.title, volumes, energies, _FORMS[config.form])
        curve = Curve(volumes, energies, "volume (Å³/atom)", "energy (eV/atom)")
        return _Fit(curve, relaxed, values)

    found, told = for_each(config.by_title, fitted)
    told += changed_symmetry(config, {title: fit.relaxed for title, fit in found.items()})
    for title, fit in found.items():
        if fit.values["rmse"].value > _ROUGH:
            off = fit.values["rmse"].value
            told.append(f"{title}: the curve is {off:.2g} meV/atom off its fit")
    energies = {title: fit.values["energy"].value for title, fit in found.items()}
    differences, of_zeros = compared(config, energies)
    return PropertyResult(
        "eos",
        {
            f"{title}.{name}": one
            for title, fit in found.items()
            for name, one in {**fit.values, **differences[title]}.items()
        },
        tuple(fit.relaxed for fit in found.values()),
        {title: fit.curve for title, fit in found.items()},
        config.model_dump(mode="json"),
        (*told, *of_zeros),
    )


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
