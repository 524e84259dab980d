"""One step along an energy contour: how far, and how steeply towards the energy that is wanted.

Both are read off a local model of the energy: a Gaussian process with a squared-exponential
kernel, conditioned on the last few energies and gradients. It is exact in the low-dimensional
space that the displacements between these points and their gradients span; what a direction
outside it does enters through its length only. So its cost is a few products of tall matrices,
whatever the number of atoms.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache
from math import atan2, cos, exp, inf, radians, sin, sqrt
from typing import TYPE_CHECKING, Literal

import numpy as np

from pescape.plugins.dynamics.surface import unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pescape.plugins.dynamics.surface import Sample

Phase = Literal["start", "contour", "climb", "descend"]
StepCap = Literal["atom", "rms", "norm"]

# The kernel's length in units of the longest recent step, and the number of samples it is fitted
# to: the smallest energy errors on EMT copper at angle limits of 10° and 20°.
_LENGTH_FACTOR = 4.0
MEMORY = 3
# Steepest directions below and above the tangent that a step may take. Uphill, a share of the
# tangent keeps a climb from pressing atoms together along the stiffest directions.
_STEEPEST_DOWN, _STEEPEST_UP = radians(-80.0), radians(50.0)
# Gradients shorter than this, eV/Å, have no direction.
NO_FORCE = 1e-8
# Excess over the angle limit that is not worth another round.
_SLACK = 1.1
# Excess above which the turn is not simply proportional to the length any more.
_FAR_OFF = 1.5
_SIZE_ROUNDS = 5
# Error of the predicted energy that is left, in units of slope times length.
_PRECISION = 3e-5
# Numerical ranks and floors of the model.
_JITTER = 1e-10
_RANK = 1e-12
_TINY = 1e-300


class Plane:
    """The model on the plane through the newest sample along two orthonormal directions.

    All that it needs of the samples are a few scalar products, taken once.

    Parameters
    ----------
    points, weights
        Samples, (m, rank), and their kernel weights, (m, 1 + rank), in the model's own basis.
    length
        Length scale of the kernel, Å.
    axes
        The two directions, (2, 1 + rank).
    slope
        Length of the newest sample's gradient, eV/Å.
    stiffness
        Curvature to add to the model's along the first direction, eV/Å².
    """

    def __init__(
        self,
        points: np.ndarray,
        weights: np.ndarray,
        length: float,
        axes: np.ndarray,
        slope: float,
        stiffness: float,
    ) -> None:
        self.slope = slope
        self._length = length
        self._stiffness = stiffness
        # the last coordinate is for what of the tangent lies outside the space of the samples
        count, rank = points.shape
        self._vectors = np.zeros((2 * count + 2, rank + 1))  # weights, points, axes
        self._vectors[:count, :rank] = weights[:, 1:]
        self._vectors[count:-2, :rank] = points
        self._vectors[-2:] = self._axes = axes
        along = self._vectors[:-2] @ axes.T
        columns = np.empty((count, 6))
        columns[:, 0] = (points * points).sum(axis=1)
        columns[:, 1] = weights[:, 0] - (points * weights[:, 1:]).sum(axis=1)
        columns[:, 2:4], columns[:, 4:] = along[count:], along[:count]
        self._scalars = columns.tolist()
        self._value, _, self._up = self._line(0.0, 0.0)
        self._at_origin: list[float] | None = None

    def _line(self, u: float, v: float) -> tuple[float, float, float]:
        """Return the value at u, v along the axes, in units of the length, and its gradient."""
        value = along = up = 0.0
        square = u * u + v * v
        for point2, constant, point_a, point_b, weight_a, weight_b in self._scalars:
            kernel = exp(point_a * u + point_b * v - 0.5 * (square + point2))
            amplitude = kernel * (constant + weight_a * u + weight_b * v)
            value += amplitude
            along += kernel * weight_a - amplitude * (u - point_a)
            up += kernel * weight_b - amplitude * (v - point_b)
        return value, along, up

    def predict(self, size: float, angle: float) -> tuple[float, float]:
        """Predict the energy at the end of a step.

        Parameters
        ----------
        size
            Length of the step, Å.
        angle
            Its angle above the tangent, rad: π/2 is straight uphill.

        Returns
        -------
        tuple
            The change of the energy, eV, and its derivative with respect to the angle, eV.
        """
        c, s = size * cos(angle), size * sin(angle)
        value, along, up = self._line(c / self._length, s / self._length)
        up = self.slope + (up - self._up) / self._length
        energy = value - self._value + (self.slope - self._up / self._length) * s
        energy += 0.5 * self._stiffness * c * c
        return energy, c * up - s * (along / self._length + self._stiffness * c)

    def turn(self, size: float, angle: float) -> float:
        """Predict the angle, rad, between the gradients before and after a step.

        Parameters
        ----------
        size, angle
            The step, as for `predict`.
        """
        if self._at_origin is None:
            self._at_origin = self._shares(0.0, 0.0)
        u, v = size * cos(angle) / self._length, size * sin(angle) / self._length
        shares = np.subtract(self._shares(u, v), self._at_origin)
        change = shares @ self._vectors / self._length
        up = float(change @ self._axes[1])
        return atan2(sqrt(max(float(change @ change) - up * up, 0.0)), self.slope + up)

    def _shares(self, u: float, v: float) -> list[float]:
        """Return the gradient at u, v along the axes, as shares of weights, points and axes."""
        kernels, amplitudes = [], []
        square = u * u + v * v
        for point2, constant, point_a, point_b, weight_a, weight_b in self._scalars:
            kernel = exp(point_a * u + point_b * v - 0.5 * (square + point2))
            kernels.append(kernel)
            amplitudes.append(kernel * (constant + weight_a * u + weight_b * v))
        total = sum(amplitudes)
        return [*kernels, *amplitudes, -total * u, -total * v]


class LocalModel:
    """The Gaussian process through the given samples.

    Parameters
    ----------
    samples
        Two or more, the newest last.
    length
        Length scale of the kernel, in units of the longest step between two samples.
    """

    def __init__(self, samples: Sequence[Sample], length: float) -> None:
        count = len(samples)
        rows = np.empty((2 * count - 1, samples[0].x.size))
        for row, (before, after) in enumerate(itertools.pairwise(samples)):
            np.subtract(after.x, before.x, out=rows[row])
            np.subtract(after.gradient, before.gradient, out=rows[count - 1 + row])
        rows[-1] = samples[-1].gradient
        # in two pieces: several times faster than the routine for A @ A.T behind NumPy
        overlap = np.concatenate([rows[:count] @ rows.T, rows[count:] @ rows.T])
        norms = np.sqrt(np.maximum(overlap.diagonal(), _TINY))
        self._length = length = length * float(norms[: count - 1].max())
        values, vectors = np.linalg.eigh(overlap / (norms[:, None] * norms))
        if values[0] <= _RANK * values[-1]:
            keep = values > _RANK * values[-1]
            vectors, values = vectors[:, keep], values[keep]
        root = np.sqrt(values)
        self._rows = rows
        # coordinates of any vector v: to_basis @ (rows @ v)
        self._to_basis = (vectors / root).T / norms
        inside = (vectors * root) * norms[:, None]
        steps, changes, newest = inside[: count - 1], inside[count - 1 : -1], inside[-1]
        self._uphill = newest / norms[-1]
        back = _back(count)  # from differences between samples to differences from the newest
        last = samples[-1].energy
        energies = np.array([sample.energy - last for sample in samples])
        self._points = back @ steps / length
        self._weights = _fit(self._points, energies, (newest + back @ changes) * length)

    def plane(self, tangent: np.ndarray, slope: float, stiffness: float = 0.0) -> Plane:
        """Return the model on the plane of a direction and the newest sample's gradient.

        Parameters
        ----------
        tangent
            Flat direction of length one along the contour, (n,).
        slope
            Length of the newest sample's gradient, eV/Å.
        stiffness
            Curvature to add to the model's along the tangent, eV/Å².
        """
        rank = self._to_basis.shape[0]
        axes = np.zeros((2, rank + 1))
        axes[0, :rank] = self._to_basis @ (self._rows @ tangent)
        axes[1, :rank] = self._uphill
        axes[0, rank] = sqrt(max(1.0 - float(axes[0] @ axes[0]), 0.0))
        return Plane(self._points, self._weights, self._length, axes, slope, stiffness)


@cache
def _back(count: int) -> np.ndarray:
    return -np.triu(np.ones((count, count - 1)))


def _fit(points: np.ndarray, energies: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Return the kernel weights, (samples, 1 + dimensions), with an unknown constant mean."""
    count, dimensions = points.shape
    d = points[:, None, :] - points[None, :, :]
    kernel = np.exp(-0.5 * (d * d).sum(axis=2))
    mixed = kernel[:, :, None] * d
    # rows and columns: energy and gradient sample by sample, and the mean
    size = count * (1 + dimensions)
    system = np.zeros((size + 1, size + 1))
    blocks = np.empty((count, 1 + dimensions, count, 1 + dimensions))
    blocks[:, 0, :, 0] = kernel
    blocks[:, 0, :, 1:] = mixed
    blocks[:, 1:, :, 0] = -mixed.transpose(0, 2, 1)
    blocks[:, 1:, :, 1:] = -d.transpose(0, 2, 1)[:, :, :, None] * mixed[:, None, :, :]
    diagonal = np.arange(1, 1 + dimensions)
    blocks[:, diagonal, :, diagonal] += kernel
    system[:size, :size] = blocks.reshape(size, size)
    system.flat[: size * (size + 2) : size + 2] += _JITTER
    system[: size : 1 + dimensions, size] = system[size, : size : 1 + dimensions] = 1.0
    right = np.zeros(size + 1)
    known = right[:size].reshape(count, 1 + dimensions)
    known[:, 0], known[:, 1:] = energies, gradients
    return np.linalg.solve(system, right)[:size].reshape(count, 1 + dimensions)


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
        """Return the length of a step in units of the largest allowed; below one, not exactly.

        Parameters
        ----------
        step
            Flat displacement, (n,), Å.
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
        """Return a flat step, (n,), Å.

        Parameters
        ----------
        angle
            Angle above the tangent, rad.
        size
            Length, Å.
        """
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
    """Return the model through samples, or None where there is only one.

    Parameters
    ----------
    samples
        Recent points, the newest last.
    """
    return None if len(samples) < 2 else LocalModel(samples, _LENGTH_FACTOR)


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
    low, high = _STEEPEST_DOWN, _STEEPEST_UP
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
        if not _STEEPEST_DOWN < guess < _STEEPEST_UP:
            bound = _STEEPEST_UP if error < 0 else _STEEPEST_DOWN
            at_bound = plane.predict(size, bound)[0]
            if (at_bound - wanted) * error > 0:
                return bound, at_bound, False
        if not low < guess < high:
            guess = 0.5 * (low + high)
        angle = guess
        energy, slope = plane.predict(size, angle)
    return angle, energy, True


def first_step(frame: Frame, size: float, limits: StepLimits) -> Proposal:
    """Return a small step that relies on the gradient alone.

    Parameters
    ----------
    frame
        Where the step starts.
    size
        Length, Å.
    limits
        Limits on displacements.
    """
    for _ in range(2):
        reach = frame.slope * size
        sine = float(np.clip(frame.wanted / reach, -1.0, 1.0)) if reach > 0 else 0.0
        angle = float(np.clip(np.arcsin(sine), _STEEPEST_DOWN, _STEEPEST_UP))
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
