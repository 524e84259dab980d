"""Reading and writing configurations, with errors that name file and frame."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase.io
import numpy as np
from ase.io.formats import UnknownFileTypeError

from pescape.errors import DataError
from pescape.files import atomic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

#: Entry of ``atoms.info`` that says where a configuration was read from.
SOURCE = "source_frame"
_CFG = "mlip-cfg"


def read_configurations(path: Path | str, *, species: Sequence[str] | None = None) -> list[Atoms]:
    """Read all configurations of a file in any format ASE knows.

    Parameters
    ----------
    path
        extxyz, MLIP ``.cfg``, a trajectory, an OUTCAR, …
    species
        Elements of the species numbers, for ``.cfg`` files that do not name them.

    Returns
    -------
    list of Atoms
        ``info["source_frame"]`` names file and frame, for messages.

    Raises
    ------
    DataError
        The file is not there, not readable or holds no configuration.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    options: dict[str, Any] = {}
    if path.suffix == ".cfg":
        options = {"format": _CFG} | ({"species": list(species)} if species else {})
    elif path.suffix in {".xyz", ".extxyz"}:
        options = {"format": "extxyz"}
    try:
        frames = ase.io.read(path, ":", **options)
    except UnknownFileTypeError as error:
        raise DataError(f"{path}: not a format that ASE can read ({error})") from error
    except Exception as error:  # ASE's readers raise anything
        reason = str(error) or type(error).__name__
        where = "" if str(path) in reason else f"{path}: "
        raise DataError(
            f"{where}{reason}" if where == "" else f"{where}cannot be read: {reason}"
        ) from error
    if not frames:
        raise DataError(f"{path}: holds no configurations")
    for index, atoms in enumerate(frames):
        atoms.info[SOURCE] = f"{path} frame {index}"
    return list(frames)


def write_configurations(path: Path | str, frames: Sequence[Atoms]) -> None:
    """Write configurations atomically; extxyz unless the name says otherwise."""
    path = Path(path)
    known = {".cfg": _CFG, ".xyz": "extxyz", ".extxyz": "extxyz", ".traj": "traj"}
    bare = []
    for atoms in frames:
        new = atoms.copy()
        new.calc = atoms.calc
        new.info.pop(SOURCE, None)
        # Read back from extxyz, an empty entry would swallow the one after it.
        new.info = {key: value for key, value in new.info.items() if str(value) != ""}
        bare.append(new)
    with atomic(path) as temporary:
        ase.io.write(temporary, bare, format=known.get(path.suffix, "extxyz"))


def species_of(frames: Sequence[Atoms]) -> tuple[str, ...]:
    """Chemical symbols in a data set, by atomic number."""
    from ase.data import chemical_symbols

    numbers = np.unique(np.concatenate([atoms.numbers for atoms in frames]))
    return tuple(chemical_symbols[number] for number in numbers)
