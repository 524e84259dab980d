"""Reading and writing configurations, with errors that name file and frame."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase.io
import numpy as np
from ase.data import chemical_symbols
from ase.io.formats import UnknownFileTypeError, ioformats

from pescape.errors import SOURCE, DataError
from pescape.files import TEMPORARY, atomic, fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ase import Atoms

# Formats that names of files ask for, beside those of `pescape.plugins.io`.
_BY_SUFFIX = {".xyz": "extxyz", ".extxyz": "extxyz", ".traj": "traj"}
_WRITTEN_AT_ONCE = 256


class Configurations:
    """Configurations of a file, read one by one each time they are iterated over.

    Memory holds one of them at a time, for files that ASE reads so: extxyz and trajectories
    of its own, not MLIP's ``.cfg``.

    Parameters
    ----------
    path
        extxyz, MLIP ``.cfg``, folders of DeePMD-kit, a trajectory, an OUTCAR, …
    species
        Elements of the species numbers, for files that do not name them.

    Raises
    ------
    DataError
        The file is not there; while iterating, it is not readable or holds no configuration.
    """

    def __init__(self, path: Path | str, *, species: Sequence[str] | None = None) -> None:
        self.path = Path(path)
        self._species = species
        if not self.path.is_file() and own_format(self.path) is None:
            raise DataError(f"{path}: no such file")

    def __iter__(self) -> Iterator[Atoms]:
        """Read them; ``info["source_frame"]`` names file and frame, for messages."""
        path = self.path
        options: dict[str, Any] = {}
        if (own := own_format(path)) is not None:
            options = {"format": own} | ({"species": list(self._species)} if self._species else {})
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
    """Read all configurations of a file.

    Parameters
    ----------
    path, species
        As of `Configurations`.
    """
    return list(Configurations(path, species=species))


def write_configurations(path: Path | str, frames: Iterable[Atoms]) -> None:
    """Write configurations atomically; as extxyz, some at a time, unless the name says else.

    Parameters
    ----------
    path
        ``.cfg``, ``.traj``, ``.deepmd`` (a folder), or anything for extxyz.
    frames
        The configurations, with what their calculators know.

    Raises
    ------
    DataError
        The format cannot hold them, or a folder would have to be replaced.
    """
    path = Path(path)
    own = own_format(path)
    kind = own or _BY_SUFFIX.get(path.suffix, "extxyz")
    bare = (_without_source(atoms) for atoms in frames)
    if own is not None and not ioformats[own].acceptsfd:
        _write_folder(path, list(bare), kind)
        return
    with atomic(path) as temporary:
        if kind != "extxyz":
            ase.io.write(temporary, list(bare), format=kind)
            return
        temporary.touch()
        while some := list(itertools.islice(bare, _WRITTEN_AT_ONCE)):
            ase.io.write(temporary, some, format=kind, append=True)


def own_format(path: Path) -> str | None:
    """Name that format of `pescape.plugins.io` to ASE whose module claims a path.

    The entry points of ``ase.ioformats`` in pyproject.toml list the modules; each reads, writes
    and ``claims``.

    Parameters
    ----------
    path
        To read or to write.
    """
    for known in ioformats.values():
        if known.module_name.startswith("pescape.") and known.module.claims(path):
            return str(known.name)
    return None


def _write_folder(path: Path, frames: list[Atoms], kind: str) -> None:
    if path.exists():
        raise DataError(f"{path}: is there already; remove it, or give another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=TEMPORARY) as temporary:
        whole = Path(temporary) / path.name
        try:
            ase.io.write(whole, frames, format=kind)
        except ValueError as error:
            raise DataError(f"{path}: {error}") from error
        whole.rename(path)


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
