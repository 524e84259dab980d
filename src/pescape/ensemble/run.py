"""Ensembles: potentials fitted to the same data from different seeds, and what they predict.

What no configuration of the data set fixes, such as a migration barrier, differs from fit to
fit. An ensemble shows how much, and which of its members get which property right.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from pescape.calculators import load
from pescape.calculators.fit.errors import evaluate
from pescape.calculators.mtp.fit import FitSettings
from pescape.calculators.mtp.fit.settings import Level  # noqa: TC001 (pydantic reads the annotations)
from pescape.config import Strict
from pescape.data.configurations import read_configurations
from pescape.ensemble.results import Member, report_of, write_report
from pescape.errors import ConfigError
from pescape.files import fingerprint, write_json
from pescape.fits.config import MemberTable, WithFit
from pescape.fits.task import Fitted, LabelledData, fit_task, identified
from pescape.tasks.pool import worker_pool
from pescape.tasks.store import Task, TaskStore, exclusive, task_kind
from pescape.validation.predicates import Predicate
from pescape.validation.properties import AnyProperty  # noqa: TC001 (pydantic reads the annotations)
from pescape.validation.property import check_names, known_values
from pescape.validation.runner import property_task, run_properties
from pescape.validation.sources import PotentialFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    from ase import Atoms

    from pescape.calculators.doptimality.design_matrix import Mode
    from pescape.ensemble.results import EnsembleReport
    from pescape.fits.task import AnySettings, FitStart
    from pescape.validation.sources import CalculatorSource


#: How names of the reference's values begin in predicates.
REFERENCE = "reference."


class EnsembleConfig(Strict):
    """An ensemble: how many members, which properties, and what is asked of them."""

    members: PositiveInt = Field(10, description="potentials fitted from random seeds")
    level: Level | None = Field(
        None, description="of the members; the last one of the campaign if unset"
    )
    starts: PositiveInt = Field(1, description="random starts of each member; the best is fitted")
    seed: int = Field(0, ge=0)
    properties: Annotated[tuple[AnyProperty, ...], Field(min_length=1)]
    predicates: dict[str, str] = Field(
        default_factory=dict,
        description="by name, in the order of the tree; reference.NAME is the reference's value",
    )
    histograms: tuple[str, ...] | None = Field(
        None, description="values to draw; those that predicates are about if unset"
    )

    @model_validator(mode="after")
    def _names(self) -> EnsembleConfig:
        check_names(self.properties)
        known = known_values(self.properties)
        try:
            for predicate in self.parsed:
                predicate.check([*known, *(REFERENCE + name for name in known)])
        except ConfigError as error:
            raise ValueError(str(error)) from error
        for name in self.histograms or ():
            if name not in known:
                raise ValueError(f"histograms: no value {name!r} among those of the properties")
        return self

    @property
    def parsed(self) -> tuple[Predicate, ...]:
        """The predicates, in order."""
        return tuple(Predicate.parse(text, name) for name, text in self.predicates.items())

    @property
    def shown(self) -> tuple[str, ...]:
        """Values to draw histograms of."""
        if self.histograms is not None:
            return self.histograms
        about = [name for one in self.parsed for name in one.names]
        names = dict.fromkeys(name.removeprefix(REFERENCE) for name in about)
        return tuple(names) or known_values(self.properties)[:12]


class EnsembleRunConfig(EnsembleConfig, WithFit):
    """The configuration of ``pescape ensemble``."""

    workers: PositiveInt = Field(1, description="processes")
    potential: MemberTable

    @model_validator(mode="after")
    def _one_level(self) -> EnsembleRunConfig:
        if self.level is not None:
            raise ValueError("level belongs into the table potential")
        return self


_ERRORS = task_kind("errors")
_ERRORS_FILE = "errors.json"
_SHOWN_ERRORS = ("energy_rmse", "force_rmse", "stress_rmse")
_STANDARD_ERRORS = tuple(f"{name}_error" for name in _SHOWN_ERRORS)


class StageWatcher(Protocol):
    """Follows how far an ensemble is."""

    def stage(self, what: str, done: int, total: int) -> None:
        """Take note of how many tasks of a stage are done.

        Parameters
        ----------
        what
            A phrase for people.
        done, total
            Numbers of tasks.
        """


def member_seeds(config: EnsembleConfig) -> list[int]:
    """Give the seeds of the members; more members leave those of the first as they are.

    Parameters
    ----------
    config
        The ensemble.
    """
    return [
        int(np.random.SeedSequence(config.seed, spawn_key=(number,)).generate_state(1)[0])
        for number in range(config.members)
    ]


def member_tasks(
    config: EnsembleConfig,
    training: Sequence[Atoms],
    fit_settings: AnySettings,
    potential_start: FitStart,
    folder: Path,
    *,
    mode: Mode = "neighborhood",
) -> tuple[list[Task], LabelledData]:
    """Make the tasks that fit the members.

    Parameters
    ----------
    config
        The ensemble.
    training
        Labeled configurations.
    fit_settings
        Of every fit; the seed and, of moment tensor potentials, starts are the ensemble's.
    potential_start
        What is fitted.
    folder
        For what unfinished fits keep.
    mode
        Of the members' active sets.

    Returns
    -------
    tuple
        The tasks, and the data that has to be on disk while they run.
    """
    data = LabelledData([identified(atoms) for atoms in training], folder / "training.traj")
    tasks = [
        fit_task(
            potential_start,
            data,
            _member_settings(fit_settings, seed, config.starts),
            mode,
            folder,
        )
        for seed in member_seeds(config)
    ]
    return tasks, data


def _member_settings(settings: AnySettings, seed: int, starts: int) -> AnySettings:
    if isinstance(settings, FitSettings):
        return settings.replace(seed=seed, starts=starts)
    return dataclasses.replace(settings, seed=seed)


def fit_members(
    config: EnsembleConfig,
    training: Sequence[Atoms],
    fit_settings: AnySettings,
    potential_start: FitStart,
    store: TaskStore,
    executor: Executor,
    folder: Path,
    watcher: StageWatcher | None = None,
    *,
    mode: Mode = "neighborhood",
) -> list[Fitted]:
    """Fit all members, or find their fits in a store.

    Parameters
    ----------
    config, training, fit_settings, potential_start, folder, mode
        See `member_tasks`.
    store, executor
        Keeps the fits, and runs them.
    watcher
        Follows the progress.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tasks, data = member_tasks(config, training, fit_settings, potential_start, folder, mode=mode)
    what = f"fit {len(tasks)} members to {len(training)} configurations"
    if watcher is not None:
        watcher.stage(what, 0, len(tasks))
    with data.on_disk():
        return [Fitted.of(path) for path in _run(store, tasks, executor, watcher, what)]


