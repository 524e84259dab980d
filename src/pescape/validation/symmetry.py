"""Symmetry of crystals: standard cells, lattice parameters, formula units."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import spglib
from ase import Atoms
from ase.build import make_supercell
from ase.cell import Cell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: Distance (Å) within which positions of a file count as equivalent.
COARSE = 1e-2
# The same in cells that have been put into their exact symmetry.
_FINE = 1e-4

_ANGLES = ("alpha", "beta", "gamma")
#: Lattice parameters of the conventional cell that a crystal system leaves free.
FREE_PARAMETERS: dict[str, tuple[str, ...]] = {
    "cubic": ("a",),
    "hexagonal": ("a", "c"),
    "trigonal": ("a", "c"),
    "tetragonal": ("a", "c"),
    "orthorhombic": ("a", "b", "c"),
    "monoclinic": ("a", "b", "c", "beta"),
    "triclinic": ("a", "b", "c", *_ANGLES),
}
# Least space group of each system; International Tables for Crystallography A.
_SYSTEMS = (
    (195, "cubic"),
    (168, "hexagonal"),
    (143, "trigonal"),
    (75, "tetragonal"),
    (16, "orthorhombic"),
    (3, "monoclinic"),
    (1, "triclinic"),
)


@dataclass(frozen=True, eq=False)
class Symmetry:
    """What the symmetry of a primitive cell is.

    Parameters
    ----------
    number
        Of the space group.
    symbol
        Of the space group, Hermann and Mauguin's.
    conventional
        Shape (3, 3): the conventional cell's vectors in those of the primitive cell, integers.
    rotations
        Shape (n, 3, 3): the operations without their translations, in fractions of the primitive
        cell, integers.
    """

    number: int
    symbol: str
    conventional: NDArray[np.int64]
    rotations: NDArray[np.int64]

    @property
    def system(self) -> str:
        """The crystal system."""
        return next(name for least, name in _SYSTEMS if self.number >= least)


def standard_primitive(atoms: Atoms, tolerance: float = COARSE) -> Atoms:
    """Give the primitive cell in its standard orientation, put into its exact symmetry.

    Parameters
    ----------
    atoms
        Any cell of the crystal.
    tolerance
        Distance within which positions are equivalent, Å.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        found = spglib.standardize_cell(
            _spglib_cell(atoms), to_primitive=True, no_idealize=False, symprec=tolerance
        )
    if found is None:
        raise ValueError("spglib finds no symmetry in it: are atoms too near to each other?")
    cell, positions, numbers = found
    return Atoms(numbers, scaled_positions=positions, cell=cell, pbc=True)


def crystal_symmetry(primitive: Atoms, tolerance: float = _FINE) -> Symmetry:
    """Find the symmetry of a primitive cell, as `standard_primitive` makes it.

    Parameters
    ----------
    primitive
        The cell.
    tolerance
        Distance within which positions are equivalent, Å.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        found = spglib.get_symmetry_dataset(_spglib_cell(primitive), symprec=tolerance)
    if found is None:
        raise ValueError("spglib finds no symmetry in it: are atoms too near to each other?")
    vectors = np.rint(np.linalg.inv(found.transformation_matrix).T).astype(int)
    rotations = np.array(found.rotations, dtype=int)
    return Symmetry(int(found.number), str(found.international), vectors, rotations)


def lattice_parameters(primitive: Atoms, of: Symmetry) -> dict[str, float]:
    """Lattice parameters (Å, degrees) of the conventional cell that the system leaves free.

    Parameters
    ----------
    primitive
        A primitive cell.
    of
        Its symmetry.
    """
    found = Cell(of.conventional @ primitive.cell.array).cellpar()
    by_name = dict(zip(("a", "b", "c", *_ANGLES), map(float, found), strict=True))
    return {name: by_name[name] for name in FREE_PARAMETERS[of.system]}


def parameter_unit(name: str) -> str:
    """Give the unit of a lattice parameter.

    Parameters
    ----------
    name
        Such as ``c`` or ``beta``.
    """
    return "°" if name in _ANGLES else "Å"


def conventional_cell(primitive: Atoms, of: Symmetry) -> Atoms:
    """Build the conventional cell of a primitive one.

    Parameters
    ----------
    primitive
        A primitive cell.
    of
        Its symmetry.
    """
    return make_supercell(primitive, of.conventional)


def formula_units(symbols: Sequence[str]) -> int:
    """Count the formula units among the atoms of a cell.

    Parameters
    ----------
    symbols
        Of all atoms of the cell.
    """
    return math.gcd(*Counter(symbols).values())


def _spglib_cell(atoms: Atoms) -> tuple[Any, Any, Any]:
    return atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers
