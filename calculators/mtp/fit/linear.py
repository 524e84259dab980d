"""The linear part of a fit: species and moment coefficients, solved exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pescape.calculators.fitting.loss import row_scales

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pescape.calculators.fitting.data import TrainingSet
    from pescape.calculators.fitting.loss import Weights
    from pescape.calculators.mtp import MTPotential

    Floats = NDArray[np.float64]

# Rows gathered before they are compressed into a triangle.
_BLOCK_ROWS = 4096


def solve_linear(
    potential: MTPotential,
    data: TrainingSet,
    weights: Weights,
    *,
    ridge: float = 1e-9,
    threads: int = 1,
) -> MTPotential:
    """Give a potential the linear coefficients that minimise the loss.

    Parameters
    ----------
    potential
        Its radial coefficients are kept.
    data, weights
        What the loss is made of.
    ridge
        Tikhonov regularisation, relative to the largest singular value after each
        column has been scaled to length one: it decides directions the data does not.
    threads
        OpenMP threads.

    Returns
    -------
    MTPotential
    """
    width = potential.species_count + len(potential.scalar_moments)
    triangle = np.empty((0, width + 1))
    gathered: list[Floats] = []
    for rows in _design(potential, data, weights, threads):
        gathered.append(rows)
        if sum(map(len, gathered)) > _BLOCK_ROWS:
            triangle = _compress(np.concatenate((triangle, *gathered)))
            gathered = []
    triangle = _compress(np.concatenate((triangle, *gathered)))
    solution = _ridge_solution(triangle[:, :-1], triangle[:, -1], ridge)
    theta = potential.parameters.copy()
    theta[len(theta) - width :] = solution
    return potential.with_parameters(theta)


def _design(
    potential: MTPotential, data: TrainingSet, weights: Weights, threads: int
) -> Iterator[Floats]:
    """Least-squares rows of each configuration: the columns, then the target."""
    kernel = potential.kernel()
    energy_scales, force_scale, virial_scales = row_scales(data, weights)
    for c in range(len(data)):
        energies, forces, virials = kernel.linear_basis(*data.one(c), threads)
        labels = data.forces[data.first[c] : data.first[c + 1]].ravel()
        blocks = [
            energy_scales[c] * np.append(energies, data.energies[c])[None],
            force_scale * np.column_stack((forces, labels)),
        ]
        if data.has_virial[c]:
            rows = np.column_stack((virials, data.virials[c]))
            blocks.append(virial_scales[c][:, None] * rows)
        yield np.concatenate(blocks)


def _compress(rows: Floats) -> Floats:
    """Replace rows by the triangle of their QR decomposition: the same normal equations."""
    if len(rows) <= rows.shape[1]:
        return rows
    return np.asarray(np.linalg.qr(rows, mode="r"))


def _ridge_solution(matrix: Floats, target: Floats, ridge: float) -> Floats:
    lengths = np.linalg.norm(matrix, axis=0)
    lengths[lengths == 0.0] = 1.0
    left, values, right = np.linalg.svd(matrix / lengths, full_matrices=False)
    cut = ridge * values[0] if len(values) else 1.0
    filtered = values / (values**2 + cut**2)
    return (right.T @ (filtered * (left.T @ target))) / lengths
