"""Tasks whose results are kept: the unit of resume.

A task's key is a fingerprint of everything its result depends on, its folder is named by
the key, and the folder appears, whole, by one rename when the task has finished. A task
whose folder is there is never run again, and a kill loses running tasks only. Nothing in a
store depends on where it is or on the machine, so it may be copied and continued elsewhere.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from socket import gethostname
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from pescape.errors import TaskError
from pescape.files import TEMPORARY, append_line, close_line, read_lines
from pescape.tasks.run import Dispatcher, Policy, listed, read_mark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Executor

__all__ = ["KindSummary", "Policy", "Task", "TaskStore", "exclusive", "task_kind"]

_WORKING = ".running"
_KINDS: set[str] = set()
# What file systems that keep no locks answer (Lustre without `flock`, NFS without its daemon).
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


def task_kind(name: str) -> str:
    """Register a kind of task, which the configuration may then give cores.

    Parameters
    ----------
    name
        It is the folder of these tasks in a store.

    Returns
    -------
    str
        The name, for `Task`.
    """
    _KINDS.add(name)
    return name


def task_kinds() -> list[str]:
    """Return the kinds of tasks that the modules imported so far can make."""
    return sorted(_KINDS)


@dataclass(frozen=True)
class Task:
    """One piece of work.

    Parameters
    ----------
    kind
        What it does, by `task_kind`: ``"label"``, ``"fit"``, ``"md"``, …; the folder above its
        own.
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

    One process at a time may run tasks (see `exclusive`); it alone writes
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
        self.working = root / _WORKING
        self._read_only = read_only
        self._swept = False
        if not read_only:
            root.mkdir(parents=True, exist_ok=True)
            self._tidy()

    def folder(self, task: Task) -> Path:
        """Return where the result of a task is or will be.

        Parameters
        ----------
        task
            Any.
        """
        return self.root / task.kind / task.key

    def finished(self, task: Task) -> bool:
        """Return whether the result is there.

        Parameters
        ----------
        task
            Any.
        """
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

        Dispatcher(self, executor, ended).run(list(missing.values()))
        return [self.folder(task) for task in tasks]

    def discard(self, task: Task) -> None:
        """Remove the result of a task, for it to be run again.

        Parameters
        ----------
        task
            A finished one.
        """
        folder = self.folder(task)
        gone = folder.with_name(f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}")
        folder.rename(gone)
        shutil.rmtree(gone)
        self.note("discarded", task)

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

    def note(self, event: str, task: Task, at: float | None = None, **more: Any) -> None:  # noqa: ANN401
        """Add a line to the index.

        Parameters
        ----------
        event
            ``"started"``, ``"finished"``, ``"failed"``, ``"lost"`` or ``"discarded"``.
        task
            What it happened to.
        at
            When, s since the epoch; None for now.
        **more
            What else is to be known.
        """
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
            shutil.rmtree(self.working, ignore_errors=True)
        self._swept = True


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Context manager: hold a folder alone; a process that ends releases it, however it ends.

    Where the file system keeps no locks, the name of the holder in the lock file has to do.

    Parameters
    ----------
    folder
        It is made if need be.

    Raises
    ------
    TaskError
        Another process holds it, on this machine or another.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".lock"
    owner = path.read_text().strip() if path.exists() else ""
    works = f"{folder}: another pescape process ({_name(owner)}) works here"
    lock = FileLock(path, timeout=0, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise TaskError(f"{works}; wait for it or stop it") from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        if _may_live(owner):
            raise TaskError(
                f"{works}, or was killed here; if it is gone, remove {path} "
                "(this file system keeps no locks)"
            ) from error
    path.write_text(f"pid {os.getpid()} on {gethostname()}")
    try:
        yield
    finally:
        path.write_text("")
        lock.release()


def _name(owner: str) -> str:
    """Return who holds a folder; with the machine only if it is another one."""
    return owner.removesuffix(f" on {gethostname()}") or "unknown"


def _may_live(owner: str) -> bool:
    """Return whether the holder of a folder may be alive, as far as one can tell from here."""
    words = _name(owner).split()
    if len(words) != 2 or not words[1].isdigit():  # nobody, or a process of another machine
        return bool(owner)
    return int(words[1]) != os.getpid() and process_lives(int(words[1]))


def process_lives(process: int) -> bool:
    """Return whether a process of this machine is there and not dead, waiting to be buried.

    Parameters
    ----------
    process
        Its number.
    """
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in {"Z", "X"}
