"""A local model of the energy, interpolating the last few energies and forces.

A Gaussian process with a squared-exponential kernel, conditioned on energies and gradients at a
handful of points, is exact in the low-dimensional space that the displacements between these
points and their gradients span; what a direction outside it does enters through its length only.
So its cost is a few products of tall matrices, whatever the number of atoms.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache
from math import atan2, cos, exp, sin, sqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

_JITTER = 1e-10
_RANK = 1e-12
_TINY = 1e-300


@dataclass(frozen=True, eq=False)
class Sample:
    """One point of the surface.

    Attributes
    ----------
    x
        Flat positions, (n,), Å.
    energy
        Potential energy, eV.
    gradient
        Flat gradient in the free directions, (n,), eV/Å.
    """

    x: np.ndarray
    energy: float
    gradient: np.ndarray


class Plane:
    """The model on the plane through the newest sample along two orthonormal directions.

    Everything that a plane needs of the samples are a few scalar products, taken once.

    Attributes
    ----------
    slope
        Length of the newest sample's gradient, eV/Å.
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
        """Predict the angle, rad, between the gradients before and after a step."""
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
