"""Ensembles: potentials fitted to the same data from different seeds, and what they predict.

What no configuration of the data set fixes, such as a migration barrier, differs from fit to
fit. An ensemble shows how much, and which of its members get which property right.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from pescape.calculators.mtp import MTPotential
from pescape.calculators.mtp.fit import evaluate
from pescape.config import Strict
from pescape.data.configurations import configuration_id
from pescape.ensemble.results import EnsembleReport, Member, report_of
from pescape.errors import SOURCE, ConfigError, DataError, frame_name
from pescape.files import fingerprint, write_json
from pescape.learning.records import Level  # noqa: TC001 (pydantic reads it)
from pescape.learning.work import POTENTIAL_FILE, FitStart, fit_task, read_fit
from pescape.tasks.store import Task
from pescape.validation.predicates import Predicate
from pescape.validation.registry import AnyProperty, check_names, known_values
from pescape.validation.runner import Outcome, run_properties
from pescape.validation.sources import PotentialFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    from ase import Atoms

    from pescape.calculators.doptimality.active_set import Mode
    from pescape.calculators.mtp.fit import FitSettings
    from pescape.tasks.store import TaskStore
    from pescape.validation.sources import CalculatorSource

REFERENCE = "reference."
ERRORS_FILE = "errors.json"


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


class StageWatcher(Protocol):
    """Told how far an ensemble is."""

    def stage(self, what: str, done: int, total: int) -> None:
        """Hear how many tasks of a stage are done."""


def run_ensemble(
    config: EnsembleConfig,
    training: Sequence[Atoms],
    fit_settings: FitSettings,
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
        Of every fit; seed and starts are the ensemble's.
    potential_start
        What is fitted; level and start are the ensemble's.
    store
        Keeps fits and properties.
    executor
        Where they run.
    reference
        Gives the values that members' are compared with.
    folder
        For the report: JSON, CSV, figures, the best member's potential.
    watcher
        Told of progress.
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
    """
    from pescape.ensemble.results import write_report

    _need_reference(config, reference)
    fits = fit_ensemble(
        config, training, fit_settings, potential_start, store, executor, folder, watcher, mode=mode
    )
    seeds = member_seeds(config)
    sources: list[CalculatorSource] = [
        PotentialFile.of(path / POTENTIAL_FILE, f"member {number}")
        for number, path in enumerate(fits, 1)
    ]
    sources += [] if reference is None else [reference]
    computed = run_properties(
        sources,
        config.properties,
        store,
        executor,
        retry_failed=retry_failed,
        on_finished=_telling(watcher, "properties of the ensemble"),
    )
    known = computed.pop() if reference is not None else []
    errors = _errors(fits, test, store, executor, watcher)
    members = [
        _member(config, number, seed, path, error, outcomes, known)
        for number, (seed, path, error, outcomes) in enumerate(
            zip(seeds, fits, errors, computed, strict=True), 1
        )
    ]
    report = report_of(config, members, known, folder)
    write_report(report, config)
    return report


def _need_reference(config: EnsembleConfig, reference: CalculatorSource | None) -> None:
    about = {name: one.text for one in config.parsed for name in one.names}
    for name, text in about.items():
        if reference is None and name.startswith(REFERENCE):
            raise ConfigError(f"predicate {text!r} needs a reference calculator, and there is none")


def member_seeds(config: EnsembleConfig) -> list[int]:
    """Give the seeds of the members; more members leave those of the first as they are."""
    return [
        int(np.random.SeedSequence(config.seed, spawn_key=(number,)).generate_state(1)[0])
        for number in range(config.members)
    ]


def fit_ensemble(
    config: EnsembleConfig,
    training: Sequence[Atoms],
    fit_settings: FitSettings,
    potential_start: FitStart,
    store: TaskStore,
    executor: Executor,
    folder: Path,
    watcher: StageWatcher | None = None,
    *,
    mode: Mode = "neighborhood",
) -> list[Path]:
    """Fit all members; parameters are those of `run_ensemble`.

    Returns
    -------
    list of Path
        The folders of the finished fits.
    """
    checkpoints = folder / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    tasks = ensemble_tasks(config, training, fit_settings, potential_start, checkpoints, mode=mode)
    tell = _telling(watcher, f"fit {len(tasks)} members to {len(training)} configurations")
    tell(0, len(tasks))
    return store.run(tasks, executor, lambda done, _: tell(done, len(tasks)))


