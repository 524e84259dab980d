"""Files of Behler-Parrinello potentials: which format one is, reading and writing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pescape.calculators.bpnn.formats import amp, n2p2, n2p2_writing, own, simple_nn
from pescape.calculators.bpnn.formats.lines import shortened
from pescape.calculators.bpnn.units import ENERGIES, LENGTHS, unit_value

if TYPE_CHECKING:
    from os import PathLike

    from pescape.calculators.bpnn.potential import BPNNPotential

#: What each format is called in messages.
NAMES = {
    "pescape": "a pescape BPNN file",
    "amp": "an Amp file",
    "simple-nn": "a SIMPLE-NN file",
    "n2p2": "an n2p2 or RuNNer folder",
}
#: Formats that can be written.
WRITERS = ("pescape", "n2p2")
_READERS = {"pescape": own.parse, "amp": amp.parse, "simple-nn": simple_nn.parse}
_START = 65536  # bytes to look at
_LONGEST = 320  # characters of a message


def detect_format(path: str | PathLike[str]) -> str | None:
    """Return the format of a file or folder by its content; None if it is none of ours."""
    path = Path(path)
    if path.is_dir():
        return "n2p2" if (path / n2p2.SETTINGS).is_file() else None
    with path.open("rb") as file:
        start = file.read(_START).lstrip()
    if start.startswith(own.HEAD.encode()):
        return "pescape"
    if start.startswith(b"ELEM_LIST"):
        return "simple-nn"
    if start.startswith(b"dict(") and (b"descriptor" in start or b"model" in start):
        return "amp"
    return None


def read_potential(
    path: str | PathLike[str],
    *,
    length_unit: str | float | None = None,
    energy_unit: str | float | None = None,
) -> BPNNPotential:
    """Read a potential of any format, see ``BPNNPotential.read``.

    Raises
    ------
    ValueError
        "FILE, line N: ..." when anything in the file is wrong.
    """
    path = Path(path)
    kind = detect_format(path)
    if kind is None:
        raise ValueError(f"{path}: not a BPNN potential; known are {', '.join(NAMES.values())}")
    length = None if length_unit is None else unit_value(length_unit, LENGTHS, "length_unit")
    energy = None if energy_unit is None else unit_value(energy_unit, ENERGIES, "energy_unit")
    try:
        if kind == "n2p2":
            return n2p2.read_folder(path, length, energy)
        potential = _READERS[kind](path.read_bytes(), str(path))
    except ValueError as error:
        raise ValueError(_message(path, str(error))) from None
    units = potential.units
    if length not in (None, 1.0, units.length) or energy not in (None, 1.0, units.energy):
        raise ValueError(f"{path} is {NAMES[kind]}, which is in Å and eV: leave the units out")
    return potential


def _message(path: Path, message: str) -> str:
    """Begin a message with the file, and keep what is quoted from the file from filling it."""
    start = str(path)
    rest = message.removeprefix(start)
    separator = ": " if rest == message else ""
    return start + separator + shortened(rest, _LONGEST)


def write_potential(
    path: str | PathLike[str],
    potential: BPNNPotential,
    kind: str | None = None,
) -> None:
    """Write a potential, see ``BPNNPotential.write``."""
    path = Path(path)
    if kind is None:
        kind = "n2p2" if path.is_dir() or not path.suffix else "pescape"
    if kind not in WRITERS:
        raise ValueError(f"BPNN potentials are written as {' or '.join(WRITERS)}, not {kind!r}")
    if kind == "n2p2":
        n2p2_writing.write_folder(path, potential)
    else:
        own.write(path, potential)
