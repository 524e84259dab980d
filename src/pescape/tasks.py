"""Tasks whose results are kept: the unit of resume.

A task's key is a fingerprint of everything its result depends on, its folder is named by
the key, and the folder appears, whole, by one rename when the task has finished. A task
whose folder is there is never run again, and a kill loses running tasks only. Nothing in a
store depends on where it is or on the machine, so it may be copied and continued elsewhere.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pescape.dispatch import Dispatcher, Policy, listed
from pescape.errors import TaskError
from pescape.execution import Task, read_mark
from pescape.files import TEMPORARY, append_line, close_line, read_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor
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

    One process at a time may run tasks (see `pescape.processes.exclusive`); it alone writes
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
