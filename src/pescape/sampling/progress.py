"""Progress inside trajectories, read off their logs."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

_SECONDS = 0.5


class CallCounter:
    """Counts the force calls in logs that grow; what was read once is not read again."""

    def __init__(self, logs: Mapping[str, Path]) -> None:
        self._logs = dict(logs)
        self._read: dict[str, tuple[int, int]] = {}

    def count(self) -> dict[str, int]:
        """Force calls so far by the logs' names; logs that do not exist are left out."""
        found = {}
        for name, path in self._logs.items():
            offset, lines = self._read.get(name, (0, 0))
            with contextlib.suppress(OSError), path.open("rb") as file:
                if path.stat().st_size < offset:  # written anew
                    offset, lines = 0, 0
                file.seek(offset)
                content = file.read()
                whole = content[: content.rfind(b"\n") + 1]
                lines += sum(line.startswith(b'{"id"') for line in whole.split(b"\n"))
                self._read[name] = offset + len(whole), lines
                found[name] = lines
        return found


@contextlib.contextmanager
def watched(logs: Mapping[str, Path], tell: Callable[[dict[str, int]], None]) -> Iterator[None]:
    """Tell the force calls in logs that grow, twice a second while the block runs."""
    counter, done = CallCounter(logs), threading.Event()
    before = counter.count()

    def poll() -> None:
        while not done.wait(_SECONDS):
            now = counter.count()
            tell({name: calls for name, calls in now.items() if calls != before.get(name)})

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
