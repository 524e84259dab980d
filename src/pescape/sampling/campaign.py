"""Progress inside trajectories, read off their logs.

Sampling campaigns.

A campaign is a function of its configuration: every trajectory is a task whose result is
kept, and a trajectory that was killed goes on from its log. So running a campaign again
repeats what is finished in no time and goes on with what is not.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pescape.data.configurations import write_configurations
from pescape.files import atomic, write_json, write_text
from pescape.sampling.plan import Plan, Planned, make_plan
from pescape.sampling.sets import (
    LIMITS_FILE,
    Limits,
    Record,
    gather,
    limits_from,
    limits_task,
    read_limits,
    without_repeats,
)
from pescape.sampling.trajectory import log_of, read_outcome, scratch_of
from pescape.tasks.pool import exclusive, worker_pool
from pescape.tasks.store import TaskStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Executor

    from ase import Atoms

    from pescape.plugins.structures import EnergyForceLimits
    from pescape.sampling.config import SampleConfig
    from pescape.sampling.trajectory import Outcome
    from pescape.tasks.store import Task


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


#: File names in the output folder.
STARTS_FILE = "starts.xyz"
TRAIN_FILE = "train.xyz"
TEST_FILE = "test.xyz"
REJECTED_FILE = "rejected.xyz"
TABLE_FILE = "trajectories.json"
FIGURE_FILE = "sample.png"
LIMITS_FIGURE_FILE = "limits.png"


class Watcher:
    """Told what a campaign does; this one keeps it to itself."""

    def stage(self, what: str, done: int, total: int) -> None:
        """Hear how many tasks of a stage are done."""

    def calls(self, running: dict[str, int]) -> None:
        """Hear how many force calls the trajectories that run have made, by their titles."""

    def trajectory(self, planned: Planned, outcome: Outcome) -> None:
        """Hear that a trajectory has ended."""


@dataclass(frozen=True, eq=False)
class SampleResult:
    """What a campaign leaves.

    Parameters
    ----------
    folder
        Where everything is.
    records
        The trajectories, in the order of starts and samplers.
    train, test, rejected
        Numbers of images.
    limits
        What the images were held to; None without.
    """

    folder: Path
    records: tuple[Record, ...]
    train: int
    test: int
    rejected: int
    limits: Limits | None

    @property
    def failed(self) -> tuple[Record, ...]:
        """The trajectories that failed."""
        return tuple(record for record in self.records if record.status == "failed")


def sample(
    config: SampleConfig,
    folder: Path | str,
    *,
    base: Path | str = ".",
    executor: Executor | None = None,
    watcher: Watcher | None = None,
    retry_failed: bool = False,
    command: str = "pescape.sampling.sample",
) -> SampleResult:
    """Sample, or go on where an earlier call was stopped.

    Parameters
    ----------
    config
        Equal configurations give equal data sets, whatever the executor and however often
        the campaign was stopped.
    folder
        Output. ``tasks/`` holds all images of every trajectory, ``logs/`` the force calls of
        those that are not finished.
    base
        Where relative file names in the configuration start.
    executor
        Where the trajectories run; by default processes of this machine. (They import the
        main module: scripts that call this need ``if __name__ == "__main__":``.)
    watcher
        Told of progress.
    retry_failed
        Run trajectories that failed again; they go on from the call that failed.
    command
        Who asks, for the images' provenance.

    Returns
    -------
    SampleResult

    Raises
    ------
    TaskError
        Another process works in the folder, or a worker process died.
    """
    folder = Path(folder).resolve()
    watcher = watcher or Watcher()
    with contextlib.ExitStack() as stack:
        stack.enter_context(exclusive(folder))
        plan = make_plan(config, folder, base)
        write_json(folder / "config.json", config.model_dump(mode="json"))
        starts = [start.atoms for start in plan.starts if start.atoms is not None]
        _write(folder / STARTS_FILE, starts)
        store = TaskStore(folder / "tasks")
        if retry_failed:
            _forget_failed(plan, store)
        pool = executor or stack.enter_context(worker_pool(config.workers))
        computed = _limits(config, plan, folder, base, store, pool, watcher)
        limits = None
        if config.limits is not None:
            limits = limits_from(config.limits, computed, plan.elements)
        _run(plan, folder, store, pool, watcher)
        return _finish(config, plan, folder, store, limits, command)


def _forget_failed(plan: Plan, store: TaskStore) -> None:
    for planned in plan.trajectories:
        task = planned.task
        if task is None or not store.finished(task):
            continue
        if read_outcome(store.folder(task)).status == "failed":
            store.discard(task)


def _limits(
    config: SampleConfig,
    plan: Plan,
    folder: Path,
    base: Path | str,
    store: TaskStore,
    pool: Executor,
    watcher: Watcher,
) -> EnergyForceLimits | None:
    """Compute or read the limits from pairs, if there are to be any, and draw them."""
    asked = config.limits
    if asked is None or (asked.multiple is None and asked.file is None):
        return None
    if asked.file is not None:
        computed = read_limits(Path(base) / asked.file)
    else:
        task = limits_task(plan.reference, plan.elements, asked, folder)
        watcher.stage("limits", 0, 1)
        computed = read_limits(store.run([task], pool)[0] / LIMITS_FILE)
        for left in task.arguments[-2:]:
            shutil.rmtree(left, ignore_errors=True)
        watcher.stage("limits", 1, 1)
    write_json(folder / LIMITS_FILE, computed.as_dict())
    from pescape.figures.limits import plot_limits

    with atomic(folder / LIMITS_FIGURE_FILE) as path:
        plot_limits(computed, path)
    return computed


def _run(plan: Plan, folder: Path, store: TaskStore, pool: Executor, watcher: Watcher) -> None:
    """Run the trajectories that are not finished."""
    planned = {one.task.key: one for one in plan.trajectories if one.task is not None}
    tasks = [one.task for one in planned.values() if one.task is not None]
    watcher.stage("trajectories", sum(map(store.finished, tasks)), len(tasks))

    def ended(done: int, task: Task) -> None:
        outcome = read_outcome(store.folder(task))
        _tidy(folder, task, outcome)
        running.discard(task.key)
        watcher.stage("trajectories", done, len(tasks))
        watcher.trajectory(planned[task.key], outcome)

    def counted(calls: dict[str, int]) -> None:
        open_ones = {key: made for key, made in calls.items() if key in running}
        watcher.calls({planned[key].title: made for key, made in open_ones.items()})

    running = {task.key for task in tasks if not store.finished(task)}
    with watched({key: log_of(folder, key) for key in running}, counted):
        store.run(tasks, pool, ended)
    for task in tasks:
        _tidy(folder, task, read_outcome(store.folder(task)))


def _tidy(folder: Path, task: Task, outcome: Outcome) -> None:
    """Remove what a finished trajectory needs no more; a failed one may be tried again."""
    if outcome.status != "failed":
        log_of(folder, task.key).unlink(missing_ok=True)
        shutil.rmtree(scratch_of(folder, task.key), ignore_errors=True)


def _finish(
    config: SampleConfig,
    plan: Plan,
    folder: Path,
    store: TaskStore,
    limits: Limits | None,
    command: str,
) -> SampleResult:
    """Write the data sets, the table and the figure."""
    gathered = [
        gather(
            planned,
            None if planned.task is None else store.folder(planned.task),
            plan.reference,
            limits,
            keep_relaxation=config.relaxation.keep,
            command=command,
        )
        for planned in plan.trajectories
    ]
    train = [image for one in gathered if one.record.set == "train" for image in one.kept]
    test = [image for one in gathered if one.record.set == "test" for image in one.kept]
    test, repeated = without_repeats(train, test)
    rejected = [image for one in gathered for image in one.rejected]
    _write(folder / TRAIN_FILE, train)
    _write(folder / TEST_FILE, test)
    _write(folder / REJECTED_FILE, rejected)
    records = _less_repeats([one.record for one in gathered], repeated)
    table = {
        "command": command,
        "limits": None if limits is None else asdict(limits),
        "train": len(train),
        "test": len(test),
        "rejected": len(rejected),
        "trajectories": [asdict(record) for record in records],
    }
    write_json(folder / TABLE_FILE, table)
    if train or test:
        from pescape.figures.sampling import draw_sample

        draw_sample(gathered, folder / FIGURE_FILE, limits=limits)
    return SampleResult(folder, records, len(train), len(test), len(rejected), limits)


def _less_repeats(records: Sequence[Record], repeated: Sequence[Atoms]) -> tuple[Record, ...]:
    """Tell in the records which images of tests were left out."""
    times = Counter(image.info["trajectory"] for image in repeated)
    return tuple(
        replace(record, kept=record.kept - times[record.key], repeated=times[record.key])
        for record in records
    )


def _write(path: Path, images: Sequence[Atoms]) -> None:
    if images:
        write_configurations(path, images)
    else:
        write_text(path, "")


def read_progress(plan: Plan, folder: Path) -> list[tuple[Planned, Outcome | None, int]]:
    """Look up how far a campaign is, without disturbing it.

    Parameters
    ----------
    plan
        Of the campaign.
    folder
        Its output.

    Returns
    -------
    list
        For each trajectory what was planned, how it ended (None while it has not) and the
        force calls made so far.
    """
    keys = [one.task.key for one in plan.trajectories if one.task is not None]
    counted = CallCounter({key: log_of(folder, key) for key in keys}).count()
    found: list[tuple[Planned, Outcome | None, int]] = []
    for planned in plan.trajectories:
        if planned.task is None:
            found.append((planned, None, 0))
            continue
        kept = folder / "tasks" / planned.task.kind / planned.task.key
        outcome = read_outcome(kept) if kept.is_dir() else None
        calls = counted.get(planned.task.key, 0)
        if outcome is not None:
            calls = outcome.relaxation_calls + outcome.sampling_calls
        found.append((planned, outcome, calls))
    return found
