"""An ensemble from files: what ``pescape ensemble`` runs."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from pescape.config import Strict
from pescape.data.configurations import read_configurations
from pescape.ensemble.config import EnsembleConfig, ensemble_tasks, run_ensemble
from pescape.learning.config import FitConfig
from pescape.learning.records import Level  # noqa: TC001 (pydantic reads it)
from pescape.learning.work import POTENTIAL_FILE, FitStart
from pescape.tasks.pool import exclusive, worker_pool
from pescape.tasks.store import TaskStore
from pescape.validation.runner import property_task
from pescape.validation.sources import PotentialFile

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from pathlib import Path

    from pescape.ensemble.config import EnsembleReport, StageWatcher
    from pescape.validation.sources import CalculatorSource


class MemberConfig(Strict):
    """What the members of an ensemble are."""

    species: Annotated[tuple[str, ...], Field(min_length=1)]
    level: Level = Field(16, description="even, from 2 to 28")
    cutoff: PositiveFloat = Field(5.0, description="Å")
    min_dist: PositiveFloat = Field(2.0, description="Å")
    radial_basis_size: PositiveInt = 8


class EnsembleRunConfig(EnsembleConfig):
    """The configuration of ``pescape ensemble``."""

    workers: PositiveInt = Field(1, description="processes")
    potential: MemberConfig
    fit: FitConfig = FitConfig()  # type: ignore[call-arg]

    @model_validator(mode="after")
    def _one_level(self) -> EnsembleRunConfig:
        if self.level is not None:
            raise ValueError("level belongs into the table potential")
        return self

    @property
    def start(self) -> FitStart:
        """What the fits start from."""
        one = self.potential
        return FitStart(
            one.level,
            one.species,
            one.cutoff,
            one.min_dist,
            one.radial_basis_size,
            zbl=self.fit.zbl,
        )


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
        Told of progress.
    retry_failed
        Compute again the properties that failed.
    """
    folder = folder.resolve()
    frames = read_configurations(training, species=config.potential.species)
    tests = read_configurations(test, species=config.potential.species) if test else []
    with contextlib.ExitStack() as stack:
        stack.enter_context(exclusive(folder))
        return run_ensemble(
            config,
            frames,
            config.fit.settings(config.seed),
            config.start,
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

    Returns
    -------
    tuple of int
        Fitted members, computed properties, and properties that are to be computed.
    """
    folder = folder.resolve()
    frames = read_configurations(training, species=config.potential.species)
    store = TaskStore(folder / "tasks", read_only=True)
    settings = config.fit.settings(config.seed)
    fits = ensemble_tasks(config, frames, settings, config.start, folder / "checkpoints")
    fitted = [store.folder(task) / POTENTIAL_FILE for task in fits if store.finished(task)]
    sources: list[CalculatorSource] = [PotentialFile.of(path) for path in fitted]
    sources += [] if reference is None else [reference]
    computed = sum(
        store.finished(property_task(source, one))
        for source in sources
        for one in config.properties
    )
    wanted = len(config.properties) * (config.members + (reference is not None))
    return len(fitted), computed, wanted
