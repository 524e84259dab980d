"""Run a program that ends with its parent, in time, and with all it has started.

    python guard.py DESCRIPTOR SECONDS PROGRAM [ARGUMENT …]

Started as the leader of a session of its own, with a descriptor of a pipe that nothing is
ever written to: it reads as ended when the process at the other end has died, however. Then,
after SECONDS (0: any time), or when the program has ended, all processes of the session
are killed, children of mpiexec included. Ends with the program's status, 128 + N after a
signal, 124 after the time limit. Imports the standard library only, to start fast.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

TIMED_OUT = 124
_GRACE = 3.0  # s between asking processes to end and killing them
_PERIOD = 0.05  # s


def _others() -> list[int]:
    """List the living processes of this session, without this one."""
    me, session = os.getpid(), os.getsid(0)
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            # After the name, which may hold anything: state, parent, group, session, …
            state, _, _, sid = entry.read_text(errors="replace").rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue  # it has ended meanwhile
        if int(sid) == session and state != "Z" and int(entry.parent.name) != me:
            found.append(int(entry.parent.name))
    return found


def _clear() -> None:
    """End what is left of the session: politely, for mpiexec to tell other machines, then not."""
    _signal_all(signal.SIGTERM)
    deadline = time.monotonic() + _GRACE
    while _others() and time.monotonic() < deadline:
        time.sleep(_PERIOD)
    for _ in range(10):
        if not _others():
            return
        _signal_all(signal.SIGKILL)
        time.sleep(_PERIOD)


def _signal_all(number: int) -> None:
    for process in _others():
        with contextlib.suppress(OSError):  # it has ended meanwhile
            os.kill(process, number)


def main(descriptor: int, seconds: float, command: list[str]) -> int:
    """Wait for the program, the time limit or the parent's end, whichever is first.

    Parameters
    ----------
    descriptor
        Of the pipe to the parent.
    seconds
        Time limit; 0 for none.
    command
        The program and its arguments.

    Returns
    -------
    int
        The status to end with.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # _clear() tells the others, not itself
    child = subprocess.Popen(command)
    deadline = time.monotonic() + seconds if seconds > 0 else float("inf")
    status = None
    while status is None:
        orphaned = bool(select.select([descriptor], [], [], _PERIOD)[0])
        status = child.poll()
        if status is None and (orphaned or time.monotonic() > deadline):
            status = TIMED_OUT
    _clear()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]))
