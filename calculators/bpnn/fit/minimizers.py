"""Levenberg-Marquardt steps: Gauss and Newton's, damped until they lower the loss.

One iteration of each method, from a state that arrays hold to the next one.

A state is all that the rest of a minimisation depends on, so that one stopped and taken up again
ends as if it had never stopped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from pescape.calculators.bpnn.fit import minimizers as levenberg
from pescape.calculators.fit import bfgs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from pescape.calculators.bpnn.fit.least_squares import LeastSquares
    from pescape.calculators.bpnn.fit.model import Batch
    from pescape.calculators.bpnn.fit.settings import Stage

    Floats = NDArray[np.float64]
    Arrays = Mapping[str, NDArray[Any]]


FIRST_DAMPING = 1e-2
_LEAST_DAMPING, _MOST_DAMPING = 1e-10, 1e10
# Least of the diagonal, relative to its mean: parameters without effect do not run away.
_FLOOR = 1e-8


@dataclass(frozen=True, eq=False)
class Step:
    """Where a step leads: θ, the loss there, and the damping to begin the next with.

    `theta` is None if no step lowers the loss any more.
    """

    theta: Floats | None
    loss: float
    damping: float


def step(
    theta: Floats,
    loss: float,
    slope: Floats,
    matrix: Floats,
    damping: float,
    value: Callable[[Floats], float],
) -> Step:
    """Make one step that lowers the loss.

    Parameters
    ----------
    theta, loss
        Where it starts.
    slope, matrix
        Aᵀr and AᵀA there.
    damping
        In units of the diagonal of AᵀA.
    value
        The loss of other parameters; it may be infinite or NaN.
    """
    diagonal = np.diag(matrix)
    diagonal = np.maximum(diagonal, _FLOOR * diagonal.mean())
    growth = 2.0
    while damping < _MOST_DAMPING:
        change = _solved(matrix + np.diag(damping * diagonal), -slope)
        if change is not None:
            reached = value(theta + change)
            expected = -2.0 * float(slope @ change) - float(change @ matrix @ change)
            if reached < loss and expected > 0.0:
                ratio = (loss - reached) / expected
                factor = max(1.0 / 3.0, 1.0 - (2.0 * ratio - 1.0) ** 3)
                return Step(theta + change, reached, max(damping * factor, _LEAST_DAMPING))
        damping *= growth
        growth *= 2.0
    return Step(None, loss, damping)


def _solved(matrix: Floats, right: Floats) -> Floats | None:
    try:
        found = cho_solve(cho_factor(matrix, lower=True), right)
    except (LinAlgError, ValueError):
        return None
    return found if np.isfinite(found).all() else None


_MEMORY = 30  # of L-BFGS, in steps
# Of Adam (D. P. Kingma and J. Ba, arXiv:1412.6980).
_MOMENTS = (0.9, 0.999)
_TINY = 1e-8
_LAST_RATE = 0.01  # relative to the first


@dataclass(frozen=True, eq=False)
class Iterate:
    """Where a method is.

    Parameters
    ----------
    theta
        Parameters (P,).
    loss
        There; of adam the mean over the last pass.
    memory
        What the method keeps.
    stuck
        No step lowers the loss any more.
    """

    theta: Floats
    loss: float
    memory: Arrays
    stuck: bool = False


@dataclass(frozen=True, eq=False)
class Task:
    """What is minimised, and how.

    Parameters
    ----------
    stage
        The method.
    problem
        The loss on all of the data.
    small_batches
        For adam: makes the batches.
    seed
        Of the order of batches.
    """

    stage: Stage
    problem: LeastSquares
    small_batches: Callable[[], list[Batch]]
    seed: int


def advance(task: Task, now: Iterate, iteration: int) -> Iterate:
    """Make iteration number `iteration` (from 0) of a stage; its memory is empty at first."""
    return _METHODS[task.stage.method](task, now, iteration)


def _levenberg(task: Task, now: Iterate, iteration: int) -> Iterate:  # noqa: ARG001
    damping = float(now.memory.get("damping", np.array(levenberg.FIRST_DAMPING)))
    loss, slope, matrix = task.problem.gauss_newton(now.theta)
    if not (np.isfinite(loss) and np.isfinite(matrix).all()):
        return Iterate(now.theta, math.nan, {})
    step = levenberg.step(now.theta, loss, slope, matrix, damping, task.problem.value)
    memory = {"damping": np.array(step.damping)}
    if step.theta is None:
        return Iterate(now.theta, loss, memory, stuck=True)
    return Iterate(step.theta, step.loss, memory)


def _value_and_gradient(task: Task, now: Iterate) -> tuple[float, Floats]:
    if "gradient" in now.memory:
        return now.loss, np.asarray(now.memory["gradient"])
    return task.problem.value_and_gradient(now.theta)


def _bfgs(task: Task, now: Iterate, iteration: int) -> Iterate:  # noqa: ARG001
    value, gradient = _value_and_gradient(task, now)
    first = np.eye(len(gradient)) / max(float(np.linalg.norm(gradient)), _TINY)
    inverse = np.asarray(now.memory.get("inverse", first))
    point = bfgs.Point(now.theta, value, gradient, inverse)
    new, _ = bfgs.step(task.problem.value_and_gradient, point, first)
    if new is None:
        return Iterate(now.theta, value, now.memory, stuck=True)
    memory = {"gradient": new.gradient, "inverse": new.inverse_hessian}
    return Iterate(new.x, new.value, memory)


def _lbfgs(task: Task, now: Iterate, iteration: int) -> Iterate:  # noqa: ARG001
    value, gradient = _value_and_gradient(task, now)
    none = np.empty((0, len(gradient)))
    steps, changes = (np.asarray(now.memory.get(name, none)) for name in ("steps", "changes"))
    for memory in ((steps, changes), (none, none)):
        direction = -_times_inverse_hessian(gradient, *memory)
        slope = float(gradient @ direction)
        found, _ = bfgs.wolfe_search(
            task.problem.value_and_gradient, now.theta, value, direction, slope
        )
        if found is None:
            continue
        theta, new_value, new_gradient = found
        step, change = theta - now.theta, new_gradient - gradient
        pairs = zip(memory, (step, change), strict=True)
        curved = float(step @ change) > 0.0
        grown = [np.vstack((old, new))[-_MEMORY:] if curved else old for old, new in pairs]
        kept = {"gradient": new_gradient, "steps": grown[0], "changes": grown[1]}
        return Iterate(theta, new_value, kept)
    return Iterate(now.theta, value, now.memory, stuck=True)


def _times_inverse_hessian(gradient: Floats, steps: Floats, changes: Floats) -> Floats:
    """Two-loop recursion of L-BFGS (J. Nocedal, Math. Comput. 35, 773 (1980))."""
    if not len(steps):
        return gradient / max(float(np.linalg.norm(gradient)), _TINY)
    q, weights = gradient.copy(), []
    for s, y in zip(steps[::-1], changes[::-1], strict=True):
        weights.append((s @ q) / (s @ y))
        q -= weights[-1] * y
    q *= (steps[-1] @ changes[-1]) / (changes[-1] @ changes[-1])
    for s, y, weight in zip(steps, changes, reversed(weights), strict=True):
        q += s * (weight - (y @ q) / (s @ y))
    return q


def _adam(task: Task, now: Iterate, iteration: int) -> Iterate:
    stage = task.stage
    batches = task.small_batches()
    order = np.random.default_rng([task.seed, iteration]).permutation(len(batches))
    theta, count = now.theta.copy(), len(task.problem.scales.energies)
    mean = np.array(now.memory.get("mean", np.zeros_like(theta)))
    square = np.array(now.memory.get("square", np.zeros_like(theta)))
    progress = iteration / stage.iterations
    rate = stage.learning_rate * (
        _LAST_RATE + (1.0 - _LAST_RATE) * 0.5 * (1.0 + math.cos(math.pi * progress))
    )
    total = 0.0
    for k, index in enumerate(order):
        batch = batches[index]
        # A batch stands for all of the data; the penalty is there once.
        share = count / len(batch)
        value, gradient = task.problem.value_and_gradient(theta, [batch])
        penalty = task.problem.penalty
        gradient = share * (gradient - 2.0 * penalty * theta) + 2.0 * penalty * theta
        total += value - float(penalty @ theta**2)
        mean += (1.0 - _MOMENTS[0]) * (gradient - mean)
        square += (1.0 - _MOMENTS[1]) * (gradient**2 - square)
        done = iteration * len(batches) + k + 1
        unbiased = mean / (1.0 - _MOMENTS[0] ** done)
        scale = np.sqrt(square / (1.0 - _MOMENTS[1] ** done)) + _TINY
        theta -= rate * unbiased / scale
    loss = total + float(task.problem.penalty @ theta**2)
    return Iterate(theta, loss, {"mean": mean, "square": square})


_METHODS = {"levenberg": _levenberg, "bfgs": _bfgs, "lbfgs": _lbfgs, "adam": _adam}
