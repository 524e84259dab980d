"""MLIP's ``.cfg`` files for ``ase.io``: ``ase.io.read("train.cfg", species=["Zr", "O"])``.

A ``.cfg`` file numbers its species and names no elements. The element of every species is taken
from the keyword ``species`` or, in files written here, from a ``Feature`` line. Whatever else
``Atoms`` hold and ``.cfg`` has no place for travels in ``Feature`` lines as JSON too, so that
nothing is lost between ``.cfg`` and extxyz; other programs ignore these lines.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError, all_properties
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


VOIGT = ("xx", "yy", "zz", "yz", "xz", "xy")

# Keys of Feature lines that hold what .cfg has no place for.
SPECIES = "pescape.species"
PBC = "pescape.pbc"
CELL = "pescape.cell"
ARRAY = "pescape.array."
RESULT = "pescape.result."

POSITIONS = ("cartes_x", "cartes_y", "cartes_z")
_SCALED = ("direct_x", "direct_y", "direct_z")
FORCES = ("fx", "fy", "fz")
MAGMOMS = ("magmom_x", "magmom_y", "magmom_z")
INTEGER_COLUMNS = ("id", "type", "ghost")
# Per-atom columns that are results in ASE.
RESULT_COLUMNS = {"site_en": "energies", "charge": "charges"}


def decode(text: str) -> Any:  # noqa: ANN401
    """Turn the text of a Feature into what it was: JSON if it is that, else a string.

    Parameters
    ----------
    text
        Behind the name of the Feature.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(value, list):
        try:
            array = np.array(value)
        except ValueError:
            return value
        return array if array.dtype.kind in "ifbU" and array.size else value
    return value


def read_mlip_cfg(
    fd: TextIO, index: int | slice = -1, species: Sequence[str] | None = None
) -> Iterator[Atoms]:
    """Read configurations.

    Parameters
    ----------
    fd
        An open text file.
    index
        Which configurations.
    species
        Element of species 0, 1, ...; not needed where the file names them.

    Yields
    ------
    Atoms
        With energy, forces, stress and whatever else the file holds as results.

    Raises
    ------
    ValueError
        "FILE, line N: ..." when the file is wrong.
    """
    blocks = _blocks(_File(getattr(fd, "name", None), fd.read().splitlines()))
    for block in [blocks[index]] if isinstance(index, int) else blocks[index]:
        yield _Reader(block, species).read()


@dataclass(frozen=True)
class _File:
    name: str | None
    lines: list[str]


@dataclass(frozen=True)
class _Block:
    """Lines ``start .. end`` of a file, between BEGIN_CFG and END_CFG."""

    file: _File
    start: int
    end: int

    def fail(self, line: int, message: str) -> NoReturn:
        where = f"{self.file.name}, line" if self.file.name else "line"
        raise ValueError(f"{where} {line + 1}: {message}")


def _blocks(file: _File) -> list[_Block]:
    blocks: list[_Block] = []
    whole = _Block(file, 0, len(file.lines))
    begin: int | None = None
    for number, line in enumerate(file.lines):
        word = line.strip()
        if word == "BEGIN_CFG":
            if begin is not None:
                whole.fail(number, f"BEGIN_CFG before the END_CFG of line {begin + 1}'s")
            begin = number
        elif word == "END_CFG":
            if begin is None:
                whole.fail(number, "END_CFG without BEGIN_CFG")
            blocks.append(_Block(file, begin + 1, number))
            begin = None
        elif word and begin is None:
            whole.fail(number, f"BEGIN_CFG expected, found {word[:40]!r}")
    if begin is not None:
        whole.fail(begin, "BEGIN_CFG without END_CFG: is the file truncated?")
    return blocks