def ensemble_tasks(
    config: EnsembleConfig,
    training: Sequence[Atoms],
    fit_settings: FitSettings,
    potential_start: FitStart,
    checkpoints: Path,
    *,
    mode: Mode = "neighborhood",
) -> list[Task]:
    """Give the task of each member's fit."""
    level = config.level or potential_start.level
    start = dataclasses.replace(potential_start, level=level, path=None)
    named = [identified(atoms) for atoms in training]
    return [
        fit_task(
            start,
            named,
            dataclasses.replace(fit_settings, seed=seed, starts=config.starts),
            mode,
            checkpoints,
        )
        for seed in member_seeds(config)
    ]


def identified(atoms: Atoms) -> Atoms:
    """Copy a labelled configuration and say what it is, where its data set does not."""
    source = frame_name(atoms, "a configuration")
    if atoms.calc is None:
        raise DataError(f"{source} has no labels")
    new = atoms.copy()
    new.calc = atoms.calc
    # The folder it was read from must not make a difference to what is fitted to it.
    new.info[SOURCE] = source.rpartition("/")[2]
    labels = {
        name: np.asarray(value, dtype=float).tolist()
        for name, value in atoms.calc.results.items()
        if name in ("energy", "free_energy", "forces", "stress")
    }
    new.info.setdefault("configuration_id", configuration_id(atoms))
    new.info.setdefault("reference_id", fingerprint(labels))
    return new


def _telling(watcher: StageWatcher | None, what: str) -> Any:  # noqa: ANN401 (a function)
    def tell(done: int, total: int) -> None:
        if watcher is not None:
            watcher.stage(what, done, total)

    return tell


def _errors(
    fits: Sequence[Path],
    test: Sequence[Atoms],
    store: TaskStore,
    executor: Executor,
    watcher: StageWatcher | None,
) -> list[dict[str, dict[str, float | None]]]:
    """Errors of each member on the training set and, if there is one, on the test set."""
    found: list[dict[str, Any]] = [{"training": read_fit(path)["errors"]} for path in fits]
    if test:
        frames = [identified(atoms) for atoms in test]
        ids = [(a.info["configuration_id"], a.info["reference_id"]) for a in frames]
        tasks = []
        for path in fits:
            potential = path / POTENTIAL_FILE
            key = fingerprint(potential.read_bytes(), ids)
            tasks.append(Task("errors", key, _evaluate, (str(potential), frames)))
        tell = _telling(watcher, "errors of the ensemble")
        folders = store.run(tasks, executor, lambda done, _: tell(done, len(tasks)))
        for one, where in zip(found, folders, strict=True):
            one["test"] = json.loads((where / ERRORS_FILE).read_text())
    return [
        {on: {name: errors[name] for name in _SHOWN_ERRORS} for on, errors in one.items()}
        for one in found
    ]


_SHOWN_ERRORS = ("energy_rmse", "force_rmse", "stress_rmse")


def _evaluate(folder: Path, potential: str, frames: list[Atoms]) -> None:
    errors = evaluate(MTPotential.read(potential), frames)
    write_json(folder / ERRORS_FILE, dataclasses.asdict(errors))


def _member(
    config: EnsembleConfig,
    number: int,
    seed: int,
    fit: Path,
    errors: dict[str, dict[str, float | None]],
    outcomes: Sequence[Outcome],
    reference: Sequence[Outcome],
) -> Member:
    values = {name: value for one in outcomes for name, value in one.values.items()}
    values |= {REFERENCE + name: v for one in reference for name, v in one.values.items()}
    verdicts = {one.name: one.holds(values) for one in config.parsed}
    return Member(number, seed, fit / POTENTIAL_FILE, errors, tuple(outcomes), verdicts)
