"""Fit Behler-Parrinello networks to energies, forces and stresses."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pescape.calculators.bpnn.fit.checkpoint import RECORD, State, identity, restored, save
from pescape.calculators.bpnn.fit.least_squares import LeastSquares
from pescape.calculators.bpnn.fit.minimizers import Iterate, Task, advance
from pescape.calculators.bpnn.fit.model import Model, all_predictions
from pescape.calculators.bpnn.fit.prepare import (
    Prepared,
    prepare,
    row_factors,
    squares,
    starting_point,
    validation_set,
)
from pescape.calculators.bpnn.fit.settings import FitSettings, Stage
from pescape.calculators.fit.errors import Errors, differences, errors_from
from pescape.calculators.fit.loss import residuals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ase import Atoms
    from numpy.typing import ArrayLike, NDArray

    from pescape.calculators.bpnn.fit.features import CacheSettings
    from pescape.calculators.bpnn.fit.model import Batch
    from pescape.calculators.bpnn.potential import BPNNPotential

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

# Seconds between two checkpoints, so that writing them takes no time that counts.
_CHECKPOINT_SECONDS = 5.0


@dataclass(frozen=True)
class Progress:
    """What a fit reports after each iteration.

    Parameters
    ----------
    member, stage, iteration, iterations
        Which member of an ensemble, the method, iterations made in its stage and at most.
    loss
        With the penalty.
    energy_rmse, force_rmse
        On the training configurations, meV/atom and eV/Å.
    validation_energy_rmse, validation_force_rmse
        On those kept out, if there are any.
    """

    member: int
    stage: str
    iteration: int
    iterations: int
    loss: float
    energy_rmse: float
    force_rmse: float
    validation_energy_rmse: float | None
    validation_force_rmse: float | None


@dataclass(frozen=True, eq=False)
class FitResult:
    """A fitted potential and how it was fitted.

    Parameters
    ----------
    potential
        Without an active set.
    errors
        Of the potential on the configurations it was fitted to.
    validation_errors
        On those kept out; None if there are none.
    validation
        Their indices among the configurations.
    stages
        What was done.
    history
        One dict for each iteration: the stage's index and what ``RECORD`` names.
    energy_kind
        Which energies it was trained on, ``"free_energy"`` or ``"energy"``.
    cache_bytes
        Size of the symmetry functions and their derivatives.
    """

    potential: BPNNPotential
    errors: Errors
    validation_errors: Errors | None
    validation: tuple[int, ...]
    stages: tuple[Stage, ...]
    history: tuple[dict[str, float], ...]
    energy_kind: str
    cache_bytes: int

    @property
    def iterations(self) -> int:
        """Iterations made in all stages."""
        return len(self.history)

    def summary(self) -> dict[str, Any]:
        """Return what JSON can hold of it."""
        kept = self.validation_errors
        return {
            "iterations": self.iterations,
            "stages": [asdict(stage) for stage in self.stages],
            "energy_kind": self.energy_kind,
            "cache_bytes": self.cache_bytes,
            "errors": asdict(self.errors),
            "validation_errors": None if kept is None else asdict(kept),
            "history": [
                {k: None if np.isnan(v) else v for k, v in one.items()} for one in self.history
            ],
        }


def fit_bpnn(
    potential: BPNNPotential,
    configurations: Sequence[Atoms],
    settings: FitSettings | None = None,
    *,
    structure_weights: ArrayLike | None = None,
    cache: CacheSettings | None = None,
    checkpoint: Path | str | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    report: Callable[[str], None] | None = None,
) -> FitResult:
    """Fit a network potential to energies, forces and stresses.

    Symmetry functions and their derivatives are computed once. A trained potential is the
    starting point; an untrained one gets scaling, atomic energies and random weights. The fit
    trains on free energies where the data has them, because forces are their derivatives.

    Parameters
    ----------
    potential
        For example ``BPNNPotential.untrained(species, default_functions(species))``.
    configurations
        With energy, forces and, where they are periodic, stress.
    settings
        How to fit; `waters_rondinelli_settings` gives those of Waters and Rondinelli.
    structure_weights
        How much each configuration counts (C,); by default its ``info["fit_weight"]``, or 1.
    cache
        Where symmetry functions are kept.
    checkpoint
        A file that holds the state every few seconds. If it is there already and belongs to the
        same fit, the fit goes on from it and ends as if it had never stopped.
    on_progress
        Called after each iteration.
    report
        Called with lines of text worth knowing.

    Returns
    -------
    FitResult

    Raises
    ------
    ValueError
        The data is not what a fit needs (names the frame), or the fit diverges.
    """
    results = fit_ensemble(
        potential,
        configurations,
        settings,
        members=1,
        structure_weights=structure_weights,
        cache=cache,
        checkpoint=checkpoint,
        on_progress=on_progress,
        report=report,
    )
    return results[0]


def fit_ensemble(
    potential: BPNNPotential,
    configurations: Sequence[Atoms],
    settings: FitSettings | None = None,
    *,
    members: int,
    structure_weights: ArrayLike | None = None,
    cache: CacheSettings | None = None,
    checkpoint: Path | str | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    report: Callable[[str], None] | None = None,
) -> tuple[FitResult, ...]:
    """Fit several networks that differ in first weights and validation configurations.

    Parameters are those of `fit_bpnn`; the state of member k > 0 is in a file whose name has
    ``.k`` appended.

    Parameters
    ----------
    members
        How many.
    """
    settings = settings or FitSettings()
    if members < 1:
        raise ValueError(f"members {members} is not at least 1")
    with _threads(settings.threads):
        prepared = prepare(potential, configurations, settings, structure_weights, cache, report)
        return tuple(
            _Member(prepared, settings, k, _of_member(checkpoint, k), on_progress).run()
            for k in range(members)
        )


def _of_member(checkpoint: Path | str | None, member: int) -> Path | None:
    if checkpoint is None:
        return None
    path = Path(checkpoint)
    return path if member == 0 else path.with_name(f"{path.name}.{member}")


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Member:
    """The fit of one network."""

    def __init__(
        self,
        prepared: Prepared,
        settings: FitSettings,
        member: int,
        checkpoint: Path | None,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self.prepared, self.settings, self.member = prepared, settings, member
        self.checkpoint = checkpoint
        self.on_progress = on_progress or (lambda _: None)
        data = prepared.data
        first, *seeds = np.random.SeedSequence([settings.seed, member]).spawn(3)
        start = starting_point(prepared.potential, data, prepared.features, settings, first)
        self.kept_out = validation_set(len(data), settings.validation, seeds[0])
        self.order_seed = int(seeds[1].generate_state(1)[0])
        self.model = Model.of(start, prepared.device)
        self.scales = row_factors(data, settings).times(np.sqrt(prepared.weights))
        self.stages = settings.stages_for(self.model.size, 3 * len(data.positions))
        self.identity = identity(
            start, data, prepared.weights, replace(settings, device="auto"), prepared.precision
        )
        self._small: dict[int, list[Batch]] = {}

    def run(self) -> FitResult:
        """Go through all stages."""
        theta = self.model.theta()
        state = restored(self.checkpoint, self.identity)
        if state is None:
            state = State(0, 0, theta, np.inf, theta, np.inf, 0)
        saved = time.monotonic()
        while state.stage < len(self.stages):
            state = self._next(state)
            if time.monotonic() - saved > _CHECKPOINT_SECONDS:
                save(self.checkpoint, state, self.identity)
                saved = time.monotonic()
        save(self.checkpoint, state, self.identity)
        return self._result(state)

    def _next(self, state: State) -> State:
        """Make one iteration, and go to the next stage if it was the last one of its stage."""
        stage = self.stages[state.stage]
        now = Iterate(state.theta, state.loss, state.memory)
        with np.errstate(over="ignore", invalid="ignore"):  # the error below says what may help
            now = advance(self._task(stage), now, state.iteration)
        record, value = self._record(now.theta, now.loss)
        iteration = state.iteration + 1
        self._show(stage, iteration, record)
        better = value < state.best_value * (1.0 - self.settings.tolerance)
        new = replace(
            state,
            iteration=iteration,
            theta=now.theta,
            loss=now.loss,
            memory=now.memory,
            history=np.vstack((state.history, [state.stage, *record])),
            # Any gain is kept; only one that counts renews the patience.
            best=now.theta if value < state.best_value else state.best,
            best_value=min(value, state.best_value),
            best_iteration=iteration if better else state.best_iteration,
        )
        stale = iteration - new.best_iteration >= self.settings.patience
        if now.stuck or stale or iteration >= stage.iterations:
            return replace(
                new,
                stage=state.stage + 1,
                iteration=0,
                theta=new.best,
                best_value=np.inf,
                best_iteration=0,
                memory={},
            )
        return new

    def _task(self, stage: Stage) -> Task:
        fitted = (~self.kept_out).astype(float)
        # Of as many configurations as are fitted, the mean is over those.
        fitted *= np.sqrt(len(fitted) / fitted.sum()) if self.settings.loss == "mean" else 1.0
        problem = LeastSquares(
            self.model,
            self.prepared.batches,
            self.scales.times(fitted),
            stage.penalty * self.model.penalized(),
            self.prepared.device,
        )

        def small_batches() -> list[Batch]:
            if stage.batch not in self._small:
                self._small[stage.batch] = self.prepared.small_batches(stage.batch)
            return self._small[stage.batch]

        return Task(stage, problem, small_batches, self.order_seed)

    def _record(self, theta: Floats, loss: float) -> tuple[list[float], float]:
        """Return the row of the history, and the number that says which parameters are best."""
        if not (np.isfinite(loss) and np.isfinite(theta).all()):
            raise ValueError(
                f"the fit has diverged: the loss is {loss}. Are there labels of absurd size, or "
                "atoms on top of each other? A lower learning rate, or force and energy limits on "
                "the data, may help"
            )
        data = self.prepared.data
        energies, forces, virials = all_predictions(
            self.model, theta, self.prepared.batches, self.prepared.device
        )
        found = squares(
            data,
            self.scales,
            energies - data.energies,
            forces - data.forces,
            virials - data.virials,
        )
        kept = self.kept_out
        record = [loss, *found.rmse(~kept)]
        if kept.any():
            value = float(found.loss[kept].mean() * len(kept))
            return [*record, value, *found.rmse(kept)], value
        return [*record, np.nan, np.nan, np.nan], loss

    def _show(self, stage: Stage, iteration: int, record: list[float]) -> None:
        loss, energy, force, _, kept_energy, kept_force = record
        known = self.kept_out.any()
        self.on_progress(
            Progress(
                member=self.member,
                stage=stage.method,
                iteration=iteration,
                iterations=stage.iterations,
                loss=loss,
                energy_rmse=energy,
                force_rmse=force,
                validation_energy_rmse=kept_energy if known else None,
                validation_force_rmse=kept_force if known else None,
            )
        )

    def _result(self, state: State) -> FitResult:
        data = self.prepared.data
        potential = self.model.with_theta(state.best)
        delta = residuals(potential, data, self.settings.threads)
        kept_out = self.kept_out
        validation = differences(delta, data, kept_out) if kept_out.any() else None
        names = ("stage", *RECORD)
        return FitResult(
            potential=potential,
            errors=errors_from(differences(delta, data, ~kept_out)),
            validation_errors=None if validation is None else errors_from(validation),
            validation=tuple(sorted(self.prepared.order[kept_out].tolist())),
            stages=self.stages,
            history=tuple(dict(zip(names, row, strict=True)) for row in state.history.tolist()),
            energy_kind=data.energy_kind,
            cache_bytes=self.prepared.features.size,
        )
