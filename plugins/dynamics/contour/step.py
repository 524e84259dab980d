"""One step along an energy contour: how far, and how steeply towards the energy that is wanted."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, inf, radians, sin, sqrt
from typing import TYPE_CHECKING, Literal

import numpy as np

from pescape.plugins.dynamics.saddle.projection import unit
from pescape.plugins.dynamics.saddle.surrogate import LocalModel, Plane, Sample

if TYPE_CHECKING:
    from collections.abc import Sequence

Phase = Literal["start", "contour", "climb", "descend"]
StepCap = Literal["atom", "rms", "norm"]

# The kernel's length in units of the longest recent step, and the number of samples it is fitted
# to: the smallest energy errors on EMT copper at angle limits of 10° and 20°.
LENGTH_FACTOR = 4.0
MEMORY = 3
# Steepest directions below and above the tangent that a step may take. Uphill, a share of the
# tangent keeps a climb from pressing atoms together along the stiffest directions.
STEEPEST_DOWN, STEEPEST_UP = radians(-80.0), radians(50.0)
# Gradients shorter than this, eV/Å, have no direction.
NO_FORCE = 1e-8
# Excess over the angle limit that is not worth another round.
_SLACK = 1.1
# Excess above which the turn is not simply proportional to the length any more.
_FAR_OFF = 1.5
_SIZE_ROUNDS = 5
# Error of the predicted energy that is left, in units of slope times length.
_PRECISION = 3e-5


@dataclass(frozen=True)
class StepLimits:
    """What bounds the length of a step.

    Attributes
    ----------
    angle
        Largest turn of the force expected in a step, rad.
    maxstep
        Largest length, Å, of what `cap` says.
    cap
        "atom": the displacement of any one atom; "rms": the root mean square over the free atoms;
        "norm": the displacement of all atoms together.
    free_atoms
        Number of atoms that can move.
    """

    angle: float
    maxstep: float
    cap: StepCap
    free_atoms: int

    def excess(self, step: np.ndarray) -> float:
        """Return the length of a flat step, (n,), in units of the largest allowed.

        Exact above one; below it, a number below one.
        """
        if self.cap == "atom":
            largest = float(max(step.max(), -step.min()))
            if largest * sqrt(3) <= self.maxstep:  # no atom can be over: the common, cheap case
                return largest / self.maxstep
            rows = step.reshape(-1, 3)
            size = sqrt(np.einsum("ij,ij->i", rows, rows).max())
        else:
            size = sqrt(step @ step)
            if self.cap == "rms":
                size /= sqrt(self.free_atoms)
        return size / self.maxstep


@dataclass(frozen=True)
class Frame:
    """Where a step starts, and the directions that it is made of.

    Attributes
    ----------
    tangent
        Flat direction along the contour, drift included, (n,).
    uphill
        Flat direction of the gradient, (n,).
    slope
        Length of the gradient, eV/Å.
    wanted
        Change of the energy that is aimed at, eV.
    stiffness
        Learned correction of the model's curvature, eV/Å².
    """

    tangent: np.ndarray
    uphill: np.ndarray
    slope: float
    wanted: float
    stiffness: float

    def along(self, angle: float, size: float) -> np.ndarray:
        """Return the step of a given length, Å, at an angle, rad, above the tangent."""
        return (size * cos(angle)) * self.tangent + (size * sin(angle)) * self.uphill


@dataclass(frozen=True)
class Proposal:
    """A step to try.

    Attributes
    ----------
    displacement
        Flat displacement, (n,), Å.
    size
        Its length, Å.
    angle
        Its angle above the tangent, rad.
    change
        Expected change of the energy, eV.
    phase
        What the step is for.
    """

    displacement: np.ndarray
    size: float
    angle: float
    change: float
    phase: Phase


def local_model(samples: Sequence[Sample]) -> LocalModel | None:
    """Return the model through the samples, or None where there is only one."""
    if len(samples) < 2:
        return None
    return LocalModel(samples, LENGTH_FACTOR)


def find_angle(
    plane: Plane, size: float, wanted: float, guess: float = 0.0
) -> tuple[float, float, bool]:
    """Find the angle at which a step of given length changes the energy as wanted.

    Parameters
    ----------
    plane
        Model on the plane of the tangent and the gradient.
    size
        Length of the step, Å.
    wanted
        Change of the energy, eV.
    guess
        Angle to begin with, rad.

    Returns
    -------
    tuple
        The angle (rad), the change of the energy expected there (eV), and whether the energy can
        be had within the steepest angles allowed.
    """
    low, high = STEEPEST_DOWN, STEEPEST_UP
    angle = guess
    energy, slope = plane.predict(size, angle)
    for _ in range(15):
        error = energy - wanted
        if abs(error) <= _PRECISION * plane.slope * size:
            return angle, energy, True
        if error > 0:
            high = angle
        else:
            low = angle
        guess = angle - error / slope if slope > 0 else inf
        if not STEEPEST_DOWN < guess < STEEPEST_UP:
            bound = STEEPEST_UP if error < 0 else STEEPEST_DOWN
            at_bound = plane.predict(size, bound)[0]
            if (at_bound - wanted) * error > 0:
                return bound, at_bound, False
        if not low < guess < high:
            guess = 0.5 * (low + high)
        angle = guess
        energy, slope = plane.predict(size, angle)
    return angle, energy, True


def first_step(frame: Frame, size: float, limits: StepLimits) -> Proposal:
    """Return a small step that relies on the gradient alone."""
    for _ in range(2):
        reach = frame.slope * size
        sine = float(np.clip(frame.wanted / reach, -1.0, 1.0)) if reach > 0 else 0.0
        angle = float(np.clip(np.arcsin(sine), STEEPEST_DOWN, STEEPEST_UP))
        step = frame.along(angle, size)
        size = size / max(1.0, limits.excess(step))
    step *= size / max(sqrt(step @ step), 1e-300)
    return Proposal(step, size, angle, reach * sin(angle), "start")


def modelled_step(
    model: LocalModel, frame: Frame, size: float, limits: StepLimits, *, shortest: float
) -> Proposal:
    """Return the longest step, up to `size`, that keeps the limits.

    Parameters
    ----------
    model
        Local model of the energy.
    frame
        Where the step starts.
    size
        Longest step to consider, Å.
    limits
        Limits on the turn of the force and on displacements.
    shortest
        Length below which the angle limit shortens a step no more, Å.
    """
    plane = model.plane(frame.tangent, frame.slope, frame.stiffness)
    angle = 0.0
    watched = size > shortest
    for _ in range(_SIZE_ROUNDS):
        angle, expected, reached = find_angle(plane, size, frame.wanted, angle)
        excess = plane.turn(size, angle) / limits.angle if watched else 0.0
        if excess > _SLACK:
            watched = excess > _FAR_OFF and size > shortest
            size /= min(excess, 4.0)
            continue
        step = frame.along(angle, size)
        excess = limits.excess(step)
        if excess <= 1.0:
            break
        size /= 1.001 * excess
    else:
        step = frame.along(angle, size)
        step /= max(1.0, limits.excess(step))
    phase: Phase = "contour" if reached else ("climb" if frame.wanted > 0 else "descend")
    return Proposal(step, size, angle, expected, phase)


def correction(samples: Sequence[Sample], wanted: float, longest: float) -> np.ndarray | None:
    """Return a move along the newest sample's force that changes the energy as wanted.

    Parameters
    ----------
    samples
        Recent points, the newest last.
    wanted
        Change of the energy, eV.
    longest
        Longest move to make, Å; where more is needed, the target is left to later steps.

    Returns
    -------
    np.ndarray or None
        Flat displacement, (n,), Å; none where no such move is in sight.
    """
    newest = samples[-1]
    uphill = unit(newest.gradient, floor=NO_FORCE)
    model = local_model(samples)
    if uphill is None or model is None:
        return None
    slope = sqrt(newest.gradient @ newest.gradient)
    plane = model.plane(uphill, slope)
    side = np.copysign(np.pi / 2, wanted)
    linear = abs(wanted) / slope
    size = linear
    for _ in range(4):
        missing = wanted - plane.predict(size, side)[0]
        size = float(np.clip(size + np.copysign(1.0, wanted) * missing / slope, 0.0, 2 * linear))
    return None if size > longest else np.copysign(size, wanted) * uphill
