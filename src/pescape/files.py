"""Files that are whole or not there: atomic writes, append-only indexes, fingerprints.

Files that appear as a whole.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


#: How the names of files that are not yet whole begin.
TEMPORARY = ".part-"


@contextlib.contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside `path`, put in its place when the block succeeds.

    Readers see the old file or the new one, never a part; a failure leaves the old one.
    The temporary name ends like the final one, for writers that go by the suffix.
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


def write_text(path: Path | str, text: str) -> None:
    """Write text atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, content: object) -> None:
    """Write JSON atomically."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_table(path: Path | str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a CSV file atomically.

    Parameters
    ----------
    path
        The file.
    rows
        At least one; all have the columns of the first.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
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
    """Append one JSON record as a line, in a single write: several processes may do so."""
    line = json.dumps(record, separators=(",", ":"), allow_nan=False) + "\n"
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)


def close_line(path: Path | str) -> None:
    """End a line that a crash left unfinished, so that it spoils none after it."""
    path = Path(path)
    content = path.read_bytes() if path.exists() else b""
    if content and not content.endswith(b"\n"):
        with path.open("ab") as file:
            file.write(b"\n")


def read_lines(path: Path | str) -> list[dict[str, Any]]:
    """Read the records of an append-only index, without a line a kill left unfinished."""
    path = Path(path)
    if not path.exists():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            records.append(json.loads(line))
    return records


def fingerprint(*parts: object) -> str:
    """SHA-256 of values that JSON can hold, or bytes; the same on every machine.

    Floats enter with all their digits. The first 32 hexadecimal digits are given.
    """
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else _canonical(part)
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()[:32]


def _canonical(part: object) -> bytes:
    return json.dumps(part, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that appears as a whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
