"""Neighbor lists in the layout that the kernels read."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.neighborlist import primitive_neighbor_list

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from ase import Atoms
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Images of one atom within the cut-off; more are a mistake, and exhaust the memory.
_MAX_IMAGES = 1_000_000
# Å; coordinates beyond it are no longer exact to 1e-7 Å.
_FARTHEST = 1e9
# Into how many bins vesin divides space at most.
_MAX_BINS = 1e5


@dataclass(frozen=True, eq=False)
class Neighbors:
    """Full neighbor lists of n atoms with m pairs.

    The neighbors of atom i are entries ``offsets[i]:offsets[i + 1]`` of the other arrays;
    ``r_ij = positions[j] + shifts - positions[i]``.

    Attributes
    ----------
    offsets : (n + 1,) int64
    indices : (m,) int32
        The neighbor's atom index.
    cells : (m, 3) float64
        The neighbor's periodic image in cell vectors (whole numbers).
    shifts : (m, 3) float64
        The same in Å, ``cells @ cell``.
    """

    offsets: NDArray[np.int64]
    indices: NDArray[np.int32]
    cells: Floats
    shifts: Floats

    @property
    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.int32], Floats]:
        """What the kernels take: offsets, indices, shifts."""
        return self.offsets, self.indices, self.shifts

    def in_cell(self, cell: Floats) -> Neighbors:
        """Return the same lists with the images placed by another cell (3, 3) in Å.

        Parameters
        ----------
        cell
            Shape (3, 3), Å.
        """
        return Neighbors(self.offsets, self.indices, self.cells, self.cells @ cell)


def neighbors(atoms: Atoms, cutoff: float) -> Neighbors:
    """Return all pairs of ``atoms`` closer than ``cutoff`` (Å), under any boundary conditions.

    Cells smaller than the cut-off list an atom's own images and several images of one neighbor.

    Parameters
    ----------
    atoms
        The configuration.
    cutoff
        Å.

    Raises
    ------
    ValueError
        For a cell that is flat, or so small that an atom has millions of images in reach; for
        atoms further away than numbers resolve.
    """
    far = np.flatnonzero(np.abs(atoms.positions).max(axis=1, initial=0.0) > _FARTHEST)
    if len(far):
        raise ValueError(
            f"atom {far[0]} is at {atoms.positions[far[0]]}: has the dynamics exploded?"
        )
    cell = repeating_cell(atoms, atoms.cell.array)
    heights = _heights(cell)
    pbc = atoms.pbc & atoms.cell.any(1)
    reached = np.prod(2.0 * np.ceil(cutoff / heights[pbc]) + 1.0)
    if reached > _MAX_IMAGES:
        raise ValueError(
            f"the cell is {heights[pbc].min():.3g} Å high, so that an atom has {reached:.0g} "
            f"images within {cutoff:g} Å: has the cell collapsed?"
        )
    moved = np.floor(np.linalg.solve(cell.T, atoms.positions.T).T) * pbc
    points = _without_gaps(atoms.positions - moved @ cell, cell[~pbc], 2.0 * cutoff)
    # An empty space of two cut-offs makes a box that repeats of one that does not.
    heights[~pbc] = 2.0 * cutoff + (np.ptp(points @ cell[~pbc].T, axis=0) if len(points) else 0.0)
    box = cell * np.where(pbc, 1.0, heights)[:, None]
    i, j, images = _periodic_pairs(points, box, heights, cutoff)
    cells = np.ascontiguousarray(images, dtype=np.float64)
    if moved.any():
        cells += moved[i] - moved[j]
    offsets = np.zeros(len(atoms) + 1, dtype=np.int64)
    np.cumsum(np.bincount(i, minlength=len(atoms)), out=offsets[1:])
    return Neighbors(offsets, j.astype(np.int32), cells, cells @ cell)


def repeating_cell(atoms: Atoms, cell: Floats) -> Floats:
    """Replace the vectors of ``cell`` along which ``atoms`` do not repeat by unit normals.

    Parameters
    ----------
    atoms
        Their cell and boundary conditions say along which vectors they repeat.
    cell
        Shape (3, 3), Å.
    """
    return np.asarray(atoms.cell.new(cell * atoms.pbc[:, None]).complete())


def _heights(cell: Floats) -> Floats:
    """Return the distances (3,) of a cell's opposite faces."""
    faces = np.linalg.norm(np.cross(cell[[1, 2, 0]], cell[[2, 0, 1]]), axis=1)
    volume = abs(np.linalg.det(cell))
    if volume == 0.0 or not faces.all():
        raise ValueError(f"the cell has no volume: {cell.tolist()}")
    return np.asarray(volume / faces)


def _without_gaps(positions: Floats, axes: Floats, width: float) -> Floats:
    """Close gaps between atoms along open directions (unit vectors) down to a width (Å).

    Pairs within less than that keep their distances. It spares the search the empty space
    around atoms that fly away.
    """
    for axis in axes:
        heights = positions @ axis
        order = np.argsort(heights)
        gaps = np.diff(heights[order], prepend=heights[order[:1]])
        if (gaps > width).any():
            closed = np.empty_like(heights)
            closed[order] = np.cumsum(np.maximum(gaps - width, 0.0))
            positions = positions - np.outer(closed, axis)
    return positions


def _periodic_pairs(
    points: Floats, box: Floats, heights: Floats, cutoff: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return i (m,), j (m,) and the image of j (m, 3) of all pairs, sorted by i."""
    bins = np.maximum(heights / cutoff, 1.0)
    if (bins * np.cbrt(_MAX_BINS / bins.prod())).min() < 2.0 and bins.prod() > _MAX_BINS / 2:
        # vesin would cut the shortest edge into no bin, and divide by that.
        return primitive_neighbor_list("ijS", (True, True, True), box, points, cutoff)
    search = import_vesin().NeighborList(cutoff=cutoff, full_list=True, sorted=True)
    i, j, images = search.compute(
        points=np.ascontiguousarray(points), box=box, periodic=True, quantities="ijS"
    )
    return i.astype(np.int64), j.astype(np.int64), images


@functools.cache
def import_vesin() -> ModuleType:
    """Import vesin, under a name of our own where it would import torch, which takes seconds.

    It does so to know its tensors, and never needs it for arrays. (vesin 0.6.2 still does; a
    version that waits until it is given a tensor ends the need for this.)
    """
    known = importlib.util.find_spec("vesin")
    if "torch" in sys.modules or known is None or known.origin is None:
        return importlib.import_module("vesin")
    name, folders = "pescape_vesin", list(known.submodule_search_locations or [])
    spec = importlib.util.spec_from_file_location(
        name, known.origin, submodule_search_locations=folders
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.modules["torch"] = None  # type: ignore[assignment]  # "not installed", says Python
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules["torch"]
    return module


def concatenate(lists: Sequence[Neighbors]) -> Neighbors:
    """Join the lists of configurations that do not interact, in order, into one.

    Parameters
    ----------
    lists
        One for each configuration.
    """
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
