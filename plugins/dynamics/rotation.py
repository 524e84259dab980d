"""The softest mode from Hessian-vector products, one force call each (Ritz vectors)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pescape.plugins.dynamics.projection import without

if TYPE_CHECKING:
    from collections.abc import Callable

_DEPENDENT = 1e-6


@dataclass(frozen=True, eq=False)
class Rotation:
    """What a rotation found.

    Attributes
    ----------
    mode
        Unit vector of the lowest curvature in the space searched, (n,).
    curvature
        Its curvature, eV/Å²; never below the lowest eigenvalue of the Hessian.
    residual
        Norm of (H - curvature) mode, eV/Å²: the distance from an eigenvector.
    vectors, products
        All v and Hv of this rotation, (k, n), the v orthonormal.
    """

    mode: np.ndarray
    curvature: float
    residual: float
    vectors: np.ndarray
    products: np.ndarray


def rotate(
    product: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    *,
    tolerance: float,
    max_calls: int,
    correction: Callable[[np.ndarray, float], np.ndarray] | None = None,
    negative_suffices: bool = False,
    apart: np.ndarray | None = None,
) -> Rotation:
    """Find the lowest Ritz pair of a symmetric operator.

    Parameters
    ----------
    product
        Returns H v for a unit vector; one force call.
    start
        First vector, (n,), not zero.
    tolerance
        Stop when the residual is below this fraction of the curvature's absolute value.
    max_calls
        Largest number of products.
    correction
        Turns (residual, curvature) into the next vector, as a Davidson method does; None takes
        the residual itself, as Lanczos' method does.
    negative_suffices
        Stop at the first negative curvature, which proves that the lowest eigenvalue is negative.
    apart
        Orthonormal rows, (m, n), that the mode is to be perpendicular to.

    Returns
    -------
    Rotation
        The lowest Ritz pair and all products.
    """
    vectors: list[np.ndarray] = []
    products: list[np.ndarray] = []
    others = [] if apart is None else list(apart)
    vector = start
    while True:
        following = _orthonormal(vector, [*others, *vectors])
        if following is None:
            break
        vectors.append(following)
        products.append(product(following))
        curvature, mode, rest = _lowest_ritz_pair(np.array(vectors), np.array(products))
        rest = without(rest, *others)
        residual = float(np.sqrt(rest @ rest))
        done = residual <= tolerance * abs(curvature) or (negative_suffices and curvature < 0)
        if done or len(vectors) >= max_calls:
            break
        vector = rest if correction is None else correction(rest, curvature)
    if not vectors:
        raise ValueError("a rotation needs a start vector that is not zero")
    return Rotation(mode, curvature, residual, np.array(vectors), np.array(products))


def _orthonormal(vector: np.ndarray, others: list[np.ndarray]) -> np.ndarray | None:
    length = np.sqrt(vector @ vector)
    if not length > 0.0:
        return None
    vector = vector / length
    for _ in range(2):
        for other in others:
            vector = vector - (other @ vector) * other
    length = np.sqrt(vector @ vector)
    return vector / length if length > _DEPENDENT else None


def _lowest_ritz_pair(
    vectors: np.ndarray, products: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    small = vectors @ products.T
    values, coefficients = np.linalg.eigh(0.5 * (small + small.T))
    mode = coefficients[:, 0] @ vectors
    rest = coefficients[:, 0] @ products - values[0] * mode
    return float(values[0]), mode, rest
