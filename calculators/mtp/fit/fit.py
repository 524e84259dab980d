"""Fit a moment tensor potential: random starts, a schedule of levels, linear solves and BFGS.

A potential of a higher level starts from what a lower one has learned.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from pescape.calculators.fit import checkpoint as checkpoints
from pescape.calculators.fit.shards import DataShard, SerialComm, from_first
from pescape.calculators.mtp.basis import moment_graph
from pescape.calculators.mtp.fit.problem import Problem
from pescape.calculators.mtp.fit.pushes import falling_pairs, resting_dimers, strengthened
from pescape.calculators.mtp.fit.settings import FitResult, FitSettings, Progress
from pescape.calculators.mtp.fit.steps import better, bfgs_cycle, projection_cycle
from pescape.calculators.mtp.potential import MTPotential
from pescape.calculators.zbl import ZBL
from pescape.files import sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from pescape.calculators.fit.data import TrainingSet
    from pescape.calculators.fit.shards import Communicator

    Floats = NDArray[np.float64]


# A level of these has learned most of what radial functions the next one needs, at a quarter of
# its cost.
_SCHEDULE = (12, 16, 20, 24)


def level_schedule(potential: MTPotential) -> tuple[MTPotential, ...]:
    """Return the untrained potentials of lower levels to fit first, and at last this one itself.

    Only the potential itself if its basis is not that of a level of this program's own making.

    Parameters
    ----------
    potential
        Of any level.
    """
    level = level_of(potential)
    lower = [] if level is None else [one for one in _SCHEDULE if one < level]
    return (*(_like(potential, one) for one in lower), potential)


def level_of(potential: MTPotential) -> int | None:
    """Return the level of a potential of this program's own making; None of any other.

    Parameters
    ----------
    potential
        Trained or not.
    """
    match = re.fullmatch(r"MTP_level_(\d+)", potential.name)
    if match is None or int(match[1]) not in range(2, 29, 2):
        return None
    graph = moment_graph(int(match[1]))
    for name in ("basic", "products", "scalar_moments"):
        if not np.array_equal(getattr(graph, name), getattr(potential, name)):
            return None
    return int(match[1])


def _like(potential: MTPotential, level: int) -> MTPotential:
    new = MTPotential.untrained(
        level,
        potential.species or potential.species_count,
        cutoff=potential.cutoff,
        min_dist=potential.min_dist,
        radial_basis_size=potential.radial_basis_size,
    )
    return new.with_repulsion(potential.repulsion, added=potential.adds_repulsion).with_extent(
        potential.nearest
    )


def raised(
    potential: MTPotential, level: int, *, seed: int | np.random.SeedSequence = 0
) -> MTPotential:
    """Make a potential of a higher level that predicts what the given one does.

    The basis functions of a level are the first ones of every higher level, so all
    coefficients carry over; new moment coefficients are zero and new radial functions
    random, of the size of the old ones.

    Parameters
    ----------
    potential
        Trained, of a lower level of this program's own making.
    level
        The new level.
    seed
        Of the new radial functions.

    Returns
    -------
    MTPotential
    """
    new = _like(potential, level)
    old_radial, old_species = potential.radial_coeffs, potential.species_coeffs
    if old_radial is None or old_species is None:
        raise ValueError(f"{potential.source or 'the potential'} is untrained: fit it first")
    old_scalars, old_functions = len(potential.scalar_moments), potential.radial_funcs_count
    if len(new.scalar_moments) < old_scalars or new.radial_funcs_count < old_functions:
        raise ValueError(f"level {level} is not above the potential's own")
    randomized = new.randomized(seed)
    assert randomized.radial_coeffs is not None
    radial = randomized.radial_coeffs.copy()
    old = old_radial * potential.scaling
    if new.radial_funcs_count > old_functions:
        fresh = radial[:, :, old_functions:]
        fresh *= np.sqrt(np.mean(old**2)) / np.sqrt(np.mean(fresh**2))
    radial[:, :, :old_functions] = old
    moments = np.zeros(len(new.scalar_moments))
    moments[:old_scalars] = potential.moment_coeffs
    theta = np.concatenate((radial.ravel(), old_species, moments))
    return new.with_parameters(theta)


# Steps of BFGS that cost about as much as one of variable projection.
_BFGS_PER_PROJECTION = 15
_LABELS = ("energy", "free_energy", "forces", "stress")


def fit_mtp(
    potential: MTPotential,
    configurations: Sequence[Atoms],
    settings: FitSettings | None = None,
    *,
    checkpoint: Path | str | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    ranks: Communicator | None = None,
    wall: bool = True,
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
        the same fit, the fit goes on from it and ends as if it had never stopped. Rank 0 alone
        reads and writes it.
    on_progress
        Called after each iteration.
    ranks
        MPI ranks that share the work, ``pescape.calculators.fit.shards.world()``; all of
        them make this call with the same data and get the same result, which does not
        depend on how many they are. By default this process works alone.
    wall
        Give a potential without a repulsion the one its data asks for (`ZBL.wall`), which keeps
        atoms apart below the shortest distances there.

    Returns
    -------
    FitResult

    Raises
    ------
    ValueError
        The data is not what a fit needs; names the frame.
    """
    settings, ranks = settings or FitSettings(), ranks or SerialComm()
    if not potential.species:
        raise ValueError("the potential names no elements: give it with_species([...])")
    shard = DataShard.of(configurations, potential.species, potential.cutoff, ranks)
    nearest, densest = shard.extent(potential.species_count, potential.cutoff, ranks)
    wall = wall and potential.repulsion is None
    if wall:
        zbl = ZBL.wall(potential.species, nearest, potential.cutoff)
        potential = potential.with_repulsion(zbl)
    potential = potential.with_extent(nearest)
    results: list[FitResult] = []
    while True:
        fit = _Fit(
            potential, shard, settings, ranks, on_progress or (lambda _: None), len(configurations)
        )
        identity = "" if ranks.rank else _identity(potential, configurations, settings)
        own = None if ranks.rank else _numbered(checkpoint, len(results))
        results.append(fit.result(own, identity))
        fitted = results[-1].potential
        if fitted.repulsion is not None:
            fitted = fitted.with_extent(nearest, densest, fit.summits(fitted))
        # Where pairs fall together, it goes on with labels that lack a stronger wall.
        stronger = (
            from_first(ranks, partial(_strengthened, fitted, configurations)) if wall else None
        )
        if stronger is None:
            break
        potential = stronger
    if ranks.rank == 0 and checkpoint is not None:
        for number in range(1, len(results)):
            cast("Path", _numbered(checkpoint, number)).unlink(missing_ok=True)
    return dataclasses.replace(
        results[-1],
        potential=fitted,
        history=tuple(loss for result in results for loss in result.history),
        iterations=sum(result.iterations for result in results),
    )


