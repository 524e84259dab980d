"""Ensembles: potentials fitted to the same data from different seeds, and what they predict.

What no configuration of the data set fixes, such as a migration barrier, differs from fit to
fit. An ensemble shows how much, and which of its members get which property right.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pescape.data.configurations import read_configurations
from pescape.ensemble.config import REFERENCE
from pescape.ensemble.members import fit_members, member_errors, member_seeds, member_tasks
from pescape.ensemble.results import Member, report_of, write_report
from pescape.errors import ConfigError
from pescape.fits.task import Fitted
from pescape.tasks.pool import worker_pool
from pescape.tasks.store import TaskStore, exclusive
from pescape.validation.runner import property_task, run_properties
from pescape.validation.sources import PotentialFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    from ase import Atoms

    from pescape.calculators.doptimality.design_matrix import Mode
    from pescape.ensemble.config import EnsembleConfig, EnsembleRunConfig
    from pescape.ensemble.members import StageWatcher
    from pescape.ensemble.results import EnsembleReport
    from pescape.fits.starts import AnySettings, FitStart
    from pescape.validation.sources import CalculatorSource

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
        Labelled configurations.
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
        Labelled configurations that nothing was fitted to.
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
        Labelled configurations.
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
