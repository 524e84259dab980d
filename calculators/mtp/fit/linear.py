"""The linear part of a fit: species and moment coefficients, solved exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pescape.calculators.mtp.fit.curvature import normalized
from pescape.calculators.mtp.fit.problem import Problem

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pescape.calculators.fitting.data import TrainingSet
    from pescape.calculators.fitting.loss import Weights
    from pescape.calculators.mtp import MTPotential

    Floats = NDArray[np.float64]

# Least relative eigenvalue of normal equations that stands out of their round-off.
_FLOOR = 1e-13
_REFINEMENTS = 2


def solve_linear(
    potential: MTPotential,
    data: TrainingSet,
    weights: Weights,
    *,
    ridge: float = 1e-6,
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
    problem = Problem.alone(potential, data, weights, threads)
    theta, _ = solved(problem, potential.parameters, ridge)
    return potential.with_parameters(theta)


def solved(problem: Problem, theta: Floats, ridge: float) -> tuple[Floats, float]:
    """Replace the linear coefficients by the best ones, and give the loss there.

    Normal equations lose half of the digits; two steps of refinement with the loss's own
    gradient bring them back (Å. Björck, Linear Algebra Appl. 88/89, 31 (1987)).

    Parameters
    ----------
    problem
        The loss.
    theta
        Parameters (P,); the radial ones are kept.
    ridge
        See `solve_linear`.
    """
    matrix, right = problem.linear_system(theta)
    scaled, lengths = normalized(matrix)
    values, vectors = np.linalg.eigh(scaled)
    largest = max(float(values[-1]), np.finfo(float).tiny)
    penalty = ridge**2 * largest

    def correction(slope: Floats) -> Floats:
        damped = np.maximum(values, 0.0) + max(penalty, _FLOOR * largest)
        return np.asarray((vectors @ ((vectors.T @ (slope / lengths)) / damped)) / lengths)

    first = len(theta) - len(right)
    squares = np.where(np.isfinite(lengths), lengths, 0.0) ** 2
    theta = theta.copy()
    theta[first:] = correction(right)
    for _ in range(_REFINEMENTS):
        _, gradient = problem.value_and_gradient(theta)
        # Half of the gradient of the loss and of the ridge's term.
        slope = 0.5 * gradient[first:] + penalty * squares * theta[first:]
        theta[first:] -= correction(slope)
    return theta, problem.value(theta)
