"""The curve of a pair of atoms: its minimum, and its repulsive wall up to a height."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.interpolate import CubicHermiteSpline

if TYPE_CHECKING:
    from collections.abc import Callable

    Bond = Callable[[float], tuple[float, float]]

#: Ratio of successive distances where the scan is carried on inwards, and how far it goes.
_INWARDS = 0.96
_SHORTEST = 0.3


@dataclass(frozen=True)
class Point:
    """A point of the curve: distance (Å), energy (eV), force (eV/Å, positive: repulsive)."""

    distance: float
    energy: float
    force: float


@dataclass(frozen=True)
class PairCurve:
    """Energy and force of a pair against distance.

    Parameters
    ----------
    distances, energies, forces
        (points,), Å, rising; eV, relative to isolated atoms; eV/Å, positive: repulsive.
    minimum, limit
        The minimum, and where the wall reaches the height that was asked for, if it does.
    """

    distances: np.ndarray
    energies: np.ndarray
    forces: np.ndarray
    minimum: Point | None = None
    limit: Point | None = None

    def spline(self) -> CubicHermiteSpline:
        """Interpolate the energies, with the forces for slopes."""
        return CubicHermiteSpline(self.distances, self.energies, -self.forces)


def scan_pair_curve(bond: Bond, grid: np.ndarray, multiple: float, refinements: int) -> PairCurve:
    """Scan a pair and find its minimum, and where its wall is a multiple of the depth above.

    Parameters
    ----------
    bond
        Gives energy relative to isolated atoms (eV) and force (eV/Å, positive when the atoms
        repel) at a distance (Å).
    grid
        Distances to scan, rising, Å.
    multiple
        Height of the limit above the minimum, in depths of the minimum.
    refinements
        Times the interpolated minimum and limit are computed and put into the curve.

    Returns
    -------
    PairCurve
        Without a minimum when the energy has none below zero; without a limit when the wall
        turns over or ends before it is high enough.
    """
    curve = _with_points(None, bond, grid)
    for _ in range(refinements):
        minimum = _minimum(curve)
        if minimum is None:
            return curve
        curve = _with_points(curve, bond, np.array([minimum.distance]))
    minimum = _minimum(curve)
    if minimum is None:
        return curve
    height = (multiple - 1.0) * -minimum.energy
    shortest = _SHORTEST * minimum.distance
    limit = _limit(curve, minimum, height)
    while limit is None and curve.distances[0] > shortest and _still_rises(curve, minimum):
        curve = _with_points(curve, bond, curve.distances[:1] * _INWARDS)
        limit = _limit(curve, minimum, height)
    for _ in range(refinements):
        if limit is None:
            break
        curve = _with_points(curve, bond, np.array([limit.distance]))
        limit = _limit(curve, minimum, height) or limit
    return replace(curve, minimum=minimum, limit=limit)


def _with_points(curve: PairCurve | None, bond: Bond, distances: np.ndarray) -> PairCurve:
    """Put further points into the curve; those that are there already are left out."""
    known = np.empty(0) if curve is None else curve.distances
    new = [d for d in distances.tolist() if not np.isclose(known, d, rtol=1e-9, atol=0.0).any()]
    found = np.array([(d, *bond(d)) for d in new]).reshape(-1, 3)
    if not np.isfinite(found).all():
        bad = found[~np.isfinite(found).all(axis=1)][0, 0]
        raise ValueError(f"the calculator gives no finite energy or force at {bad:.3f} Å")
    if curve is not None:
        old = np.stack([curve.distances, curve.energies, curve.forces], axis=1)
        found = np.concatenate([old, found])
    found = found[found[:, 0].argsort()]
    return PairCurve(found[:, 0], found[:, 1], found[:, 2])


def _minimum(curve: PairCurve) -> Point | None:
    """Deepest minimum between two points, one repelling and, beyond it, one attracting.

    A curve may fall towards zero distance, as those of fitted potentials do; that is no minimum.
    """
    spline = curve.spline()
    slope = spline.derivative()
    brackets = np.flatnonzero((curve.forces[:-1] >= 0.0) & (curve.forces[1:] < 0.0))
    points = []
    for bracket in brackets:
        low, high = curve.distances[bracket], curve.distances[bracket + 1]
        roots = slope.roots(extrapolate=False)
        inside = roots[(roots >= low * (1 - 1e-12)) & (roots <= high * (1 + 1e-12))]
        points += [Point(float(r), float(spline(r)), 0.0) for r in inside]
    below = [point for point in points if point.energy < 0.0]
    return min(below, key=lambda point: point.energy, default=None)


def _limit(curve: PairCurve, minimum: Point, height: float) -> Point | None:
    """First place inwards of the minimum where the energy is `height`."""
    spline = curve.spline()
    roots = spline.solve(height, extrapolate=False)
    inside = roots[roots < minimum.distance]
    if not len(inside):
        return None
    place = float(inside.max())
    return Point(place, height, float(-spline.derivative()(place)))


def _still_rises(curve: PairCurve, minimum: Point) -> bool:
    """Whether all points inwards of the minimum repel."""
    return bool((curve.forces[curve.distances < minimum.distance * (1 - 1e-6)] > 0.0).all())
