"""The active-learning loop.

Levels contain stages and stages contain rounds. A round runs every start of its stage at every
temperature under guard; it ends, perhaps early, when something risky was met, has the worth of
it labelled and fits again. A stage is settled when every run has met nothing risky with the same
potential; a level, when all its stages are.

The loop is a function of its configuration: everything that takes time is a task whose
result is kept, so running the loop again after a kill repeats what is finished in no time
and goes on with what is not.
"""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase.io
import numpy as np

from pescape.calculators.mtp import MTPotential
from pescape.calculators.mtp.fit import evaluate
from pescape.dataset import species_of
from pescape.errors import ConfigError, TaskError
from pescape.executors import open_executor
from pescape.files import append_line, atomic, close_line, read_lines, write_json
from pescape.labelling import Reference, reference_from
from pescape.labelling.failures import LabelFailure
from pescape.labelling.labels import forget_failures, label_task, outcome_of_label
from pescape.learning.dynamics import Run, outcome_of, snapshots_of
from pescape.learning.ensemble import run_ensemble
from pescape.learning.exploration import Exploration
from pescape.learning.levels import summary_of, write_levels
from pescape.learning.plan import stages_of
from pescape.learning.rounds import Round, write_rounds
from pescape.learning.status import ProgressFile
from pescape.learning.work import (
    FitStart,
    Fitted,
    dynamics_task,
    exploration_task,
    fit_task,
    read_chosen,
    read_fit,
    select_task,
)
from pescape.processes import exclusive
from pescape.structures import build_structures
from pescape.tasks import TaskStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from ase import Atoms

    from pescape.learning.config import LearnConfig
    from pescape.learning.ensemble import EnsembleReport
    from pescape.learning.levels import LevelSummary
    from pescape.learning.plan import Job, Stage
    from pescape.tasks import Task

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


@dataclass(frozen=True, eq=False)
class LearnResult:
    """What a campaign leaves.

    Parameters
    ----------
    folder
        Where everything is.
    potential
        The file of the last potential.
    rounds
        What happened.
    settled
        Whether, at the last level, a whole round of MD met nothing risky.
    ensemble
        The members fitted at the end, if the configuration asks for them and all is settled.
    """

    folder: Path
    potential: Path
    rounds: tuple[Round, ...]
    settled: bool
    ensemble: EnsembleReport | None = None


@dataclass(eq=False)
class _Campaign:
    """What the steps of the loop share; what comes after `retry_failed` changes on the way."""

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
    #: Labelled snapshots of safe MD, by stage.
    tests: dict[str, list[Atoms]] = field(default_factory=dict)
    fit_folder: Path | None = None
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
        assert self.fit_folder is not None, "a campaign begins with a fit"
        return Fitted.of(self.fit_folder)


def learn(
    config: LearnConfig,
    folder: Path | str,
    *,
    base: Path | str = ".",
    executor: Executor | None = None,
    retry_failed: bool = False,
    watcher: Watcher | None = None,
) -> LearnResult:
    """Learn a potential actively, or go on where an earlier call was stopped.

    Parameters
    ----------
    config
        Equal configurations give equal results, whatever the executor and however often
        the campaign was stopped.
    folder
        Output. ``tasks/`` holds what resuming needs.
    base
        Where relative file names in the configuration start.
    executor
        Where the tasks run, instead of where the configuration says. (Processes import the main
        module: scripts that call this need ``if __name__ == "__main__":``.)
    retry_failed
        Try labels again that failed in an earlier call.
    watcher
        Told of progress.

    Returns
    -------
    LearnResult

    Raises
    ------
    ConfigError
        A start, the reference or one of its files is not as it should be.
    TaskError
        Another process works in the folder, or a task failed for outer reasons.
    """
    folder = Path(folder).resolve()
    with contextlib.ExitStack() as stack:
        stack.enter_context(exclusive(folder))
        stages = stages_of(config, Path(base))
        reference = reference_from(config.reference, base)
        reference.check(set(config.potential.species))
        write_json(folder / "config.json", config.model_dump(mode="json"))
        campaign = _Campaign(
            config=config,
            folder=folder,
            base=Path(base),
            store=TaskStore(folder / "tasks"),
            executor=executor
            or stack.enter_context(open_executor(config.where, folder, base=base)),
            reference=reference,
            watcher=watcher or Watcher(),
            progress=ProgressFile(folder),
            retry_failed=retry_failed,
        )
        _begin(campaign)
        settled = all(_learn_level(campaign, level, stages) for level in config.potential.levels)
        return _finish(campaign, settled=settled)


def _begin(campaign: _Campaign) -> None:
    """Round 0: label the initial structures and fit them."""
    (campaign.folder / "checkpoints").mkdir(exist_ok=True)
    config = campaign.config
    seed = np.random.SeedSequence(config.seed, spawn_key=(0,))
    structures = build_structures(config.structures, seed, campaign.base)
    unknown = sorted(set(species_of(structures)) - set(config.potential.species))
    if unknown:
        raise ConfigError(
            f"element {unknown[0]!r} of the initial structures is not among the potential's "
            f"species {list(config.potential.species)}"
        )
    added = _label(campaign, "label initial structures", structures, "structures", 0)
    if not added:
        raise TaskError(
            f"the reference failed on all {len(structures)} initial structures: "
            f"see failed.json in the folders of {campaign.folder / 'tasks' / 'label'}"
        )
    level = config.potential.levels[0]
    _fit(campaign, FitStart.new(config.potential, config.fit.zbl), level, 0)
    failed = len(structures) - len(added)
    _close_round(campaign, Round(0, level, labelled=len(added), failed=failed))