def _run(
    store: TaskStore,
    tasks: Sequence[Task],
    executor: Executor,
    watcher: StageWatcher | None,
    what: str,
) -> list[Path]:
    def report(done: int, _: Task) -> None:
        if watcher is not None:
            watcher.stage(what, done, len(tasks))

    return store.run(tasks, executor, report)


def member_errors(
    fits: Sequence[Fitted],
    test: Sequence[Atoms],
    store: TaskStore,
    executor: Executor,
    folder: Path,
    watcher: StageWatcher | None = None,
) -> list[dict[str, dict[str, float | None]]]:
    """Compute errors of each member on the training set and, if there is one, on the test set.

    Parameters
    ----------
    fits
        The members.
    test
        Labeled configurations that nothing was fitted to; none for errors of training only.
    store, executor
        Keeps the errors, and computes them.
    folder
        For the test set, while it is needed.
    watcher
        Follows the progress.

    Returns
    -------
    list of dict
        ``{"training": {"energy_rmse": …}, "test": …}`` of each; meV/atom, eV/Å, GPa. Those on
        the test set come with standard errors, ``energy_rmse_error`` and so on.
    """
    found: list[dict[str, Any]] = [{"training": fit.summary["errors"]} for fit in fits]
    if test:
        data = LabelledData([identified(atoms) for atoms in test], folder / "test.traj")
        keys = [fingerprint(fit.path.read_bytes(), data.ids) for fit in fits]
        tasks = [
            Task(_ERRORS, key, _evaluate, (fit.path, data))
            for key, fit in zip(keys, fits, strict=True)
        ]
        with data.on_disk():
            folders = _run(store, tasks, executor, watcher, "errors of the ensemble")
        for one, where in zip(found, folders, strict=True):
            one["test"] = json.loads((where / _ERRORS_FILE).read_text())
    # Errors that an earlier version of pescape has kept have no standard errors.
    shown = {"training": _SHOWN_ERRORS, "test": (*_SHOWN_ERRORS, *_STANDARD_ERRORS)}
    return [
        {on: {name: errors.get(name) for name in shown[on]} for on, errors in one.items()}
        for one in found
    ]


def _evaluate(folder: Path, potential: Path, data: LabelledData) -> None:
    """Test a member: what an ``errors`` task does."""
    errors = evaluate(load(potential), data.frames)
    write_json(folder / _ERRORS_FILE, dataclasses.asdict(errors))


_CHECKPOINTS = "checkpoints"


