"""The rows of the loss as a sum of squares, and the matrices of Gauss and Newton made of them.

J^T J of the rows' Jacobian J is a good Hessian from the first step on. Columns of the linear
coefficients are exact. Those of the few radial ones come from differences, one evaluation each,
which is cheaper than any derivative; their error of 1e-6 matters only to the path, not to where
it ends, for gradients are exact.
"""

from __future__ import annotations

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
_DIFFERENCE = 1e-6
# Columns so short, relative to the longest, are zero.
_ROUND_OFF = 1e-11


def gauss_newton(
    potential: MTPotential, data: TrainingSet, weights: Weights, threads: int = 1
) -> Floats:
    """J^T J by all parameters, shape (P, P): half of the Hessian where the fit is good."""
    jacobian = np.column_stack(
        (
            radial_columns(potential, data, weights, threads),
            linear_columns(potential, data, weights, threads),
        )
    )
    return np.asarray(jacobian.T @ jacobian)


def linear_system(
    potential: MTPotential, data: TrainingSet, weights: Weights, threads: int = 1
) -> Floats:
    """[J y]^T [J y] of the linear coefficients' columns J and the labels y, (c + 1, c + 1)."""
    columns = linear_columns(potential, data, weights, threads)
    rows = np.column_stack((columns, labels(data, weights)))
    return np.asarray(rows.T @ rows)


def damped_inverse(hessian: Floats, damping: float = 1e-4) -> Floats:
    """Invert a positive semidefinite matrix, damped relative to its diagonal.

    Redundant parameters (an MTP has some: a radial function's size can be absorbed by
    the moment coefficients) make the matrix singular. Rows of those without effect are zero.
    """
    scaled, lengths = normalized(hessian)
    values, vectors = np.linalg.eigh(scaled)
    inverse = (vectors / (np.maximum(values, 0.0) + damping)) @ vectors.T
    return np.asarray(inverse / np.outer(lengths, lengths))


def normalized(matrix: Floats) -> tuple[Floats, Floats]:
    """Give a positive semidefinite matrix a diagonal of ones.

    Returns
    -------
    tuple
        The matrix, and the lengths it was divided by. Those of columns that are round-off (a
        perfect crystal has many) are infinite, so that nothing comes of them.
    """
    lengths = np.sqrt(np.maximum(np.diag(matrix), 0.0))
    lengths[lengths <= _ROUND_OFF * lengths.max(initial=0.0)] = np.inf
    scaled = matrix / np.outer(lengths, lengths)
    np.fill_diagonal(scaled, 1.0)
    return scaled, lengths


def radial_columns(
    potential: MTPotential, data: TrainingSet, weights: Weights, threads: int = 1
) -> Floats:
    """Columns of J of the radial coefficients."""
    theta = potential.parameters
    assert potential.radial_coeffs is not None  # a fit starts from a trained potential
    count = potential.radial_coeffs.size
    step = _DIFFERENCE * max(float(np.sqrt(np.mean(theta[:count] ** 2))), 1e-8)
    here = rows(potential, data, weights, threads)
    columns = np.empty((len(here), count))
    for k in range(count):
        moved = theta.copy()
        moved[k] += step
        columns[:, k] = rows(potential.with_parameters(moved), data, weights, threads) - here
    return columns / step


def rows(potential: MTPotential, data: TrainingSet, weights: Weights, threads: int = 1) -> Floats:
    """Residuals whose squares add up to the loss."""
    delta = residuals(potential, data, threads)
    return _scaled(delta.energies, delta.forces, delta.virials, data, weights)


def labels(data: TrainingSet, weights: Weights) -> Floats:
    """Labels, scaled as the rows are."""
    return _scaled(data.energies, data.forces, data.virials, data, weights)


def linear_columns(
    potential: MTPotential, data: TrainingSet, weights: Weights, threads: int = 1
) -> Floats:
    """Columns of J of the species and moment coefficients, in which energies are linear."""
    kernel = potential.kernel()
    energy, force, virial = row_scales(data, weights)
    energies, forces, virials = [], [], []
    for c in range(len(data)):
        e, f, w = kernel.linear_basis(*data.one(c), threads)
        energies.append(energy[c] * e)
        forces.append(force[c] * f)
        virials.append((virial[c] * data.has_virial[c])[:, None] * w)
    return np.concatenate((np.array(energies), *forces, *virials))


def _scaled(
    energies: Floats, forces: Floats, virials: Floats, data: TrainingSet, weights: Weights
) -> Floats:
    energy, force, virial = row_scales(data, weights)
    each = np.repeat(force, data.sizes)[:, None]
    return np.concatenate((energy * energies, (each * forces).ravel(), (virial * virials).ravel()))
