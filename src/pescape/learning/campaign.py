"""What the steps of a learning campaign share: its data set, its potential, its records."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase.io
import numpy as np

from pescape.calculators.mtp import MTPotential
from pescape.calculators.mtp.fit import evaluate
from pescape.files import append_line, atomic, close_line, read_lines
from pescape.labelling.evaluation import LabelFailure
from pescape.labelling.labels import forget_failures, label_task, outcome_of_label
from pescape.learning.records import Round, summary_of, write_levels, write_rounds
from pescape.learning.work import FitStart, Fitted, fit_task, read_fit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from ase import Atoms

    from pescape.labelling import Reference
    from pescape.learning.config import LearnConfig
    from pescape.learning.records import LevelSummary, ProgressFile
    from pescape.tasks.store import Task, TaskStore

#: File names in the output folder.
TRAINING_FILE = "train.xyz"
TEST_FILE = "test.xyz"
INDEX_FILE = "train.jsonl"
FIGURE_FILE = "learn.png"
LEVELS_FIGURE = "levels.png"
ENSEMBLE_FOLDER = "ensemble"


class Watcher:
    """Told what a campaign does; this one keeps it to itself."""

    def stage(self, what: str, done: int, total: int) -> None:
        """Hear how many tasks of a stage are done."""

    def round(self, one: Round) -> None:
        """Hear that a round has ended."""


@dataclass(eq=False)
class Campaign:
    """What the steps of the loop share.

    Parameters
    ----------
    config, folder, base, store, executor, reference, watcher, progress, retry_failed
        Stay as they are.
    training
        The data set.
    tests
        Labelled snapshots of safe MD, by stage.
    last
        The potential of the last fit.
    rounds, levels
        Those that have ended.
    """

    config: LearnConfig
    folder: Path
    base: Path
    store: TaskStore
    executor: Executor
    reference: Reference
    watcher: Watcher
    progress: ProgressFile
    retry_failed: bool = False
    training: list[Atoms] = field(default_factory=list)
    tests: dict[str, list[Atoms]] = field(default_factory=dict)
    last: Fitted | None = None
    rounds: list[Round] = field(default_factory=list)
    levels: list[LevelSummary] = field(default_factory=list)

    def run(self, what: str, tasks: Sequence[Task]) -> list[Path]:
        """Run tasks, on the cores the configuration gives them, and report on them."""
        total = len(tasks)
        cores_of = self.config.where.cores_of
        tasks = [
            dataclasses.replace(task, cores=max(task.cores, cores_of(task.kind)))
            if task.ranks == 1
            else task
            for task in tasks
        ]

        def tell(done: int) -> None:
            self.watcher.stage(what, done, total)
            self.progress.tell(what, done, total)

        tell(0)
        return self.store.run(tasks, self.executor, lambda done, _: tell(done))

    def seed(self, *path: int) -> int:
        """Derive a seed from the campaign's and a place in it."""
        sequence = np.random.SeedSequence(self.config.seed, spawn_key=path)
        return int(sequence.generate_state(1)[0])

    @property
    def fitted(self) -> Fitted:
        """The potential of the last fit."""
        assert self.last is not None, "a campaign begins with a fit"
        return self.last


def add_labels(
    campaign: Campaign, what: str, frames: Sequence[Atoms], made_by: str, number: int
) -> list[Atoms]:
    """Label configurations and add them to the data set and its index."""
    tasks = []
    for frame in frames:
        provenance: dict[str, Any] = {
            "parent": frame.info.get("parent", ""),
            "made_by": made_by,
            "command": "pescape learn",
            "round": number,
            "seed": campaign.config.seed,
        }
        tasks.append(label_task(frame, campaign.reference, provenance))
    if campaign.retry_failed:
        forget_failures(campaign.store, tasks)
    outcomes = [(folder, outcome_of_label(folder)) for folder in campaign.run(what, tasks)]
    index = campaign.folder / INDEX_FILE
    close_line(index)
    known = {record["configuration_id"] for record in read_lines(index)}
    added: list[Atoms] = []
    for folder, atoms in outcomes:
        if isinstance(atoms, LabelFailure):
            continue
        added.append(atoms)
        if atoms.info["configuration_id"] not in known:
            append_line(index, {**_plain(atoms.info), "task": f"label/{folder.name}"})
    campaign.training.extend(added)
    with atomic(campaign.folder / TRAINING_FILE) as path:
        ase.io.write(path, campaign.training, format="extxyz")
    return added


def _plain(info: dict[str, Any]) -> dict[str, Any]:
    return {key: value.item() if hasattr(value, "item") else value for key, value in info.items()}


def start_from_last(campaign: Campaign, level: int) -> FitStart:
    """Begin a fit with the last potential, raised to a level if that is higher."""
    config = campaign.config
    start = FitStart.new(config.potential, config.fit.zbl)
    return dataclasses.replace(start, level=level, path=str(campaign.fitted.path))


def fit_to_data(campaign: Campaign, start: FitStart, level: int, number: int) -> None:
    """Fit to the whole data set; what comes out is the campaign's potential."""
    settings = campaign.config.fit.settings(campaign.seed(2, level, number))
    task = fit_task(
        start,
        campaign.training,
        settings,
        campaign.config.guard.mode,
        campaign.folder / "checkpoints",
        ranks=campaign.config.where.cores_of("fit"),
    )
    what = f"round {number}: fit level {level} to {len(campaign.training)} configurations"
    campaign.last = Fitted.of(campaign.run(what, [task])[0])


def close_round(campaign: Campaign, one: Round) -> None:
    """Add what the last fit says and tell the world."""
    errors: Any = read_fit(campaign.fitted.path.parent)["errors"]
    one = dataclasses.replace(
        one,
        configurations=len(campaign.training),
        energy_rmse=errors["energy_rmse"],
        force_rmse=errors["force_rmse"],
        stress_rmse=errors["stress_rmse"],
    )
    campaign.rounds.append(one)
    write_rounds(campaign.folder, campaign.rounds, settled=False)
    campaign.watcher.round(one)


def close_level(campaign: Campaign, level: int) -> None:
    """Leave the level's potential, its test set and its line in the table of levels."""
    source = campaign.fitted.path
    tested = [frame for frames in campaign.tests.values() for frame in frames]
    if tested:
        with atomic(campaign.folder / TEST_FILE) as path:
            ase.io.write(path, tested, format="extxyz")
    potential = MTPotential.read(source)
    errors = evaluate(potential, tested) if tested else None
    rounds = [one for one in campaign.rounds if one.level == level]
    campaign.levels.append(summary_of(level, potential.parameter_count, rounds, errors))
    write_levels(campaign.folder, campaign.levels)
    name = Path(campaign.config.potential.file)
    publish(source, campaign.folder / "levels" / f"{name.stem}-{level:02d}{name.suffix}")


def publish(source: Path, target: Path) -> None:
    """Copy a file atomically."""
    content = source.read_bytes()
    with atomic(target) as path:
        path.write_bytes(content)
