"""A local model of the energy, interpolating the last few energies and forces.

A Gaussian process with a squared-exponential kernel, conditioned on energies and gradients at a
handful of points, is exact in the low-dimensional space that the displacements between these
points and their gradients span; what a direction outside it does enters through its length only.
So its cost is a few products of tall matrices, whatever the number of atoms.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

_JITTER = 1e-10
_RANK = 1e-12


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


@dataclass(frozen=True)
class Prediction:
    """What the model expects after a displacement from the newest sample.

    Attributes
    ----------
    energy
        Energy less that of the newest sample, eV.
    slope
        Derivative of the energy with respect to the plane's angle, eV.
    turn
        Angle between the gradients before and after, rad.
    """

    energy: float
    slope: float
    turn: float


class Plane:
    """The model on the plane through the newest sample along two orthonormal directions.

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
    ) -> None:
        count, rank = points.shape
        # one more coordinate, for what of the tangent lies outside the space of the samples
        self._points = np.zeros((count, rank + 1))
        self._points[:, :rank] = points
        self._value_weights = weights[:, 0]
        self._slope_weights = np.zeros((count, rank + 1))
        self._slope_weights[:, :rank] = weights[:, 1:]
        self._length = length
        self._axes = axes
        self.slope = slope
        self._origin = self._evaluate(np.zeros(rank + 1))

    def _evaluate(self, z: np.ndarray) -> tuple[float, np.ndarray]:
        d = z - self._points
        kernel = np.exp(-0.5 * np.einsum("ij,ij->i", d, d))
        amplitude = kernel * (self._value_weights + np.einsum("ij,ij->i", d, self._slope_weights))
        return float(amplitude.sum()), kernel @ self._slope_weights - amplitude @ d

    def predict(self, size: float, angle: float, stiffness: float = 0.0) -> Prediction:
        """Predict the end of a step.

        Parameters
        ----------
        size
            Length of the step, Å.
        angle
            Its angle above the tangent, rad: π/2 is straight uphill.
        stiffness
            Curvature to add to the model's along the tangent, eV/Å².
        """
        c, s = np.cos(angle), np.sin(angle)
        a, b = self._axes
        value, gradient = self._evaluate((size / self._length) * (c * a + s * b))
        change = (gradient - self._origin[1]) / self._length
        along, up = float(change @ a), float(change @ b)
        base = value - self._origin[0] - float(self._origin[1] @ b) * s * size / self._length
        energy = base + self.slope * s * size + 0.5 * stiffness * (c * size) ** 2
        slope = size * (self.slope * c - s * along + c * up) - stiffness * size**2 * c * s
        new_up = self.slope + up
        across = np.sqrt(max(float(change @ change) - up * up, 0.0))
        return Prediction(energy, slope, float(np.arctan2(across, new_up)))


class LocalModel:
    """The Gaussian process through the given samples.

    Parameters
    ----------
    samples
        Two or more, the newest last.
    length
        Length scale of the kernel, Å.
    """

    def __init__(self, samples: Sequence[Sample], length: float) -> None:
        self._length = length
        count = len(samples)
        self._newest = samples[-1]
        rows = np.empty((2 * count - 1, samples[0].x.size))
        for row, (before, after) in enumerate(itertools.pairwise(samples)):
            np.subtract(after.x, before.x, out=rows[row])
            np.subtract(after.gradient, before.gradient, out=rows[count - 1 + row])
        rows[-1] = samples[-1].gradient
        overlap = rows @ rows.T
        norms = np.sqrt(np.diag(overlap))
        norms = np.where(norms > 0.0, norms, 1.0)
        values, vectors = np.linalg.eigh(overlap / np.outer(norms, norms))
        keep = values > _RANK * values[-1]
        root = np.sqrt(values[keep])
        self._rows = rows
        # coordinates of any vector v: to_basis @ (rows @ v)
        self._to_basis = (vectors[:, keep] / root).T / norms
        inside = vectors[:, keep] * root * norms[:, None]
        points = np.zeros((count, root.size))
        gradients = np.tile(inside[-1], (count, 1))
        for index in range(count - 2, -1, -1):
            points[index] = points[index + 1] - inside[index]
            gradients[index] = gradients[index + 1] - inside[count - 1 + index]
        energies = np.array([sample.energy for sample in samples]) - samples[-1].energy
        self._points = points / length
        self._weights = _fit(self._points, energies, gradients * length)

    def plane(self, tangent: np.ndarray, uphill: np.ndarray, slope: float) -> Plane:
        """Return the model on the plane of two orthonormal flat directions.

        Parameters
        ----------
        tangent
            Direction along the contour, (n,).
        uphill
            Direction of the newest sample's gradient, (n,).
        slope
            Length of that gradient, eV/Å.
        """
        rank = self._to_basis.shape[0]
        axes = np.zeros((2, rank + 1))
        axes[0, :rank] = self._to_basis @ (self._rows @ tangent)
        axes[1, :rank] = self._to_basis @ (self._rows @ uphill)
        axes[0, rank] = np.sqrt(max(1.0 - float(axes[0] @ axes[0]), 0.0))
        return Plane(self._points, self._weights, self._length, axes, slope)


def _fit(points: np.ndarray, energies: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Return the kernel weights, (samples, 1 + dimensions), with an unknown constant mean."""
    count, dimensions = points.shape
    d = points[:, None, :] - points[None, :, :]
    kernel = np.exp(-0.5 * np.einsum("ijk,ijk->ij", d, d))
    system = np.zeros((count, 1 + dimensions, count, 1 + dimensions))
    system[:, 0, :, 0] = kernel
    system[:, 0, :, 1:] = kernel[:, :, None] * d
    system[:, 1:, :, 0] = -(kernel[:, :, None] * d).transpose(0, 2, 1)
    hessian = np.eye(dimensions) - d[:, :, :, None] * d[:, :, None, :]
    system[:, 1:, :, 1:] = (kernel[:, :, None, None] * hessian).transpose(0, 2, 1, 3)
    size = count * (1 + dimensions)
    bordered = np.zeros((size + 1, size + 1))
    bordered[:size, :size] = system.reshape(size, size)
    bordered.flat[: size * (size + 2) : size + 2] += _JITTER
    ones = np.arange(count) * (1 + dimensions)
    bordered[ones, size] = bordered[size, ones] = 1.0
    right = np.zeros(size + 1)
    right[:size] = np.column_stack([energies, gradients]).ravel()
    return np.linalg.solve(bordered, right)[:size].reshape(count, 1 + dimensions)
