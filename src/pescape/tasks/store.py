"""Tasks whose results are kept: the unit of resume.

A task's key is a fingerprint of everything its result depends on, its folder is named by
the key, and the folder appears, whole, by one rename when the task has finished. A task
whose folder is there is never run again, and a kill loses running tasks only. Nothing in a
store depends on where it is or on the machine, so it may be copied and continued elsewhere.

Bring tasks to an executor, again where that may help, until they are finished.

What happens to a task where it runs: in a worker, on one MPI rank or on many.
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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pescape.errors import TaskError
from pescape.files import TEMPORARY, append_line, close_line, read_lines
from pescape.tasks.pool import RemoteTraceback, WorkerError, sendable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Executor, Future
    from pathlib import Path


__all__ = ["KindSummary", "Policy", "Task", "TaskStore"]

_WORKING = ".running"


@dataclass(frozen=True)
class KindSummary:
    """How the tasks of one kind are doing.

    Parameters
    ----------
    finished
        Tasks whose result is there.
    running
        Tasks that have started and neither finished nor failed; after a kill, those that
        were running then.
    failed
        Attempts that failed for outer reasons.
    seconds
        The finished ones took, in all.
    """

    finished: int
    running: int
    failed: int
    seconds: float

    @property
    def mean(self) -> float:
        """Seconds of one finished task; 0 without any."""
        return self.seconds / self.finished if self.finished else 0.0


class TaskStore:
    """Finished tasks of one folder, and the index that lists them.

    One process at a time may run tasks (see `pescape.tasks.pool.exclusive`); it alone writes
    the index, wherever the tasks run.

    Parameters
    ----------
    root
        The folder. ``root/KIND/KEY`` holds the result of a task, ``root/index.jsonl`` a line
        for each start, each end and each failure.
    policy
        How much trouble is put up with.
    read_only
        Leave everything as it is, to look at a store in which another process works.
    """

    def __init__(
        self, root: Path, policy: Policy | None = None, *, read_only: bool = False
    ) -> None:
        self.root = root
        self.policy = policy or Policy()
        self.index = root / "index.jsonl"
        self._read_only = read_only
        self._swept = False
        if not read_only:
            root.mkdir(parents=True, exist_ok=True)
            self._tidy()

    def folder(self, task: Task) -> Path:
        """Where the result of a task is or will be."""
        return self.root / task.kind / task.key

    def finished(self, task: Task) -> bool:
        """Whether the result is there."""
        return self.folder(task).is_dir()

    def run(
        self,
        tasks: Sequence[Task],
        executor: Executor,
        on_finished: Callable[[int, Task], None] | None = None,
    ) -> list[Path]:
        """Run the tasks that are not finished yet.

        Parameters
        ----------
        tasks
            Equal tasks are run once.
        executor
            Where they run; their order does not matter. Any executor of
            `concurrent.futures` will do whose workers see the folder. Workers may die: what
            they were doing is done again.
        on_finished
            Called after each with the number that is finished by now.

        Returns
        -------
        list of Path
            The folders of the results, in the order of `tasks`.

        Raises
        ------
        TaskError
            A task failed for outer reasons as often as `Policy.attempts` allows; all others
            have been finished. Any other error of a task is raised at once, as it is.
        """
        if self._read_only:
            raise TaskError(f"{self.root}: this store was opened to look at only")
        self._sweep(executor)
        there = {kind: set(listed(self.root / kind)) for kind in {task.kind for task in tasks}}
        missing = {(t.kind, t.key): t for t in tasks if t.key not in there[t.kind]}
        done = len(tasks) - len(missing)

        def ended(task: Task) -> None:
            nonlocal done
            done += 1
            if on_finished is not None:
                on_finished(done, task)

        working = self.root / _WORKING
        dispatcher = Dispatcher(executor, self.root, working, self.policy, self._note, ended)
        dispatcher.run(list(missing.values()))
        return [self.folder(task) for task in tasks]

    def discard(self, task: Task) -> None:
        """Remove the result of a task, for it to be run again."""
        folder = self.folder(task)
        gone = folder.with_name(f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}")
        folder.rename(gone)
        shutil.rmtree(gone)
        self._note("discarded", task)

    def records(self) -> list[dict[str, Any]]:
        """Read the index."""
        return read_lines(self.index)

    def summary(self) -> dict[str, KindSummary]:
        """Sum up, by kind, what the index says."""
        records = self.records()
        last = {(record["kind"], record["key"]): record for record in records}
        found = {}
        for kind in dict.fromkeys(record["kind"] for record in records):
            own = [record for (its, _), record in last.items() if its == kind]
            finished = [record for record in own if record["event"] == "finished"]
            found[kind] = KindSummary(
                finished=len(finished),
                running=sum(record["event"] == "started" for record in own),
                failed=sum(r["event"] == "failed" for r in records if r["kind"] == kind),
                seconds=sum(record.get("seconds", 0.0) for record in finished),
            )
        return found

    def _note(self, event: str, task: Task, at: float | None = None, **more: Any) -> None:  # noqa: ANN401
        self._write(event, task.kind, task.key, at, **more)

    def _write(self, event: str, kind: str, key: str, at: float | None = None, **more: Any) -> None:  # noqa: ANN401
        when = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(at))
        append_line(self.index, {"event": event, "kind": kind, "key": key, "time": when, **more})

    def _tidy(self) -> None:
        """Index what a kill left unindexed and remove what it left half discarded."""
        close_line(self.index)
        ended = {
            (record["kind"], record["key"])
            for record in {(r["kind"], r["key"]): r for r in self.records()}.values()
            if record["event"] == "finished"
        }
        for kind in sorted(path for path in self.root.iterdir() if path.is_dir()):
            if kind.name == _WORKING:
                continue
            for folder in sorted(kind.iterdir()):
                if folder.name.startswith(TEMPORARY):
                    shutil.rmtree(folder)
                elif (kind.name, folder.name) not in ended:
                    seconds = read_mark(folder).get("seconds", 0.0)
                    self._write("finished", kind.name, folder.name, seconds=seconds)

    def _sweep(self, executor: Executor) -> None:
        """Remove what workers of a killed process left half done, unless they may be alive."""
        if not self._swept and not getattr(executor, "detached", False):
            shutil.rmtree(self.root / _WORKING, ignore_errors=True)
        self._swept = True


# What an executor raises when it cannot pass on a task that is wrong: trying again is no help.
_WRONG = (
    pickle.PicklingError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    SyntaxError,
    TypeError,
    ValueError,
)
# That an executor lost a task before it began says nothing about the task; not for ever, though.
_MOST_LOST = 8
# So many tasks that failed for good mean that something is wrong with all.
_MOST_FAILED = 10
_TICK = 0.25


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


class Note(Protocol):
    """Adds a line to the index; `at` is in s since the epoch, None for now."""

    def __call__(self, event: str, task: Task, at: float | None = None, **more: Any) -> None:  # noqa: ANN401
        """Add it."""


@dataclass(eq=False)
class _Flight:
    """An attempt that an executor has."""

    attempt: Attempt
    future: Future[Report]
    begun: float | None = None  # seen at, by the monotonic clock
    appears_until: float = 0.0


class Dispatcher:
    """One run of tasks.

    Parameters
    ----------
    executor
        Any of `concurrent.futures`. Results come through the file system, so the workers may
        be anywhere where `root` is. One whose ``submit`` takes `resource_dict` is told of cores
        and ranks as executorlib names them.
    root
        Folder of the results.
    working
        Folder in which attempts run.
    policy
        How much trouble is put up with.
    note
        Writes the index.
    on_finished
        Called with each finished task.
    """

    def __init__(
        self,
        executor: Executor,
        root: Path,
        working: Path,
        policy: Policy,
        note: Note,
        on_finished: Callable[[Task], None],
    ) -> None:
        self._executor, self._root, self._working = executor, root, working
        self._policy, self._note, self._on_finished = policy, note, on_finished
        self._takes_resources = "resource_dict" in inspect.signature(executor.submit).parameters
        self._left = set(listed(working))  # by attempts of earlier runs, which may be alive
        self._waiting: deque[Task] = deque()
        self._later: list[tuple[float, int, Task]] = []
        self._order = itertools.count()
        self._flights: dict[Future[Report], _Flight] = {}
        self._appearing: list[_Flight] = []
        self._landed: queue.SimpleQueue[Future[Report]] = queue.SimpleQueue()
        self._failures: dict[str, list[str]] = {}  # by Task.name, as the next one
        self._lost: dict[str, int] = {}
        self._failed: list[Task] = []

    def run(self, tasks: Sequence[Task]) -> None:
        """Run tasks; what can be finished is, before the failure of others is raised."""
        self._waiting.extend(tasks)
        looked = time.monotonic()
        try:
            while self._waiting or self._later or self._flights or self._appearing:
                self._submit()
                try:
                    landed = self._flights.pop(self._landed.get(timeout=self._next()), None)
                except queue.Empty:
                    landed = None
                if landed is not None:
                    self._settle(landed)
                if time.monotonic() - looked >= _TICK:
                    self._look()
                    looked = time.monotonic()
        finally:
            for future in self._flights:
                future.cancel()
        if self._failed:
            raise self._error()

    def _next(self) -> float:
        """Give the s until there is something to do, if nothing lands."""
        wait = self._later[0][0] - time.monotonic() if self._later else _TICK
        return min(max(wait, 0.0), _TICK)

    def _error(self) -> TaskError:
        task = self._failed[0]
        reasons = self._failures[task.name]
        others = len(self._failed) - 1
        more = f" (and {others} other tasks failed for good)" if others else ""
        return TaskError(
            f"{task.kind} task {task.key} failed {len(reasons)} times, the last time because: "
            f"{reasons[-1]}{more}; what has finished is kept: start again to continue"
        )

    def _submit(self) -> None:
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            self._waiting.append(heapq.heappop(self._later)[2])
        if len(self._failed) >= _MOST_FAILED:
            self._waiting.clear()
            self._later.clear()
        while self._waiting and len(self._flights) < self._policy.in_flight:
            task = self._waiting.popleft()
            number = len(self._failures.get(task.name, ())) + 1
            attempt = Attempt(task, number, self._working, self._root / task.kind / task.key)
            if (number > 1 or task.name in self._lost) and self._finished_late(attempt):
                continue
            future = self._submitted(attempt)
            self._flights[future] = _Flight(attempt, future)
            future.add_done_callback(self._landed.put)

    def _submitted(self, attempt: Attempt) -> Future[Report]:
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

    def _settle(self, flight: _Flight) -> None:
        """Deal with an attempt whose future is done."""
        try:
            answer: Any = flight.future.result()
        except Exception as error:  # noqa: BLE001 (executors raise what they like)
            self._lose(flight, error)
            return
        report: Report = answer[0] if isinstance(answer, list) else answer
        if report.error is None:
            flight.appears_until = time.monotonic() + self._policy.patience
            if not self._finish(flight):
                self._appearing.append(flight)
            return
        if not report.outer:
            raise report.error from (RemoteTraceback(report.trace) if report.trace else None)
        self._fail(flight, _told(report.error))

    def _lose(self, flight: _Flight, error: Exception) -> None:
        """Deal with an attempt that the executor lost, but perhaps after its end."""
        if self._finish(flight):
            return
        if isinstance(error, _WRONG):
            raise error
        self._look()
        task = flight.attempt.task
        if flight.begun is None and not isinstance(error, WorkerError):
            self._lost[task.name] = self._lost.get(task.name, 0) + 1
            if self._lost[task.name] < _MOST_LOST:
                self._note("lost", task, reason=_told(error))
                self._again(task, self._lost[task.name])
                return
        self._fail(flight, _told(error))

    def _fail(self, flight: _Flight, reason: str) -> None:
        if self._finish(flight):
            return
        task = flight.attempt.task
        self._begin(flight)
        self._note("failed", task, attempt=flight.attempt.number, reason=reason)
        reasons = self._failures.setdefault(task.name, [])
        reasons.append(reason)
        if len(reasons) < self._policy.attempts:
            self._again(task, len(reasons))
        else:
            self._failed.append(task)

    def _again(self, task: Task, failures: int) -> None:
        at = time.monotonic() + self._policy.pause * 2.0 ** min(failures - 1, 6)
        heapq.heappush(self._later, (at, next(self._order), task))

    def _finish(self, flight: _Flight) -> bool:
        """Note the end of a task if its folder is there."""
        attempt = flight.attempt
        if not attempt.final.is_dir():
            return False
        mark = read_mark(attempt.final)
        self._begin(flight, mark.get("begin"))
        self._close(attempt, mark.get("seconds", 0.0))
        return True

    def _finished_late(self, attempt: Attempt) -> bool:
        """Note the end of a task that an attempt given for dead has finished after all."""
        if not attempt.final.is_dir():
            return False
        self._close(attempt, read_mark(attempt.final).get("seconds", 0.0))
        return True

    def _close(self, attempt: Attempt, seconds: float) -> None:
        self._note("finished", attempt.task, seconds=seconds)
        if attempt.number > 1 or attempt.task.name in self._lost:
            self._remove_attempts(attempt)
        self._on_finished(attempt.task)

    def _remove_attempts(self, attempt: Attempt) -> None:
        """Remove what earlier attempts, whose workers died, have left."""
        for name in listed(self._working):
            if name.startswith(f"{attempt.task.name}."):
                shutil.rmtree(self._working / name, ignore_errors=True)

    def _begin(self, flight: _Flight, at: float | None = None) -> None:
        if flight.begun is None:
            flight.begun = time.monotonic()
            self._note("started", flight.attempt.task, at)

    def _look(self) -> None:
        """See what has begun, what has appeared and what takes too long."""
        names = set(listed(self._working)) - self._left
        begun = {name.rpartition(".")[0] for name in names}
        now = time.monotonic()
        for flight in list(self._flights.values()):
            if flight.attempt.name in begun:
                self._begin(flight)
            limit = flight.attempt.task.limit
            late = None if limit is None or flight.begun is None else now - flight.begun - limit
            if late is not None and late > self._policy.grace:
                self._give_up(flight)
        appearing, self._appearing = self._appearing, []
        for flight in appearing:
            listed(flight.attempt.final.parent)  # makes network file systems look again
            if self._finish(flight):
                continue
            if now < flight.appears_until:
                self._appearing.append(flight)
            else:
                self._fail(flight, "it finished, but its folder did not appear")

    def _give_up(self, flight: _Flight) -> None:
        """Do without an attempt that hangs; where the executor can, it is killed."""
        del self._flights[flight.future]
        flight.future.cancel()
        if hasattr(self._executor, "kill"):
            self._executor.kill(flight.future)
        self._fail(flight, f"it took longer than {flight.attempt.task.limit:g} s")


def _told(error: BaseException) -> str:
    if isinstance(error, TaskError):  # made to be read by itself
        return str(error)
    return f"{type(error).__name__}: {error}"


def listed(folder: Path) -> list[str]:
    """Give the names in a folder; none if it is not there."""
    try:
        return os.listdir(folder)  # noqa: PTH208 (names are all that is asked for)
    except FileNotFoundError:
        return []


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
