"""Energies along one coordinate: where they jump, and whether they rise where atoms meet."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pescape.validation.property import Floats, PropertyError

if TYPE_CHECKING:
    from collections.abc import Callable

    Line = Callable[[float], tuple[float, float]]

# Intervals looked into, of each of two kinds, and how often each is halved: what is left of a
# smooth function in an interval 2e-8 Å wide is nothing.
_SUSPECTS = 5
_HALVINGS = 20
# Changes of energy (eV) and slope (eV/Å) between points that are below anything that matters.
_NEGLIGIBLE_CHANGE = 1e-9


@dataclass(frozen=True, eq=False)
class Scan:
    """Energy and slope along a coordinate.

    Parameters
    ----------
    x
        Shape (n,), rising, Å.
    energy
        Shape (n,), eV.
    slope
        Shape (n,), eV/Å.
    """

    x: Floats
    energy: Floats
    slope: Floats


@dataclass(frozen=True)
class Jump:
    """The largest steps along a scan.

    Parameters
    ----------
    energy
        eV.
    slope
        eV/Å.
    energy_at, slope_at
        Where they are, Å.
    """

    energy: float
    slope: float
    energy_at: float
    slope_at: float


@dataclass(frozen=True, eq=False)
class Track:
    """A coordinate to scan.

    Parameters
    ----------
    name
        What changes along it.
    line
        Energy and slope.
    start
        Where the minimum is expected, Å.
    points
        Where it is scanned, shape (n,), rising, Å.
    """

    name: str
    line: Line
    start: float
    points: Floats

    @functools.cached_property
    def scan(self) -> Scan:
        """Energy and slope at all points where they are finite; evaluated once."""
        found = np.array([self.line(float(one)) for one in self.points]).reshape(-1, 2)
        finite = np.isfinite(found).all(axis=1)
        if finite.sum() < 3:
            raise PropertyError(f"{self.name}: there are hardly any finite energies")
        return Scan(self.points[finite], found[finite, 0], found[finite, 1])

    @property
    def known(self) -> bool:
        """Whether it has been scanned."""
        return "scan" in vars(self)


def largest_jump(line: Line, scan: Scan) -> Jump:
    """Look for steps of energy and slope.

    Intervals in which one of them changes out of line with the intervals on either side are
    halved again and again, so that no step is too small to be told from a steep slope.

    Parameters
    ----------
    line
        The function behind the scan.
    scan
        With a few points at least.
    """
    ends = [(0.0, 0.0, float(scan.x[0])), (0.0, 0.0, float(scan.x[0]))]
    width = np.diff(scan.x)
    kinds = (
        np.diff(scan.energy) - width * (scan.slope[1:] + scan.slope[:-1]) / 2.0,
        np.diff(scan.slope),
    )
    for kind, change in enumerate(kinds):
        suspects = np.argsort(_out_of_line(change))[-_SUSPECTS:]
        ends += [_narrowed(line, scan, int(index), kind) for index in suspects]
    energy = max(ends, key=lambda one: one[0])
    slope = max(ends, key=lambda one: one[1])
    return Jump(energy[0], slope[1], energy[2], slope[2])


def _out_of_line(change: Floats) -> Floats:
    """Tell how much the change in each interval differs from that in its neighbors."""
    padded = np.pad(change, 1, mode="edge")
    before, after = padded[:-2], padded[2:]
    scale = np.abs(before) + np.abs(after) + _NEGLIGIBLE_CHANGE
    return np.asarray(np.abs(change - (before + after) / 2.0) / scale)


def _narrowed(line: Line, scan: Scan, index: int, kind: int) -> tuple[float, float, float]:
    """Halve an interval, keeping the half with the larger step, of energy (0) or slope (1)."""
    low, high = (
        (float(scan.x[i]), float(scan.energy[i]), float(scan.slope[i])) for i in (index, index + 1)
    )
    for _ in range(_HALVINGS):
        middle = (low[0] + high[0]) / 2.0
        between = (middle, *line(middle))
        if not np.isfinite(between).all():
            return 0.0, 0.0, middle  # counted as such elsewhere
        first, second = _steps(low, between)[kind], _steps(between, high)[kind]
        low, high = (low, between) if first > second else (between, high)
    return (*_steps(low, high), low[0])


def _steps(
    low: tuple[float, float, float], high: tuple[float, float, float]
) -> tuple[float, float]:
    """Change of the energy that the slope does not explain, and change of the slope."""
    width = high[0] - low[0]
    return abs(high[1] - low[1] - width * (low[2] + high[2]) / 2.0), abs(high[2] - low[2])


@dataclass(frozen=True)
class Repulsion:
    """What becomes of energy and force on the way in from a minimum.

    Parameters
    ----------
    minimum
        Where it begins, Å.
    drop
        Deepest fall of the energy, eV; 0 where it never falls.
    rise
        Energy of the shortest distance above the minimum, eV.
    repulsive_to
        Distance down to which the force is repulsive all the way, Å.
    """

    minimum: float
    drop: float
    rise: float
    repulsive_to: float


def repulsion(scan: Scan, start: float | None = None) -> Repulsion:
    """See whether the energy rises all the way from a minimum inwards.

    Parameters
    ----------
    scan
        Over distances.
    start
        Where the search for the minimum begins, Å: it goes downhill from there. If None, the
        longest distance is taken for the minimum.
    """
    bottom = len(scan.x) - 1
    if start is not None:
        bottom = int(np.abs(scan.x - start).argmin())
        while bottom + 1 < len(scan.x) and scan.energy[bottom + 1] < scan.energy[bottom]:
            bottom += 1
        while bottom > 0 and scan.energy[bottom - 1] < scan.energy[bottom]:
            bottom -= 1
    inwards = scan.energy[bottom::-1]
    drop = np.maximum.accumulate(inwards) - inwards
    # At the minimum itself the slope may have either sign.
    attractive = np.flatnonzero(scan.slope[:bottom] >= 0.0)
    repulsive_to = float(scan.x[0])
    if len(attractive):
        last = int(attractive[-1])
        before, after = (float(scan.slope[last]), float(min(scan.slope[last + 1], 0.0)))
        share = before / (before - after) if before > after else 0.0
        repulsive_to = float(scan.x[last] + share * (scan.x[last + 1] - scan.x[last]))
    return Repulsion(
        float(scan.x[bottom]), float(drop.max()), float(inwards[-1] - inwards[0]), repulsive_to
    )
