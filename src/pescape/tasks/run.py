"""Bring tasks to an executor, again where that may help, until they are finished.

`execute` is what happens to a task where it runs: in a worker, on one MPI rank or on many. It
works in a folder of its own and ends with one rename, so that a result is whole or not there.
`Dispatcher` is what happens here: it believes in folders that have appeared, whatever the
executor says, and has patience with network file systems that show them late.
"""

from __future__ import annotations

import contextlib
import heapq
import inspect
import itertools
import json
import os
import pickle
import queue
import secrets
import shutil
import signal
import subprocess
import threading
import time
import traceback
from collections import deque
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pebble.common.types import RemoteTraceback

from pescape.errors import TaskError
from pescape.tasks.pool import WorkerError, sendable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Executor, Future
    from pathlib import Path

    from pescape.tasks.store import Task, TaskStore

#: What an attempt leaves in the folder of a result, besides the result.
MARK_FILE = "task.json"
#: Errors from outside: another attempt may succeed. All others say that the task is wrong.
TRANSIENT_ERRORS = (OSError, EOFError, MemoryError, subprocess.SubprocessError, TaskError)
# What an executor raises when it cannot pass on a task that is wrong: trying again is no help.
_WRONG_TASK_ERRORS = (
    pickle.PicklingError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    SyntaxError,
    TypeError,
    ValueError,
)
# For a rank that failed to wait for the others before it aborts them.
_SECONDS_TO_AGREE = 10.0
# That an executor lost a task before it began says nothing about the task; not for ever, though.
_MAX_LOSSES = 8
# So many tasks that failed for good mean that something is wrong with all.
_MAX_FAILED = 10
_TICK = 0.25  # s


