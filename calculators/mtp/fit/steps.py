"""Steps of a minimization: linear solves, cycles of BFGS and of variable projection.

All ranks make the same steps. What linear algebra finds may differ between them in the last digit,
by the processor: rank 0's counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from pescape.calculators.fit.bfgs import minimize
from pescape.calculators.fit.normalized import normalized
from pescape.calculators.fit.shards import DataShard
from pescape.calculators.mtp.fit.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pescape.calculators.fit.data import TrainingSet
    from pescape.calculators.fit.loss import Weights
    from pescape.calculators.mtp.potential import MTPotential

    Floats = NDArray[np.float64]
    OnStep = Callable[[float], None]

# Least relative eigenvalue of normal equations that stands out of their round-off.
_FLOOR = 1e-13
_REFINEMENTS = 2
_FIRST_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 1e-2, 1e-10, 1e8
# Of linear coefficients, which need none but where they are redundant.
_LINEAR_DAMPING = 1e-12
# Least of the diagonal, relative to its mean: parameters without effect do not run away.
_DIAGONAL_FLOOR = 1e-8


def solve_linear(
    potential: MTPotential,
    data: TrainingSet,
    weights: Weights,
    *,
    ridge: float = 1e-6,
    threads: int = 1,
) -> MTPotential:
    """Give a potential the linear coefficients that minimize the loss.

    Parameters
    ----------
    potential
        Its radial coefficients are kept.
    data, weights
        What the loss is made of.
    ridge
        Tikhonov regularization, relative to the largest singular value after each
        column has been scaled to length one: it decides directions the data does not.
    threads
        OpenMP threads.

    Returns
    -------
    MTPotential
    """
    problem = Problem(potential, DataShard.whole(data), weights, threads)
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
        found = (vectors @ ((vectors.T @ (slope / lengths)) / damped)) / lengths
        return np.asarray(problem.ranks.bcast(found))

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


def better(problem: Problem, theta: Floats, loss: float, ridge: float) -> tuple[Floats, float]:
    """Solve for the linear coefficients, unless those there are better (the ridge).

    Parameters
    ----------
    problem
        The loss.
    theta, loss
        Parameters (P,) and the loss there.
    ridge
        See `solve_linear`.
    """
    other, reached = solved(problem, theta, ridge)
    return (other, reached) if reached <= loss else (theta, loss)


def bfgs_cycle(
    problem: Problem, theta: Floats, loss: float, iterations: int, ridge: float, on_step: OnStep
) -> tuple[Floats, float]:
    """Make steps of BFGS from a fresh Gauss-Newton matrix, then a linear solve.

    Parameters
    ----------
    problem
        The loss.
    theta, loss
        Parameters (P,) and the loss there.
    iterations
        Most steps.
    ridge
        See `solve_linear`.
    on_step
        Called with the loss after each step.

    Returns
    -------
    tuple
        Parameters (P,) and the loss there, which is no higher than before.
    """

    def function(theta: Floats) -> tuple[float, Floats]:
        if not np.isfinite(theta).all():
            return np.inf, np.zeros_like(theta)
        return problem.value_and_gradient(theta)

    hessian = 2.0 * problem.thinned().gauss_newton(theta)
    if not np.diag(hessian).all():  # a rare species may be in what was left out
        hessian = 2.0 * problem.gauss_newton(theta)
    if not np.isfinite(hessian).all():
        return theta, loss
    with np.errstate(over="ignore", invalid="ignore"):
        found = minimize(
            function, theta, damped_inverse(hessian), iterations, on_step, problem.ranks.bcast
        )
    return better(problem, found.x, found.value, ridge)


def projection_cycle(
    problem: Problem, theta: Floats, loss: float, iterations: int, ridge: float, on_step: OnStep
) -> tuple[Floats, float]:
    """Make Levenberg-Marquardt steps in the radial coefficients, each with a linear solve.

    The step is that of all parameters with only the radial ones damped: it is the Gauss-Newton
    step of the projected problem in Kaufman's approximation.

    Parameters
    ----------
    problem, theta, loss, iterations, ridge, on_step
        As of `bfgs_cycle`.

    Returns
    -------
    tuple
        Parameters (P,) and the loss there, which is no higher than before.
    """
    damping = _FIRST_DAMPING
    for _ in range(iterations):
        matrix = problem.gauss_newton(theta)
        _, gradient = problem.value_and_gradient(theta)
        if not np.isfinite(matrix).all():
            break
        found = _projected_step(problem, (theta, loss), 0.5 * gradient, matrix, damping, ridge)
        if found is None:
            break
        theta, loss, damping = found
        on_step(loss)
    return theta, loss


def _projected_step(
    problem: Problem,
    here: tuple[Floats, float],
    slope: Floats,
    matrix: Floats,
    damping: float,
    ridge: float,
) -> tuple[Floats, float, float] | None:
    """Lower the loss, and give the damping to go on with; None if no step lowers it."""
    theta, loss = here
    potential = problem.potential
    linear = np.arange(len(theta)) >= (
        len(theta) - potential.species_count - len(potential.scalar_moments)
    )
    diagonal = np.diag(matrix)
    diagonal = np.maximum(diagonal, _DIAGONAL_FLOOR * diagonal.mean())
    growth = 2.0
    while damping < _MOST_DAMPING:
        damped = matrix + np.diag(np.where(linear, _LINEAR_DAMPING, damping) * diagonal)
        change, expected = problem.ranks.bcast(_step_and_gain(damped, slope, matrix))
        if change is not None:
            reached_theta, reached = solved(problem, theta + change, ridge)
            if reached < loss and expected > 0.0:
                ratio = (loss - reached) / expected
                factor = max(1.0 / 3.0, 1.0 - (2.0 * ratio - 1.0) ** 3)
                return reached_theta, reached, max(damping * factor, _LEAST_DAMPING)
        damping *= growth
        growth *= 2.0
    return None


def _step_and_gain(damped: Floats, slope: Floats, matrix: Floats) -> tuple[Floats | None, float]:
    """Solve for a step; give it with the decrease of the loss that the matrix expects of it."""
    scaled, lengths = normalized(damped)
    try:
        step = cho_solve(cho_factor(scaled, lower=True), -slope / lengths) / lengths
    except (LinAlgError, ValueError):
        return None, 0.0
    if not np.isfinite(step).all():
        return None, 0.0
    return step, -2.0 * float(slope @ step) - float(step @ matrix @ step)


def damped_inverse(hessian: Floats, damping: float = 1e-4) -> Floats:
    """Invert a positive semidefinite matrix, damped relative to its diagonal.

    Redundant parameters (an MTP has some: a radial function's size can be absorbed by
    the moment coefficients) make the matrix singular. Rows of those without effect are zero.

    Parameters
    ----------
    hessian
        Shape (P, P).
    damping
        Added to the diagonal, which is scaled to ones.
    """
    scaled, lengths = normalized(hessian)
    values, vectors = np.linalg.eigh(scaled)
    inverse = (vectors / (np.maximum(values, 0.0) + damping)) @ vectors.T
    return np.asarray(inverse / np.outer(lengths, lengths))
