"""One iteration of each method of minimization, from a state that arrays hold to the next one.

A state is all that the rest of a minimization depends on, so that one stopped and taken up again
ends as if it had never stopped.

L-BFGS is not torch's: that one has no answer to infinite losses far from the minimum, does not
say when no step lowers the loss any more, and drops curvature below an absolute threshold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from pescape.calculators.fit import bfgs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from pescape.calculators.bpnn.fit.least_squares import LeastSquares
    from pescape.calculators.bpnn.fit.model import Batch
    from pescape.calculators.bpnn.fit.settings import Stage

    Floats = NDArray[np.float64]
    Arrays = Mapping[str, NDArray[Any]]

# Of Levenberg-Marquardt, in units of the diagonal of the matrix.
_FIRST_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 1e-2, 1e-10, 1e10
# Least of the diagonal, relative to its mean: parameters without effect do not run away.
_DIAGONAL_FLOOR = 1e-8
_REMEMBERED_STEPS = 30  # of L-BFGS
_LAST_LEARNING_RATE = 0.01  # of Adam, relative to the first
_TINY = 1e-8


@dataclass(frozen=True, eq=False)
class Iterate:
    """State of a minimization.

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
    """What is minimized, and how.

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
    """Make one iteration of a stage.

    Parameters
    ----------
    task
        What is minimized.
    now
        Where the iteration starts; its memory is empty at first.
    iteration
        Number of the iteration, from 0.
    """
    return _METHODS[task.stage.method](task, now, iteration)


def _levenberg(task: Task, now: Iterate, iteration: int) -> Iterate:  # noqa: ARG001
    """Make a step of Gauss and Newton's, damped until it lowers the loss (Levenberg-Marquardt)."""
    damping = float(now.memory.get("damping", np.array(_FIRST_DAMPING)))
    loss, slope, matrix = task.problem.gauss_newton(now.theta)
    if not (np.isfinite(loss) and np.isfinite(matrix).all()):
        return Iterate(now.theta, math.nan, {})
    diagonal = np.diag(matrix)
    diagonal = np.maximum(diagonal, _DIAGONAL_FLOOR * diagonal.mean())
    growth = 2.0
    while damping < _MOST_DAMPING:
        change = _solved(matrix + np.diag(damping * diagonal), -slope)
        if change is not None:
            reached = task.problem.value(now.theta + change)
            expected = -2.0 * float(slope @ change) - float(change @ matrix @ change)
            if reached < loss and expected > 0.0:
                ratio = (loss - reached) / expected
                factor = max(1.0 / 3.0, 1.0 - (2.0 * ratio - 1.0) ** 3)
                memory = {"damping": np.array(max(damping * factor, _LEAST_DAMPING))}
                return Iterate(now.theta + change, reached, memory)
        damping *= growth
        growth *= 2.0
    return Iterate(now.theta, loss, {"damping": np.array(damping)}, stuck=True)


def _solved(matrix: Floats, right: Floats) -> Floats | None:
    try:
        found = cho_solve(cho_factor(matrix, lower=True), right)
    except (LinAlgError, ValueError):
        return None
    return found if np.isfinite(found).all() else None


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
        grown = [
            np.vstack((old, new))[-_REMEMBERED_STEPS:] if curved else old for old, new in pairs
        ]
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
    """Go through all batches once; the learning rate falls along a cosine."""
    batches = task.small_batches()
    order = np.random.default_rng([task.seed, iteration]).permutation(len(batches))
    count, penalty = len(task.problem.scales.energies), task.problem.penalty
    theta = torch.tensor(now.theta)
    decay = 0.5 * (1.0 + math.cos(math.pi * iteration / task.stage.iterations))
    rate = task.stage.learning_rate * (_LAST_LEARNING_RATE + (1.0 - _LAST_LEARNING_RATE) * decay)
    optimizer = torch.optim.Adam([theta], lr=rate)
    if now.memory:
        optimizer.state[theta] = {
            "step": torch.tensor(float(iteration * len(batches))),
            "exp_avg": torch.tensor(now.memory["mean"]),
            "exp_avg_sq": torch.tensor(now.memory["square"]),
        }
    total = 0.0
    for index in order:
        batch, before = batches[index], theta.numpy().copy()
        value, gradient = task.problem.value_and_gradient(before, [batch])
        total += value - float(penalty @ before**2)
        # A batch stands for all of the data; the penalty is there once.
        slope = 2.0 * penalty * before
        theta.grad = torch.from_numpy(count / len(batch) * (gradient - slope) + slope)
        optimizer.step()
    reached = theta.numpy()
    moments = optimizer.state[theta]
    memory = {"mean": moments["exp_avg"].numpy(), "square": moments["exp_avg_sq"].numpy()}
    return Iterate(reached, total + float(penalty @ reached**2), memory)


_METHODS = {"levenberg": _levenberg, "bfgs": _bfgs, "lbfgs": _lbfgs, "adam": _adam}
