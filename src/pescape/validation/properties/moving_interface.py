"""The melting temperature from how fast solid and liquid grow into each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# What of the cell has to be solid, and liquid, for its two interfaces not to feel each other.
_SOLID, _LIQUID = 0.12, 0.15
# Fewer samples than this tell no velocity.
_FEWEST = 8
#: m/s in an Å/ps.
_PER_ANGSTROM_PS = 100.0


@dataclass(frozen=True)
class Motion:
    """How the interfaces of one run have moved.

    Parameters
    ----------
    temperature
        K.
    velocity
        Of each interface, m/s; positive where the solid grows.
    duration
        For how long there were two interfaces, ps.
    ended
        What the cell had become before the run ended: ``"solid"``, ``"liquid"`` or nothing.
    """

    temperature: float
    velocity: float
    duration: float
    ended: str = ""


@dataclass(frozen=True)
class MeltingPoint:
    """Where the interface stands still.

    Parameters
    ----------
    temperature
        K.
    uncertainty
        Its standard error, K.
    slope
        How much faster the solid grows for each kelvin more, m/s/K; negative.
    bracketed
        Whether the solid grew in some runs and melted in others.
    """

    temperature: float
    uncertainty: float
    slope: float
    bracketed: bool

    def velocity(self, temperature: Floats) -> Floats:
        """Of the interface by the straight line, m/s."""
        return self.slope * (temperature - self.temperature)


def interface_motion(time: Floats, solid: Floats, length: float, temperature: float) -> Motion:
    """Measure how fast the two interfaces of a periodic cell move.

    Parameters
    ----------
    time
        Shape (n,), ps.
    solid
        Fraction of the cell that is solid, shape (n,).
    length
        Of the cell across the interfaces, Å.
    temperature
        K.

    Returns
    -------
    Motion
        By a straight line through the fraction, up to where one of the phases is about to
        vanish; where that is so from the beginning, the velocity is not a number.
    """
    gone = np.flatnonzero((solid < _SOLID) | (solid > 1.0 - _LIQUID))
    end = int(gone[0]) if len(gone) else len(time)
    ended = "" if end == len(time) else "liquid" if solid[end] < 0.5 else "solid"
    if end < _FEWEST:
        return Motion(temperature, np.nan, 0.0, ended)
    rate = np.polyfit(time[:end], solid[:end], 1)[0]
    velocity = _PER_ANGSTROM_PS * rate * length / 2
    return Motion(temperature, float(velocity), float(time[end - 1] - time[0]), ended)


def melting_point(motions: Sequence[Motion]) -> MeltingPoint | None:
    """Find the temperature at which interfaces stand still.

    The position of an interface is a random walk on top of its drift, so that the variance of
    a velocity falls with the duration of its run. How large it is comes from the scatter of the
    runs about the straight line, and so does the standard error of the temperature.

    Parameters
    ----------
    motions
        Those without a velocity are left out.

    Returns
    -------
    MeltingPoint or None
        None where fewer than three have a velocity, or where the solid does not grow slower
        as it gets hotter.
    """
    usable = [one for one in motions if np.isfinite(one.velocity)]
    if len({one.temperature for one in usable}) < 3:
        return None
    temperatures = np.array([one.temperature for one in usable])
    velocities = np.array([one.velocity for one in usable])
    weights = np.sqrt([one.duration for one in usable])
    centre = temperatures.mean()
    (slope, middle), covariance = np.polyfit(
        temperatures - centre, velocities, 1, w=weights, cov=True
    )
    if slope >= 0:
        return None
    gradient = np.array([middle / slope**2, -1.0 / slope])  # of -middle / slope
    return MeltingPoint(
        float(centre - middle / slope),
        float(np.sqrt(gradient @ covariance @ gradient)),
        float(slope),
        bool(velocities.min() < 0.0 < velocities.max()),
    )
