"""Cycles of a minimization: BFGS in all parameters, and variable projection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from pescape.calculators.fit.bfgs import minimize
from pescape.calculators.mtp.fit.problem import damped_inverse, normalized, solved

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pescape.calculators.mtp.fit.problem import Problem

    Floats = NDArray[np.float64]
    Told = Callable[[float], None]

_FIRST_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 1e-2, 1e-10, 1e8
# Of linear coefficients, which need none but where they are redundant.
_LINEAR_DAMPING = 1e-12
# Least of the diagonal, relative to its mean: parameters without effect do not run away.
_DIAGONAL_FLOOR = 1e-8


def bfgs_cycle(
    problem: Problem, theta: Floats, loss: float, iterations: int, ridge: float, on_step: Told
) -> tuple[Floats, float]:
    """BFGS from a fresh Gauss-Newton matrix, then a linear solve.

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
        found = minimize(function, theta, damped_inverse(hessian), iterations, on_step)
    return better(problem, found.x, found.value, ridge)


def better(problem: Problem, theta: Floats, loss: float, ridge: float) -> tuple[Floats, float]:
    """Solve for the linear coefficients, unless those there are better (the ridge)."""
    other, reached = solved(problem, theta, ridge)
    return (other, reached) if reached <= loss else (theta, loss)


def projection_cycle(
    problem: Problem, theta: Floats, loss: float, iterations: int, ridge: float, on_step: Told
) -> tuple[Floats, float]:
    """Levenberg-Marquardt in the radial coefficients, the linear ones solved for at each step.

    The step is that of all parameters with only the radial ones damped: it is the Gauss-Newton
    step of the projected problem in Kaufman's approximation.

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
        change = _solution(damped, -slope)
        if change is not None:
            reached_theta, reached = solved(problem, theta + change, ridge)
            expected = -2.0 * float(slope @ change) - float(change @ matrix @ change)
            if reached < loss and expected > 0.0:
                ratio = (loss - reached) / expected
                factor = max(1.0 / 3.0, 1.0 - (2.0 * ratio - 1.0) ** 3)
                return reached_theta, reached, max(damping * factor, _LEAST_DAMPING)
        damping *= growth
        growth *= 2.0
    return None


def _solution(matrix: Floats, right: Floats) -> Floats | None:
    scaled, lengths = normalized(matrix)
    try:
        found = cho_solve(cho_factor(scaled, lower=True), right / lengths) / lengths
    except (LinAlgError, ValueError):
        return None
    return found if np.isfinite(found).all() else None
