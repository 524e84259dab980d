"""Directions that constraints leave free."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms


class FreeSpace:
    """Projects vectors on the directions in which the atoms may move.

    ASE's constraints project forces; the same projection serves any vector. Constraints that add
    an energy of their own (springs, external forces) restrict nothing and are left out.

    Parameters
    ----------
    atoms
        The atoms, with their constraints; looked at anew in every call.
    remove_translation
        Leave out rigid translations too. None: where there are two atoms or more and no
        constraint.
    """

    def __init__(self, atoms: Atoms, *, remove_translation: bool | None = None) -> None:
        self.atoms = atoms
        self._remove_translation = remove_translation
        self._mean = np.full(len(atoms), 1.0 / max(1, len(atoms)))

    @property
    def remove_translation(self) -> bool:
        """Whether rigid translations are left out."""
        if self._remove_translation is None:
            return len(self.atoms) > 1 and not self.atoms.constraints
        return self._remove_translation

    def project(self, vectors: np.ndarray) -> np.ndarray:
        """Return the free part.

        Parameters
        ----------
        vectors
            One vector per atom, (natoms, 3), or the same flattened.

        Returns
        -------
        np.ndarray
            The projection, a new array of the same shape.
        """
        free = np.array(vectors, dtype=float).reshape(-1, 3)
        for constraint in self.atoms.constraints:
            if not hasattr(constraint, "adjust_potential_energy"):
                constraint.adjust_forces(self.atoms, free)
        if self.remove_translation:
            free -= self._mean @ free  # several times faster than mean(axis=0)
        return free.reshape(np.shape(vectors))


def without(vector: np.ndarray, *directions: np.ndarray | None) -> np.ndarray:
    """Return a flat vector less its parts along the given orthonormal directions."""
    for direction in directions:
        if direction is not None:
            vector = vector - (vector @ direction) * direction
    return vector


def unit(vector: np.ndarray, *, floor: float = 1e-10) -> np.ndarray | None:
    """Return a flat vector scaled to length one, or None where it is no longer than the floor."""
    length = sqrt(vector @ vector)
    return vector / length if length > floor else None


def free_components(atoms: Atoms) -> tuple[np.ndarray, np.ndarray]:
    """Return the flat Cartesian components that can change, and the atom of each, both (n,)."""
    generic = np.random.default_rng(0).normal(size=(len(atoms), 3))
    free = np.flatnonzero(FreeSpace(atoms).project(generic).ravel())
    if not len(free):
        raise ValueError("all atoms are fixed; a search needs some that may move")
    return free, free // 3
