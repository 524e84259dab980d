"""Labelled configurations that tasks share through a file instead of carrying them along."""

from __future__ import annotations

import contextlib
import pickle
from functools import cached_property
from typing import TYPE_CHECKING, Any

import ase.io
import numpy as np

from pescape.data.configurations import configuration_id
from pescape.errors import SOURCE, DataError, TaskError, frame_name
from pescape.files import atomic, fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ase import Atoms


class LabelledData:
    """Labelled configurations and a file that holds them, first of all its content.

    Pickled, it is the path of the file, how many configurations count and a fingerprint of
    these: a task that is given it reads the file.

    Parameters
    ----------
    frames
        Configurations with labels, ``info["configuration_id"]`` and ``info["reference_id"]``.
    path
        extxyz, or ``.pickle`` for what `on_disk` writes.
    """

    def __init__(self, frames: Sequence[Atoms], path: Path) -> None:
        self.frames = list(frames)
        self.path = path

    @cached_property
    def ids(self) -> list[tuple[str, str]]:
        """What each configuration is and who labelled it."""
        return [
            (atoms.info["configuration_id"], atoms.info["reference_id"]) for atoms in self.frames
        ]

    @contextlib.contextmanager
    def on_disk(self) -> Iterator[None]:
        """Context manager: the file is there in the block, digit by digit, and gone after it."""
        with atomic(self.path) as path:
            path.write_bytes(pickle.dumps(self.frames))
        try:
            yield
        finally:
            self.path.unlink(missing_ok=True)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the name of the file instead of its content."""
        return _read, (self.path, len(self.frames), fingerprint(self.ids))


def _read(path: Path, count: int, digest: str) -> LabelledData:
    """Read the data that was pickled by name."""
    if path.suffix == ".pickle":
        frames = pickle.loads(path.read_bytes())  # noqa: S301 (of our own making)
    else:
        frames = ase.io.read(path, f":{count}", format="extxyz")
    data = LabelledData(frames, path)
    if fingerprint(data.ids) != digest:
        raise TaskError(
            f"{path}: is not what it was when the task was made: start again, which makes it whole"
        )
    return data


def identified(atoms: Atoms) -> Atoms:
    """Copy a labelled configuration and say what it is, where its data set does not.

    Parameters
    ----------
    atoms
        With its labels.

    Returns
    -------
    Atoms
        With ``configuration_id`` and ``reference_id`` in ``info``.

    Raises
    ------
    DataError
        It has no labels.
    """
    source = frame_name(atoms, "a configuration")
    if atoms.calc is None:
        raise DataError(f"{source} has no labels")
    new = atoms.copy()
    new.calc = atoms.calc
    # The folder it was read from must not make a difference to what is fitted to it.
    new.info[SOURCE] = source.rpartition("/")[2]
    labels = {
        name: np.asarray(value, dtype=float).tolist()
        for name, value in atoms.calc.results.items()
        if name in ("energy", "free_energy", "forces", "stress")
    }
    new.info.setdefault("configuration_id", configuration_id(atoms))
    new.info.setdefault("reference_id", fingerprint(labels))
    return new
