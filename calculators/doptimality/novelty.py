"""Which neighborhoods were seen before, by distance in units of the extrapolation grade.

A neighborhood is a point p = b A⁻¹; the distance of two is max |Δp|. Rotations, permutations and
supercells of a configuration have the same points. What extrapolates has a component beyond one,
and a counterpart of it must have nearly the same: few of the points of a data set, which an
active set made of it keeps within one, come into question, and only those are compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pescape.calculators.doptimality.design_matrix import DesignRows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ase import Atoms
    from numpy.typing import NDArray

    from pescape.calculators.doptimality.active_set import ActiveSet
    from pescape.calculators.potential import Potential

    Floats = NDArray[np.float64]

# By how many components points are sifted before they are compared in all.
_SIEVES = 4
# Numbers in the differences that are held at once.
_AT_ONCE = 4_000_000


class NoveltyFilter:
    """Neighborhoods that are known, as points b A⁻¹ of one active set.

    Made once for a data set, it serves any number of selections with the same potential.

    Parameters
    ----------
    active_set
        The A⁻¹ of the points.
    distance
        Points nearer to one another than this are the same; in grades.
    """

    def __init__(self, active_set: ActiveSet, distance: float) -> None:
        if not distance >= 0.0:
            raise ValueError(f"similarity {distance} is not a distance: 0 or more is")
        self.active_set = active_set
        self.distance = distance
        self._chunks: list[NDArray[np.float32]] = []

    @classmethod
    def of(
        cls,
        potential: Potential,
        configurations: Iterable[Atoms],
        distance: float = 0.5,
        *,
        threads: int = 1,
    ) -> NoveltyFilter:
        """Make the filter of a data set, block by block; anything to iterate over will do.

        Parameters
        ----------
        potential
            With its active set.
        configurations
            The data set. Of its neighborhoods those are kept, in single precision, that
            come near enough to grade one to be a counterpart of one that extrapolates.
        distance
            Points nearer to one another than this are the same; in grades.
        threads
            OpenMP threads.
        """
        active = potential.active_set
        if active is None:
            raise ValueError(f"{potential.source or 'the potential'} has no active set")
        seen = cls(active, distance)
        stream = DesignRows(
            potential,
            configurations,
            active.mode,
            weight_scaling=active.weight_scaling,
            threads=threads,
            memory=0,
        )
        for block in stream:
            seen.add(block.rows @ active.inverse)
        return seen

    def __len__(self) -> int:
        """Return how many points are kept."""
        return sum(map(len, self._chunks))

    def add(self, points: Floats) -> None:
        """Add neighborhoods that are known.

        Parameters
        ----------
        points
            Shape (m, n).
        """
        near = points[np.abs(points).max(axis=1, initial=0.0) > 1.0 - self.distance]
        if len(near):
            self._chunks.append(near.astype(np.float32))

    def contains(self, points: Floats) -> bool:
        """Return whether each of some points that extrapolate has a counterpart.

        Parameters
        ----------
        points
            Shape (m, n).
        """
        return all(any(self._has(chunk, point) for chunk in self._chunks) for point in points)

    def _has(self, chunk: NDArray[np.float32], point: Floats) -> bool:
        """Whether a point is near one of a chunk, sifting by its largest components first."""
        rows = np.arange(len(chunk))
        for column in np.argsort(-np.abs(point))[:_SIEVES]:
            rows = rows[np.abs(chunk[rows, column] - point[column]) < self.distance]
            if not rows.size:
                return False
        step = max(_AT_ONCE // len(point), 1)
        return any(
            bool(
                np.abs(chunk[rows[first : first + step]] - point).max(axis=1).min() < self.distance
            )
            for first in range(0, len(rows), step)
        )
