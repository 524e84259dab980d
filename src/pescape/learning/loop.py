"""The active-learning loop.

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
from pescape.files import append_line, atomic, close_line, read_lines, write_json
from pescape.labelling import Reference, reference_from
from pescape.labelling.labels import label_task, read_label
from pescape.learning.dynamics import Run, outcome_of, snapshots_of
from pescape.learning.rounds import Round, write_rounds
from pescape.learning.work import (
    POTENTIAL_FILE,
    FitStart,
    dynamics_task,
    fit_task,
    read_chosen,
    read_fit,
    select_task,
)
from pescape.processes import exclusive, worker_pool
from pescape.structures import as_stored, build_structures
from pescape.tasks import TaskStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from ase import Atoms

    from pescape.learning.config import LearnConfig
    from pescape.tasks import Task

#: File names in the output folder.
TRAINING_FILE = "train.xyz"
TEST_FILE = "test.xyz"
INDEX_FILE = "train.jsonl"
FIGURE_FILE = "learn.png"


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
    """

    folder: Path
    potential: Path
    rounds: tuple[Round, ...]
    settled: bool


@dataclass(eq=False)
class _Campaign:
    """What the steps of the loop share; only `training`, `fitted` and `rounds` change."""

    config: LearnConfig
    folder: Path
    base: Path
    store: TaskStore
    executor: Executor
    reference: Reference
    watcher: Watcher
    training: list[Atoms] = field(default_factory=list)
    fitted: Path | None = None
    rounds: list[Round] = field(default_factory=list)

    def run(self, what: str, tasks: Sequence[Task]) -> list[Path]:
        """Run tasks and report on them."""
        total = len(tasks)
        self.watcher.stage(what, 0, total)
        return self.store.run(
            tasks, self.executor, lambda done, _: self.watcher.stage(what, done, total)
        )

    def seed(self, *path: int) -> int:
        """Derive a seed from the campaign's and a place in it."""
        sequence = np.random.SeedSequence(self.config.seed, spawn_key=path)
        return int(sequence.generate_state(1)[0])


