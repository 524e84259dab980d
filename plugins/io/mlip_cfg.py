"""MLIP's ``.cfg`` files for ``ase.io``: ``ase.io.read("train.cfg", species=["Zr", "O"])``.

A ``.cfg`` file numbers its species and names no elements. The element of every species is taken
from the keyword ``species`` or, in files written here, from a ``Feature`` line. Whatever else
``Atoms`` hold and ``.cfg`` has no place for travels in ``Feature`` lines as JSON too, so that
nothing is lost between ``.cfg`` and extxyz; other programs ignore these lines.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError, all_properties

from pescape.plugins.io.cfg_reading import (
    ARRAY,
    CELL,
    FORCES,
    INTEGER_COLUMNS,
    MAGMOMS,
    PBC,
    POSITIONS,
    RESULT,
    RESULT_COLUMNS,
    SPECIES,
    VOIGT,
    decode,
    read_mlip_cfg,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


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
