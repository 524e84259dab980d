"""Tasks whose results are kept: the unit of resume.

A task's key is a fingerprint of everything its result depends on, its folder is named by
the key, and the folder appears, whole, by one rename when the task has finished. A task
whose folder is there is never run again, and a kill loses running tasks only.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pescape.errors import TaskError
from pescape.files import TEMPORARY, append_line, close_line, read_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor, Future
    from pathlib import Path


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
    """

    kind: str
    key: str
    function: Callable[..., None]
    arguments: tuple[Any, ...]


class TaskStore:
    """Finished tasks of one folder, and the index that lists them.

    Parameters
    ----------
    root
        The folder. ``root/KIND/KEY`` holds the result of a task, ``root/index.jsonl`` a
        line for each start and each end.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.index = root / "index.jsonl"
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
            Where they run; their order does not matter.
        on_finished
            Called after each with the number that is finished by now.

        Returns
        -------
        list of Path
            The folders of the results, in the order of `tasks`.
        """
        missing = {task.key: task for task in tasks if not self.finished(task)}
        done = len(tasks) - len(missing)
        running: dict[Future[None], Task] = {
            executor.submit(_execute, task, self.folder(task), self.index): task
            for task in missing.values()
        }
        while running:
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                task = running.pop(future)
                try:
                    future.result()
                except BrokenProcessPool as error:
                    raise TaskError(
                        f"a worker process died during a {task.kind} task (out of memory?); "
                        "what had finished is kept: start again to continue"
                    ) from error
                except BaseException:
                    for other in running:
                        other.cancel()
                    raise
                done += 1
                if on_finished is not None:
                    on_finished(done, task)
        return [self.folder(task) for task in tasks]

    def discard(self, task: Task) -> None:
        """Remove the result of a task, for it to be run again."""
        folder = self.folder(task)
        gone = folder.with_name(f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}")
        folder.rename(gone)
        shutil.rmtree(gone)
        _note(self.index, "discarded", task.kind, task.key)

    def records(self) -> list[dict[str, Any]]:
        """Read the index."""
        return read_lines(self.index)

    def _tidy(self) -> None:
        """Remove what a kill left half done and index what it left unindexed."""
        close_line(self.index)
        ended = {(r["kind"], r["key"]) for r in self.records() if r["event"] == "finished"}
        for kind in sorted(path for path in self.root.iterdir() if path.is_dir()):
            for folder in sorted(kind.iterdir()):
                if folder.name.startswith(TEMPORARY):
                    shutil.rmtree(folder)
                elif (kind.name, folder.name) not in ended:
                    _note(self.index, "finished", kind.name, folder.name)


def _note(index: Path, event: str, kind: str, key: str, **more: float) -> None:
    now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    append_line(index, {"event": event, "kind": kind, "key": key, "time": now, **more})


def _execute(task: Task, final: Path, index: Path) -> None:
    """Run a task in a folder of its own, then put the folder in its place."""
    final.parent.mkdir(parents=True, exist_ok=True)
    folder = final.with_name(f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}")
    folder.mkdir()
    _note(index, "started", task.kind, task.key)
    begin = time.perf_counter()
    try:
        task.function(folder, *task.arguments)
        for file in folder.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        folder.rename(final)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    seconds = round(time.perf_counter() - begin, 3)
    _note(index, "finished", task.kind, task.key, seconds=seconds)
