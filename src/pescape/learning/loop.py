"""The active-learning loop.

Levels contain stages and stages contain rounds. A round runs every start of its stage at every
temperature under guard; it ends, perhaps early, when something risky was met, has what is
worth it labeled and fits again. A stage is settled when every run has met nothing risky with
the same potential; a level, when all its stages are.

The loop is a function of its configuration: everything that takes time is a task whose
result is kept, so running the loop again after a kill repeats what is finished in no time
and goes on with what is not.
"""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pescape.calculators import load
from pescape.calculators.fit.errors import evaluate
from pescape.data.configurations import species_of
from pescape.ensemble.run import run_ensemble
from pescape.errors import ConfigError, TaskError
from pescape.files import write_json
from pescape.labelling import reference_from
from pescape.learning.campaign import (
    Campaign,
    Watcher,
    add_labels,
    close_level,
    close_round,
    fit_to_data,
    publish,
)
from pescape.learning.exploration import ExplorationRun, MDRun, dynamics_task, exploration_task
from pescape.learning.health import checked
from pescape.learning.outcomes import (
    MDOutcome,
    lost_start_of,
    read_chosen,
    select_task,
    snapshots_of,
)
from pescape.learning.plan import stages_of
from pescape.learning.records import ProgressFile, Round, write_rounds
from pescape.structures import build_all
from pescape.tasks.cluster import open_executor
from pescape.tasks.store import TaskStore, exclusive

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from ase import Atoms

    from pescape.ensemble.results import EnsembleReport
    from pescape.fits.task import Fitted
    from pescape.learning.config import LearnConfig
    from pescape.learning.plan import SamplerRun, Stage
    from pescape.tasks.store import Task
    from pescape.validation.check import CheckReport

