"""What the steps of a learning campaign share: its data set, its potential, its records."""

from __future__ import annotations

import dataclasses
import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase.io
import numpy as np

from pescape.calculators import load
from pescape.calculators.fit.errors import evaluate
from pescape.files import append_line, atomic, close_line, extend_file, read_lines
from pescape.fits.task import Fitted, LabelledData, fit_task
from pescape.labelling.evaluation import LabelFailure
from pescape.labelling.label import discard_failed_labels, label_task, read_label
from pescape.learning.records import Round, summary_of, write_levels, write_rounds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from ase import Atoms

    from pescape.labelling import Reference
    from pescape.learning.config import LearnConfig
    from pescape.learning.records import LevelSummary, ProgressFile
    from pescape.tasks.store import Task, TaskStore

_TRAINING_FILE = "train.xyz"
_TEST_FILE = "test.xyz"
_INDEX_FILE = "train.jsonl"


class Watcher:
    """Follows what a campaign does; this one does nothing with it."""

    def stage(self, what: str, done: int, total: int) -> None:
        """Take note of how many tasks of a stage are done.

        Parameters
        ----------
        what
            A phrase for people.
        done, total
            Numbers of tasks.
        """

    def round(self, one: Round) -> None:
        """Take note of a round that has ended.

        Parameters
        ----------
        one
            The round.
        """


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
        Labeled snapshots of safe MD, by stage.
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
    _written: int = 0  # bytes of the training file

    def run(self, what: str, tasks: Sequence[Task]) -> list[Path]:
        """Run tasks on the cores that the configuration gives them, and report on them.

        Parameters
        ----------
        what
            A phrase for people.
        tasks
            To be run, or to be found finished.

        Returns
        -------
        list of Path
            The folders of the results, in the order of `tasks`.
        """
        total = len(tasks)
        cores_of = self.config.where.cores_of
        tasks = [
            dataclasses.replace(task, cores=max(task.cores, cores_of(task.kind)))
            if task.ranks == 1
            else task
            for task in tasks
        ]

        def report(done: int) -> None:
            self.watcher.stage(what, done, total)
            self.progress.report(what, done, total)

        report(0)
        return self.store.run(tasks, self.executor, lambda done, _: report(done))

    def label(
        self, what: str, frames: Sequence[Atoms], provenance: Sequence[dict[str, Any]]
    ) -> list[tuple[Path, Atoms]]:
        """Label configurations; those that the reference fails on are left out.

        Parameters
        ----------
        what
            A phrase for people.
        frames, provenance
            The configurations, and what is kept of the origin of each.

        Returns
        -------
        list of tuple
            The folder of each label, and the labeled configuration.
        """
        tasks = [
            label_task(frame, self.reference, origin)
            for frame, origin in zip(frames, provenance, strict=True)
        ]
        if self.retry_failed:
            discard_failed_labels(self.store, tasks)
        outcomes = [(folder, read_label(folder)) for folder in self.run(what, tasks)]
        return [(path, one) for path, one in outcomes if not isinstance(one, LabelFailure)]

    def seed(self, *path: int) -> int:
        """Derive a seed from the campaign's and a place in it, given by numbers."""
        sequence = np.random.SeedSequence(self.config.seed, spawn_key=path)
        return int(sequence.generate_state(1)[0])

    @property
    def fitted(self) -> Fitted:
        """The potential of the last fit."""
        assert self.last is not None, "a campaign begins with a fit"
        return self.last

    @property
    def data(self) -> LabelledData:
        """The data set, as tasks are given it."""
        return LabelledData(self.training, self.folder / _TRAINING_FILE)

    def extend_training(self, added: Sequence[Atoms]) -> None:
        """Add labeled configurations to the data set and its file.

        Parameters
        ----------
        added
            The configurations.
        """
        self.training.extend(added)
        text = io.StringIO()
        if added:
            ase.io.write(text, added, format="extxyz")
        path = self.folder / _TRAINING_FILE
        self._written = extend_file(path, self._written, text.getvalue().encode())

    def close_training(self) -> None:
        """Cut off the training file what a campaign with another configuration left there."""
        os.truncate(self.folder / _TRAINING_FILE, self._written)


def add_labels(
    campaign: Campaign, what: str, frames: Sequence[Atoms], made_by: str, number: int
) -> list[Atoms]:
    """Label configurations and add them to the data set and its index.

    Parameters
    ----------
    campaign
        The campaign.
    what
        A phrase for people.
    frames
        The configurations.
    made_by, number
        The stage and the round they are from.

    Returns
    -------
    list of Atoms
        The labeled ones, without those that the reference failed on.
    """
    provenance = [
        {
            "parent": frame.info.get("parent", ""),
            "made_by": made_by,
            "command": "pescape learn",
            "round": number,
            "seed": campaign.config.seed,
        }
        for frame in frames
    ]
    labelled = campaign.label(what, frames, provenance)
    index = campaign.folder / _INDEX_FILE
    close_line(index)
    known = {record["configuration_id"] for record in read_lines(index)}
    for folder, atoms in labelled:
        if atoms.info["configuration_id"] not in known:
            append_line(index, {**_plain(atoms.info), "task": f"label/{folder.name}"})
    added = [atoms for _, atoms in labelled]
    campaign.extend_training(added)
    return added


def _plain(info: dict[str, Any]) -> dict[str, Any]:
    return {key: value.item() if hasattr(value, "item") else value for key, value in info.items()}


def fit_to_data(campaign: Campaign, level: int, number: int) -> None:
    """Fit to the whole data set; what comes out is the campaign's potential.

    Parameters
    ----------
    campaign
        The campaign. The fit of a moment tensor potential starts from the last one, if there is
        one, which is raised to the level if that is higher.
    level
        Of the potential; the number of the network.
    number
        Of the round.
    """
    config = campaign.config
    last = None if campaign.last is None else str(campaign.last.path)
    task = fit_task(
        config.potential.start(level, config.fit, last),
        campaign.data,
        config.potential.settings(config.fit, campaign.seed(2, level, number)),
        config.guard.mode,
        campaign.folder / "checkpoints",
        ranks=config.where.cores_of("fit"),
    )
    what = f"round {number}: fit level {level} to {len(campaign.training)} configurations"
    campaign.last = Fitted.of(campaign.run(what, [task])[0])


def close_round(campaign: Campaign, one: Round) -> None:
    """Complete a round by the errors of the last fit, keep it and report it.

    Parameters
    ----------
    campaign
        The campaign.
    one
        The round.
    """
    errors = campaign.fitted.summary["errors"]
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
    """Write the potential of a level, its test set and its line in the table of levels.

    Parameters
    ----------
    campaign
        The campaign.
    level
        Of its last potential.
    """
    source = campaign.fitted.path
    tested = [frame for frames in campaign.tests.values() for frame in frames]
    if tested:
        with atomic(campaign.folder / _TEST_FILE) as path:
            ase.io.write(path, tested, format="extxyz")
    potential = load(source)
    errors = evaluate(potential, tested) if tested else None
    rounds = [one for one in campaign.rounds if one.level == level]
    campaign.levels.append(summary_of(level, potential.parameter_count, rounds, errors))
    write_levels(campaign.folder, campaign.levels)
    name = Path(campaign.config.potential.file)
    publish(source, campaign.folder / "levels" / f"{name.stem}-{level:02d}{name.suffix}")


def publish(source: Path, target: Path) -> None:
    """Copy a file atomically.

    Parameters
    ----------
    source, target
        From where to where.
    """
    content = source.read_bytes()
    with atomic(target) as path:
        path.write_bytes(content)
