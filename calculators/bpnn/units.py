"""Units of files: everything is kept in eV and Å, and written back as it was read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ase.units import Bohr, Hartree

if TYPE_CHECKING:
    from collections.abc import Callable

LENGTHS = {"angstrom": 1.0, "bohr": Bohr}
ENERGIES = {"ev": 1.0, "hartree": Hartree}
_DIGITS = 17  # of a double


@dataclass(frozen=True)
class Normalization:
    """n2p2's normalisation of a data set, in units of its files.

    A network's output o means the energy o / conv_energy + mean_energy.
    """

    mean_energy: float
    conv_energy: float
    conv_length: float

    def __post_init__(self) -> None:
        values = (self.mean_energy, self.conv_energy, self.conv_length)
        if not all(map(math.isfinite, values)) or self.conv_energy <= 0 or self.conv_length <= 0:
            raise ValueError(
                "mean_energy must be finite, conv_energy and conv_length positive, not "
                f"{self.mean_energy}, {self.conv_energy}, {self.conv_length}"
            )


@dataclass(frozen=True)
class Units:
    """The units of the file that a potential came from, and that it may be written back in.

    Parameters
    ----------
    length
        Å.
    energy
        eV.
    normalization
        Of the data set, if the file has one.
    """

    length: float = 1.0
    energy: float = 1.0
    normalization: Normalization | None = None

    def __post_init__(self) -> None:
        for name, value in (("length", self.length), ("energy", self.energy)):
            if not 0 < value < math.inf:
                raise ValueError(f"the unit of {name} must be a positive number, not {value}")

    def eta(self, value: float) -> float:
        """Convert an exponent to 1/Å²."""
        return value / (self.length * self.length)

    def distance(self, value: float) -> float:
        """Convert a length to Å."""
        return value * self.length

    def ev(self, value: float) -> float:
        """Convert an energy to eV."""
        return value * self.energy


def unit_value(unit: str | float, known: dict[str, float], what: str) -> float:
    """Return the value of a unit given by name or in Å or eV.

    Parameters
    ----------
    unit
        A name among `known`, in any case, or a number.
    known
        Units by name.
    what
        "length_unit" or "energy_unit", for the message.
    """
    if isinstance(unit, str):
        try:
            return known[unit.strip().lower()] if unit.strip().lower() in known else float(unit)
        except ValueError:
            names = " or ".join(repr(name) for name in known)
            raise ValueError(f"{what} must be {names} or a number, not {unit!r}") from None
    return float(unit)


def written(value: float, convert: Callable[[float], float], guess: float) -> float:
    """Return the shortest number that a conversion takes to `value` exactly.

    Parameters
    ----------
    value
        What reading has to give.
    convert
        What reading does.
    guess
        The inverse of it but for rounding; given back if no number gives `value` exactly.
    """
    for digits in range(_DIGITS):
        candidate = float(f"{guess:.{digits}e}")
        if convert(candidate) == value:
            return candidate
    for direction in (-math.inf, math.inf):
        candidate = guess
        for _ in range(3):
            candidate = math.nextafter(candidate, direction)
            if convert(candidate) == value:
                return candidate
    return guess
