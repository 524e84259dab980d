"""Fit a moment tensor potential: random starts, linear solves and BFGS."""

from __future__ import annotations

import hashlib
import io
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from pescape.calculators.atomic import write_atomically
from pescape.calculators.fitting.bfgs import minimise
from pescape.calculators.fitting.data import training_set
from pescape.calculators.fitting.errors import Errors, errors_of
from pescape.calculators.fitting.loss import Weights, loss
from pescape.calculators.mtp.fit.curvature import damped_inverse, gauss_newton
from pescape.calculators.mtp.fit.gradient import loss_and_gradient
from pescape.calculators.mtp.fit.linear import solve_linear

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from pescape.calculators.fitting.data import TrainingSet
    from pescape.calculators.mtp import MTPotential

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FitSettings:
    """How a fit goes about it.

    Parameters
    ----------
    weights
        Of energies, forces and virials in the loss.
    iterations
        Most BFGS iterations.
    cycle
        Iterations between linear solves; each cycle begins with a fresh Gauss-Newton
        matrix, so that a fit can be continued from any of them.
    tolerance
        The fit has converged when a whole cycle lowers the loss by less than this fraction.
    starts
        Random starts of an untrained potential; the best is carried on.
    start_iterations
        BFGS iterations each start is given before they are compared.
    ridge
        Regularisation of the linear solve, relative to its largest singular value.
    seed
        Of the random starts.
    threads
        OpenMP threads; the result depends on them in the last digits.
    """

    weights: Weights = field(default_factory=Weights)
    iterations: int = 2000
    cycle: int = 200
    tolerance: float = 1e-3
    starts: int = 4
    start_iterations: int = 60
    ridge: float = 1e-9
    seed: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        for name in ("iterations", "cycle", "starts", "start_iterations", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"fit: {name} {getattr(self, name)} is not at least 1")
        if not self.tolerance >= 0.0 or not self.ridge >= 0.0:
            raise ValueError("fit: tolerance and ridge must not be negative")


@dataclass(frozen=True)
class Progress:
    """What a fit tells of itself on the way: its stage, iterations so far and the loss."""

    stage: str
    iteration: int
    loss: float


@dataclass(frozen=True, eq=False)
class FitResult:
    """A fitted potential and how it came about.

    Parameters
    ----------
    potential
        Without an active set.
    errors
        Of the potential on its training data.
    loss
        At the end.
    history
        The loss after each BFGS iteration.
    iterations
        BFGS iterations made, those of the random starts not counted.
    converged
        Whether the last cycle lowered the loss by less than the tolerance.
    energy_kind
        Which energies it was trained on, ``"free_energy"`` or ``"energy"``.
    """

    potential: MTPotential
    errors: Errors
    loss: float
    history: tuple[float, ...]
    iterations: int
    converged: bool
    energy_kind: str

    def summary(self) -> dict[str, Any]:
        """Give what JSON can hold of it."""
        return {
            "loss": self.loss,
            "iterations": self.iterations,
            "converged": self.converged,
            "energy_kind": self.energy_kind,
            "errors": asdict(self.errors),
        }


@dataclass(frozen=True, eq=False)
class _State:
    """Where a fit stands between two cycles."""

    potential: MTPotential
    loss: float
    history: tuple[float, ...] = ()
    converged: bool = False


