"""The members of an ensemble: their seeds, their fits and their errors."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pescape.calculators import load
from pescape.calculators.fit.errors import evaluate
from pescape.calculators.mtp.fit import FitSettings
from pescape.files import fingerprint, write_json
from pescape.fits.data import LabelledData, identified
from pescape.fits.task import Fitted, fit_task
from pescape.tasks.store import Task, task_kind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    from ase import Atoms

    from pescape.calculators.doptimality.design_matrix import Mode
    from pescape.ensemble.config import EnsembleConfig
    from pescape.fits.starts import AnySettings, FitStart
    from pescape.tasks.store import TaskStore

_ERRORS = task_kind("errors")
_ERRORS_FILE = "errors.json"
_SHOWN_ERRORS = ("energy_rmse", "force_rmse", "stress_rmse")


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
        Labelled configurations.
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
    data = LabelledData([identified(atoms) for atoms in training], folder / "training.pickle")
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
        Labelled configurations that nothing was fitted to; none for errors of training only.
    store, executor
        Keeps the errors, and computes them.
    folder
        For the test set, while it is needed.
    watcher
        Follows the progress.

    Returns
    -------
    list of dict
        ``{"training": {"energy_rmse": …}, "test": …}`` of each; meV/atom, eV/Å, GPa.
    """
    found: list[dict[str, Any]] = [{"training": fit.summary["errors"]} for fit in fits]
    if test:
        data = LabelledData([identified(atoms) for atoms in test], folder / "test.pickle")
        keys = [fingerprint(fit.path.read_bytes(), data.ids) for fit in fits]
        tasks = [
            Task(_ERRORS, key, _evaluate, (fit.path, data))
            for key, fit in zip(keys, fits, strict=True)
        ]
        with data.on_disk():
            folders = _run(store, tasks, executor, watcher, "errors of the ensemble")
        for one, where in zip(found, folders, strict=True):
            one["test"] = json.loads((where / _ERRORS_FILE).read_text())
    return [
        {on: {name: errors[name] for name in _SHOWN_ERRORS} for on, errors in one.items()}
        for one in found
    ]


def _evaluate(folder: Path, potential: Path, data: LabelledData) -> None:
    """Test a member: what an ``errors`` task does."""
    errors = evaluate(load(potential), data.frames)
    write_json(folder / _ERRORS_FILE, dataclasses.asdict(errors))
