"""Reading and writing configurations, with errors that name file and frame."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase.io
import numpy as np
from ase.data import chemical_symbols
from ase.io.formats import UnknownFileTypeError

from pescape.errors import SOURCE, DataError
from pescape.files import atomic, fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ase import Atoms

_CFG = "mlip-cfg"
_WRITTEN_AT_ONCE = 256


class Configurations:
    """Configurations of a file, read one by one each time they are iterated over.

    Memory holds one of them at a time, for files that ASE reads so: extxyz and trajectories
    of its own, not MLIP's ``.cfg``.

    Parameters
    ----------
    path
        extxyz, MLIP ``.cfg``, a trajectory, an OUTCAR, …
    species
        Elements of the species numbers, for ``.cfg`` files that do not name them.

    Raises
    ------
    DataError
        The file is not there; while iterating, it is not readable or holds no configuration.
    """

    def __init__(self, path: Path | str, *, species: Sequence[str] | None = None) -> None:
        self.path = Path(path)
        self._species = species
        if not self.path.is_file():
            raise DataError(f"{path}: no such file")

    def __iter__(self) -> Iterator[Atoms]:
        """Read them; ``info["source_frame"]`` names file and frame, for messages."""
        path = self.path
        options: dict[str, Any] = {}
        if path.suffix == ".cfg":
            options = {"format": _CFG} | ({"species": list(self._species)} if self._species else {})
        elif path.suffix in {".xyz", ".extxyz"}:
            options = {"format": "extxyz"}
        index = -1
        try:
            for index, atoms in enumerate(ase.io.iread(path, ":", **options)):
                atoms.info[SOURCE] = f"{path} frame {index}"
                yield atoms
        except UnknownFileTypeError as error:
            raise DataError(f"{path}: not a format that ASE can read ({error})") from error
        except Exception as error:  # ASE's readers raise anything
            reason = str(error) or type(error).__name__
            where = "" if str(path) in reason else f"{path}: cannot be read: "
            raise DataError(f"{where}{reason}") from error
        if index < 0:
            raise DataError(f"{path}: holds no configurations")


def read_configurations(path: Path | str, *, species: Sequence[str] | None = None) -> list[Atoms]:
    """Read all configurations of a file in any format ASE knows; see `Configurations`."""
    return list(Configurations(path, species=species))


def write_configurations(path: Path | str, frames: Iterable[Atoms]) -> None:
    """Write configurations atomically; extxyz, then some at a time, unless the name says else."""
    path = Path(path)
    known = {".cfg": _CFG, ".xyz": "extxyz", ".extxyz": "extxyz", ".traj": "traj"}
    kind = known.get(path.suffix, "extxyz")
    bare = (_without_source(atoms) for atoms in frames)
    with atomic(path) as temporary:
        if kind != "extxyz":
            ase.io.write(temporary, list(bare), format=kind)
            return
        temporary.touch()
        while some := list(itertools.islice(bare, _WRITTEN_AT_ONCE)):
            ase.io.write(temporary, some, format=kind, append=True)


def configuration_id(atoms: Atoms) -> str:
    """Fingerprint of species, positions, cell and periodicity, bit by bit.

    Parameters
    ----------
    atoms
        The configuration; its labels play no part.
    """
    return fingerprint(
        np.asarray(atoms.numbers, dtype="<i8").tobytes(),
        np.asarray(atoms.positions, dtype="<f8").tobytes(),
        np.asarray(atoms.cell.array, dtype="<f8").tobytes(),
        np.asarray(atoms.pbc, dtype="<i8").tobytes(),
    )


def as_stored(atoms: Atoms) -> Atoms:
    """Copy a configuration as an extxyz file keeps it, so that a label fits what is stored.

    Parameters
    ----------
    atoms
        The configuration.

    Returns
    -------
    Atoms
        Positions and cell have eight decimals; ``info["configuration_id"]`` is theirs.
    """
    new = atoms.copy()
    new.set_cell(np.round(new.cell.array, 8))
    new.positions = np.round(new.positions, 8)
    new.info["configuration_id"] = configuration_id(new)
    return new


def species_of(frames: Sequence[Atoms]) -> tuple[str, ...]:
    """List the chemical symbols in a data set, by atomic number.

    Parameters
    ----------
    frames
        At least one configuration.
    """
    numbers = np.unique(np.concatenate([atoms.numbers for atoms in frames]))
    return tuple(chemical_symbols[number] for number in numbers)


def _without_source(atoms: Atoms) -> Atoms:
    new = atoms.copy()
    new.calc = atoms.calc
    new.info.pop(SOURCE, None)
    # Read back from extxyz, an empty entry would swallow the one after it.
    new.info = {key: value for key, value in new.info.items() if str(value) != ""}
    return new
