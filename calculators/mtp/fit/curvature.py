"""The Gauss-Newton matrix of the loss: where BFGS takes its first Hessian from.

The loss is a sum of squares, so J^T J of its rows' Jacobian J is a good Hessian from the
first step on. Columns of the linear coefficients are exact; those of the few radial ones
come from central differences, whose error matters only to the path, not to where it ends.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from pescape.calculators.fitting.loss import residuals, row_scales

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pescape.calculators.fitting.data import TrainingSet
    from pescape.calculators.fitting.loss import Weights
    from pescape.calculators.mtp import MTPotential

    Floats = NDArray[np.float64]

# Of the root mean square of the radial coefficients.
_DIFFERENCE = 1e-4
# Rows of J held at a time.
_BLOCK_ROWS = 30_000


def gauss_newton(
    potential: MTPotential, data: TrainingSet, weights: Weights, threads: int = 1
) -> Floats:
    """Approximate the Hessian of the loss, shape (P, P)."""
    size = potential.parameter_count
    total = np.zeros((size, size))
    rows = 3 * data.sizes + 7
    blocks = np.flatnonzero(np.diff(np.cumsum(rows) // _BLOCK_ROWS)) + 1
    edges = [0, *blocks.tolist(), len(data)]
    for start, stop in pairwise(edges):
        part = data.part(start, stop)
        jacobian = np.column_stack(
            (
                _radial_columns(potential, part, weights, threads),
                _linear_columns(potential, part, weights),
            )
        )
        total += 2.0 * len(part) / len(data) * (jacobian.T @ jacobian)
    return total


def damped_inverse(hessian: Floats, damping: float = 1e-4) -> Floats:
    """Invert a positive semidefinite matrix, damped relative to its diagonal.

    Redundant parameters (an MTP has some: a radial function's size can be absorbed by
    the moment coefficients) make the matrix singular.
    """
    lengths = np.sqrt(np.diag(hessian))
    lengths[lengths == 0.0] = 1.0
    scaled = hessian / np.outer(lengths, lengths)
    values, vectors = np.linalg.eigh(scaled)
    inverse = (vectors / (np.maximum(values, 0.0) + damping)) @ vectors.T
    return inverse / np.outer(lengths, lengths)


def _radial_columns(
    potential: MTPotential, data: TrainingSet, weights: Weights, threads: int
) -> Floats:
    theta = potential.parameters
    assert potential.radial_coeffs is not None  # a fit starts from a trained potential
    count = potential.radial_coeffs.size
    step = _DIFFERENCE * max(float(np.sqrt(np.mean(theta[:count] ** 2))), 1e-8)

    def rows(k: int, change: float) -> Floats:
        moved = theta.copy()
        moved[k] += change
        return _rows(potential.with_parameters(moved), data, weights, threads)

    columns = [(rows(k, step) - rows(k, -step)) / (2.0 * step) for k in range(count)]
    return np.column_stack(columns)


def _rows(potential: MTPotential, data: TrainingSet, weights: Weights, threads: int) -> Floats:
    delta = residuals(potential, data, threads)
    energy, force, virial = row_scales(data, weights)
    return np.concatenate(
        (energy * delta.energies, force * delta.forces.ravel(), (virial * delta.virials).ravel())
    )


def _linear_columns(potential: MTPotential, data: TrainingSet, weights: Weights) -> Floats:
    kernel = potential.kernel()
    energy, force, virial = row_scales(data, weights)
    energies, forces, virials = [], [], []
    for c in range(len(data)):
        e, f, w = kernel.linear_basis(*data.one(c))
        energies.append(energy[c] * e)
        forces.append(force * f)
        virials.append((virial[c] * data.has_virial[c])[:, None] * w)
    return np.concatenate((np.array(energies), *forces, *virials))
