"""Risky configurations as extended XYZ, in a file that never shows a frame that is not whole.

The frames are those of ``fix extrapolation``, so that readers need not know who wrote them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.units import fs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pescape.lammps_style.python.clib import Box

#: Å/ps in ASE's unit of velocity.
ASE_VELOCITY = 1.0 / (1000 * fs)

# Fraction of a cell vector by which an atom may lie outside before it is wrapped.
_FACE_TOLERANCE = 1e-9


@dataclass(frozen=True)
class AtomRecords:
    """Atoms of one rank, or of all.

    Attributes
    ----------
    tags, types : (n,) int arrays
        LAMMPS' identities and types.
    positions, velocities : (n, 3) float arrays
        Å, Å/ps.
    masses, grades : (n,) float arrays
        g/mol, and extrapolation grades.
    """

    tags: NDArray[np.int64]
    types: NDArray[np.int32]
    positions: NDArray[np.float64]
    velocities: NDArray[np.float64]
    masses: NDArray[np.float64]
    grades: NDArray[np.float64]

    @staticmethod
    def joined(parts: Sequence[AtomRecords]) -> AtomRecords:
        """Join the atoms of all ranks, by rising tag.

        Parameters
        ----------
        parts
            Those of each rank.
        """
        columns = [
            np.concatenate([getattr(part, name) for part in parts])
            for name in AtomRecords.__dataclass_fields__
        ]
        order = np.argsort(columns[0])
        return AtomRecords(*(column[order] for column in columns))


def frame(
    atoms: AtomRecords,
    box: Box,
    element_of_type: Mapping[int, str],
    comment: Mapping[str, object],
    *,
    atom_grades: bool,
) -> str:
    """Write one configuration as text.

    Parameters
    ----------
    atoms
        All atoms, by rising tag.
    box
        The cell; positions are written relative to its corner, wrapped where it is periodic.
    element_of_type
        "X" is written for types that are missing.
    comment
        Further entries of the comment line.
    atom_grades
        Whether to write the column of grades.
    """
    columns = "species:S:1:pos:R:3:id:I:1:type:I:1:masses:R:1:momenta:R:3"
    if atom_grades:
        columns += ":extrapolation_grades:R:1"
    head = {
        "Lattice": _row(box.cell.ravel()),
        "Origin": _row(box.origin),
        "Properties": columns,
        "pbc": " ".join("FT"[p] for p in box.periodic),
        **comment,
    }
    lines = [str(len(atoms.tags)), " ".join(f"{k}={_quoted(str(v))}" for k, v in head.items())]
    positions = _wrapped(atoms.positions - box.origin, box)
    momenta = atoms.velocities * (atoms.masses[:, None] * ASE_VELOCITY)
    for k, (tag, kind) in enumerate(zip(atoms.tags.tolist(), atoms.types.tolist(), strict=True)):
        line = (
            f"{element_of_type.get(kind, 'X')} {_row(positions[k])} {tag} {kind} "
            f"{atoms.masses[k]:.6f} {_row(momenta[k])}"
        )
        lines.append(f"{line} {atoms.grades[k]:.6f}" if atom_grades else line)
    return "\n".join(lines) + "\n"


def start_file(path: Path, *, append: bool) -> None:
    """Check that the file can be written; remove what it holds, or only a frame cut short.

    Parameters
    ----------
    path
        The file.
    append
        Whether to keep its whole frames.

    Raises
    ------
    ValueError
        When something other than XYZ frames would have to be continued.
    """
    with path.open("ab"):
        pass
    text = path.read_bytes() if append else b""
    end = _end_of_frames(text)
    if end:
        os.truncate(path, end)
    elif text.splitlines()[:1] and text.splitlines()[0].strip():
        raise ValueError(f"{path}: it holds something else than XYZ frames: nothing is appended")
    else:
        path.unlink()


def _end_of_frames(text: bytes) -> int:
    """Find where the last whole frame ends."""
    end = 0
    while True:
        first, newline, _ = text[end : end + 32].partition(b"\n")
        if not newline or not first.strip().isdigit():
            return end
        place = end
        for _ in range(int(first) + 2):
            place = text.find(b"\n", place) + 1
            if place == 0:
                return end
        end = place


def add_frame(path: Path, text: str) -> None:
    """Append a frame and wait until the disk has it.

    Its first line, the number of atoms, stays blank until all the rest is on the disk: readers
    stop at a blank line, so a kill at any moment leaves whole frames only.

    Parameters
    ----------
    path
        The file.
    text
        The frame.
    """
    data = text.encode()
    digits = data.index(b"\n")
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        start = os.fstat(file).st_size
        try:
            _write_at(file, b" " * digits + data[digits:], start)
            os.fsync(file)
            _write_at(file, data[:digits], start)
            os.fsync(file)
        except OSError:
            os.ftruncate(file, start)
            raise
    finally:
        os.close(file)


def _write_at(file: int, data: bytes, place: int) -> None:
    rest = memoryview(data)
    while rest:
        done = os.pwrite(file, rest, place)
        rest, place = rest[done:], place + done


def _wrapped(positions: NDArray[np.float64], box: Box) -> NDArray[np.float64]:
    """Move positions into the cell along its periodic directions."""
    turns = np.floor(np.linalg.solve(box.cell.T, positions.T).T + _FACE_TOLERANCE)
    return positions - np.where(box.periodic, turns, 0.0) @ box.cell


def _row(values: NDArray[np.float64]) -> str:
    # adding zero turns -0.0 into 0.0
    return " ".join(f"{value:.8f}" for value in np.round(values, 8) + 0.0)


def _quoted(value: str) -> str:
    if value and not set(value) & set(" \t\"\\'=,[]{}"):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
