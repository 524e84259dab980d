"""A local model of the energy, interpolating the last few energies and forces.

A Gaussian process with a squared-exponential kernel, conditioned on energies and gradients at a
handful of points, is exact in the low-dimensional space that the displacements between these
points and their gradients span; what a direction outside it does enters through its length only.
So its cost is a few products of tall matrices, whatever the number of atoms.

The potential-energy surface of an Atoms object, as points with an energy and a gradient.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache
from math import atan2, cos, exp, sin, sqrt
from typing import TYPE_CHECKING

import numpy as np
from ase.calculators.calculator import PropertyNotImplementedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

    from pescape.plugins.dynamics.saddle.projection import FreeSpace


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


class Surface:
    """Evaluates points, one force call each.

    Parameters
    ----------
    atoms
        Atoms with a calculator.
    free
        The directions in which they may move.
    force_consistent
        Energy to report: True, the free energy; False, the energy extrapolated to zero
        broadening; None, the free energy where the calculator has it.

    Attributes
    ----------
    calls
        Number of points evaluated.
    """

    def __init__(
        self, atoms: Atoms, free: FreeSpace, *, force_consistent: bool | None = None
    ) -> None:
        self.atoms = atoms
        self.free = free
        self.calls = 0
        self._force_consistent = force_consistent
        self._cell = atoms.cell.array.copy()

    def sample(self) -> tuple[Sample, np.ndarray]:
        """Evaluate the atoms where they are.

        Returns
        -------
        tuple
            The point, and the forces, (natoms, 3), eV/Å, as the constraints leave them.
        """
        self.calls += 1
        self._cell = self.atoms.cell.array.copy()
        forces = self.atoms.get_forces()
        gradient = self.free.project(-forces).ravel()
        return Sample(self.atoms.get_positions().ravel(), self._energy(), gradient), forces

    def move(self, x: np.ndarray) -> tuple[Sample, np.ndarray]:
        """Move the atoms, as far as constraints let them, and evaluate; x is flat, (n,), Å."""
        self.atoms.set_positions(x.reshape(-1, 3))
        return self.sample()

    def put_back(self, sample: Sample) -> None:
        """Put the atoms where a sample was taken, exactly."""
        self.atoms.set_positions(sample.x.reshape(-1, 3), apply_constraint=False)

    def is_at(self, sample: Sample) -> bool:
        """Return whether the atoms still are where a sample was taken, in the same cell."""
        same = self.atoms.positions.ravel() == sample.x
        return bool(same.all()) and bool((self.atoms.cell.array == self._cell).all())

    def _energy(self) -> float:
        results = getattr(self.atoms.calc, "results", None)
        name = "energy" if self._force_consistent is False else "free_energy"
        if isinstance(results, dict) and results.get(name) is not None and not self._adds_energy():
            return float(results[name])  # what the force call left: spares ASE's second look
        if self._force_consistent is None:
            try:
                energy = self.atoms.get_potential_energy(force_consistent=True)
            except (PropertyNotImplementedError, NotImplementedError):
                self._force_consistent = False
            else:
                return float(energy)
        return float(self.atoms.get_potential_energy(force_consistent=self._force_consistent))

    def _adds_energy(self) -> bool:
        return any(hasattr(c, "adjust_potential_energy") for c in self.atoms.constraints)
