"""The file that holds the state of an unfinished fit."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from zipfile import BadZipFile

import numpy as np

from pescape.files import write_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

State = TypeVar("State")


def save(path: Path | str | None, content: Mapping[str, Any], identity: str) -> None:
    """Write the state of a fit; the file appears as a whole.

    Parameters
    ----------
    path
        The file; None: nothing is written.
    content
        Numbers and arrays by name.
    identity
        Tells this fit from others.
    """
    if path is None:
        return
    buffer = io.BytesIO()
    np.savez(buffer, identity=identity, **content)
    write_bytes(Path(path), buffer.getvalue())


def restored(
    path: Path | str | None, identity: str, build: Callable[[dict[str, NDArray[Any]]], State]
) -> State | None:
    """Read the state of the same fit, if the file is there.

    Parameters
    ----------
    path
        The file; None: there is none.
    identity
        Of the fit.
    build
        Makes the state of the content.

    Raises
    ------
    ValueError
        The file is no checkpoint, or that of another fit.
    """
    if path is None or not Path(path).exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            content = dict(file)
        same = str(content.pop("identity")) == identity
        state = build(content)
    except (OSError, KeyError, ValueError, TypeError, EOFError, BadZipFile) as error:
        raise ValueError(f"{path} is no checkpoint of a fit: {error}") from error
    if not same:
        raise ValueError(
            f"{path} belongs to another fit (other data, start or settings): "
            "remove it to start this one from the beginning"
        )
    return state
