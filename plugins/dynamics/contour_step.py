"""One step along an energy contour: how far, and how steeply towards the energy that is wanted."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from pescape.plugins.dynamics.projection import unit
from pescape.plugins.dynamics.surrogate import LocalModel, Plane, Prediction, Sample

if TYPE_CHECKING:
    from collections.abc import Sequence

Phase = Literal["start", "contour", "climb", "descend"]
StepCap = Literal["atom", "rms", "norm"]

# The kernel's length in units of the longest recent step, and the number of samples it is fitted
# to: the smallest energy errors on EMT copper at angle limits of 10° and 20°.
LENGTH_FACTOR = 4.0
MEMORY = 4
# Steepest direction, above or below the tangent, that a step may take.
STEEPEST = np.radians(50.0)
# Gradients shorter than this, eV/Å, have no direction.
NO_FORCE = 1e-8
_SIZE_ROUNDS = 5


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
        """Return the length of a flat step, (n,), in units of the largest allowed."""
        if self.cap == "atom":
            rows = step.reshape(-1, 3)
            size = np.sqrt(np.einsum("ij,ij->i", rows, rows).max())
        else:
            size = np.sqrt(step @ step)
            if self.cap == "rms":
                size /= np.sqrt(self.free_atoms)
        return float(size) / self.maxstep


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
    longest = 0.0
    for before, after in itertools.pairwise(samples):
        step = after.x - before.x
        longest = max(longest, float(step @ step))
    return LocalModel(samples, LENGTH_FACTOR * np.sqrt(longest))


def find_angle(
    plane: Plane, size: float, wanted: float, stiffness: float
) -> tuple[float, Prediction, bool]:
    """Find the angle at which a step of given length changes the energy as wanted.

    Returns
    -------
    tuple
        The angle (rad), the prediction there, and whether the energy can be had within the
        steepest angle allowed.
    """
    low, high = -STEEPEST, STEEPEST
    angle, trial = 0.0, plane.predict(size, 0.0, stiffness)
    for _ in range(12):
        error = trial.energy - wanted
        if abs(error) <= 1e-5 * plane.slope * size:
            return angle, trial, True
        if error > 0:
            high = angle
        else:
            low = angle
        guess = angle - error / trial.slope if trial.slope > 0 else np.inf
        if guess >= STEEPEST or guess <= -STEEPEST or not np.isfinite(guess):
            bound = STEEPEST if error < 0 else -STEEPEST
            at_bound = plane.predict(size, bound, stiffness)
            if (at_bound.energy - wanted) * error > 0:
                return bound, at_bound, False
        if not low < guess < high:
            guess = 0.5 * (low + high)
        angle, trial = guess, plane.predict(size, guess, stiffness)
    return angle, trial, True


def first_step(frame: Frame, size: float, limits: StepLimits) -> Proposal:
    """Return a small step that relies on the gradient alone."""
    for _ in range(2):
        reach = frame.slope * size
        sine = float(np.clip(frame.wanted / reach, -1.0, 1.0)) if reach > 0 else 0.0
        angle = float(np.clip(np.arcsin(sine), -STEEPEST, STEEPEST))
        step = size * (np.cos(angle) * frame.tangent + np.sin(angle) * frame.uphill)
        size = size / max(1.0, limits.excess(step))
    step *= size / max(np.sqrt(step @ step), 1e-300)
    return Proposal(step, size, angle, reach * np.sin(angle), "start")


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
    plane = model.plane(frame.tangent, frame.uphill, frame.slope)
    for _ in range(_SIZE_ROUNDS):
        angle, expected, reached = find_angle(plane, size, frame.wanted, frame.stiffness)
        step = size * (np.cos(angle) * frame.tangent + np.sin(angle) * frame.uphill)
        shrink = max(1.0, limits.excess(step))
        if size > shortest:
            shrink = max(shrink, min(expected.turn / limits.angle, 4.0) / 1.05)
        if shrink <= 1.0 + 1e-9:
            break
        size /= shrink
    step *= 1.0 / max(1.0, limits.excess(step))
    phase: Phase = "contour" if reached else ("climb" if frame.wanted > 0 else "descend")
    return Proposal(step, size, angle, expected.energy, phase)


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
    slope = float(np.sqrt(newest.gradient @ newest.gradient))
    plane = model.plane(uphill, uphill, slope)
    side = np.copysign(np.pi / 2, wanted)
    linear = abs(wanted) / slope
    size = linear
    for _ in range(4):
        missing = wanted - plane.predict(size, side).energy
        size = float(np.clip(size + np.copysign(1.0, wanted) * missing / slope, 0.0, 2 * linear))
    return None if size > longest else np.copysign(size, wanted) * uphill