class _Reader:
    """Reads one configuration."""

    def __init__(self, block: _Block, species: Sequence[str] | None) -> None:
        self._block = block
        self._species = list(species) if species is not None else None
        self._line = block.start
        self._size: int | None = None
        self._cell = np.zeros((0, 3))
        self._columns: dict[str, Floats] = {}
        self._features: dict[str, Any] = {}
        self._results: dict[str, Any] = {}
        self._virial: Floats | None = None
        self._columns_line = block.start

    def read(self) -> Atoms:
        while self._line < self._block.end:
            text = self._block.file.lines[self._line].strip()
            if not text:
                self._line += 1
                continue
            key, rest = (*text.split(None, 1), "")[:2]
            self._section(key, rest)
        return self._atoms()

    def _fail(self, message: str, line: int | None = None) -> NoReturn:
        self._block.fail(self._line if line is None else line, message)

    def _section(self, key: str, rest: str) -> None:
        match key.rstrip(":"):
            case "Size":
                self._size = self._whole_number(self._value(rest, "Size"))
            case "Supercell":
                self._supercell()
            case "AtomData":
                self._atom_data(rest.split())
            case "Energy":
                self._results["energy"] = float(self._numbers(self._value(rest, "Energy"), 1)[0])
            case "PlusStress" | "Virial":
                self._plus_stress(rest.split())
            case "Stress":
                self._fail("'Stress:' has no agreed sign or unit; 'PlusStress:' (eV) is read")
            case "Feature":
                self._feature(rest)
            case _:
                self._fail(f"unknown section {key[:40]!r}")

    def _value(self, rest: str, what: str) -> str:
        """Return a value that stands behind its key or in the next line."""
        if not rest:
            self._line += 1
            if self._line >= self._block.end:
                self._fail(f"{what} has no value")
            rest = self._block.file.lines[self._line]
        return rest

    def _whole_number(self, text: str) -> int:
        if not text.strip().isdecimal():
            self._fail(f"Size: a whole number expected, found {text.strip()[:40]!r}")
        self._line += 1
        return int(text)

    def _numbers(self, text: str, count: int) -> Floats:
        try:
            values = np.array([float(word) for word in text.split()])
        except ValueError:
            self._fail(f"numbers expected, found {text.strip()[:60]!r}")
        if len(values) != count:
            self._fail(f"{count} numbers expected, found {len(values)}")
        if not np.isfinite(values).all():
            self._fail(f"numbers must be finite, found {text.strip()[:60]!r}")
        self._line += 1
        return values

    def _supercell(self) -> None:
        self._line += 1
        rows: list[Floats] = []
        while self._line < self._block.end:
            text = self._block.file.lines[self._line].strip()
            if not text or text[0].isalpha():
                break
            if len(rows) == 3:
                self._fail("Supercell has at most 3 rows")
            rows.append(self._numbers(text, 3))
        self._cell = np.array(rows).reshape(-1, 3)

    def _atom_data(self, names: list[str]) -> None:
        if self._size is None:
            self._fail("AtomData before Size")
        if len(set(names)) != len(names) or "type" not in names:
            self._fail("AtomData must have the column 'type' and no column twice")
        self._columns_line = self._line
        self._line += 1
        left = self._block.end - self._line
        if left < self._size:
            self._fail(
                f"AtomData: {self._size} atoms are announced, but only {left} lines follow",
                self._columns_line,
            )
        rows = np.zeros((self._size, len(names)))
        for row in range(self._size):
            rows[row] = self._numbers(self._block.file.lines[self._line], len(names))
        self._columns = {name: np.ascontiguousarray(rows[:, k]) for k, name in enumerate(names)}
        for name in set(names) & set(INTEGER_COLUMNS):
            wrong = np.flatnonzero(rows[:, names.index(name)] % 1)
            if len(wrong):
                self._fail(
                    f"column '{name}' must hold whole numbers", self._columns_line + 1 + wrong[0]
                )

    def _plus_stress(self, names: list[str]) -> None:
        names = names or list(VOIGT)
        if sorted(names) != sorted(VOIGT):
            self._fail(f"PlusStress: the columns {' '.join(VOIGT)} expected")
        self._line += 1
        if self._line >= self._block.end:
            self._fail("PlusStress has no numbers")
        values = self._numbers(self._block.file.lines[self._line], 6)
        self._virial = np.array([values[names.index(name)] for name in VOIGT])

    def _feature(self, rest: str) -> None:
        if rest.startswith('"'):
            try:
                key, end = json.JSONDecoder().raw_decode(rest)
            except ValueError:
                self._fail("Feature: the name in quotes does not end")
            value = rest[end:].strip()
        else:
            key, value = (*rest.split(None, 1), "", "")[:2]
        if not key:
            self._fail("Feature without a name")
        self._features[str(key)] = decode(value)
        self._line += 1

    def _atoms(self) -> Atoms:
        end = self._block.end
        if self._size is None:
            self._fail("the configuration has no Size", end)
        if not self._columns and self._size:
            self._fail("the configuration has no AtomData", end)
        cell, pbc = self._boundary()
        atoms = Atoms(self._symbols(), positions=self._positions(), cell=cell, pbc=pbc)
        self._take_columns(atoms)
        self._take_features(atoms)
        if self._virial is not None:
            if atoms.cell.rank == 3:
                self._results["stress"] = -self._virial / atoms.get_volume()
            else:
                atoms.info["PlusStress"] = self._virial
        if self._results:
            atoms.calc = SinglePointCalculator(atoms, **self._results)
        return atoms

    def _boundary(self) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the cell (3, 3) and which of its vectors are periodic."""
        rows = len(self._cell)
        pbc = np.asarray(self._features.pop(PBC, np.arange(3) < rows), dtype=bool)
        full = np.asarray(self._features.pop(CELL, np.zeros((3, 3))), dtype=float)
        if pbc.shape != (3,) or full.shape != (3, 3) or np.count_nonzero(pbc) != rows:
            self._fail(f"Feature {PBC} or {CELL} does not fit the Supercell", self._block.start)
        cell = full.copy()
        cell[pbc] = self._cell
        return cell, pbc

    def _symbols(self) -> list[str]:
        named = self._features.pop(SPECIES, None)
        named = str(named).split() if named is not None else None
        if named is not None and self._species is not None and named != self._species:
            self._fail(
                f"the file says that its species are {' '.join(named)}, in this order, not "
                f"{' '.join(self._species)}",
                self._block.start,
            )
        species = named or self._species
        if not self._size:
            return []
        types = self._columns.pop("type").astype(int)
        if species is None:
            example = ["Zr", "O", "H", "C"][: types.max() + 1]
            self._fail(
                "the file does not say which elements its types are: name them in the order of "
                f"the types, for instance species={example}",
                self._columns_line,
            )
        for element in species:
            if atomic_numbers.get(element, -1) < 0:
                self._fail(f"unknown element {element!r} among the species", self._block.start)
        wrong = np.flatnonzero((types < 0) | (types >= len(species)))
        if len(wrong):
            self._fail(
                f"type {types[wrong[0]]}, but there are {len(species)} species: "
                f"{' '.join(species)}",
                self._columns_line + 1 + int(wrong[0]),
            )
        return [species[t] for t in types]

    def _positions(self) -> Floats:
        cartesian = self._take(POSITIONS)
        scaled = self._take(_SCALED)
        if cartesian is not None:
            return cartesian
        if scaled is not None and len(self._cell) == 3:
            return scaled @ self._cell
        if self._size:
            self._fail(
                f"AtomData must have the columns {' '.join(POSITIONS)}"
                + (" (direct_x, ... need a Supercell of three rows)" if scaled is not None else ""),
                self._columns_line,
            )
        return np.zeros((0, 3))

    def _take(self, names: tuple[str, ...]) -> Floats | None:
        if not all(name in self._columns for name in names):
            return None
        return np.stack([self._columns.pop(name) for name in names], axis=1)

    def _take_columns(self, atoms: Atoms) -> None:
        forces, magmoms = self._take(FORCES), self._take(MAGMOMS)
        if forces is not None:
            self._results["forces"] = forces
        if magmoms is not None:
            self._results["magmoms"] = magmoms
        for name, values in self._columns.items():
            if name == "id":
                if (values != np.arange(1, len(values) + 1)).any():
                    atoms.new_array("id", values.astype(int))
            elif name in RESULT_COLUMNS:
                self._results[RESULT_COLUMNS[name]] = values
            else:
                atoms.new_array(name, values.astype(int) if name in INTEGER_COLUMNS else values)

    def _take_features(self, atoms: Atoms) -> None:
        for key, value in self._features.items():
            if key.startswith(ARRAY):
                array = np.asarray(value)
                if len(array) != len(atoms):
                    self._fail(f"Feature {key} must hold one entry per atom", self._block.start)
                atoms.set_array(key[len(ARRAY) :], array)
            elif key.startswith(RESULT):
                self._results[key[len(RESULT) :]] = value
            else:
                atoms.info[key] = value


def claims(path: Path) -> bool:
    """Return whether a path is of this format, by its suffix ``.cfg``.

    Parameters
    ----------
    path
        To read or to write.
    """
    return path.suffix == ".cfg"


def write_mlip_cfg(
    fd: TextIO, images: Sequence[Atoms] | Atoms, species: Sequence[str] | None = None
) -> None:
    """Write configurations.

    Parameters
    ----------
    fd
        An open text file.
    images
        The configurations; energies, forces and stresses come from their calculators, without
        starting a calculation.
    species
        Element of species 0, 1, ...; by default the elements in the order of their first
        appearance.
    """
    frames = [images] if isinstance(images, Atoms) else list(images)
    if species is None:
        species = list(dict.fromkeys(s for atoms in frames for s in atoms.symbols))
    for number, atoms in enumerate(frames):
        missing = sorted(set(atoms.symbols) - set(species))
        if missing:
            raise ValueError(
                f"configuration {number} has {missing[0]}, which is not among the species "
                f"{' '.join(species)}"
            )
        fd.writelines(f"{line}\n" for line in _lines(atoms, list(species)))


def _lines(atoms: Atoms, species: list[str]) -> Iterator[str]:
    results = _known_results(atoms)
    yield "BEGIN_CFG"
    yield " Size"
    yield f"    {len(atoms)}"
    if atoms.pbc.any():
        yield " Supercell"
        yield from (_row(vector) for vector in atoms.cell[atoms.pbc])
    columns = _columns(atoms, species, results)
    yield f" AtomData:  {' '.join(columns)}"
    for row in zip(*columns.values(), strict=True):
        yield "    " + " ".join(row)
    if "energy" in results:
        yield " Energy"
        yield f"    {float(results.pop('energy'))!r}"
    virial = _virial(atoms, results)
    if virial is not None:
        yield f" PlusStress:  {' '.join(VOIGT)}"
        yield _row(virial)
    yield from (
        f" Feature   {_key_text(k)}\t{v}" for k, v in _feature_lines(atoms, species, results)
    )
    yield "END_CFG"
    yield ""


def _row(values: Floats) -> str:
    return "    " + " ".join(repr(float(v)) for v in values)


def _known_results(atoms: Atoms) -> dict[str, Any]:
    """Return what is known without a calculation."""
    if atoms.calc is None:
        return {}
    known = {}
    for name in all_properties:
        try:
            value = atoms.calc.get_property(name, atoms, allow_calculation=False)
        except (PropertyNotImplementedError, NotImplementedError):
            continue
        if value is not None:
            known[name] = value
    return known


def _columns(atoms: Atoms, species: list[str], results: dict[str, Any]) -> dict[str, list[str]]:
    types = [species.index(symbol) for symbol in atoms.symbols]
    ids = atoms.arrays.get("id", np.arange(1, len(atoms) + 1))
    columns: dict[str, Any] = {"id": ids, "type": types}
    columns |= dict(zip(POSITIONS, atoms.positions.T, strict=True))
    if "forces" in results:
        columns |= dict(zip(FORCES, np.asarray(results.pop("forces")).T, strict=True))
    for column, name in RESULT_COLUMNS.items():
        if name in results:
            columns[column] = results.pop(name)
    if "magmoms" in results and np.shape(results["magmoms"]) == (len(atoms), 3):
        columns |= dict(zip(MAGMOMS, np.asarray(results.pop("magmoms")).T, strict=True))
    for name in ("nbh_grades", "ghost"):
        if name in atoms.arrays:
            columns[name] = atoms.arrays[name]
    return {
        name: [repr(int(v) if name in INTEGER_COLUMNS else float(v)) for v in values]
        for name, values in columns.items()
    }


def _virial(atoms: Atoms, results: dict[str, Any]) -> Floats | None:
    if "stress" in results and atoms.cell.rank == 3 and atoms.pbc.all():
        return -np.asarray(results.pop("stress")) * atoms.get_volume()
    if atoms.cell.rank < 3 and np.shape(atoms.info.get("PlusStress")) == (6,):
        return np.asarray(atoms.info["PlusStress"], dtype=float)
    return None


def _feature_lines(
    atoms: Atoms, species: list[str], results: dict[str, Any]
) -> Iterator[tuple[str, str]]:
    yield SPECIES, " ".join(species)
    rows = np.count_nonzero(atoms.pbc)
    if (atoms.pbc != (np.arange(3) < rows)).any():
        yield PBC, _encode(atoms.pbc)
    if atoms.cell[~atoms.pbc].any():
        yield CELL, _encode(np.asarray(atoms.cell))
    written = {"numbers", "positions", "id", "nbh_grades", "ghost"}
    for name, values in atoms.arrays.items():
        if name not in written:
            yield ARRAY + name, _encode(values)
    for name, value in results.items():
        yield RESULT + name, _encode(value)
    for name, value in atoms.info.items():
        if not (name == "PlusStress" and atoms.cell.rank < 3):
            yield str(name), _encode(value)


def _key_text(name: str) -> str:
    """Write a Feature's name as one word, or in quotes when it is none."""
    plain = name and not name.startswith('"') and len(name.split()) == 1 and name.isprintable()
    return name if plain and name == name.strip() else json.dumps(name)


def _encode(value: Any) -> str:  # noqa: ANN401
    """Write strings as they are, unless they would be read as something else."""
    if isinstance(value, str):
        plain = value and value == value.strip() and value.isprintable()
        return value if plain and decode(value) is value else json.dumps(value)
    return json.dumps(value, default=_plain)


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise ValueError(f"a value of type {type(value).__name__} cannot be written to a .cfg file")


__all__ = ["read_mlip_cfg", "write_mlip_cfg"]