def _numbered(checkpoint: Path | str | None, number: int) -> Path | None:
    """Name the checkpoint of a fit that went on with stronger walls so many times."""
    if checkpoint is None:
        return None
    path = Path(checkpoint)
    return path.with_name(f"{path.name}.{number}") if number else path


def _strengthened(potential: MTPotential, configurations: Sequence[Atoms]) -> MTPotential | None:
    """Return the potential with stronger walls where pairs fall together, to be fitted further."""
    falling = falling_pairs(potential, configurations)
    found = strengthened(potential, falling) if falling else None
    return None if found is None else found.with_extent(potential.nearest)


def without_repulsion(
    potential: MTPotential, data: TrainingSet, threads: int = 1
) -> tuple[MTPotential, TrainingSet]:
    """Leave the repulsion out of potential and labels, which changes no residual.

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
class _State:
    """Where a fit stands between two cycles.

    Parameters
    ----------
    stage
        Which level of the schedule.
    theta, loss
        Parameters and the loss there.
    made
        Iterations made on this level.
    history
        The loss after each iteration on all levels.
    converged
        The level is done.
    offset
        Of stresses, eV/Å³.
    """

    stage: int
    theta: Floats
    loss: float
    made: int = 0
    history: tuple[float, ...] = ()
    converged: bool = False
    offset: float = 0.0

    @classmethod
    def read(cls, saved: Mapping[str, NDArray[Any]]) -> _State:
        return cls(
            stage=int(saved["rung"]),
            theta=saved["parameters"],
            loss=float(saved["loss"]),
            made=int(saved["made"]),
            history=tuple(saved["history"].tolist()),
            converged=bool(saved["converged"]),
            offset=float(saved["offset"]),
        )

    def content(self) -> dict[str, Any]:
        return {
            "rung": self.stage,
            "parameters": self.theta,
            "loss": self.loss,
            "made": self.made,
            "history": self.history,
            "converged": self.converged,
            "offset": self.offset,
        }


def _identity(
    potential: MTPotential, configurations: Sequence[Atoms], settings: FitSettings
) -> str:
    """Return a fingerprint of all that a fit depends on, but the number of ranks."""
    parts: list[Any] = [repr((settings, potential.cutoff, potential.min_dist, potential.repulsion))]
    for atoms in configurations:
        parts.append(repr((atoms.info.get("fit_weight"), atoms.pbc.tolist())))
        parts += [atoms.positions, atoms.numbers, atoms.cell.array]
        results = {} if atoms.calc is None else atoms.calc.results
        parts += [results[name] for name in _LABELS if results.get(name) is not None]
    parts += [potential.basic, potential.products, potential.scalar_moments]
    if potential.is_trained:
        parts.append(potential.parameters)
    return sha256(*parts)


def _gain(before: _State, after: _State) -> float:
    """By how much the loss has fallen, relative."""
    return 1.0 - after.loss / before.loss if before.loss > 0.0 else 0.0


class _Fit:
    """What stays the same during a fit; all ranks go through the same stages."""

    def __init__(
        self,
        potential: MTPotential,
        shard: DataShard,
        settings: FitSettings,
        ranks: Communicator,
        report: Callable[[Progress], None],
        configurations: int,
    ) -> None:
        self.settings, self.ranks, self.report = settings, ranks, report
        self.repulsion, self.labels = potential.repulsion, shard
        blocks = tuple(
            (number, without_repulsion(potential, data, settings.threads)[1])
            for number, data in shard.blocks
        )
        self.shard = dataclasses.replace(shard, blocks=blocks)
        if potential.repulsion is not None and potential.nearest is not None:
            self._add_dimers(potential, configurations)
        bare = potential.with_active_set(None).with_repulsion(self.repulsion, added=False)
        # Levels are untrained but for the first, which may be where the fit starts.
        scheduled = settings.ladder and not bare.is_trained
        self.levels = level_schedule(bare) if scheduled else (bare,)

    def _add_dimers(self, potential: MTPotential, configurations: int) -> None:
        """Add dimers that rest where the data ends, as a block of rank 0."""
        dimers, shard = resting_dimers(potential, configurations), self.shard
        if dimers is None:
            return
        own = ((shard.count, dimers),) if self.ranks.rank == 0 else ()
        self.shard = dataclasses.replace(
            shard,
            blocks=shard.blocks + own,
            count=shard.count + 1,
            rows=shard.rows + dimers.forces.size,
        )

    def result(self, checkpoint: Path | str | None, identity: str) -> FitResult:
        """Go on from the checkpoint, or begin, and return the fitted potential.

        Parameters
        ----------
        checkpoint, identity
            The file and what tells this fit from others; rank 0 alone needs them.
        """

        def save(state: _State) -> None:
            from_first(self.ranks, lambda: checkpoints.save(checkpoint, state.content(), identity))

        state = from_first(
            self.ranks, lambda: checkpoints.restored(checkpoint, identity, _State.read)
        )
        if state is None:
            state = self._first()
            save(state)
        while not self._is_done(state):
            state = self._next(state)
            save(state)
        return self._fitted(state)

    def _problem(self, potential: MTPotential, offset: float = 0.0) -> Problem:
        settings = self.settings
        return Problem(
            potential,
            self.shard,
            settings.weights,
            settings.threads,
            self.ranks,
            stress_offset=offset,
        )

    def _solved(self, problem: Problem, theta: Floats, loss: float, state: _State) -> _State:
        """Solve for the linear coefficients, and the offset of stresses with them."""
        ridge = self.settings.ridge
        if self.settings.pulay:
            problem = problem.with_best_offset(theta, ridge)
            loss = problem.value(theta) if np.isfinite(loss) else loss
        theta, loss = better(problem, theta, loss, ridge)
        return dataclasses.replace(state, theta=theta, loss=loss, offset=problem.stress_offset)

    def _potential(self, state: _State) -> MTPotential:
        return self.levels[state.stage].with_parameters(state.theta)

    def _is_last(self, state: _State) -> bool:
        return state.stage == len(self.levels) - 1

    def _most(self, state: _State) -> int:
        return self.settings.iterations if self._is_last(state) else self.settings.rung_iterations

    def _is_over(self, state: _State) -> bool:
        return state.converged or state.made >= self._most(state)

    def _is_done(self, state: _State) -> bool:
        return self._is_over(state) and self._is_last(state)

    def _first(self) -> _State:
        """Solve for the linear coefficients of the best start."""
        settings, first = self.settings, self.levels[0]
        problem = self._problem(first)
        if first.is_trained:
            theta = first.parameters
            start = _State(0, theta, problem.value(theta))
            return self._solved(problem, theta, start.loss, start)
        best: _State | None = None
        projecting = settings.method != "bfgs"
        most = settings.start_iterations * (1 if projecting else _BFGS_PER_PROJECTION)
        for index, seed in enumerate(np.random.SeedSequence(settings.seed).spawn(settings.starts)):
            potential = first.randomized(seed)
            few = self._problem(potential).thinned()
            theta = potential.parameters
            start = self._solved(few, theta, np.inf, _State(0, theta, np.inf))
            few = dataclasses.replace(few, stress_offset=start.offset)
            stage = f"start {index + 1} of {settings.starts}"
            state = self._cycle(few, start, most, stage, most, projecting=projecting)
            if best is None or state.loss < best.loss:
                best = state
        if best is None or not np.isfinite(best.loss):
            raise ValueError("no random start gave a finite loss: are the labels of a sane size?")
        return self._solved(problem, best.theta, np.inf, _State(0, best.theta, np.inf))

    def _next(self, state: _State) -> _State:
        """Make one more cycle, or go up to the next level."""
        if self._is_over(state):
            return self._raised(state)
        settings, most, level = self.settings, self._most(state), self.levels[state.stage]
        iterations = min(settings.cycle, most - state.made)
        stage = "fit" if self._is_last(state) else f"level {level_of(level)}"
        projecting = settings.method == "projection"
        problem = self._problem(level, state.offset)
        new = self._cycle(problem, state, iterations, stage, most, projecting=projecting)
        if _gain(state, new) < settings.tolerance and settings.pulay:  # the offset may be due
            new = self._solved(problem, new.theta, new.loss, new)
        return dataclasses.replace(new, converged=_gain(state, new) < settings.tolerance)

    def _raised(self, state: _State) -> _State:
        stage = state.stage + 1
        level = level_of(self.levels[stage])
        assert level is not None  # level_schedule() made them
        potential = raised(self._potential(state), level, seed=self.settings.seed)
        start = potential.parameters
        problem = self._problem(potential, state.offset)
        new = _State(stage, start, state.loss, history=state.history)
        return self._solved(problem, start, state.loss, new)

    def _cycle(
        self,
        problem: Problem,
        state: _State,
        iterations: int,
        stage: str,
        most: int,
        *,
        projecting: bool,
    ) -> _State:
        history, made = list(state.history), state.made

        def on_step(value: float) -> None:
            nonlocal made
            made += 1
            history.append(value)
            self.report(Progress(stage, made, value, most))

        method = projection_cycle if projecting else bfgs_cycle
        ridge = self.settings.ridge
        theta, loss = method(problem, state.theta, state.loss, iterations, ridge, on_step)
        return dataclasses.replace(state, theta=theta, loss=loss, made=made, history=tuple(history))

    def summits(self, potential: MTPotential) -> Floats:
        """Return the highest energy of an atom of each species in the data of all ranks.

        Parameters
        ----------
        potential
            Fitted.

        Returns
        -------
        ndarray
            eV (S,), relative to the isolated atom; zero for species that are not there.
        """
        bare = potential.with_repulsion(self.repulsion, added=False)
        assert bare.species_coeffs is not None
        highest = np.full(bare.species_count, -np.inf)
        for number, data in self.shard.blocks:
            if number >= self.labels.count:  # dimers
                continue
            sites, _, _ = bare.kernel().evaluate(*data.geometry, self.settings.threads)
            np.maximum.at(highest, data.species, sites - bare.species_coeffs[data.species])
        highest = np.max(self.ranks.allgather(highest), axis=0)
        return np.where(np.isfinite(highest), highest, 0.0)

    def _fitted(self, state: _State) -> FitResult:
        potential, settings = self._potential(state).with_repulsion(self.repulsion), self.settings
        # Of the data alone: dimers that rest are none.
        problem = Problem(potential, self.labels, settings.weights, settings.threads, self.ranks)
        with_offset = dataclasses.replace(problem, stress_offset=state.offset)
        return FitResult(
            potential=potential,
            differences=problem.differences(state.theta),
            stress_offset=state.offset,
            loss=with_offset.value(state.theta),
            history=state.history,
            iterations=len(state.history),
            converged=state.converged,
        )
