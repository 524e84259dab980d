"""Neighbors of the atoms that one LAMMPS rank owns, among these and their ghosts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pescape.calculators.neighbors import import_vesin

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pescape.lammps_style.python.clib import AtomArrays


@dataclass(frozen=True)
class GhostNeighbors:
    """A neighbor list that stays valid while no atom moves by more than half the skin.

    Attributes
    ----------
    species : (n,) int32 array
        Species of owned and ghost atoms; -1 for types that are handled elsewhere.
    offsets : (nlocal + 1,) int64 array
        Where the neighbors of each owned atom begin in `indices`.
    indices : (m,) int32 array
        Neighbors, owned or ghost.
    shifts : (m, 3) array
        Zero: ghosts sit where they act.
    ours : (k,) int64 array
        Indices of the owned atoms that the potential describes.
    """

    species: NDArray[np.int32]
    offsets: NDArray[np.int64]
    indices: NDArray[np.int32]
    shifts: NDArray[np.float64]
    ours: NDArray[np.int64]
    positions: NDArray[np.float64]
    types: NDArray[np.int32]
    tags: NDArray
    half_skin: float

    def serves(self, atoms: AtomArrays) -> bool:
        """Return whether the list still holds: the same atoms and ghosts, nearly in place.

        LAMMPS guarantees the ghosts within the cut-off. A ghost that it adds, drops or
        reorders changes the tags; an atom that it wraps around the box is displaced.

        Parameters
        ----------
        atoms
            The atoms as they are now.
        """
        if len(self.offsets) != atoms.local + 1 or not np.array_equal(self.tags, atoms.tags):
            return False
        if not np.array_equal(self.types, atoms.types):
            return False
        moved = np.square(atoms.positions - self.positions).sum(axis=1)
        return bool(moved.max(initial=0.0) <= self.half_skin**2)

    def around(
        self, block: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
        """Cut out some owned atoms with their neighbors.

        Parameters
        ----------
        block
            Rising indices of owned atoms.

        Returns
        -------
        members
            The block's atoms, then those of their neighbors that are not among them.
        offsets, indices
            The list of the cut-out.
        """
        counts = self.offsets[block + 1] - self.offsets[block]
        starts = np.repeat(self.offsets[block] - np.cumsum(counts) + counts, counts)
        near = self.indices[starts + np.arange(counts.sum())]
        members = np.concatenate([block, np.setdiff1d(near, block)])
        place = np.zeros(len(self.species), np.int32)
        place[members] = np.arange(len(members), dtype=np.int32)
        return members, np.concatenate([[0], np.cumsum(counts)]), place[near]


def ghost_neighbors(
    atoms: AtomArrays, species_of_type: NDArray[np.int32], cutoff: float, skin: float
) -> GhostNeighbors:
    """List the pairs within `cutoff + skin` (Å) whose first atom this rank owns.

    Parameters
    ----------
    atoms
        Owned and ghost atoms.
    species_of_type
        Species of every LAMMPS type (index 0 unused), -1 where none.
    cutoff, skin
        Å.
    """
    species = species_of_type[atoms.types]
    described = species >= 0
    reach = cutoff + skin
    near = np.flatnonzero(described & _around(atoms.positions, atoms.local, reach))
    search = import_vesin().NeighborList(cutoff=reach, full_list=True, n_threads=1)
    first, second = search.compute(
        points=atoms.positions[near], box=np.zeros((3, 3)), periodic=False, quantities="ij"
    )
    # `near` is ascending, so its owned atoms come first
    owned = first < np.searchsorted(near, atoms.local)
    first, second = near[first[owned].astype(np.int64)], near[second[owned].astype(np.int64)]
    order = np.argsort(first, kind="stable")
    offsets = np.zeros(atoms.local + 1, np.int64)
    np.cumsum(np.bincount(first, minlength=atoms.local), out=offsets[1:])
    return GhostNeighbors(
        species=species,
        offsets=offsets,
        indices=second[order].astype(np.int32),
        shifts=np.zeros((len(order), 3)),
        ours=np.flatnonzero(described[: atoms.local]),
        positions=atoms.positions.copy(),
        types=atoms.types.copy(),
        tags=atoms.tags.copy(),
        half_skin=0.5 * skin,
    )


def _around(positions: NDArray[np.float64], local: int, reach: float) -> NDArray[np.bool_]:
    """Mark the atoms within `reach` of the box that bounds the owned ones."""
    if local == 0:
        return np.zeros(len(positions), bool)
    low = positions[:local].min(axis=0) - reach
    high = positions[:local].max(axis=0) + reach
    return np.all((positions >= low) & (positions <= high), axis=1)