def _learn_level(campaign: _Campaign, level: int, stages: Sequence[Stage]) -> bool:
    """Settle all stages at one level; False when a stage takes too many rounds."""
    if level != campaign.rounds[-1].level:
        start = _continued(campaign, level)
        _fit(campaign, start, level, len(campaign.rounds))
        _close_round(campaign, Round(len(campaign.rounds), level))
    while True:
        known = len(campaign.training)
        if not all(_settle(campaign, level, stage) for stage in stages):
            return False
        if not campaign.config.revisit or len(campaign.training) == known:
            break
    _close_level(campaign, level)
    return True


def _settle(campaign: _Campaign, level: int, stage: Stage) -> bool:
    """Go through rounds of one stage until nothing is risky; False when they are too many."""
    first = 0
    for _ in range(campaign.config.max_rounds):
        one = Round(len(campaign.rounds), level, stage.name)
        folders, one, first = _sweep(campaign, stage, one, first)
        if one.risky == 0 and one.exploded == 0:
            _close_round(campaign, _test(campaign, stage, folders, one))
            return True
        _close_round(campaign, _teach(campaign, folders, one))
    return False


def _sweep(
    campaign: _Campaign, stage: Stage, one: Round, first: int
) -> tuple[list[Path], Round, int]:
    """Run the batches of a stage, beginning with one, until something risky is met or all ran.

    Returns the folders of the runs, the round, and the batch that the next round begins
    with: the one that met something.
    """
    seeds = [campaign.seed(1, one.level, one.number, n) for n in range(len(stage.jobs))]
    starts = np.cumsum([0, *map(len, stage.batches)])
    folders: list[Path] = []
    potential = campaign.fitted
    for turn in range(len(stage.batches)):
        batch = (first + turn) % len(stage.batches)
        tasks = [
            _job_task(campaign.config, stage, job, seeds[starts[batch] + n], potential)
            for n, job in enumerate(stage.batches[batch])
        ]
        sampler = stage.batches[batch][0].sampler
        what = f"round {one.number}, {stage.name}: {'MD' if sampler == 'md' else sampler}"
        new = campaign.run(what, tasks)
        folders += new
        one = _with_outcomes(one, new)
        if one.risky or one.exploded:
            return folders, one, batch
    return folders, one, 0


