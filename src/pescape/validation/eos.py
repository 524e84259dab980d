"""Energy against volume, and the fit of Birch and Murnaghan."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Literal

import numpy as np
from ase.eos import EquationOfState
from ase.units import GPa
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from pescape.validation.base import PropertyConfig
from pescape.validation.crystals import Crystal, Crystals, check_titles, relaxed_crystal
from pescape.validation.result import Curve, PropertyError, PropertyResult, Value, snapshot

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_NAMES = ("volume", "bulk_modulus", "energy", "relative", "rmse")
# A curve that leaves its fit by more than this (meV/atom) is not smooth.
_ROUGH = 1.0


class EosConfig(PropertyConfig):
    """Energy-volume curves; the shape of the cell is relaxed at every volume."""

    kind: Literal["eos"] = "eos"
    phases: Crystals
    spread: float = Field(0.04, gt=0.0, lt=0.5, description="largest relative change of volume")
    points: int = Field(9, ge=5, description="volumes, evenly spaced")
    fmax: PositiveFloat = Field(0.001, description="largest force left, eV/Å")
    steps: PositiveInt = Field(200, description="more mean that the property fails")

    @model_validator(mode="after")
    def _phases(self) -> EosConfig:
        check_titles(self.phases)
        return self

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives."""
        return tuple(f"{phase.title}.{name}" for phase in self.phases for name in _NAMES)


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
        (eV/atom), ``relative`` (meV/atom above the first phase) and ``rmse`` (meV/atom, how far
        the curve is from the fit).
    """
    values: dict[str, Value] = {}
    curves: dict[str, Curve] = {}
    structures: list[Atoms] = []
    told: list[str] = []
    first: float | None = None
    for phase in config.phases:
        volumes, energies, relaxed = _curve(phase, calculator, config)
        structures.append(relaxed)
        volume, energy, modulus, rmse = _fitted(phase.title, volumes, energies)
        first = energy if first is None else first
        if rmse > _ROUGH:
            told.append(f"{phase.title}: the curve is {rmse:.2g} meV/atom off its fit")
        numbers = (
            Value(volume, "Å³/atom"),
            Value(modulus, "GPa"),
            Value(energy, "eV/atom"),
            Value(1000.0 * (energy - first), "meV/atom"),
            Value(rmse, "meV/atom"),
        )
        for name, one in zip(_NAMES, numbers, strict=True):
            values[f"{phase.title}.{name}"] = one
        curves[phase.title] = Curve(volumes, energies, "volume (Å³/atom)", "energy (eV/atom)")
    settings = config.model_dump(mode="json")
    return PropertyResult("eos", values, tuple(structures), curves, settings, tuple(told))


def _curve(
    phase: Crystal, calculator: BaseCalculator, config: EosConfig
) -> tuple[Floats, Floats, Atoms]:
    """Volumes (Å³/atom), energies (eV/atom) and the crystal at its minimum."""
    atoms = relaxed_crystal(phase, calculator, fmax=config.fmax, steps=config.steps)
    relaxed = snapshot(atoms, phase.title)
    centre = relaxed.get_volume() / len(relaxed)
    # Each volume starts from the relaxed shape, which is close to what it relaxes to.
    lengths = phase.parameters(relaxed)
    ratio = lengths["c"] / lengths["a"] if phase.hexagonal else None
    shaped = phase.model_copy(update={"a": lengths["a"], "c_over_a": ratio})
    volumes = centre * np.linspace(1.0 - config.spread, 1.0 + config.spread, config.points)
    energies = [
        relaxed_crystal(
            shaped, calculator, fmax=config.fmax, steps=config.steps, volume=float(volume)
        ).get_potential_energy()
        / len(relaxed)
        for volume in volumes
    ]
    return volumes, np.array(energies), relaxed


def _fitted(title: str, volumes: Floats, energies: Floats) -> tuple[float, float, float, float]:
    """Volume (Å³/atom), energy (eV/atom), bulk modulus (GPa), deviation (meV/atom)."""
    curve = EquationOfState(volumes, energies, eos="birchmurnaghan")
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
    return float(volume), float(energy), float(modulus / GPa), rmse