#: Names in the output folder.
FIGURE_FILE = "learn.png"
LEVELS_FIGURE = "levels.png"
ENSEMBLE_FOLDER = "ensemble"


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
    check
        The health of the last potential, unless the configuration leaves it out.
    """

    folder: Path
    potential: Path
    rounds: tuple[Round, ...]
    settled: bool
    ensemble: EnsembleReport | None = None
    check: CheckReport | None = None


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
        Follows the progress.

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
        campaign = Campaign(
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
        _initial_fit(campaign)
        settled = all(_run_level(campaign, level, stages) for level in config.potential.levels)
        return _finish(campaign, settled=settled)


def _initial_fit(campaign: Campaign) -> None:
    """Round 0: label the initial structures and fit them."""
    (campaign.folder / "checkpoints").mkdir(exist_ok=True)
    config = campaign.config
    seed = np.random.SeedSequence(config.seed, spawn_key=(0,))
    structures = build_all(config.structures, seed, campaign.base)
    unknown = sorted(set(species_of(structures)) - set(config.potential.species))
    if unknown:
        raise ConfigError(
            f"element {unknown[0]!r} of the initial structures is not among the potential's "
            f"species {list(config.potential.species)}"
        )
    added = add_labels(campaign, "label initial structures", structures, "structures", 0)
    if not added:
        raise TaskError(
            f"the reference failed on all {len(structures)} initial structures: "
            f"see failed.json in the folders of {campaign.folder / 'tasks' / 'label'}"
        )
    level = config.potential.levels[0]
    fit_to_data(campaign, level, 0)
    failed = len(structures) - len(added)
    close_round(campaign, Round(0, level, labelled=len(added), failed=failed))


def _run_level(campaign: Campaign, level: int, stages: Sequence[Stage]) -> bool:
    """Settle all stages at one level; False when a stage takes too many rounds."""
    if level != campaign.rounds[-1].level:
        fit_to_data(campaign, level, len(campaign.rounds))
        close_round(campaign, Round(len(campaign.rounds), level))
    while True:
        known = len(campaign.training)
        if not all(_run_stage(campaign, level, stage) for stage in stages):
            return False
        if not campaign.config.revisit or len(campaign.training) == known:
            break
    close_level(campaign, level)
    return True


def _run_stage(campaign: Campaign, level: int, stage: Stage) -> bool:
    """Run rounds of one stage until nothing is risky; False when they are too many."""
    first = 0
    for _ in range(campaign.config.max_rounds):
        one = Round(len(campaign.rounds), level, stage.name)
        folders, one, first = _run_round(campaign, stage, one, first)
        if one.risky == 0 and one.exploded == 0:
            close_round(campaign, _test_on_snapshots(campaign, stage, folders, one))
            return True
        close_round(campaign, _label_and_refit(campaign, folders, one))
    return False


def _run_round(
    campaign: Campaign, stage: Stage, one: Round, first: int
) -> tuple[list[Path], Round, int]:
    """Run the batches of a stage, beginning with one, until something risky is met or all ran.

    Returns the folders of the runs, the round, and the batch that the next round begins
    with: the one that met something.
    """
    seeds = [campaign.seed(1, one.level, one.number, n) for n in range(len(stage.runs))]
    starts = np.cumsum([0, *map(len, stage.batches)])
    folders: list[Path] = []
    potential = campaign.fitted
    for turn in range(len(stage.batches)):
        batch = (first + turn) % len(stage.batches)
        tasks = [
            _run_task(campaign.config, stage, run, seeds[starts[batch] + n], potential)
            for n, run in enumerate(stage.batches[batch])
        ]
        sampler = stage.batches[batch][0].sampler
        what = f"round {one.number}, {stage.name}: {'MD' if sampler == 'md' else sampler}"
        new = campaign.run(what, tasks)
        folders += new
        one = _with_outcomes(one, new)
        if one.risky or one.exploded:
            return folders, one, batch
    return folders, one, 0


def _run_task(
    config: LearnConfig, stage: Stage, run: SamplerRun, seed: int, potential: Fitted
) -> Task:
    """Make the task of one run of a stage."""
    md, guard = config.md, config.guard
    snapshots = -(-config.test.configurations // len(stage.runs))
    if run.sampler != "md":
        sampler = next(s for s in config.samplers if (s.name or s.method) == run.sampler)
        exploration = ExplorationRun(
            name=run.name,
            sampler=sampler,
            every=guard.every,
            select=guard.select,
            stop=guard.stop,
            snapshots=snapshots,
            seed=seed,
        )
        return exploration_task(exploration, run.start, potential)
    dynamics = MDRun(
        name=run.name,
        temperature=run.temperature,
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
    return dynamics_task(dynamics, run.start, potential)


def _with_outcomes(one: Round, folders: Sequence[Path]) -> Round:
    """Add to a round what some of its runs met."""
    outcomes = [MDOutcome.read(folder) for folder in folders]
    return dataclasses.replace(
        one,
        runs=one.runs + len(outcomes),
        halted=one.halted + sum(outcome.status == "halted" for outcome in outcomes),
        exploded=one.exploded + sum(outcome.status == "exploded" for outcome in outcomes),
        risky=one.risky + sum(outcome.saved for outcome in outcomes),
        largest_grade=max(one.largest_grade or 0.0, *(o.largest_grade for o in outcomes)),
    )


def _label_and_refit(campaign: Campaign, folders: list[Path], one: Round) -> Round:
    """Label the risky configurations that are worth it and fit again."""
    config = campaign.config
    old = campaign.fitted
    nearest = config.min_distance
    task = select_task(folders, old, campaign.data, config.guard, nearest)
    chosen, left_out = read_chosen(campaign.run(f"round {one.number}: select", [task])[0])
    chosen = chosen or _lost_starts(campaign, folders)
    if not chosen:
        raise TaskError(
            f"round {one.number}: none of the {one.risky} risky configurations can be labelled "
            f"({left_out['unphysical']} of {left_out['candidates']} have atoms nearer than "
            f"{nearest:g} Å; {one.exploded} runs exploded): lower guard.min_distance, the "
            "temperatures or the time step, or give more initial structures"
        )
    added = add_labels(campaign, f"round {one.number}: label", chosen, one.stage, one.number)
    if not added:
        raise TaskError(
            f"round {one.number}: the reference failed on all {len(chosen)} chosen "
            f"configurations: see failed.json in the folders of "
            f"{campaign.folder / 'tasks' / 'label'}"
        )
    surprise = evaluate(load(old.path), added)
    fit_to_data(campaign, one.level, one.number)
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
        surprise_energy_error=surprise.energy_rmse_error,
        surprise_force_error=surprise.force_rmse_error,
    )


def _lost_starts(campaign: Campaign, folders: Sequence[Path]) -> list[Atoms]:
    """Give the starts of runs that exploded without a trace, as far as they are not learned."""
    known = {frame.info["configuration_id"] for frame in campaign.training}
    starts = {s.info["configuration_id"]: s for s in map(lost_start_of, folders) if s is not None}
    return [start for name, start in starts.items() if name not in known]


def _test_on_snapshots(campaign: Campaign, stage: Stage, folders: list[Path], one: Round) -> Round:
    """Label snapshots of MD without risk and compare: they are never trained on."""
    settings = campaign.config.test
    snapshots = [frame for folder in folders for frame in snapshots_of(folder)]
    if settings.most_atoms is not None:
        snapshots = [frame for frame in snapshots if len(frame) <= settings.most_atoms]
    if len(snapshots) > settings.configurations:
        kept = np.linspace(0, len(snapshots) - 1, settings.configurations).round().astype(int)
        snapshots = [snapshots[index] for index in kept]
    provenance = {
        "made_by": "safe MD",
        "stage": stage.name,
        "round": one.number,
        "seed": campaign.config.seed,
    }
    made = campaign.label(f"round {one.number}: test", snapshots, [provenance] * len(snapshots))
    labelled = [atoms for _, atoms in made]
    campaign.tests[stage.name] = labelled
    if not labelled:
        return one
    errors = evaluate(load(campaign.fitted.path), labelled)
    return dataclasses.replace(
        one,
        test_configurations=len(labelled),
        test_energy_rmse=errors.energy_rmse,
        test_force_rmse=errors.force_rmse,
        test_energy_rmse_error=errors.energy_rmse_error,
        test_force_rmse_error=errors.force_rmse_error,
    )


def _finish(campaign: Campaign, *, settled: bool) -> LearnResult:
    """Leave the potential, the tables and the figures."""
    from pescape.figures.learning import draw_levels, draw_rounds

    campaign.close_training()
    target = campaign.folder / campaign.config.potential.file
    publish(campaign.fitted.path, target)
    write_rounds(campaign.folder, campaign.rounds, settled=settled)
    guard = campaign.config.guard
    figure = campaign.folder / FIGURE_FILE
    draw_rounds(campaign.rounds, figure, select=guard.select, stop=guard.stop)
    if campaign.levels:
        draw_levels(campaign.levels, campaign.folder / LEVELS_FIGURE)
    health = None
    if campaign.config.check:
        health = checked(target, campaign.training, campaign.folder, campaign.watcher.stage)
    report = _ensemble(campaign) if settled else None
    return LearnResult(campaign.folder, target, tuple(campaign.rounds), settled, report, health)


def _ensemble(campaign: Campaign) -> EnsembleReport | None:
    """Fit many potentials to the final data set and see what each predicts."""
    config = campaign.config
    if config.ensemble is None:
        return None
    level = config.ensemble.level or config.potential.levels[-1]
    return run_ensemble(
        config.ensemble,
        campaign.training,
        config.potential.settings(config.fit, config.seed),
        config.potential.start(level, config.fit),
        campaign.store,
        campaign.executor,
        campaign.reference,
        campaign.folder / ENSEMBLE_FOLDER,
        campaign.watcher,
        test=[frame for frames in campaign.tests.values() for frame in frames],
        mode=config.guard.mode,
        retry_failed=campaign.retry_failed,
    )