def _job_task(config: LearnConfig, stage: Stage, job: Job, seed: int, potential: Fitted) -> Task:
    """Make the task of a job."""
    md, guard = config.md, config.guard
    snapshots = -(-config.test.configurations // len(stage.jobs))
    if job.sampler != "md":
        sampler = next(s for s in config.samplers if (s.name or s.method) == job.sampler)
        exploration = Exploration(
            name=job.name,
            sampler=sampler,
            every=guard.every,
            select=guard.select,
            stop=guard.stop,
            snapshots=snapshots,
            seed=seed,
        )
        return exploration_task(exploration, job.atoms, potential)
    run = Run(
        name=job.name,
        temperature=job.temperature,
        steps=stage.steps,
        timestep=md.timestep / 1000.0,
        damping=md.damping / 1000.0,
        every=guard.every,
        select=guard.select,
        stop=guard.stop,
        snapshots=snapshots,
        elements=config.potential.species,
        seed=seed,
        ranks=stage.ranks,
    )
    return dynamics_task(run, job.atoms, potential)


def _with_outcomes(one: Round, folders: Sequence[Path]) -> Round:
    """Add to a round what some of its runs met."""
    outcomes = [outcome_of(folder) for folder in folders]
    return dataclasses.replace(
        one,
        runs=one.runs + len(outcomes),
        halted=one.halted + sum(outcome.status == "halted" for outcome in outcomes),
        exploded=one.exploded + sum(outcome.status == "exploded" for outcome in outcomes),
        risky=one.risky + sum(outcome.saved for outcome in outcomes),
        largest_grade=max(one.largest_grade or 0.0, *(o.largest_grade for o in outcomes)),
    )


def _teach(campaign: _Campaign, folders: list[Path], one: Round) -> Round:
    """Label the risky configurations worth it and fit again."""
    config = campaign.config
    old = campaign.fitted
    nearest = config.guard.min_distance or config.potential.min_dist
    task = select_task(folders, old, campaign.training, config.guard, nearest)
    chosen, left_out = read_chosen(campaign.run(f"round {one.number}: select", [task])[0])
    if not chosen:
        raise TaskError(
            f"round {one.number}: none of the {one.risky} risky configurations can be labelled "
            f"({left_out['unphysical']} of {left_out['candidates']} have atoms nearer than "
            f"{nearest:g} Å; {one.exploded} runs exploded): lower guard.min_distance, the "
            "temperatures or the time step, or give more initial structures"
        )
    added = _label(campaign, f"round {one.number}: label", chosen, one.stage, one.number)
    if not added:
        raise TaskError(
            f"round {one.number}: the reference failed on all {len(chosen)} chosen "
            f"configurations: see failed.json in the folders of "
            f"{campaign.folder / 'tasks' / 'label'}"
        )
    surprise = evaluate(MTPotential.read(old.path), added)
    _fit(campaign, _continued(campaign, one.level), one.level, one.number)
    return dataclasses.replace(
        one,
        unphysical=left_out["unphysical"],
        redundant=left_out["redundant"],
        similar=left_out["similar"],
        known=left_out["known"],
        labelled=len(added),
        failed=len(chosen) - len(added),
        surprise_energy=surprise.energy_rmse,
        surprise_force=surprise.force_rmse,
    )


def _test(campaign: _Campaign, stage: Stage, folders: list[Path], one: Round) -> Round:
    """Label snapshots of MD without risk and compare: they are never trained on."""
    settings = campaign.config.test
    snapshots = [frame for folder in folders for frame in snapshots_of(folder)]
    if settings.most_atoms is not None:
        snapshots = [frame for frame in snapshots if len(frame) <= settings.most_atoms]
    if len(snapshots) > settings.configurations:
        kept = np.linspace(0, len(snapshots) - 1, settings.configurations).round().astype(int)
        snapshots = [snapshots[index] for index in kept]
    provenance: dict[str, str | int | float] = {
        "made_by": "safe MD",
        "stage": stage.name,
        "round": one.number,
        "seed": campaign.config.seed,
    }
    tasks = [label_task(frame, campaign.reference, provenance) for frame in snapshots]
    labelled = _labelled(campaign.run(f"round {one.number}: test", tasks))
    campaign.tests[stage.name] = labelled
    if not labelled:
        return one
    errors = evaluate(MTPotential.read(campaign.fitted.path), labelled)
    return dataclasses.replace(
        one,
        test_configurations=len(labelled),
        test_energy_rmse=errors.energy_rmse,
        test_force_rmse=errors.force_rmse,
    )


def _labelled(folders: Sequence[Path]) -> list[Atoms]:
    """Read the labels that there are; the reference may have failed on some."""
    outcomes = [outcome_of_label(folder) for folder in folders]
    return [one for one in outcomes if not isinstance(one, LabelFailure)]


def _label(
    campaign: _Campaign, what: str, frames: Sequence[Atoms], made_by: str, number: int
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


def _continued(campaign: _Campaign, level: int) -> FitStart:
    config = campaign.config
    start = FitStart.new(config.potential, config.fit.zbl)
    return dataclasses.replace(start, level=level, path=str(campaign.fitted.path))


def _fit(campaign: _Campaign, start: FitStart, level: int, number: int) -> None:
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
    campaign.fit_folder = campaign.run(what, [task])[0]


def _close_round(campaign: _Campaign, one: Round) -> None:
    """Add what the last fit says and tell the world."""
    assert campaign.fit_folder is not None, "a round ends with a fit"
    errors: Any = read_fit(campaign.fit_folder)["errors"]
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


def _close_level(campaign: _Campaign, level: int) -> None:
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
    _publish(source, campaign.folder / "levels" / f"{name.stem}-{level:02d}{name.suffix}")


def _publish(source: Path, target: Path) -> None:
    content = source.read_bytes()
    with atomic(target) as path:
        path.write_bytes(content)


def _finish(campaign: _Campaign, *, settled: bool) -> LearnResult:
    """Leave the potential, the tables and the figures."""
    from pescape.learning.figure import draw_levels, draw_rounds

    target = campaign.folder / campaign.config.potential.file
    _publish(campaign.fitted.path, target)
    write_rounds(campaign.folder, campaign.rounds, settled=settled)
    guard = campaign.config.guard
    figure = campaign.folder / FIGURE_FILE
    draw_rounds(campaign.rounds, figure, select=guard.select, stop=guard.stop)
    if campaign.levels:
        draw_levels(campaign.levels, campaign.folder / LEVELS_FIGURE)
    report = _ensemble(campaign) if settled else None
    return LearnResult(campaign.folder, target, tuple(campaign.rounds), settled, report)


def _ensemble(campaign: _Campaign) -> EnsembleReport | None:
    """Fit many potentials to the final data set and see what each predicts."""
    config = campaign.config
    if config.ensemble is None:
        return None
    level = config.ensemble.level or config.potential.levels[-1]
    return run_ensemble(
        config.ensemble,
        campaign.training,
        config.fit.settings(config.seed),
        dataclasses.replace(FitStart.new(config.potential, config.fit.zbl), level=level),
        campaign.store,
        campaign.executor,
        campaign.reference,
        campaign.folder / ENSEMBLE_FOLDER,
        campaign.watcher,
        test=[frame for frames in campaign.tests.values() for frame in frames],
        mode=config.guard.mode,
        retry_failed=campaign.retry_failed,
    )