def learn(
    config: LearnConfig,
    folder: Path | str,
    *,
    base: Path | str = ".",
    executor: Executor | None = None,
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
        Where the tasks run; by default processes of this machine. (They import the main
        module: scripts that call this need ``if __name__ == "__main__":``.)
    watcher
        Told of progress.

    Returns
    -------
    LearnResult

    Raises
    ------
    TaskError
        Another process works in the folder, or a task failed for outer reasons.
    """
    folder = Path(folder).resolve()
    with contextlib.ExitStack() as stack:
        stack.enter_context(exclusive(folder))
        reference = reference_from(config.reference, base)
        write_json(folder / "config.json", config.model_dump(mode="json"))
        campaign = _Campaign(
            config=config,
            folder=folder,
            base=Path(base),
            store=TaskStore(folder / "tasks"),
            executor=executor or stack.enter_context(worker_pool(config.workers)),
            reference=reference,
            watcher=watcher or Watcher(),
        )
        _begin(campaign)
        settled = False
        for level in config.potential.levels:
            settled = _learn_level(campaign, level)
            if not settled:
                break
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
    level = config.potential.levels[0]
    _fit(campaign, FitStart.new(config.potential, config.fit.zbl), level, 0)
    _close_round(campaign, Round(0, level, labelled=len(added)))


def _learn_level(campaign: _Campaign, level: int) -> bool:
    """Go through rounds at one level until nothing is risky; False when they are too many."""
    config = campaign.config
    if level != campaign.rounds[-1].level:
        start = _continued(campaign, level)
        _fit(campaign, start, level, len(campaign.rounds))
        _close_round(campaign, Round(len(campaign.rounds), level))
    for _ in range(config.max_rounds):
        number = len(campaign.rounds)
        folders, one = _dynamics(campaign, Round(number, level))
        if one.risky == 0 and one.exploded == 0:
            one = _test(campaign, folders, one)
            _close_round(campaign, one)
            return True
        one = _teach(campaign, folders, one)
        _close_round(campaign, one)
    return False


def _dynamics(campaign: _Campaign, one: Round) -> tuple[list[Path], Round]:
    """Run MD from every crystal at every volume and temperature."""
    config = campaign.config
    md, guard = config.md, config.guard
    tasks: list[Task] = []
    for name, atoms in _crystals(config):
        for temperature in md.temperatures:
            run = Run(
                name=name,
                temperature=temperature,
                steps=md.steps,
                timestep=md.timestep / 1000.0,
                damping=md.damping / 1000.0,
                every=guard.every,
                select=guard.select,
                stop=guard.stop,
                snapshots=md.snapshots,
                elements=config.potential.species,
                seed=campaign.seed(1, one.level, one.number, len(tasks)),
            )
            tasks.append(dynamics_task(run, atoms, _potential(campaign)))
    folders = campaign.run(f"round {one.number}: MD", tasks)
    outcomes = [outcome_of(folder) for folder in folders]
    return folders, dataclasses.replace(
        one,
        runs=len(outcomes),
        halted=sum(outcome.status == "halted" for outcome in outcomes),
        exploded=sum(outcome.status == "exploded" for outcome in outcomes),
        risky=sum(outcome.saved for outcome in outcomes),
        largest_grade=max(outcome.largest_grade for outcome in outcomes),
    )


def _crystals(config: LearnConfig) -> list[tuple[str, Atoms]]:
    """Build what MD starts from: every crystal at every volume, with its name."""
    built = []
    for start in config.md.start:
        for atoms in start.build():
            for volume in start.volumes:
                scaled = atoms.copy()
                scaled.set_cell(atoms.cell.array * volume ** (1 / 3), scale_atoms=True)
                built.append((f"{atoms.info['name']}, volume × {volume:g}", as_stored(scaled)))
    return built


def _teach(campaign: _Campaign, folders: list[Path], one: Round) -> Round:
    """Label the risky configurations worth it and fit again."""
    config = campaign.config
    old = _potential(campaign)
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
    added = _label(campaign, f"round {one.number}: label", chosen, "md", one.number)
    surprise = evaluate(MTPotential.read(old), added)
    _fit(campaign, _continued(campaign, one.level), one.level, one.number)
    return dataclasses.replace(
        one,
        unphysical=left_out["unphysical"],
        redundant=left_out["redundant"],
        similar=left_out["similar"],
        labelled=len(added),
        surprise_energy=surprise.energy_rmse,
        surprise_force=surprise.force_rmse,
    )


def _test(campaign: _Campaign, folders: list[Path], one: Round) -> Round:
    """Label snapshots of MD without risk and compare: they are never trained on."""
    snapshots = [frame for folder in folders for frame in snapshots_of(folder)]
    provenance: dict[str, str | int | float] = {
        "made_by": "md",
        "round": one.number,
        "seed": campaign.config.seed,
    }
    tasks = [label_task(frame, campaign.reference, provenance) for frame in snapshots]
    labelled = [read_label(f) for f in campaign.run(f"round {one.number}: test", tasks)]
    if not labelled:
        return one
    with atomic(campaign.folder / TEST_FILE) as path:
        ase.io.write(path, labelled, format="extxyz")
    errors = evaluate(MTPotential.read(_potential(campaign)), labelled)
    return dataclasses.replace(
        one,
        test_configurations=len(labelled),
        test_energy_rmse=errors.energy_rmse,
        test_force_rmse=errors.force_rmse,
    )


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
    added = [read_label(folder) for folder in campaign.run(what, tasks)]
    campaign.training.extend(added)
    index = campaign.folder / INDEX_FILE
    close_line(index)
    known = {record["configuration_id"] for record in read_lines(index)}
    for task, atoms in zip(tasks, added, strict=True):
        if atoms.info["configuration_id"] not in known:
            append_line(index, {**_plain(atoms.info), "task": f"label/{task.key}"})
    with atomic(campaign.folder / TRAINING_FILE) as path:
        ase.io.write(path, campaign.training, format="extxyz")
    return added


def _plain(info: dict[str, Any]) -> dict[str, Any]:
    return {key: value.item() if hasattr(value, "item") else value for key, value in info.items()}


def _continued(campaign: _Campaign, level: int) -> FitStart:
    config = campaign.config
    start = FitStart.new(config.potential, config.fit.zbl)
    return dataclasses.replace(start, level=level, path=str(_potential(campaign)))


def _fit(campaign: _Campaign, start: FitStart, level: int, number: int) -> None:
    settings = campaign.config.fit.settings(campaign.seed(2, level, number))
    task = fit_task(
        start,
        campaign.training,
        settings,
        campaign.config.guard.mode,
        campaign.folder / "checkpoints",
    )
    what = f"round {number}: fit level {level} to {len(campaign.training)} configurations"
    campaign.fitted = campaign.run(what, [task])[0]


def _potential(campaign: _Campaign) -> Path:
    assert campaign.fitted is not None, "a campaign begins with a fit"
    return campaign.fitted / POTENTIAL_FILE


def _close_round(campaign: _Campaign, one: Round) -> None:
    """Add what the last fit says and tell the world."""
    assert campaign.fitted is not None, "a round ends with a fit"
    errors: Any = read_fit(campaign.fitted)["errors"]
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


def _finish(campaign: _Campaign, *, settled: bool) -> LearnResult:
    """Leave the potential, the table and the figure."""
    from pescape.learning.figure import draw_rounds

    target = campaign.folder / campaign.config.potential.file
    content = _potential(campaign).read_bytes()
    with atomic(target) as path:
        path.write_bytes(content)
    write_rounds(campaign.folder, campaign.rounds, settled=settled)
    guard = campaign.config.guard
    figure = campaign.folder / FIGURE_FILE
    draw_rounds(campaign.rounds, figure, select=guard.select, stop=guard.stop)
    return LearnResult(campaign.folder, target, tuple(campaign.rounds), settled)
