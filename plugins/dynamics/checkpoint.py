"""Checkpoint files: arrays and plain data in one NumPy archive, replaced atomically."""

from __future__ import annotations

import io
import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

_META = "__meta__"


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be read, or that belongs to another run."""


def write_checkpoint(
    path: str | Path, kind: str, arrays: Mapping[str, np.ndarray], data: Mapping[str, Any]
) -> None:
    """Write a checkpoint so that a kill at any time leaves either the old file or the new one.

    Parameters
    ----------
    path
        File to replace.
    kind
        Name of the class that will read it back.
    arrays
        Arrays, kept bit for bit.
    data
        What JSON can hold; floats survive exactly.
    """
    path = Path(path)
    text = json.dumps({"kind": kind, "data": dict(data)})
    buffer = io.BytesIO()
    members: dict[str, Any] = {name: np.asarray(array) for name, array in arrays.items()}
    members[_META] = np.frombuffer(text.encode(), dtype=np.uint8)
    np.savez(buffer, **members)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(buffer.getvalue())
        os.replace(name, path)  # noqa: PTH105
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_checkpoint(path: str | Path, kind: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read a checkpoint back.

    Parameters
    ----------
    path
        File that `write_checkpoint` wrote.
    kind
        Name of the class that reads.

    Returns
    -------
    tuple
        The arrays and the plain data.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        meta = json.loads(arrays.pop(_META).tobytes().decode())
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{path}: not a checkpoint of this package ({error}); remove it to start afresh"
        ) from error
    if meta["kind"] != kind:
        raise CheckpointError(
            f"{path}: a checkpoint of {meta['kind']}, expected one of {kind}; "
            "name another file for this run"
        )
    return arrays, meta["data"]
