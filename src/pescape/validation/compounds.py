"""Crystals of any composition: prototypes by formula, structures from files, and their symmetry."""

from __future__ import annotations

import math
import re
import warnings
from abc import abstractmethod
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import spglib
from ase import Atoms
from ase.build import make_supercell
from ase.cell import Cell
from ase.formula import Formula
from ase.spacegroup import crystal
from pydantic import Field, PositiveFloat, ValidationInfo, model_validator

from pescape.config import Strict
from pescape.data.configurations import read_configurations
from pescape.errors import DataError

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
    found = _primitive(atoms, tolerance, idealize=True)
    if found is None:
        raise ValueError("spglib finds no symmetry in it: are atoms too near to each other?")
    return found


def primitive_cell(atoms: Atoms, tolerance: float = COARSE) -> Atoms:
    """Give a primitive cell as it lies there: neither turned nor put into its exact symmetry.

    Parameters
    ----------
    atoms
        Any cell, strained or not; atoms without any order are a primitive cell of their own.
    tolerance
        Distance within which positions are equivalent, Å.
    """
    found = _primitive(atoms, tolerance, idealize=False)
    if found is None:
        return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
    return found


def _primitive(atoms: Atoms, tolerance: float, *, idealize: bool) -> Atoms | None:
    """Give the primitive cell that spglib finds, if it finds one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        found = spglib.standardize_cell(
            _spglib_cell(atoms), to_primitive=True, no_idealize=not idealize, symprec=tolerance
        )
    if found is None:
        return None
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


# Digits (Å, fractions) that a structure from a file keeps, so that all machines read the same.
_KEPT_DIGITS = 8


class Solid(Strict):
    """A crystal of any kind; its geometry is a first guess, to be relaxed."""

    name: str | None = None

    @property
    @abstractmethod
    def title(self) -> str:
        """How values name it: letters, digits and underscores."""

    @abstractmethod
    def primitive(self) -> Atoms:
        """Build the primitive cell of the guess, in its standard orientation."""

    @property
    def symmetry(self) -> Symmetry:
        """Of the guess, which relaxation keeps."""
        return crystal_symmetry(self.primitive())

    @property
    def system(self) -> str:
        """The crystal system."""
        return self.symmetry.system

    @property
    def hexagonal(self) -> bool:
        """Whether its cell is a, a, c with 120 degrees, c along z."""
        return self.system in ("hexagonal", "trigonal")

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Lattice parameters of the conventional cell that its symmetry leaves free."""
        return FREE_PARAMETERS[self.system]

    @property
    def composition(self) -> dict[str, float]:
        """Share of the atoms by element."""
        symbols = self.primitive().get_chemical_symbols()
        return {element: n / len(symbols) for element, n in sorted(Counter(symbols).items())}

    @property
    def formula_units(self) -> int:
        """Formula units in the primitive cell."""
        return formula_units(self.primitive().get_chemical_symbols())

    def parameters(self, atoms: Atoms) -> dict[str, float]:
        """Lattice parameters (Å, degrees) of the conventional cell of a relaxed primitive one.

        Parameters
        ----------
        atoms
            The relaxed primitive cell.
        """
        return lattice_parameters(atoms, self.symmetry)

    def conventional(self, relaxed: Atoms) -> Atoms:
        """Build the conventional cell of a relaxed primitive one.

        Parameters
        ----------
        relaxed
            The relaxed primitive cell.
        """
        return conventional_cell(relaxed, self.symmetry)


@dataclass(frozen=True)
class _Prototype:
    """A structure type: space group, stoichiometry, and positions by element.

    Elements that occur in equal number take the places in the order of the formula. `angles`
    and ratios are those of the conventional cell.
    """

    spacegroup: int
    counts: tuple[int, ...]
    sites: tuple[tuple[float, float, float], ...]
    c_over_a: float | None = None
    gamma: float = 90.0


#: Structure types; positions are those of the International Tables' first setting.
_PROTOTYPES = {
    "rocksalt": _Prototype(225, (1, 1), ((0, 0, 0), (0.5, 0.5, 0.5))),
    "cesiumchloride": _Prototype(221, (1, 1), ((0, 0, 0), (0.5, 0.5, 0.5))),
    "zincblende": _Prototype(216, (1, 1), ((0, 0, 0), (0.25, 0.25, 0.25))),
    "wurtzite": _Prototype(
        186, (1, 1), ((1 / 3, 2 / 3, 0), (1 / 3, 2 / 3, 0.375)), (8 / 3) ** 0.5, 120.0
    ),
    "fluorite": _Prototype(225, (1, 2), ((0, 0, 0), (0.25, 0.25, 0.25))),
    "rutile": _Prototype(136, (1, 2), ((0, 0, 0), (0.305, 0.305, 0)), 0.64),
    "L1_0": _Prototype(123, (1, 1), ((0, 0, 0), (0.5, 0.5, 0.5)), 2**0.5),
    "L1_2": _Prototype(221, (1, 3), ((0, 0, 0), (0, 0.5, 0.5))),
}


