"""Levenberg-Marquardt steps: Gauss and Newton's, damped until they lower the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

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
