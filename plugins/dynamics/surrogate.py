"""A local model of the energy, interpolating the last few energies and forces.

A Gaussian process with a squared-exponential kernel, conditioned on energies and gradients at a
handful of points, is exact in the low-dimensional space that the displacements between these
points and their gradients span; what a direction outside it does enters through its length only.
So its cost is a few products of tall matrices, whatever the number of atoms.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from math import atan2, cos, exp, sin, sqrt
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
        self._points = np.zeros((count, rank + 1))
        self._points[:, :rank] = points
        self._weights = np.zeros((count, rank + 1))
        self._weights[:, :rank] = weights[:, 1:]
        self._axes = axes
        columns = (
            np.einsum("ij,ij->i", points, points),
            weights[:, 0] - np.einsum("ij,ij->i", points, weights[:, 1:]),
            *(self._points @ axes.T).T,
            *(self._weights @ axes.T).T,
        )
        self._scalars = list(zip(*(column.tolist() for column in columns), strict=True))
        self._value, _, self._up = self._line(0.0, 0.0)
        self._constants = weights[:, 0]
        self._origin: np.ndarray | None = None

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
        if self._origin is None:
            self._origin = self._gradient(np.zeros(self._points.shape[1]))
        z = (size / self._length) * (cos(angle) * self._axes[0] + sin(angle) * self._axes[1])
        change = (self._gradient(z) - self._origin) / self._length
        up = float(change @ self._axes[1])
        return atan2(sqrt(max(float(change @ change) - up * up, 0.0)), self.slope + up)

    def _gradient(self, z: np.ndarray) -> np.ndarray:
        d = z - self._points
        kernel = np.exp(-0.5 * np.einsum("ij,ij->i", d, d))
        slopes = np.einsum("ij,ij->i", d, self._weights)
        return kernel @ self._weights - (kernel * (self._constants + slopes)) @ d


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
        norms = np.sqrt(overlap.diagonal())
        norms[norms == 0.0] = 1.0
        self._length = length = length * float(norms[: count - 1].max())
        values, vectors = np.linalg.eigh(overlap / (norms[:, None] * norms))
        keep = values > _RANK * values[-1]
        vectors, root = vectors[:, keep], np.sqrt(values[keep])
        self._rows = rows
        # coordinates of any vector v: to_basis @ (rows @ v)
        self._to_basis = (vectors / root).T / norms
        inside = (vectors * root) * norms[:, None]
        steps, changes, newest = inside[: count - 1], inside[count - 1 : -1], inside[-1]
        self._uphill = newest / norms[-1]
        points, gradients = np.zeros((2, count, root.size))
        points[:-1] = -steps[::-1].cumsum(axis=0)[::-1]
        gradients[-1] = newest
        gradients[:-1] = newest - changes[::-1].cumsum(axis=0)[::-1]
        energies = np.array([sample.energy for sample in samples]) - samples[-1].energy
        self._points = points / length
        self._weights = _fit(self._points, energies, gradients * length)

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
        axes[0, rank] = np.sqrt(max(1.0 - float(axes[0] @ axes[0]), 0.0))
        return Plane(self._points, self._weights, self._length, axes, slope, stiffness)


def _fit(points: np.ndarray, energies: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Return the kernel weights, (samples, 1 + dimensions), with an unknown constant mean."""
    count, dimensions = points.shape
    d = points[:, None, :] - points[None, :, :]
    kernel = np.exp(-0.5 * np.einsum("ijk,ijk->ij", d, d))
    size = count * (1 + dimensions)
    # rows and columns: energies, gradients sample by sample, and the mean
    system = np.zeros((size + 1, size + 1))
    system[:count, :count] = kernel
    mixed = (kernel[:, :, None] * d).reshape(count, -1)
    system[:count, count:size], system[count:size, :count] = mixed, mixed.T
    hessian = np.eye(dimensions) - d[:, :, :, None] * d[:, :, None, :]
    hessian *= kernel[:, :, None, None]
    system[count:size, count:size] = hessian.transpose(0, 2, 1, 3).reshape(size - count, -1)
    system.flat[: size * (size + 2) : size + 2] += _JITTER
    system[:count, size] = system[size, :count] = 1.0
    right = np.concatenate([energies, gradients.ravel(), [0.0]])
    found = np.linalg.solve(system, right)
    return np.column_stack([found[:count], found[count:size].reshape(count, dimensions)])