def run_ensemble(
    config: EnsembleConfig,
    training: Sequence[Atoms],
    fit_settings: AnySettings,
    potential_start: FitStart,
    store: TaskStore,
    executor: Executor,
    reference: CalculatorSource | None,
    folder: Path,
    watcher: StageWatcher | None = None,
    *,
    test: Sequence[Atoms] = (),
    mode: Mode = "neighborhood",
    retry_failed: bool = False,
) -> EnsembleReport:
    """Fit an ensemble, compute properties of all members and report, or go on with that.

    Parameters
    ----------
    config
        The ensemble.
    training
        Labeled configurations.
    fit_settings
        Of every fit; the seed and, of moment tensor potentials, starts are the ensemble's.
    potential_start
        What is fitted.
    store
        Keeps fits and properties.
    executor
        Where they run.
    reference
        Gives the values that members' are compared with.
    folder
        For the report: JSON, CSV, figures, the best member's potential.
    watcher
        Follows the progress.
    test
        Labeled configurations that nothing was fitted to.
    mode
        Of the members' active sets.
    retry_failed
        Compute again the properties that failed.

    Returns
    -------
    EnsembleReport
        It is in the folder too.

    Raises
    ------
    ConfigError
        A predicate needs a reference, and there is none.
    """
    for predicate in config.parsed:
        if reference is None and any(name.startswith(REFERENCE) for name in predicate.names):
            raise ConfigError(
                f"predicate {predicate.text!r} needs a reference calculator, and there is none"
            )
    scratch = folder / _CHECKPOINTS
    fits = fit_members(
        config,
        training,
        fit_settings,
        potential_start,
        store,
        executor,
        scratch,
        watcher,
        mode=mode,
    )
    sources: list[CalculatorSource] = [
        PotentialFile.of(fit.path, f"member {number}") for number, fit in enumerate(fits, 1)
    ]

    def report_progress(done: int, total: int) -> None:
        if watcher is not None:
            watcher.stage("properties of the ensemble", done, total)

    computed = run_properties(
        [*sources, *([] if reference is None else [reference])],
        config.properties,
        store,
        executor,
        retry_failed=retry_failed,
        on_finished=report_progress,
    )
    known = computed.pop() if reference is not None else []
    errors = member_errors(fits, test, store, executor, scratch, watcher)
    reference_values = {REFERENCE + name: v for one in known for name, v in one.values.items()}
    members = []
    for number, (seed, fit) in enumerate(zip(member_seeds(config), fits, strict=True), 1):
        outcomes = tuple(computed[number - 1])
        values = {name: value for one in outcomes for name, value in one.values.items()}
        verdicts = {one.name: one.holds(values | reference_values) for one in config.parsed}
        members.append(Member(number, seed, fit.path, errors[number - 1], outcomes, verdicts))
    report = report_of(config, members, known, folder)
    write_report(report, config)
    return report


def ensemble_of_files(
    config: EnsembleRunConfig,
    training: Path,
    folder: Path,
    *,
    reference: CalculatorSource | None = None,
    test: Path | None = None,
    executor: Executor | None = None,
    watcher: StageWatcher | None = None,
    retry_failed: bool = False,
) -> EnsembleReport:
    """Fit an ensemble to a data set and report on it, or go on where an earlier call stopped.

    Parameters
    ----------
    config
        The ensemble.
    training, test
        Labeled configurations.
    folder
        Output; ``tasks/`` holds what resuming needs.
    reference
        What members are compared with.
    executor
        Where the tasks run; by default processes of this machine.
    watcher
        Follows the progress.
    retry_failed
        Compute again the properties that failed.
    """
    folder = folder.resolve()
    species = config.potential.species
    frames = read_configurations(training, species=species)
    tests = read_configurations(test, species=species) if test else []
    with contextlib.ExitStack() as stack:
        stack.enter_context(exclusive(folder))
        return run_ensemble(
            config,
            frames,
            config.potential.settings(config.fit, config.seed),
            config.potential.start(config.potential.level, config.fit),
            TaskStore(folder / "tasks"),
            executor or stack.enter_context(worker_pool(config.workers)),
            reference,
            folder,
            watcher,
            test=tests,
            retry_failed=retry_failed,
        )


def ensemble_progress(
    config: EnsembleRunConfig,
    training: Path,
    folder: Path,
    reference: CalculatorSource | None = None,
) -> tuple[int, int, int]:
    """Count what is finished, without touching anything.

    Parameters
    ----------
    config, training, folder, reference
        See `ensemble_of_files`.

    Returns
    -------
    tuple of int
        Fitted members, computed properties, and properties that are to be computed.
    """
    folder = folder.resolve()
    frames = read_configurations(training, species=config.potential.species)
    store = TaskStore(folder / "tasks", read_only=True)
    settings = config.potential.settings(config.fit, config.seed)
    start = config.potential.start(config.potential.level, config.fit)
    fits, _ = member_tasks(config, frames, settings, start, folder / _CHECKPOINTS)
    fitted = [Fitted.of(store.folder(task)) for task in fits if store.finished(task)]
    sources: list[CalculatorSource] = [PotentialFile.of(fit.path) for fit in fitted]
    sources += [] if reference is None else [reference]
    computed = sum(
        store.finished(property_task(source, one))
        for source in sources
        for one in config.properties
    )
    wanted = len(config.properties) * (config.members + (reference is not None))
    return len(fitted), computed, wanted
