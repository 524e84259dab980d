"""Data sets and other files that command lines name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pescape.dataset import read_configurations
from pescape.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms


def named_files(given: Sequence[str], what: str = "data sets") -> list[tuple[str | None, Path]]:
    """Split arguments NAME=FILE; the names are None where all are files without names."""
    named = [one.partition("=") for one in given]
    if len({bool(separator) for _, separator, _ in named}) > 1:
        raise DataError(f"give all {what} as NAME=FILE, or none of them")
    return [
        (name, Path(file)) if separator else (None, Path(name)) for name, separator, file in named
    ]


def read_sets(given: Sequence[str]) -> tuple[dict[str, list[Atoms]], list[Path]]:
    """Read sets that are a file each, or the samplers of files given without names.

    Returns
    -------
    dict, list
        The sets by name, and all files.
    """
    read: dict[str, list[Atoms]] = {}
    files = named_files(given)
    for name, file in files:
        for atoms in read_configurations(file):
            key = str(atoms.info.get("sampler", file.stem)) if name is None else name
            read.setdefault(key, []).append(atoms)
    return read, [file for _, file in files]
