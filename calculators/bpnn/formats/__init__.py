"""Files of Behler-Parrinello potentials: which format one is, reading and writing.

A new format is a module with a `Format`, and its place in `FORMATS`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ase.units import Bohr, Hartree

from pescape.calculators.bpnn.formats import amp, n2p2, own, simple_nn
from pescape.calculators.bpnn.formats.common import Format, shortened

if TYPE_CHECKING:
    from os import PathLike

    from pescape.calculators.bpnn.data import BPNNData

FORMATS = (own.FORMAT, amp.FORMAT, simple_nn.FORMAT, n2p2.FORMAT)

_LENGTHS = {"angstrom": 1.0, "bohr": Bohr}
_ENERGIES = {"ev": 1.0, "hartree": Hartree}
_START = 65536  # bytes to look at
_LONGEST = 320  # characters of a message


def detect_format(path: str | PathLike[str]) -> str | None:
    """Return the name of the format of a file or folder by its content; None if it is no potential.

    Parameters
    ----------
    path
        File or folder.
    """
    found = _format_of(Path(path))
    return None if found is None else found.name


def _format_of(path: Path) -> Format | None:
    start = b""
    if not path.is_dir():
        with path.open("rb") as file:
            start = file.read(_START).lstrip()
    return next((one for one in FORMATS if one.matches(path, start)), None)


def read_data(
    path: str | PathLike[str],
    *,
    length_unit: str | float | None = None,
    energy_unit: str | float | None = None,
) -> BPNNData:
    """Read a potential of any format.

    Parameters
    ----------
    path
        File or folder.
    length_unit, energy_unit
        Units of a format that does not name them, see ``BPNNPotential.read``.

    Raises
    ------
    ValueError
        "FILE, line N: ..." when anything in the file is wrong.
    """
    path = Path(path)
    kind = _format_of(path)
    if kind is None:
        known = ", ".join(one.description for one in FORMATS)
        raise ValueError(f"{path}: not a BPNN potential; known are {known}")
    length = None if length_unit is None else _unit_value(length_unit, _LENGTHS, "length_unit")
    energy = None if energy_unit is None else _unit_value(energy_unit, _ENERGIES, "energy_unit")
    try:
        data = kind.read(path, length, energy)
    except ValueError as error:
        raise ValueError(_message(path, str(error))) from None
    units = data.units
    if length not in (None, 1.0, units.length) or energy not in (None, 1.0, units.energy):
        raise ValueError(f"{path} is {kind.description}, which is in Å and eV: leave the units out")
    return data


def _message(path: Path, message: str) -> str:
    """Begin a message with the file, and keep what is quoted from the file from filling it."""
    start = str(path)
    rest = message.removeprefix(start)
    separator = ": " if rest == message else ""
    return start + separator + shortened(rest, _LONGEST)


def write_data(path: str | PathLike[str], data: BPNNData, kind: str | None = None) -> None:
    """Write a potential.

    Parameters
    ----------
    path
        File or folder.
    data
        The potential.
    kind
        Name of a format; by default one of folders for folders and names without a suffix, else
        one of files.
    """
    path = Path(path)
    writable = {one.name: one.write for one in FORMATS if one.write is not None}
    if kind is None:
        is_folder = path.is_dir() or not path.suffix
        kind = next(one.name for one in FORMATS if one.write and one.is_folder == is_folder)
    if kind not in writable:
        raise ValueError(f"BPNN potentials are written as {' or '.join(writable)}, not {kind!r}")
    writable[kind](path, data)


def _unit_value(unit: str | float, known: dict[str, float], what: str) -> float:
    """Return the value of a unit given by name, in any case, or in Å or eV."""
    if isinstance(unit, str):
        try:
            return known[unit.strip().lower()] if unit.strip().lower() in known else float(unit)
        except ValueError:
            names = " or ".join(repr(name) for name in known)
            raise ValueError(f"{what} must be {names} or a number, not {unit!r}") from None
    return float(unit)
