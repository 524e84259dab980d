"""Files that are whole or not there: atomic writes, tables, append-only indexes, fingerprints."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import ArrayLike

#: How the names of files that are not yet whole begin.
TEMPORARY = ".part-"


@contextlib.contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Context manager: a temporary path beside `path`, put in its place when the block succeeds.

    Readers see the old file or the new one, never a part; a failure leaves the old one.
    The temporary name ends like the final one, for writers that go by the suffix.

    Parameters
    ----------
    path
        The file; its folder is made if need be.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}-{path.name}")
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write bytes atomically.

    Parameters
    ----------
    path, data
        The file and all that it holds.
    """
    with atomic(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path | str, text: str) -> None:
    """Write text atomically.

    Parameters
    ----------
    path, text
        The file and all that it holds.
    """
    write_bytes(path, text.encode())


def write_json(path: Path | str, content: object) -> None:
    """Write JSON atomically.

    Parameters
    ----------
    path, content
        The file and all that it holds; NaN and infinities are refused.
    """
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_table(
    path: Path | str, rows: Iterable[Mapping[str, Any]], columns: Sequence[str] = ()
) -> None:
    """Write a table with a line of column names atomically.

    Parameters
    ----------
    path
        The file.
    rows
        Values by column; None is written as nothing.
    columns
        Their names; those of the first row by default.
    """
    rows = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns or list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def extend_file(path: Path | str, start: int, content: bytes) -> int:
    """Make a growing file go on with some bytes from a position on.

    What a kill left unfinished there, or what differs, is cut off first. Where the bytes are in
    the file already, it is left as it is, with all that follows.

    Parameters
    ----------
    path
        The file, which is made if need be.
    start
        Length of what is known to be whole.
    content
        The bytes.

    Returns
    -------
    int
        Where they end.
    """
    path = Path(path)
    path.touch()
    with path.open("rb+") as file:
        file.seek(start)
        if file.read(len(content)) != content:
            file.seek(start)
            file.truncate()
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    return start + len(content)


def append_line(path: Path | str, record: Mapping[str, Any]) -> None:
    """Append one JSON record as a line, in a single write: several processes may do so.

    Parameters
    ----------
    path, record
        The file and what is added.
    """
    line = json.dumps(record, separators=(",", ":"), allow_nan=False) + "\n"
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)


def close_line(path: Path | str) -> None:
    """End a line that a crash left unfinished, so that it spoils none after it.

    Parameters
    ----------
    path
        The file; it need not be there.
    """
    path = Path(path)
    content = path.read_bytes() if path.exists() else b""
    if content and not content.endswith(b"\n"):
        with path.open("ab") as file:
            file.write(b"\n")


def read_lines(path: Path | str) -> list[dict[str, Any]]:
    """Read the records of an append-only index, without a line a kill left unfinished.

    Parameters
    ----------
    path
        The file; there are no records if it is not there.
    """
    path = Path(path)
    if not path.exists():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            records.append(json.loads(line))
    return records


def fingerprint(*parts: object) -> str:
    """Fingerprint of values that JSON can hold, or bytes; the same on every machine.

    Parameters
    ----------
    *parts
        Where one ends and the next begins counts. Floats enter with all their digits.

    Returns
    -------
    str
        The first 32 hexadecimal digits of their SHA-256.
    """
    content = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else _canonical(part)
        content.update(len(data).to_bytes(8, "little"))
        content.update(data)
    return content.hexdigest()[:32]


def _canonical(part: object) -> bytes:
    return json.dumps(part, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def sha256(*parts: bytes | str | ArrayLike) -> str:
    """SHA-256 of bytes, texts and arrays one after another, in hexadecimal digits.

    Parameters
    ----------
    *parts
        Only their bytes in memory count, not shapes and types.
    """
    import numpy as np  # here, to let files be written without it

    content = hashlib.sha256()
    for part in parts:
        if isinstance(part, (bytes, str)):
            content.update(part if isinstance(part, bytes) else part.encode())
        else:
            content.update(np.ascontiguousarray(part).tobytes())
    return content.hexdigest()


def file_sha256(path: Path | str) -> str:
    """SHA-256 of a file, or of all files of a folder one after another by their paths.

    Parameters
    ----------
    path
        The file or folder.
    """
    path = Path(path)
    content = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
        with file.open("rb") as opened:
            while part := opened.read(1 << 20):
                content.update(part)
    return content.hexdigest()