class Prototype(Solid):
    """A compound of a known structure type."""

    formula: str = Field(description="such as ZrO2")
    prototype: Literal[
        "rocksalt",
        "cesiumchloride",
        "zincblende",
        "wurtzite",
        "fluorite",
        "rutile",
        "L1_0",
        "L1_2",
    ]
    a: PositiveFloat = Field(description="of the conventional cell, Å")
    c_over_a: PositiveFloat | None = Field(None, description="of wurtzite, rutile and L1_0")
    name: str | None = Field(None, description="in names of values; formula and prototype if unset")

    @model_validator(mode="after")
    def _known(self) -> Prototype:
        form = _PROTOTYPES[self.prototype]
        try:
            counts = Formula(self.formula, strict=True).reduce()[0].count()
            Atoms(list(counts))
        except (KeyError, ValueError) as error:
            raise ValueError(f"formula {self.formula!r} is no chemical formula") from error
        if tuple(sorted(counts.values())) != form.counts:
            wanted = ":".join(map(str, form.counts))
            raise ValueError(f"{self.prototype} is {wanted}, which {self.formula} is not")
        if self.c_over_a is not None and form.c_over_a is None:
            raise ValueError(f"c_over_a: {self.prototype} is cubic")
        return self

    @property
    def title(self) -> str:
        """How values name it."""
        return value_name(self.name or f"{self.formula}_{self.prototype}")

    def primitive(self) -> Atoms:
        """Build the primitive cell with the guessed lattice parameters."""
        form = _PROTOTYPES[self.prototype]
        counts = Formula(self.formula).count()
        ratio = self.c_over_a or form.c_over_a or 1.0
        built = crystal(
            sorted(counts, key=lambda element: counts[element]),
            basis=form.sites,
            spacegroup=form.spacegroup,
            cellpar=[self.a, self.a, self.a * ratio, 90, 90, form.gamma],
        )
        return standard_primitive(built)


class Geometry(Strict):
    """A cell and its atoms, as a file has them."""

    symbols: tuple[str, ...]
    cell: tuple[tuple[float, float, float], ...] = Field(description="vectors, Å")
    positions: tuple[tuple[float, float, float], ...] = Field(description="fractions of the cell")


class StructureFile(Solid):
    """A crystal from a file; what was read is kept, so that the file is needed only once."""

    file: str | None = Field(
        None, exclude=True, description="CIF, POSCAR, extxyz, …; beside the configuration file"
    )
    index: int | None = Field(
        None, exclude=True, description="of the structure in a file of several, from 0"
    )
    name: str = Field(description="in names of values; the file's if unset")
    tolerance: PositiveFloat = Field(
        COARSE, description="distance within which positions are equivalent, Å"
    )
    geometry: Geometry

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any, info: ValidationInfo) -> Any:  # noqa: ANN401 (as pydantic has it)
        if not isinstance(given, dict) or not isinstance(given.get("file"), str):
            return given
        folder = (info.context or {}).get("folder", Path())
        path = (folder / given["file"]).resolve()
        atoms = _chosen(path, given.get("index"))
        geometry = {
            "symbols": atoms.get_chemical_symbols(),
            "cell": np.round(atoms.cell.array, _KEPT_DIGITS).tolist(),
            "positions": np.round(atoms.get_scaled_positions(), _KEPT_DIGITS).tolist(),
        }
        return {"name": path.stem, **given, "file": str(path), "geometry": geometry}

    @model_validator(mode="after")
    def _symmetric(self) -> StructureFile:
        self.symmetry  # noqa: B018 (told here rather than in the middle of a computation)
        return self

    @property
    def title(self) -> str:
        """How values name it."""
        return value_name(self.name)

    def primitive(self) -> Atoms:
        """Build the primitive cell, in its standard orientation and exact symmetry."""
        atoms = Atoms(
            self.geometry.symbols,
            scaled_positions=self.geometry.positions,
            cell=self.geometry.cell,
            pbc=True,
        )
        return standard_primitive(atoms, self.tolerance)


def _chosen(path: Path, index: int | None) -> Atoms:
    """Read the one structure of a file that is meant."""
    try:
        found = read_configurations(path)
    except DataError as error:
        raise ValueError(str(error)) from error
    if index is None and len(found) > 1:
        raise ValueError(f"{path} holds {len(found)} structures: choose one by index = 0, 1, …")
    if index is not None and not 0 <= index < len(found):
        raise ValueError(f"index: {path} holds structures 0 to {len(found) - 1}, not {index}")
    atoms = found[index or 0]
    if atoms.cell.rank < 3:
        raise ValueError(f"{path} holds no crystal: its cell has no three vectors")
    return atoms


def value_name(text: str) -> str:
    """Make a name that predicates can take: what is no letter or digit becomes an underscore.

    Parameters
    ----------
    text
        Of a user or a file.
    """
    return re.sub(r"\W+", "_", text)