@dataclass(frozen=True)
class Policy:
    """How much trouble is put up with.

    Parameters
    ----------
    attempts
        At each task, while it fails for outer reasons.
    pause
        s between the first failure and the second attempt; doubled for each one more.
    patience
        s for the folder of a finished task to appear: network file systems take their time.
    grace
        s beyond the limit of a task after which it is given up from here.
    in_flight
        Most tasks an executor is given at a time.
    """

    attempts: int = 3
    pause: float = 1.0
    patience: float = 30.0
    grace: float = 30.0
    in_flight: int = 1000


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
    error
        What the function raised.
    transient
        Whether the error came from outside, so that another attempt may succeed.
    trace
        Where it was raised.
    """

    error: BaseException | None = None
    transient: bool = False
    trace: str = ""


# In the worker.


def execute(attempt: Attempt) -> Report:
    """Run a task in a folder of its own, then put the folder in its place.

    Called in a worker; with `Task.ranks`, on each MPI rank. Errors are reported, not raised:
    what an executor raises is then its own trouble.

    Parameters
    ----------
    attempt
        The task, and where its folders are.
    """
    begin, clock = time.time(), time.perf_counter()
    world = _world(attempt.task.ranks)
    folder: Path | None = None
    error: BaseException | None = None
    try:
        folder = _on_first_rank(world, lambda: _make_folder(attempt))
        if folder is not None:
            with _time_limit(attempt.task.limit):
                attempt.task.function(folder, *attempt.task.arguments)
    except Exception as failure:  # noqa: BLE001 (it is reported)
        error = failure
    error = _agreed(world, error)
    seconds = round(time.perf_counter() - clock, 3)
    if folder is not None and error is None:
        mark = {"attempt": attempt.number, "begin": round(begin, 3), "seconds": seconds}
        try:
            _on_first_rank(world, lambda: _put_in_place(folder, attempt.final, mark))
        except Exception as failure:  # noqa: BLE001 (it is reported)
            error = failure
    if error is None:
        return Report()
    if folder is not None and (world is None or world.Get_rank() == 0):
        shutil.rmtree(folder, ignore_errors=True)
    trace = "".join(traceback.format_exception(error))
    return Report(sendable(error), isinstance(error, TRANSIENT_ERRORS), trace)


def read_mark(folder: Path) -> dict[str, Any]:
    """Read when and how long a finished task ran; empty where that is not known.

    Parameters
    ----------
    folder
        Of the result.
    """
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
    """Return the communicator of the ranks that run a task together, None for a single one."""
    if ranks == 1:
        return None
    from mpi4py import MPI

    return MPI.COMM_WORLD if MPI.COMM_WORLD.Get_size() > 1 else None


def _on_first_rank(world: Any, function: Callable[[], Any]) -> Any:  # noqa: ANN401
    """Call a function on the first rank; all get what it returns or raise what it raises."""
    if world is None:
        return function()
    result, error = None, None
    if world.Get_rank() == 0:
        try:
            result = function()
        except Exception as failure:  # noqa: BLE001 (raised below, on all)
            error = sendable(failure)
    result, error = world.bcast((result, error), root=0)
    if error is not None:
        raise error
    return result


def _agreed(world: Any, error: BaseException | None) -> BaseException | None:  # noqa: ANN401
    """Return the error of the first rank that has one, on all ranks.

    A rank that failed alone leaves the others waiting for it in the function, for ever. If
    they do not come here soon, all are aborted.
    """
    if world is None:
        return error
    met = world.Ibarrier()
    deadline = time.monotonic() + _SECONDS_TO_AGREE
    while not met.Test():  # without keeping the core from those that still work
        if error is not None and time.monotonic() > deadline:
            traceback.print_exception(error)
            world.Abort(1)
        time.sleep(0.01)
    errors = world.allgather(None if error is None else sendable(error))
    return error or next((one for one in errors if one is not None), None)


# Here.


@dataclass(eq=False)
class _Progress:
    """A task on its way."""

    task: Task
    failures: list[str] = field(default_factory=list)  # why attempts failed
    losses: int = 0  # attempts that the executor lost before they began
    attempt: str = ""  # the name of the one that is being made
    begun: float | None = None  # when that was seen to have begun, by the monotonic clock
    appears_until: float = 0.0


class Dispatcher:
    """One run of the tasks of a store.

    Parameters
    ----------
    store
        Where results appear.
    executor
        Any of `concurrent.futures`. Results come through the file system, so the workers may
        be anywhere where the store is. One whose ``submit`` takes `resource_dict` is told of
        cores and ranks as executorlib names them; one that has ``kill`` ends what hangs.
    on_finished
        Called with each finished task.
    """

    def __init__(
        self, store: TaskStore, executor: Executor, on_finished: Callable[[Task], None]
    ) -> None:
        self._store, self._policy = store, store.policy
        self._executor, self._on_finished = executor, on_finished
        self._takes_resources = "resource_dict" in inspect.signature(executor.submit).parameters
        self._left = set(listed(store.working))  # by earlier runs, whose workers may be alive
        self._waiting: deque[_Progress] = deque()
        self._later: list[tuple[float, int, _Progress]] = []
        self._order = itertools.count()
        self._running: dict[Future[Report], _Progress] = {}
        self._done: queue.SimpleQueue[Future[Report]] = queue.SimpleQueue()
        self._appearing: list[_Progress] = []
        self._failed: list[_Progress] = []

    def run(self, tasks: Sequence[Task]) -> None:
        """Run tasks; what can be finished is, before the failure of others is raised.

        Parameters
        ----------
        tasks
            None of them twice.

        Raises
        ------
        TaskError
            Tasks failed for outer reasons as often as the policy allows.
        """
        self._waiting.extend(map(_Progress, tasks))
        looked = time.monotonic()
        try:
            while self._waiting or self._later or self._running or self._appearing:
                self._submit_waiting()
                if (future := self._next_done()) in self._running:
                    self._settle(self._running.pop(future), future)
                if time.monotonic() - looked >= _TICK:
                    self._look()
                    looked = time.monotonic()
        finally:
            for future in self._running:
                future.cancel()
        if self._failed:
            raise self._error()

    def _next_done(self) -> Future[Report] | None:
        """Wait for an attempt to end, until there is something else to do."""
        wait = self._later[0][0] - time.monotonic() if self._later else _TICK
        with contextlib.suppress(queue.Empty):
            return self._done.get(timeout=min(max(wait, 0.0), _TICK))
        return None

    def _error(self) -> TaskError:
        task, reasons = self._failed[0].task, self._failed[0].failures
        others = len(self._failed) - 1
        more = f" (and {others} other tasks failed for good)" if others else ""
        return TaskError(
            f"{task.kind} task {task.key} failed {len(reasons)} times, the last time because: "
            f"{reasons[-1]}{more}; what has finished is kept: start again to continue"
        )

    def _submit_waiting(self) -> None:
        """Give the executor what it has room for."""
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            self._waiting.append(heapq.heappop(self._later)[2])
        if len(self._failed) >= _MAX_FAILED:
            self._waiting.clear()
            self._later.clear()
        while self._waiting and len(self._running) < self._policy.in_flight:
            progress = self._waiting.popleft()
            again = bool(progress.failures or progress.losses)
            if again and self._finish(progress):  # an attempt given for dead was not
                continue
            task, number = progress.task, len(progress.failures) + 1
            attempt = Attempt(task, number, self._store.working, self._store.folder(task))
            progress.attempt, progress.begun = attempt.name, None
            future = self._submit(attempt)
            self._running[future] = progress
            future.add_done_callback(self._done.put)

    def _submit(self, attempt: Attempt) -> Future[Report]:
        task, options = attempt.task, {}
        if self._takes_resources:
            resources = {"cores": task.ranks, "threads_per_core": task.cores}
            options["resource_dict"] = {**resources, "cache_key": attempt.name}
        try:
            return self._executor.submit(execute, attempt, **options)
        except BrokenExecutor as error:
            raise TaskError(
                f"the executor broke during a {task.kind} task ({error}); "
                "what has finished is kept: start again to continue"
            ) from error

    def _settle(self, progress: _Progress, future: Future[Report]) -> None:
        """Deal with an attempt whose future is done."""
        try:
            result: Any = future.result()
        except Exception as error:  # noqa: BLE001 (executors raise what they like)
            self._lose(progress, error)
            return
        report: Report = result[0] if isinstance(result, list) else result  # of each rank
        if report.error is None:
            progress.appears_until = time.monotonic() + self._policy.patience
            if not self._finish(progress):
                self._appearing.append(progress)
        elif report.transient:
            self._fail(progress, _reason(report.error))
        else:
            raise report.error from RemoteTraceback(report.trace)

    def _lose(self, progress: _Progress, error: Exception) -> None:
        """Deal with an attempt that the executor lost, but perhaps after its end."""
        if self._finish(progress):
            return
        if isinstance(error, _WRONG_TASK_ERRORS):
            raise error
        self._look([progress])
        if progress.begun is None and not isinstance(error, WorkerError):
            progress.losses += 1
            if progress.losses < _MAX_LOSSES:
                self._store.note("lost", progress.task, reason=_reason(error))
                self._again(progress, progress.losses)
                return
        self._fail(progress, _reason(error))

    def _fail(self, progress: _Progress, reason: str) -> None:
        if self._finish(progress):
            return
        self._begin(progress)
        progress.failures.append(reason)
        count = len(progress.failures)
        self._store.note("failed", progress.task, attempt=count, reason=reason)
        if count < self._policy.attempts:
            self._again(progress, count)
        else:
            self._failed.append(progress)

    def _again(self, progress: _Progress, failures: int) -> None:
        at = time.monotonic() + self._policy.pause * 2.0 ** min(failures - 1, 6)
        heapq.heappush(self._later, (at, next(self._order), progress))

    def _begin(self, progress: _Progress, at: float | None = None) -> None:
        if progress.begun is None:
            progress.begun = time.monotonic()
            self._store.note("started", progress.task, at)

    def _finish(self, progress: _Progress) -> bool:
        """Note the end of a task if its folder is there, whichever attempt made it."""
        task = progress.task
        final = self._store.folder(task)
        if not final.is_dir():
            return False
        mark = read_mark(final)
        self._begin(progress, mark.get("begin"))
        self._store.note("finished", task, seconds=mark.get("seconds", 0.0))
        if progress.failures or progress.losses:  # remove what died with its worker
            for name in listed(self._store.working):
                if name.startswith(f"{task.name}."):
                    shutil.rmtree(self._store.working / name, ignore_errors=True)
        self._on_finished(task)
        return True

    def _look(self, more: Sequence[_Progress] = ()) -> None:
        """See what has begun, what has appeared and what takes too long."""
        names = set(listed(self._store.working)) - self._left
        begun = {name.rpartition(".")[0] for name in names}
        now = time.monotonic()
        for progress in [*self._running.values(), *more]:
            if progress.attempt in begun:
                self._begin(progress)
        for future, progress in list(self._running.items()):
            limit = progress.task.limit
            if limit is None or progress.begun is None:
                continue
            if now > progress.begun + limit + self._policy.grace:
                self._give_up(future)
        appearing, self._appearing = self._appearing, []
        for progress in appearing:
            listed(self._store.root / progress.task.kind)  # makes network file systems look again
            if self._finish(progress):
                continue
            if now < progress.appears_until:
                self._appearing.append(progress)
            else:
                self._fail(progress, "it finished, but its folder did not appear")

    def _give_up(self, future: Future[Report]) -> None:
        """Do without an attempt that hangs; where the executor can, it is killed."""
        progress = self._running.pop(future)
        future.cancel()
        if hasattr(self._executor, "kill"):
            self._executor.kill(future)
        self._fail(progress, f"it took longer than {progress.task.limit:g} s")


def _reason(error: BaseException) -> str:
    if isinstance(error, TaskError):  # made to be read by itself
        return str(error)
    return f"{type(error).__name__}: {error}"


def listed(folder: Path) -> list[str]:
    """Return the names in a folder; none if it is not there.

    Parameters
    ----------
    folder
        Any.
    """
    try:
        return os.listdir(folder)  # noqa: PTH208 (names are all that is asked for)
    except FileNotFoundError:
        return []
