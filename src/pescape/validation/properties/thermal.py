"""How a crystal expands, how its atoms move and whether it stays what it is when it is hot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from ase.units import kB
from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from pescape.validation.base import PropertyConfig
from pescape.validation.properties.dynamics import OrthogonalCrystal  # noqa: TC001 (pydantic reads it)
from pescape.validation.properties.thermal_runs import (
    Averages,
    Bath,
    at_rest,
    at_temperature,
    label,
)
from pescape.validation.result import Curve, PropertyError, PropertyResult, Value

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from pescape.validation.lammps import LammpsModel

    Floats = NDArray[np.float64]

# Less of the crystal than this is a crystal that has changed.
_WHOLE = 0.98


class ThermalConfig(PropertyConfig):
    """Molecular dynamics of a crystal at constant pressure and some temperatures."""

    incidental: ClassVar[frozenset[str]] = frozenset({"ranks"})

    kind: Literal["thermal"] = "thermal"
    crystal: OrthogonalCrystal
    temperatures: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = (300.0, 600.0, 900.0)
    atoms: PositiveInt = Field(300, description="of the supercell, about")
    timestep: PositiveFloat | None = Field(
        None, description="fs; 2 and less for light atoms if unset"
    )
    equilibration: PositiveFloat = Field(3.0, description="ps")
    duration: PositiveFloat = Field(10.0, description="of averages, ps")
    seed: PositiveInt = 1
    ranks: PositiveInt = 1

    @field_validator("temperatures")
    @classmethod
    def _rising(cls, given: tuple[float, ...]) -> tuple[float, ...]:
        if list(given) != sorted(set(given)):
            raise ValueError("temperatures have to rise")
        return given

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives."""
        lengths = _lengths(self)
        each = (*lengths, "volume", "energy", "msd", "intact")
        names = [f"{label(t)}.{name}" for t in self.temperatures for name in each]
        fits = ("expansion", *(f"expansion_{name}" for name in lengths), "heat_capacity")
        return (*names, *(part for name in fits for part in (name, f"{name}_error")))


def _lengths(config: ThermalConfig) -> tuple[str, ...]:
    return tuple(name for name in config.crystal.parameter_names if name in "abc")


def thermal(model: LammpsModel, config: ThermalConfig, folder: Path) -> PropertyResult:
    """Heat a crystal to some temperatures and see how it expands.

    Parameters
    ----------
    model
        The potential.
    config
        The crystal and temperatures.
    folder
        Where runs are kept, each in a folder of its own.

    Returns
    -------
    PropertyResult
        At each temperature lattice parameters (Å), ``volume`` (Å³/atom), ``energy`` (enthalpy,
        eV/atom), ``msd`` (mean square displacement of an atom from the mean of its positions,
        Å²) and ``intact`` (share of the atoms that stay at their sites). Over all temperatures,
        as straight lines have it: ``expansion`` (of the volume, 1e-6/K), ``expansion_a`` and so
        on (of lattice parameters), relative to the lowest of the temperatures, and
        ``heat_capacity`` (kB per atom), each with its standard error. With one temperature they
        are those from absolute zero up to there.
    """
    bath = Bath.of(
        model,
        config.crystal,
        folder,
        atoms=config.atoms,
        timestep=config.timestep,
        seed=config.seed,
        ranks=config.ranks,
    )
    still = at_rest(bath)
    found, told = [], []
    times = {"equilibration": config.equilibration, "duration": config.duration}
    for temperature in config.temperatures:
        try:
            found.append(at_temperature(bath, temperature, **times))
        except PropertyError as error:  # noqa: PERF203 (seconds each)
            told.append(str(error))
    if not found:
        raise PropertyError(told[0])
    told += [
        f"{label(one.temperature)}: only {100 * one.intact:.0f} % of the atoms are still at their "
        "sites: it is no longer the same crystal, and not part of the fits"
        for one in found
        if one.intact < _WHOLE
    ]
    values: dict[str, Value] = {}
    for one in found:
        values |= {f"{label(one.temperature)}.{k}": v for k, v in _numbers(one).items()}
    whole = [one for one in found if one.intact >= _WHOLE]
    if whole:
        values |= _fits(whole if len(whole) > 1 else [still, *whole])
    return PropertyResult(
        "thermal",
        values,
        curves=_curves([still, *found]),
        settings=config.model_dump(mode="json"),
        warnings=tuple(told),
    )


def _numbers(one: Averages) -> dict[str, Value]:
    units = {"volume": "Å³/atom"}
    return {
        **{name: Value(mean, units.get(name, "Å")) for name, (mean, _) in one.lengths.items()},
        "energy": Value(one.energy, "eV/atom"),
        "msd": Value(one.msd, "Å²"),
        "intact": Value(one.intact),
    }


def _fits(points: list[Averages]) -> dict[str, Value]:
    """Fit straight lines through points."""
    temperatures = np.array([one.temperature for one in points])
    values: dict[str, Value] = {}
    for name in ("volume", *(name for name in points[0].lengths if name != "volume")):
        means, errors = np.array([one.lengths[name] for one in points]).T
        title = "expansion" if name == "volume" else f"expansion_{name}"
        slope, error = _slope(temperatures, 1e6 * means / means[0], 1e6 * errors / means[0])
        values |= _with_error(title, slope, error, "1e-6/K")
    means, errors = np.array([[one.energy, one.energy_error] for one in points]).T
    slope, error = _slope(temperatures, means / kB, errors / kB)
    return values | _with_error("heat_capacity", slope, error, "kB/atom")


def _slope(x: Floats, y: Floats, errors: Floats) -> tuple[float, float]:
    """Slope of the best straight line and its standard error, which grows with the misfit."""
    weights = 1.0 / np.maximum(errors, 1e-9 * np.abs(y))  # at rest there is no error
    line, covariance = np.polyfit(x, y, 1, w=weights, cov="unscaled")
    excess = 1.0
    if len(x) > 2:
        excess = max(1.0, float(np.sum((weights * (np.polyval(line, x) - y)) ** 2)) / (len(x) - 2))
    return float(line[0]), float((excess * covariance[0, 0]) ** 0.5)


def _with_error(name: str, value: float, error: float, unit: str) -> dict[str, Value]:
    return {name: Value(value, unit), f"{name}_error": Value(error, unit)}


def _curves(found: list[Averages]) -> dict[str, Curve]:
    temperatures = np.array([one.temperature for one in found])
    labels = {"volume": "volume (Å³/atom)"}
    curves = {
        name: Curve(
            temperatures,
            np.array([one.lengths[name][0] for one in found]),
            "temperature (K)",
            labels.get(name, f"{name} (Å)"),
        )
        for name in found[0].lengths
    }
    for name, axis in (("energy", "energy (eV/atom)"), ("msd", "mean square displacement (Å²)")):
        numbers = np.array([getattr(one, name) for one in found])
        curves[name] = Curve(temperatures, numbers, "temperature (K)", axis)
    return curves