def fit_mtp(
    potential: MTPotential,
    configurations: Sequence[Atoms],
    settings: FitSettings | None = None,
    *,
    checkpoint: Path | str | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> FitResult:
    """Fit a potential to energies, forces and stresses.

    A trained potential is the starting point; an untrained one is started from several
    sets of random radial coefficients. The fit trains on free energies where the data has
    them, because forces are their derivatives.

    Parameters
    ----------
    potential
        Must name its species.
    configurations
        With energy, forces and, where they are periodic, stress.
    settings
        How to fit.
    checkpoint
        A file that holds the state after each cycle. If it is there already and belongs to
        the same fit, the fit goes on from it and ends as if it had never stopped.
    on_progress
        Called after each iteration.

    Returns
    -------
    FitResult

    Raises
    ------
    ValueError
        The data is not what a fit needs; names the frame.
    """
    settings = settings or FitSettings()
    if not potential.species:
        raise ValueError("the potential names no elements: give it with_species([...])")
    data = training_set(configurations, potential.species, potential.cutoff)
    tell = on_progress or (lambda _: None)
    identity = _identity(potential, data, settings)
    state = _restored(checkpoint, potential, identity)
    if state is None:
        state = _first_state(potential, data, settings, tell)
        _save(checkpoint, state, identity)
    while not state.converged and len(state.history) < settings.iterations:
        state = _cycle(state, data, settings, tell)
        _save(checkpoint, state, identity)
    return FitResult(
        potential=state.potential,
        errors=errors_of(state.potential, data, threads=settings.threads),
        loss=state.loss,
        history=state.history,
        iterations=len(state.history),
        converged=state.converged,
        energy_kind=data.energy_kind,
    )


def _solved(potential: MTPotential, data: TrainingSet, settings: FitSettings) -> _State:
    """Solve for the linear coefficients, unless those there are better (the ridge)."""
    threads, weights = settings.threads, settings.weights
    solved = solve_linear(potential, data, weights, ridge=settings.ridge, threads=threads)
    before, after = (loss(p, data, weights, threads) for p in (potential, solved))
    return _State(solved, after) if not before < after else _State(potential, before)


def _first_state(
    potential: MTPotential,
    data: TrainingSet,
    settings: FitSettings,
    tell: Callable[[Progress], None],
) -> _State:
    if potential.is_trained:
        return _solved(potential.with_active_set(None), data, settings)
    best: _State | None = None
    seeds = np.random.SeedSequence(settings.seed).spawn(settings.starts)
    for index, seed in enumerate(seeds):
        start = _solved(potential.randomized(seed), data, settings)
        stage = f"start {index + 1} of {settings.starts}"
        state = _descend(start, data, settings, settings.start_iterations, stage, tell)
        if best is None or state.loss < best.loss:
            best = state
    if best is None or not np.isfinite(best.loss):
        raise ValueError("no random start gave a finite loss: are the labels of a sane size?")
    return _State(best.potential, best.loss)


def _cycle(
    state: _State, data: TrainingSet, settings: FitSettings, tell: Callable[[Progress], None]
) -> _State:
    iterations = min(settings.cycle, settings.iterations - len(state.history))
    new = _descend(state, data, settings, iterations, "fit", tell)
    gain = 1.0 - new.loss / state.loss if state.loss > 0.0 else 0.0
    return _State(new.potential, new.loss, new.history, converged=gain < settings.tolerance)


def _descend(
    state: _State,
    data: TrainingSet,
    settings: FitSettings,
    iterations: int,
    stage: str,
    tell: Callable[[Progress], None],
) -> _State:
    """BFGS from a fresh Gauss-Newton matrix, then a linear solve."""
    potential, threads = state.potential, settings.threads
    history = list(state.history)

    def function(theta: Floats) -> tuple[float, Floats]:
        if not np.isfinite(theta).all():
            return np.inf, np.zeros_like(theta)
        return loss_and_gradient(potential.with_parameters(theta), data, settings.weights, threads)

    def on_step(value: float) -> None:
        history.append(value)
        tell(Progress(stage, len(history), value))

    hessian = gauss_newton(potential, data, settings.weights, threads)
    with np.errstate(over="ignore", invalid="ignore"):
        found = minimise(
            function, potential.parameters, damped_inverse(hessian), iterations, on_step
        )
    solved = _solved(potential.with_parameters(found.x), data, settings)
    return _State(solved.potential, solved.loss, tuple(history))


def _identity(potential: MTPotential, data: TrainingSet, settings: FitSettings) -> str:
    """Tell one fit from another."""
    digest = hashlib.sha256(repr((settings, potential.cutoff, potential.min_dist)).encode())
    for array in (*data.geometry, data.energies, data.forces, data.virials):
        digest.update(np.ascontiguousarray(array).tobytes())
    for array in (potential.basic, potential.products, potential.scalar_moments):
        digest.update(array.tobytes())
    if potential.is_trained:
        digest.update(potential.parameters.tobytes())
    return digest.hexdigest()


def _save(path: Path | str | None, state: _State, identity: str) -> None:
    if path is None:
        return
    buffer = io.BytesIO()
    np.savez(
        buffer,
        identity=identity,
        parameters=state.potential.parameters,
        loss=state.loss,
        history=state.history,
        converged=state.converged,
    )
    write_atomically(Path(path), buffer.getvalue())


def _restored(path: Path | str | None, potential: MTPotential, identity: str) -> _State | None:
    if path is None or not Path(path).exists():
        return None
    try:
        with np.load(path) as file:
            saved = dict(file)
        same = str(saved["identity"]) == identity
        history, value = tuple(saved["history"].tolist()), float(saved["loss"])
        parameters, converged = saved["parameters"], bool(saved["converged"])
    except (OSError, KeyError, ValueError, EOFError, BadZipFile) as error:
        raise ValueError(f"{path} is no checkpoint of a fit: {error}") from error
    if not same:
        raise ValueError(
            f"{path} belongs to another fit (other data, start or settings): "
            "remove it to start this one from the beginning"
        )
    return _State(potential.with_parameters(parameters), value, history, converged)
