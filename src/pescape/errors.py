"""Errors that are the user's to mend, not bugs."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

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


def nearest(given: str, known: Iterable[str], cutoff: float) -> str | None:
    """Find the known name that is most like another one, if any is like it.

    Parameters
    ----------
    given
        The other name.
    known
        Names to find it among.
    cutoff
        Similarity, 0 to 1, from which a name counts (`difflib.get_close_matches`).
    """
    return next(iter(difflib.get_close_matches(given, list(known), n=1, cutoff=cutoff)), None)


def did_you_mean(given: str, known: Iterable[str], *, cutoff: float = 0.5, most: int = 40) -> str:
    """Give the end of a sentence about an unknown name: the nearest known one, or all of them.

    Parameters
    ----------
    given
        The unknown name.
    known
        Names that would have been right.
    cutoff
        As of `nearest`.
    most
        Of more names than this none is listed.

    Returns
    -------
    str
        ``"did you mean 'x'?"``, ``"known here: x, y"``, or nothing.
    """
    names = list(known)
    near = nearest(given, names, cutoff)
    if near is not None:
        return f"did you mean {near!r}?"
    return f"known here: {', '.join(names) or 'none'}" if len(names) <= most else ""
