"""Fitting beside a repulsion: it is subtracted from the labels and left out of the potential.

Where a fit stands between two cycles, and the file that holds it.

Fit a moment tensor potential: random starts, a ladder of levels, linear solves and BFGS.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np

from pescape.calculators.fit.errors import errors_from
from pescape.calculators.fit.shards import Alone, share
from pescape.calculators.mtp.fit import fit as states
from pescape.calculators.mtp.fit.problem import Problem
from pescape.calculators.mtp.fit.settings import FitResult, FitSettings, Progress
from pescape.calculators.mtp.fit.steps import better, bfgs_cycle, projection_cycle
from pescape.calculators.mtp.levels import ladder, level_of, raised
from pescape.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from pescape.calculators.fit.data import TrainingSet
    from pescape.calculators.fit.shards import Communicator, Share
    from pescape.calculators.mtp import MTPotential

    Floats = NDArray[np.float64]
    Tell = Callable[[Progress], None]


def without_repulsion(
    potential: MTPotential, data: TrainingSet, threads: int = 1
) -> tuple[MTPotential, TrainingSet]:
    """Leave the repulsion out on both sides, which changes no residual.

    Parameters
    ----------
    potential
        Returned as it is if it has no repulsion.
    data
        Labels of the whole energy.
    threads
        OpenMP threads.

    Returns
    -------
    tuple
        The potential whose kernel leaves its repulsion out (``with_repulsion`` brings it back),
        and the data with the labels that are left for it.
    """
    if potential.repulsion is None:
        return potential, data
    kernel = potential.repulsion.kernel(potential.species)
    sites, forces, virials = kernel.evaluate(*data.geometry, threads)
    first = data.first[:-1]
    virial = np.where(data.has_virial[:, None], np.add.reduceat(virials, first), 0.0)
    rest = dataclasses.replace(
        data,
        energies=data.energies - np.add.reduceat(sites, first),
        forces=data.forces - forces,
        virials=data.virials - virial,
    )
    return potential.with_repulsion(potential.repulsion, added=False), rest


@dataclass(frozen=True, eq=False)
class State:
    """Where a fit stands between two cycles.

    Parameters
    ----------
    rung
        Which level of the ladder.
    theta, loss
        Parameters and the loss there.
    made
        Iterations made on this rung.
    history
        The loss after each iteration of all rungs.
    converged
        The rung is done.
    """

    rung: int
    theta: Floats
    loss: float
    made: int = 0
    history: tuple[float, ...] = ()
    converged: bool = False


def save(path: Path | str | None, state: State, identity: str) -> None:
    """Write a state; the file appears as a whole."""
    if path is None:
        return
    buffer = io.BytesIO()
    np.savez(
        buffer,
        identity=identity,
        rung=state.rung,
        parameters=state.theta,
        loss=state.loss,
        made=state.made,
        history=state.history,
        converged=state.converged,
    )
    write_atomically(Path(path), buffer.getvalue())


def restored(path: Path | str | None, identity: str) -> State | None:
    """Read the state of the same fit, if the file is there."""
    if path is None or not Path(path).exists():
        return None
    try:
        with np.load(path) as file:
            saved = dict(file)
        same = str(saved["identity"]) == identity
        state = State(
            rung=int(saved["rung"]),
            theta=saved["parameters"],
            loss=float(saved["loss"]),
            made=int(saved["made"]),
            history=tuple(saved["history"].tolist()),
            converged=bool(saved["converged"]),
        )
    except (OSError, KeyError, ValueError, TypeError, EOFError, BadZipFile) as error:
        raise ValueError(f"{path} is no checkpoint of a fit: {error}") from error
    if not same:
        raise ValueError(
            f"{path} belongs to another fit (other data, start or settings): "
            "remove it to start this one from the beginning"
        )
    return state


def identity_of(
    potential: MTPotential, configurations: Sequence[Atoms], settings: FitSettings
) -> str:
    """Tell one fit from another, on however many ranks."""
    given = (settings, potential.cutoff, potential.min_dist, potential.repulsion)
    digest = hashlib.sha256(repr(given).encode())
    for atoms in configurations:
        digest.update(repr((atoms.info.get("fit_weight"), atoms.pbc.tolist())).encode())
        arrays = [atoms.positions, atoms.numbers, atoms.cell.array]
        results = {} if atoms.calc is None else atoms.calc.results
        arrays += [results[name] for name in _LABELS if results.get(name) is not None]
        for array in arrays:
            digest.update(np.ascontiguousarray(array).tobytes())
    for array in (potential.basic, potential.products, potential.scalar_moments):
        digest.update(array.tobytes())
    if potential.is_trained:
        digest.update(potential.parameters.tobytes())
    return digest.hexdigest()


_LABELS = ("energy", "free_energy", "forces", "stress")


# Steps of BFGS that cost about as much as one of variable projection.
_BFGS_PER_PROJECTION = 15


def fit_mtp(
    potential: MTPotential,
    configurations: Sequence[Atoms],
    settings: FitSettings | None = None,
    *,
    checkpoint: Path | str | None = None,
    on_progress: Tell | None = None,
    ranks: Communicator | None = None,
) -> FitResult:
    """Fit a potential to energies, forces and stresses.

    A trained potential is the starting point; an untrained one is started from several
    sets of random radial coefficients. The fit trains on free energies where the data has
    them, because forces are their derivatives. A configuration with ``info["fit_weight"]``
    counts so many times.

    Parameters
    ----------
    potential
        Must name its species. A repulsion of its own is kept and not fitted.
    configurations
        With energy, forces and, where they are periodic, stress.
    settings
        How to fit.
    checkpoint
        A file that holds the state after each cycle. If it is there already and belongs to
        the same fit, the fit goes on from it and ends as if it had never stopped.
    on_progress
        Called after each iteration.
    ranks
        MPI ranks that share the work, ``pescape.calculators.fit.shards.world()``; all of
        them make this call with the same arguments and get the same result, which does not
        depend on how many they are. By default this process works alone.

    Returns
    -------
    FitResult

    Raises
    ------
    ValueError
        The data is not what a fit needs; names the frame.
    """
    settings, ranks = settings or FitSettings(), ranks or Alone()
    if not potential.species:
        raise ValueError("the potential names no elements: give it with_species([...])")
    part = share(configurations, potential.species, potential.cutoff, ranks)
    part = _prepared(part, potential, settings.threads)
    fit = _Fit(potential, part, settings, ranks, on_progress or (lambda _: None))
    result: FitResult | None = None
    if ranks.rank:
        fit.problem.serve()
    else:
        with fit.problem.asked():
            identity = states.identity_of(potential, configurations, settings)
            result = fit.run(checkpoint, identity)
    found: FitResult = ranks.bcast(result)
    return found


def _prepared(part: Share, potential: MTPotential, threads: int) -> Share:
    """Subtract the repulsion from what is fitted."""
    if potential.repulsion is None:
        return part
    blocks = tuple((k, without_repulsion(potential, data, threads)[1]) for k, data in part.blocks)
    return dataclasses.replace(part, blocks=blocks)


class _Fit:
    """What stays the same during a fit."""

    def __init__(
        self,
        potential: MTPotential,
        part: Share,
        settings: FitSettings,
        ranks: Communicator,
        tell: Tell,
    ) -> None:
        self.settings, self.tell = settings, tell
        self.repulsion = potential.repulsion
        bare = potential.with_active_set(None).with_repulsion(self.repulsion, added=False)
        # Rungs are untrained but for the first, which may be where the fit starts.
        self.rungs = ladder(bare) if settings.ladder and not bare.is_trained else (bare,)
        self.problem = Problem(self.rungs[0], part, settings.weights, settings.threads, ranks)

    def run(self, checkpoint: Path | str | None, identity: str) -> FitResult:
        """Go on from the checkpoint, or begin."""
        state = states.restored(checkpoint, identity)
        if state is None:
            state = self._first()
            states.save(checkpoint, state, identity)
        else:
            self.problem.change(self._potential(state))
        while not self._done(state):
            state = self._next(state)
            states.save(checkpoint, state, identity)
        return self._result(state)

    def _potential(self, state: State) -> MTPotential:
        return self.rungs[state.rung].with_parameters(state.theta)

    def _most(self, rung: int) -> int:
        last = rung == len(self.rungs) - 1
        return self.settings.iterations if last else self.settings.rung_iterations

    def _done(self, state: State) -> bool:
        over = state.converged or state.made >= self._most(state.rung)
        return over and state.rung == len(self.rungs) - 1

    def _first(self) -> State:
        """Solve for the linear coefficients of the best start."""
        settings, first = self.settings, self.rungs[0]
        if first.is_trained:
            theta = first.parameters
            return State(0, *better(self.problem, theta, self.problem.value(theta), settings.ridge))
        best: State | None = None
        projecting = settings.method != "bfgs"
        most = settings.start_iterations * (1 if projecting else _BFGS_PER_PROJECTION)
        for index, seed in enumerate(np.random.SeedSequence(settings.seed).spawn(settings.starts)):
            potential = first.randomized(seed)
            self.problem.change(potential)
            few = self.problem.thinned()
            start = State(0, *better(few, potential.parameters, np.inf, settings.ridge))
            stage = f"start {index + 1} of {settings.starts}"
            state = self._cycle(start, most, stage, most, projecting=projecting, problem=few)
            if best is None or state.loss < best.loss:
                best = state
        if best is None or not np.isfinite(best.loss):
            raise ValueError("no random start gave a finite loss: are the labels of a sane size?")
        return State(0, *better(self.problem, best.theta, np.inf, settings.ridge))

    def _next(self, state: State) -> State:
        """Make one more cycle, or go up to the next rung."""
        most = self._most(state.rung)
        if state.converged or state.made >= most:
            return self._raised(state)
        last = state.rung == len(self.rungs) - 1
        iterations = min(self.settings.cycle, most - state.made)
        stage = "fit" if last else f"level {level_of(self.rungs[state.rung])}"
        projecting = self.settings.method == "projection"
        new = self._cycle(state, iterations, stage, most, projecting=projecting)
        gain = 1.0 - new.loss / state.loss if state.loss > 0.0 else 0.0
        return dataclasses.replace(new, converged=gain < self.settings.tolerance)

    def _raised(self, state: State) -> State:
        rung = state.rung + 1
        level = level_of(self.rungs[rung])
        assert level is not None  # ladder() made the rungs
        potential = raised(self._potential(state), level, seed=self.settings.seed)
        self.problem.change(potential)
        theta, loss = better(self.problem, potential.parameters, state.loss, self.settings.ridge)
        return State(rung, theta, loss, history=state.history)

    def _cycle(
        self,
        state: State,
        iterations: int,
        stage: str,
        most: int,
        *,
        projecting: bool,
        problem: Problem | None = None,
    ) -> State:
        history, made = list(state.history), state.made

        def on_step(value: float) -> None:
            nonlocal made
            made += 1
            history.append(value)
            self.tell(Progress(stage, made, value, most))

        method = projection_cycle if projecting else bfgs_cycle
        ridge = self.settings.ridge
        problem = problem or self.problem
        theta, loss = method(problem, state.theta, state.loss, iterations, ridge, on_step)
        return State(state.rung, theta, loss, made, tuple(history))

    def _result(self, state: State) -> FitResult:
        potential = self._potential(state)
        self.problem.change(potential)
        delta, data = self.problem.collect()
        return FitResult(
            potential=potential.with_repulsion(self.repulsion),
            errors=errors_from(delta, data),
            loss=state.loss,
            history=state.history,
            iterations=len(state.history),
            converged=state.converged,
            energy_kind=data.energy_kind,
        )
