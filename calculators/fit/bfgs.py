"""Minimization by BFGS with the full matrix, from a first matrix of the caller's choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Function = Callable[[Floats], tuple[float, Floats]]
    Share = Callable[[Any], Any]

# Weak Wolfe conditions: enough decrease, and a slope that has flattened enough.
_DECREASE = 1e-4
_CURVATURE = 0.9
_LONGEST_SEARCH = 40


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where a minimization ended.

    Parameters
    ----------
    x, value, gradient
        The best point.
    iterations, evaluations
        Steps taken and function calls made.
    stuck
        No step along the gradient lowers the value any more: the minimum is reached to
        round-off.
    """

    x: Floats
    value: float
    gradient: Floats
    iterations: int
    evaluations: int
    stuck: bool


def _unshared(value: Any) -> Any:  # noqa: ANN401 (any object)
    return value


def minimize(
    function: Function,
    x: Floats,
    inverse_hessian: Floats,
    iterations: int,
    on_step: Callable[[float], None] | None = None,
    share: Share = _unshared,
) -> Minimum:
    """Minimize a function with its gradient.

    Parameters
    ----------
    function
        Gives value and gradient; the value may be infinite or NaN far from the minimum.
    x
        Where to start.
    inverse_hessian
        First approximation of the inverse of the Hessian, positive definite.
    iterations
        Most steps to take.
    on_step
        Called with the value after each step.
    share
        Broadcasts rank 0's direction, where all ranks of an MPI program call this function.

    Returns
    -------
    Minimum
    """
    point = Point(x, *function(x), inverse_hessian)
    evaluations = 1
    for done in range(iterations):
        new, calls = step(function, point, inverse_hessian, share)
        evaluations += calls
        if new is None:
            return Minimum(point.x, point.value, point.gradient, done, evaluations, stuck=True)
        point = new
        if on_step is not None:
            on_step(point.value)
    return Minimum(point.x, point.value, point.gradient, iterations, evaluations, stuck=False)


@dataclass(frozen=True, eq=False)
class Point:
    """Where a minimization is, and the inverse Hessian it has learned on the way there."""

    x: Floats
    value: float
    gradient: Floats
    inverse_hessian: Floats


def step(
    function: Function, point: Point, first: Floats, share: Share = _unshared
) -> tuple[Point | None, int]:
    """Make one step, if need be from a fresh inverse Hessian.

    Parameters
    ----------
    function
        Gives value and gradient.
    point
        Where it starts.
    first
        The inverse Hessian to begin again with when the learned one leads nowhere.
    share
        As of `minimize`.

    Returns
    -------
    tuple
        The next point, None if no step lowers the value, and the number of function calls.
    """
    evaluations = 0
    for matrix in (point.inverse_hessian, first):
        direction = -matrix @ point.gradient
        direction, slope = share((direction, float(point.gradient @ direction)))
        if slope >= 0.0:
            continue
        found, calls = wolfe_search(function, point.x, point.value, direction, slope)
        evaluations += calls
        if found is not None:
            x, value, gradient = found
            learned = _updated(matrix, x - point.x, gradient - point.gradient)
            return Point(x, value, gradient, learned), evaluations
    return None, evaluations


def wolfe_search(
    function: Function, x: Floats, value: float, direction: Floats, slope: float
) -> tuple[tuple[Floats, float, Floats] | None, int]:
    """Find a step that satisfies the weak Wolfe conditions, by doubling and bisection.

    Parameters
    ----------
    function
        Gives value and gradient; the value may be infinite or NaN.
    x, value
        Where it starts, and the value there.
    direction, slope
        Where to, and the derivative along it.

    Returns
    -------
    tuple
        The new point with its value and gradient, if there is one, and the number of calls.
    """
    low, high, length = 0.0, np.inf, 1.0
    for calls in range(1, _LONGEST_SEARCH + 1):
        new_x = x + length * direction
        new_value, new_gradient = function(new_x)
        if not new_value <= value + _DECREASE * length * slope:  # also when it is NaN
            high = length
        elif new_gradient @ direction < _CURVATURE * slope:
            low = length
        else:
            return (new_x, new_value, new_gradient), calls
        length = 2.0 * low if high == np.inf else (low + high) / 2.0
    return None, _LONGEST_SEARCH


def _updated(matrix: Floats, step: Floats, change: Floats) -> Floats:
    """Update the inverse Hessian with a step and the change of the gradient along it."""
    curvature = float(step @ change)
    if curvature <= 0.0:
        return matrix
    image = matrix @ change
    mixed = np.outer(image, step)
    scale = (curvature + float(change @ image)) / curvature**2
    return matrix + scale * np.outer(step, step) - (mixed + mixed.T) / curvature
