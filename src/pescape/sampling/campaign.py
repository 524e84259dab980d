"""Sampling campaigns.

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
from pescape.figures.sampling import draw_limits, draw_sample
from pescape.figures.style import figure_file
from pescape.files import write_json, write_text
from pescape.sampling.config import Plan, PlannedTrajectory, make_plan
from pescape.sampling.sets import (
    LIMITS_FILE,
    Limits,
    TrajectoryRecord,
    gather,
    limits_folders,
    limits_from,
    limits_task,
    read_limits,
)
from pescape.sampling.trajectory import log_of, read_outcome, scratch_of
from pescape.tasks.pool import worker_pool
from pescape.tasks.store import TaskStore, exclusive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Executor

    from ase import Atoms

    from pescape.sampling.config import SampleConfig
    from pescape.sampling.trajectory import TrajectoryOutcome
    from pescape.tasks.store import Task

#: File names in the output folder.
STARTS_FILE = "starts.xyz"
TRAIN_FILE = "train.xyz"
TEST_FILE = "test.xyz"
REJECTED_FILE = "rejected.xyz"
TABLE_FILE = "trajectories.json"
FIGURE_FILE = "sample.png"
LIMITS_FIGURE_FILE = "limits.png"
# Between two looks at the logs of the trajectories that run, s.
_POLLING = 0.5


class Watcher:
    """Told what a campaign does; this one keeps it to itself."""

    def stage(self, what: str, done: int, total: int) -> None:
        """Hear how far a stage is.

        Parameters
        ----------
        what
            The stage.
        done, total
            Tasks that are finished, and all of them.
        """

    def calls(self, running: dict[str, int]) -> None:
        """Hear of the trajectories that run.

        Parameters
        ----------
        running
            Force calls that they have made, by their titles.
        """

    def trajectory(self, planned: PlannedTrajectory, outcome: TrajectoryOutcome) -> None:
        """Hear that a trajectory has ended.

        Parameters
        ----------
        planned, outcome
            Which one, and how.
        """


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
    records: tuple[TrajectoryRecord, ...]
    train: int
    test: int
    rejected: int
    limits: Limits | None

    @property
    def failed(self) -> tuple[TrajectoryRecord, ...]:
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
    with contextlib.ExitStack() as stack:
        stack.enter_context(exclusive(folder))
        plan = make_plan(config, folder, base)
        write_json(folder / "config.json", config.model_dump(mode="json"))
        starts = [start.atoms for start in plan.starts if start.atoms is not None]
        _write(folder / STARTS_FILE, starts)
        pool = executor or stack.enter_context(worker_pool(config.workers))
        store = TaskStore(folder / "tasks")
        campaign = _Campaign(config, base, plan, folder, store, pool, watcher or Watcher(), command)
        if retry_failed:
            campaign.forget_failed()
        return campaign.sample()


@dataclass(frozen=True, eq=False)
class _Campaign:
    """A campaign that runs: what is to be done, and where."""

    config: SampleConfig
    base: Path | str
    plan: Plan
    folder: Path
    store: TaskStore
    pool: Executor
    watcher: Watcher
    command: str

    def forget_failed(self) -> None:
        """Discard the results of trajectories that failed."""
        for planned in self.plan.trajectories:
            task = planned.task
            if task is None or not self.store.finished(task):
                continue
            if read_outcome(self.store.folder(task)).status == "failed":
                self.store.discard(task)

    def sample(self) -> SampleResult:
        """Do what is not done yet, and write the data sets."""
        limits = self._limits()
        self._run()
        return self._write_sets(limits)

    def _limits(self) -> Limits | None:
        """Compute or read the limits of images, if there are to be any, and draw them."""
        asked, computed = self.config.limits, None
        if asked is None:
            return None
        if asked.file is not None:
            computed = read_limits(Path(self.base) / asked.file)
        elif asked.multiple is not None:
            task = limits_task(self.plan.reference, self.plan.elements, asked, self.folder)
            self.watcher.stage("limits", 0, 1)
            computed = read_limits(self.store.run([task], self.pool)[0] / LIMITS_FILE)
            for left in limits_folders(self.folder, task.key):
                shutil.rmtree(left, ignore_errors=True)
            self.watcher.stage("limits", 1, 1)
        if computed is not None:
            write_json(self.folder / LIMITS_FILE, computed.as_dict())
            with figure_file(self.folder / LIMITS_FIGURE_FILE, (9.6, 3.8)) as figure:
                draw_limits(figure, computed)
        return limits_from(asked, computed, self.plan.elements)

    def _run(self) -> None:
        """Run the trajectories that are not finished."""
        planned = {one.task.key: one for one in self.plan.trajectories if one.task is not None}
        tasks = [one.task for one in planned.values() if one.task is not None]
        running = {task.key for task in tasks if not self.store.finished(task)}
        self.watcher.stage("trajectories", len(tasks) - len(running), len(tasks))

        def ended(done: int, task: Task) -> None:
            outcome = read_outcome(self.store.folder(task))
            _tidy(self.folder, task, outcome)
            running.discard(task.key)
            self.watcher.stage("trajectories", done, len(tasks))
            self.watcher.trajectory(planned[task.key], outcome)

        def report(calls: dict[str, int]) -> None:
            known = {planned[key].title: made for key, made in calls.items() if key in running}
            self.watcher.calls(known)

        with _watching({key: log_of(self.folder, key) for key in running}, report):
            self.store.run(tasks, self.pool, ended)
        for task in tasks:
            _tidy(self.folder, task, read_outcome(self.store.folder(task)))

    def _write_sets(self, limits: Limits | None) -> SampleResult:
        """Write the data sets, the table and the figure."""
        gathered = [
            gather(
                planned,
                None if planned.task is None else self.store.folder(planned.task),
                self.plan.reference,
                limits,
                keep_relaxation=self.config.relaxation.keep,
                command=self.command,
            )
            for planned in self.plan.trajectories
        ]
        train = [image for one in gathered if one.record.set == "train" for image in one.kept]
        trained = {image.info["configuration_id"] for image in train}
        test, repeated = [], Counter[str]()  # images of tests that the training set has
        for image in (image for one in gathered if one.record.set == "test" for image in one.kept):
            if image.info["configuration_id"] in trained:
                repeated[image.info["trajectory"]] += 1
            else:
                test.append(image)
        rejected = [image for one in gathered for image in one.rejected]
        for name, images in ((TRAIN_FILE, train), (TEST_FILE, test), (REJECTED_FILE, rejected)):
            _write(self.folder / name, images)
        records = tuple(
            replace(one, kept=one.kept - repeated[one.key], repeated=repeated[one.key])
            for one in (found.record for found in gathered)
        )
        table = {
            "command": self.command,
            "limits": None if limits is None else asdict(limits),
            "train": len(train),
            "test": len(test),
            "rejected": len(rejected),
            "trajectories": [asdict(record) for record in records],
        }
        write_json(self.folder / TABLE_FILE, table)
        if train or test:
            draw_sample(gathered, self.folder / FIGURE_FILE, limits=limits)
        return SampleResult(self.folder, records, len(train), len(test), len(rejected), limits)


def _tidy(folder: Path, task: Task, outcome: TrajectoryOutcome) -> None:
    """Remove what a finished trajectory needs no more; a failed one may be tried again."""
    if outcome.status != "failed":
        log_of(folder, task.key).unlink(missing_ok=True)
        shutil.rmtree(scratch_of(folder, task.key), ignore_errors=True)


def _write(path: Path, images: Sequence[Atoms]) -> None:
    if images:
        write_configurations(path, images)
    else:
        write_text(path, "")


class _CallCounter:
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
def _watching(logs: Mapping[str, Path], report: Callable[[dict[str, int]], None]) -> Iterator[None]:
    """Context manager: reports the force calls in logs that have grown, from a thread."""
    counter, done = _CallCounter(logs), threading.Event()
    before = counter.count()

    def poll() -> None:
        while not done.wait(_POLLING):
            now = counter.count()
            report({name: calls for name, calls in now.items() if calls != before.get(name)})

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def read_progress(
    plan: Plan, folder: Path
) -> list[tuple[PlannedTrajectory, TrajectoryOutcome | None, int]]:
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
    tasks = [one.task for one in plan.trajectories if one.task is not None]
    counted = _CallCounter({task.key: log_of(folder, task.key) for task in tasks}).count()
    found: list[tuple[PlannedTrajectory, TrajectoryOutcome | None, int]] = []
    for planned in plan.trajectories:
        outcome, calls = None, 0
        if planned.task is not None:
            calls = counted.get(planned.task.key, 0)
            kept = folder / "tasks" / planned.task.kind / planned.task.key
            if kept.is_dir():
                outcome = read_outcome(kept)
                calls = outcome.relaxation_calls + outcome.sampling_calls
        found.append((planned, outcome, calls))
    return found
