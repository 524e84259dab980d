"""What happens to a task where it runs: in a worker, on one MPI rank or on many."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import threading
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pescape.errors import TaskError
from pescape.workers import sendable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: What an attempt leaves in the folder of a result, besides the result.
MARK_FILE = "task.json"
# Errors from outside: another attempt may succeed. All others say that the task is wrong.
_OUTER = (OSError, EOFError, MemoryError, subprocess.SubprocessError, TaskError)
# For a rank that failed to wait for the others before it aborts them.
_SECONDS_TO_AGREE = 10.0


@dataclass(frozen=True)
class Task:
    """One piece of work.

    Parameters
    ----------
    kind
        What it does: ``"label"``, ``"fit"``, ``"md"``, …; the folder above its own.
    key
        Fingerprint of all its result depends on.
    function
        Called with an empty folder to fill and the arguments, perhaps in another process.
    arguments
        What it is given; they have to be what `key` was made from.
    cores
        What each process of it needs: more than one for threads, or for programs that the
        function starts with ranks of their own.
    ranks
        MPI ranks that call the function together, where the executor can start them; it has
        to work on one rank too. All are given the same folder, and one should write.
    limit
        s an attempt may take; None for no limit.
    """

    kind: str
    key: str
    function: Callable[..., None]
    arguments: tuple[Any, ...]
    cores: int = 1
    ranks: int = 1
    limit: float | None = None

    @property
    def name(self) -> str:
        """What it is called among all tasks."""
        return f"{self.kind}.{self.key}"


@dataclass(frozen=True)
class Attempt:
    """One try at a task.

    Parameters
    ----------
    task
        What to do.
    number
        1 for the first.
    working
        Folder in which folders of attempts that run are.
    final
        Where the folder goes in the end.
    """

    task: Task
    number: int
    working: Path
    final: Path

    @property
    def name(self) -> str:
        """What it is called among the attempts that run."""
        return f"{self.task.name}.{self.number}"


@dataclass(frozen=True)
class Report:
    """How an attempt ended.

    Parameters
    ----------
    begin
        Of the attempt, s since the epoch.
    seconds
        It took.
    error
        What the function raised.
    outer
        Whether the error came from outside, so that another attempt may succeed.
    trace
        Where it was raised.
    """

    begin: float
    seconds: float
    error: BaseException | None = None
    outer: bool = False
    trace: str = ""


def execute(attempt: Attempt) -> Report:
    """Run a task in a folder of its own, then put the folder in its place.

    Called in a worker; with `Task.ranks`, on each MPI rank. Errors are told, not raised:
    what an executor raises is then its own trouble.
    """
    begin, clock = time.time(), time.perf_counter()
    world = _world(attempt.task.ranks)
    folder: Path | None = None
    error: BaseException | None = None
    try:
        folder = _shared(world, lambda: _make_folder(attempt))
        if folder is not None:
            with _time_limit(attempt.task.limit):
                attempt.task.function(folder, *attempt.task.arguments)
    except Exception as failure:  # noqa: BLE001 (the report tells it)
        error = failure
    error = _agreed(world, error)
    seconds = round(time.perf_counter() - clock, 3)
    if folder is not None and error is None:
        mark = {"attempt": attempt.number, "begin": round(begin, 3), "seconds": seconds}
        try:
            _shared(world, lambda: _put_in_place(folder, attempt.final, mark))
        except Exception as failure:  # noqa: BLE001 (the report tells it)
            error = failure
    if error is None:
        return Report(begin, seconds)
    if folder is not None and (world is None or world.Get_rank() == 0):
        shutil.rmtree(folder, ignore_errors=True)
    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return Report(begin, seconds, sendable(error), isinstance(error, _OUTER), trace)


def read_mark(folder: Path) -> dict[str, Any]:
    """Read when and how long a finished task ran; nothing where that is not known."""
    with contextlib.suppress(OSError, json.JSONDecodeError):
        return json.loads((folder / MARK_FILE).read_text())
    return {}


def _make_folder(attempt: Attempt) -> Path | None:
    """Make the folder to work in; None where another attempt has finished meanwhile."""
    if attempt.final.is_dir():
        return None
    attempt.working.mkdir(parents=True, exist_ok=True)
    folder = attempt.working / f"{attempt.name}.{secrets.token_hex(4)}"
    folder.mkdir()
    return folder


def _put_in_place(folder: Path, final: Path, mark: dict[str, Any]) -> None:
    """Rename a folder that is whole; if another attempt was first, its result stays."""
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as written:
                os.fsync(written.fileno())
    (folder / MARK_FILE).write_text(json.dumps(mark) + "\n")
    final.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.rename(final)
    except OSError:
        if not final.is_dir():
            raise
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _time_limit(limit: float | None) -> Iterator[None]:
    """Raise `TimeoutError` in the block after so many s; in a main thread only."""
    if limit is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def alarm(_number: int, _frame: object) -> None:
        raise TimeoutError(f"it took longer than {limit:g} s")

    before = signal.signal(signal.SIGALRM, alarm)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def _world(ranks: int) -> Any:  # noqa: ANN401 (mpi4py has no types for it)
    """Give the communicator of the ranks that run a task together, None for a single one."""
    if ranks == 1:
        return None
    from mpi4py import MPI

    return MPI.COMM_WORLD if MPI.COMM_WORLD.Get_size() > 1 else None


def _shared(world: Any, function: Callable[[], Any]) -> Any:  # noqa: ANN401
    """Call a function on the first rank; all get what it gives or raise what it raises."""
    if world is None:
        return function()
    answer, error = None, None
    if world.Get_rank() == 0:
        try:
            answer = function()
        except Exception as failure:  # noqa: BLE001 (raised below, on all)
            error = sendable(failure)
    answer, error = world.bcast((answer, error), root=0)
    if error is not None:
        raise error
    return answer


def _agreed(world: Any, error: BaseException | None) -> BaseException | None:  # noqa: ANN401
    """Give all ranks the error of the first that has one.

    A rank that failed alone leaves the others waiting for it in the function, for ever. If
    they do not come here soon, all are aborted.
    """
    if world is None:
        return error
    met = world.Ibarrier()
    deadline = time.monotonic() + _SECONDS_TO_AGREE
    while not met.Test():  # without keeping the core from those that still work
        if error is not None and time.monotonic() > deadline:
            traceback.print_exception(type(error), error, error.__traceback__)
            world.Abort(1)
        time.sleep(0.01)
    errors = world.allgather(None if error is None else sendable(error))
    return error or next((one for one in errors if one is not None), None)
