"""The screened repulsion of nuclei, a wall that keeps atoms apart where there is no data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from ase.data import atomic_numbers, covalent_radii

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pescape._kernels import ZBLKernel


@dataclass(frozen=True)
class ZBL:
    """The repulsion of Ziegler, Biersack and Littmark, switched off smoothly.

    Energy, force and curvature are zero at the outer distance. Numbers are those of
    ``pair_style zbl inner outer`` of LAMMPS.

    Parameters
    ----------
    inner
        Å; below it the repulsion is not switched, only shifted by a constant.
    outer
        Å; beyond it there is none.
    pairs
        (element, element, inner, outer) of every pair of elements, where they differ; ``inner``
        and ``outer`` are then the least and the largest.
    """

    #: Inner and outer distance of a wall, in shortest distances of the data. It begins above
    #: them, so that it has gained the upper hand where the data ends.
    WALL: ClassVar[tuple[float, float]] = (0.7, 1.1)

    inner: float
    outer: float
    pairs: tuple[tuple[str, str, float, float], ...] = ()

    def __post_init__(self) -> None:
        for name in ("inner", "outer"):
            object.__setattr__(self, name, float(getattr(self, name)))
        for inner, outer in [(self.inner, self.outer), *(pair[2:] for pair in self.pairs)]:
            if not 0.0 < inner < outer < np.inf:
                raise ValueError(
                    f"zbl: inner {inner:g} Å and outer {outer:g} Å: 0 < inner < outer must hold"
                )

    @classmethod
    def of_pairs(cls, distances: Mapping[tuple[str, str], tuple[float, float]]) -> ZBL:
        """Make a repulsion whose pairs of elements have distances of their own.

        Parameters
        ----------
        distances
            Inner and outer distance in Å of each pair of elements, in either order.
        """
        pairs = tuple((*pair, float(low), float(high)) for pair, (low, high) in distances.items())
        if not pairs:
            raise ValueError("zbl: no pair of elements is given")
        return cls(min(pair[2] for pair in pairs), max(pair[3] for pair in pairs), pairs)

    @classmethod
    def wall(cls, species: Sequence[str], nearest: NDArray[np.float64], cutoff: float) -> ZBL:
        """Choose the distances from the shortest ones of the training data.

        Parameters
        ----------
        species
            S elements.
        nearest
            Shortest distance of each pair in Å (S, S), see `TrainingSet.extent`.
        cutoff
            Å, of the potential.
        """
        (inner, outer), found = cls.WALL, {}
        for i, one in enumerate(species):
            for j, other in enumerate(species[i:], start=i):
                distance = float(nearest[i, j])
                if distance >= cutoff:  # never seen together: a core where bonds would be
                    radii = (covalent_radii[atomic_numbers[name]] for name in (one, other))
                    distance = min(sum(radii), cutoff) / outer
                found[one, other] = (inner * distance, min(outer * distance, cutoff))
        return cls.of_pairs(found)

    def summary(self) -> list[float] | dict[str, list[float]]:
        """Return the distances in Å, of all pairs or of each, for people and JSON."""
        if not self.pairs:
            return [self.inner, self.outer]
        return {f"{one}-{other}": [low, high] for one, other, low, high in self.pairs}

    def tables(self, species: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the inner and the outer distances of all pairs in Å, both (S, S).

        Parameters
        ----------
        species
            S elements.
        """
        shape = (len(species), len(species))
        inner, outer = np.full(shape, self.inner), np.full(shape, self.outer)
        if not self.pairs:
            return inner, outer
        known = {frozenset(pair[:2]): pair[2:] for pair in self.pairs}
        for i, one in enumerate(species):
            for j, other in enumerate(species):
                pair = known.get(frozenset((one, other)))
                if pair is None:
                    raise ValueError(f"zbl: the distances of the pair {one}-{other} are missing")
                inner[i, j], outer[i, j] = pair
        return inner, outer

    def kernel(self, species: Sequence[str]) -> ZBLKernel:
        """Compile it for evaluation.

        Parameters
        ----------
        species
            Elements of species 0, 1, ...
        """
        from pescape._kernels import ZBLKernel

        inner, outer = self.tables(species)
        return ZBLKernel(
            atomic_numbers=[atomic_numbers[name] for name in species],
            inner=inner.ravel(),
            outer=outer.ravel(),
        )
