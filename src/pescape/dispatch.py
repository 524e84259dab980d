"""Bring tasks to an executor, again where that may help, until they are finished."""

from __future__ import annotations

import heapq
import inspect
import itertools
import os
import pickle
import queue
import shutil
import time
from collections import deque
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pescape.errors import TaskError
from pescape.execution import Attempt, Report, execute, read_mark
from pescape.workers import RemoteTraceback, WorkerError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor, Future
    from pathlib import Path

    from pescape.execution import Task

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
