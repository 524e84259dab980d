"""Two cells of one crystal, one of them strained: which deformation leads to the other."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from pescape.validation.property import Floats

#: Largest component of the strain of a cell that still counts as the same crystal.
MAX_STRAIN = 0.12
# How far atoms may lie from their places in the strained crystal, Å: clamped or relaxed in it.
_MAX_DISPLACEMENT = 0.35
_MAX_VOLUME_CHANGE = 0.4
# Bases that are looked at, from the least strained on; the point groups of crystals have 48
# operations at most, half of which differ by more than a sign.
_BASES = 48
# Displacements (Å) that no other basis has to beat.
_EXACT = 0.02
# Norms of strains closer than this are those of equivalent bases.
_EQUAL_STRAIN = 1e-4


@dataclass(frozen=True, eq=False)
class Deformation:
    """What makes a strained cell of a crystal's own one.

    Parameters
    ----------
    matrix
        Shape (3, 3): vectors, as rows, times it are those of the strained crystal, turned or not.
    displacement
        Largest distance of an atom from its place in the strained crystal, Å.
    """

    matrix: Floats
    displacement: float

    @property
    def strain(self) -> Floats:
        """Green-Lagrange strain in the axes of the crystal's own cell, shape (3, 3)."""
        return np.asarray((self.matrix @ self.matrix.T - np.eye(3)) / 2.0)

    @property
    def volume(self) -> float:
        """Volume over that of the crystal's own cell."""
        return float(abs(np.linalg.det(self.matrix)))

    def pulled_back(self, stress: Floats) -> Floats:
        """Give the second Piola-Kirchhoff stress, in the axes of the crystal's own cell.

        It is the derivative of the energy per volume of the crystal's own cell by the strain, and
        knows nothing of rotations.

        Parameters
        ----------
        stress
            Cauchy's, of the strained cell, shape (3, 3).
        """
        back = np.linalg.inv(self.matrix)
        return np.asarray(self.volume * back.T @ stress @ back)


# Rows and columns of the six different elements of a symmetric matrix.
_ROWS, _COLUMNS = np.array([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]).T


@functools.cache
def _bases() -> tuple[NDArray[np.int64], Floats]:
    """List the changes of basis that reduced cells differ by when one of them is strained.

    Shape (n, 3, 3); and (n, 6, 6), what makes the metric tensor of the new basis of that of the old
    one.
    """
    matrices = np.array(list(itertools.product((-1, 0, 1), repeat=9))).reshape(-1, 3, 3)
    unimodular = matrices[np.rint(np.abs(np.linalg.det(matrices))) == 1]
    # One of each pair that differs by inversion, which changes no strain.
    first = unimodular.reshape(-1, 9)
    sign = first[np.arange(len(first)), (first != 0).argmax(axis=1)]
    bases = np.asarray(unimodular[sign > 0])
    return bases, _of_metrics(bases)


def _of_metrics(bases: Floats | NDArray[np.int64]) -> Floats:
    """Write B g Bᵀ in the six elements of g, for bases of shape (n, 3, 3): (n, 6, 6)."""
    left, right = bases[:, _ROWS], bases[:, _COLUMNS]
    both = left[:, :, _ROWS] * right[:, :, _COLUMNS] + left[:, :, _COLUMNS] * right[:, :, _ROWS]
    return np.asarray(both * np.where(_ROWS == _COLUMNS, 0.5, 1.0), dtype=float)


def deformation_of(crystal: Atoms, cell: Atoms, largest: float = MAX_STRAIN) -> Deformation | None:
    """Find how a crystal has to be strained to become another one; None if it is another one.

    Parameters
    ----------
    crystal
        Its primitive cell.
    cell
        A primitive cell of a crystal, in any basis, orientation and order of the atoms.
    largest
        Component of the strain.
    """
    ratio = cell.get_volume() / crystal.get_volume()
    if sorted(crystal.numbers) != sorted(cell.numbers) or abs(ratio - 1.0) > _MAX_VOLUME_CHANGE:
        return None
    own = crystal.cell.array
    bases, of_metrics = _bases()
    metric = (cell.cell.array @ cell.cell.array.T)[_ROWS, _COLUMNS]
    stretches = (of_metrics @ metric) @ _of_metrics(np.linalg.inv(own)[None])[0].T
    strains = (stretches - (_ROWS == _COLUMNS)) / 2.0
    sizes = np.sqrt((strains**2) @ np.where(_ROWS == _COLUMNS, 1.0, 2.0))
    best: Deformation | None = None
    least = np.inf
    for index in np.argsort(sizes, kind="stable")[:_BASES]:
        if np.abs(strains[index]).max() > largest or sizes[index] > least + _EQUAL_STRAIN:
            break
        # Inverted bases are as strained, but the atoms lie at other places.
        vectors = bases[index] @ cell.cell.array
        for basis in (vectors, -vectors):
            displacement = _displacement(crystal, cell, basis)
            if displacement > _MAX_DISPLACEMENT:
                continue
            least = min(least, float(sizes[index]))
            if best is None or displacement < best.displacement - 1e-6:
                best = Deformation(np.linalg.solve(own, basis), displacement)
            if displacement < _EXACT:
                return best
    return best


def _displacement(crystal: Atoms, cell: Atoms, basis: Floats) -> float:
    """Largest distance of the atoms from those of the crystal when it is put into a basis, Å.

    The origin is free. Infinite if atoms do not pair up.
    """
    places = crystal.get_scaled_positions(wrap=False)
    atoms = np.linalg.solve(basis.T, cell.positions.T).T
    kinds, counts = np.unique(crystal.numbers, return_counts=True)
    rarest = kinds[counts.argmin()]
    anchor = int(np.flatnonzero(cell.numbers == rarest)[0])
    unlike = crystal.numbers[:, None] != cell.numbers[None, :]
    least = np.inf
    for place in np.flatnonzero(crystal.numbers == rarest):
        apart = (atoms + places[place] - atoms[anchor])[None, :, :] - places[:, None, :]
        apart -= np.rint(apart)
        lengths = np.where(unlike, np.inf, np.linalg.norm(apart @ basis, axis=2))
        partner = lengths.argmin(axis=0)
        if len(np.unique(partner)) < len(partner):
            continue
        moved = apart[partner, np.arange(len(partner))] @ basis
        least = min(least, float(np.linalg.norm(moved - moved.mean(axis=0), axis=1).max()))
    return least
