"""Neighbour lists in the layout that the kernels read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Neighbors:
    """Full neighbour lists of n atoms with m pairs.

    The neighbours of atom i are entries ``offsets[i]:offsets[i + 1]`` of the other arrays;
    ``r_ij = positions[j] + shifts - positions[i]``.

    Attributes
    ----------
    offsets : (n + 1,) int64
    indices : (m,) int32
        The neighbour's atom index.
    cells : (m, 3) float64
        The neighbour's periodic image in cell vectors (whole numbers).
    shifts : (m, 3) float64
        The same in Å, ``cells @ cell``.
    """

    offsets: NDArray[np.int64]
    indices: NDArray[np.int32]
    cells: NDArray[np.float64]
    shifts: NDArray[np.float64]

    @property
    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64]]:
        """What the kernels take: offsets, indices, shifts."""
        return self.offsets, self.indices, self.shifts

    def in_cell(self, cell: NDArray[np.float64]) -> Neighbors:
        """Return the same lists with the images placed by another cell (3, 3) in Å."""
        return Neighbors(self.offsets, self.indices, self.cells, self.cells @ cell)


def neighbors(atoms: Atoms, cutoff: float) -> Neighbors:
    """Return all pairs of ``atoms`` closer than ``cutoff`` (Å), under any boundary conditions.

    Cells smaller than the cut-off list an atom's own images and several images of one neighbour.
    """
    from vesin import NeighborList  # It imports torch where that is installed, which takes seconds.

    cell = np.ascontiguousarray(atoms.cell.complete().array if atoms.cell.rank else np.eye(3))
    pbc = atoms.pbc & atoms.cell.any(1)
    search = NeighborList(cutoff=cutoff, full_list=True, sorted=True)
    i, j, images = search.compute(
        points=np.ascontiguousarray(atoms.positions), box=cell, periodic=pbc, quantities="ijS"
    )
    offsets = np.zeros(len(atoms) + 1, dtype=np.int64)
    np.cumsum(np.bincount(i.astype(np.int64), minlength=len(atoms)), out=offsets[1:])
    cells = np.ascontiguousarray(images, dtype=np.float64)
    return Neighbors(offsets, j.astype(np.int32), cells, cells @ cell)


def concatenate(lists: Sequence[Neighbors]) -> Neighbors:
    """Join the lists of configurations that do not interact, in order, into one."""
    offsets, indices = [np.zeros(1, dtype=np.int64)], []
    atoms = pairs = 0
    for one in lists:
        offsets.append(one.offsets[1:] + pairs)
        indices.append(one.indices + np.int32(atoms))
        atoms += len(one.offsets) - 1
        pairs += len(one.indices)
    return Neighbors(
        np.concatenate(offsets),
        np.concatenate(indices) if indices else np.zeros(0, dtype=np.int32),
        np.concatenate([one.cells for one in lists]) if lists else np.zeros((0, 3)),
        np.concatenate([one.shifts for one in lists]) if lists else np.zeros((0, 3)),
    )
