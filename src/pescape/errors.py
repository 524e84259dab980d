"""Errors that are the user's to mend, not bugs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ase import Atoms

#: Entry of ``atoms.info`` that says which frame of which file a configuration was read from.
SOURCE = "source_frame"


class PescapeError(Exception):
    """An error told in one clear line: which file or value, what was expected."""


class ConfigError(PescapeError):
    """A configuration file that cannot be used as it is."""


class DataError(PescapeError):
    """A data set with missing, wrong or unphysical entries."""


class TaskError(PescapeError):
    """A task that failed for a reason outside its inputs."""


def frame_name(atoms: Atoms, otherwise: int | str) -> str:
    """Name a configuration in messages.

    Parameters
    ----------
    atoms
        The configuration; it knows file and frame if `pescape.data` read it.
    otherwise
        What to call it if it does not: its number, or a text.
    """
    unnamed = f"configuration {otherwise}" if isinstance(otherwise, int) else otherwise
    return str(atoms.info.get(SOURCE, unnamed))
