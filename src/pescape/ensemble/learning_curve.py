"""Learning curves: errors on configurations never trained on, against the size of the data."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pescape.calculators import load
from pescape.calculators.fit.errors import best_of, compare, errors_from
from pescape.fits.task import Fitted, LabelledData, fit_task, identified

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    from ase import Atoms

    from pescape.fits.task import AnySettings, FitStart
    from pescape.tasks.store import Task, TaskStore

# The smallest part of the data is this many times smaller than the whole, by default.
_SPAN = 16


@dataclass(frozen=True)
class CurvePoint:
    """A potential of one level, fitted to a part of the data.

    Parameters
    ----------
    level, parameters
        Of the potential.
    configurations, atoms
        It is fitted to.
    energy_rmse, force_rmse
        On those, meV/atom and eV/Å.
    test_energy_rmse, test_force_rmse
        On configurations that none is fitted to.
    test_energy_rmse_error, test_force_rmse_error
        Standard errors of these; None of a single configuration.
    best
        Names of those test errors in which no other point is better, and some are worse, by
        more than chance explains.
    """

    level: int
    parameters: int
    configurations: int
    atoms: int
    energy_rmse: float
    force_rmse: float
    test_energy_rmse: float
    test_force_rmse: float
    test_energy_rmse_error: float | None = None
    test_force_rmse_error: float | None = None
    best: tuple[str, ...] = ()


@dataclass(frozen=True)
class LearningCurve:
    """Errors of potentials by level and by the size of their data.

    Parameters
    ----------
    points
        By level, and for each by size, rising.
    test_configurations
        That test errors are about.
    seed
        Of the order in which configurations are added.
    """

    points: tuple[CurvePoint, ...]
    test_configurations: int
    seed: int

    @property
    def levels(self) -> tuple[int, ...]:
        """Levels in order."""
        return tuple(dict.fromkeys(one.level for one in self.points))

    def of_level(self, level: int) -> tuple[CurvePoint, ...]:
        """Give the points of one level.

        Parameters
        ----------
        level
            Of the potential; the number of the network.
        """
        return tuple(one for one in self.points if one.level == level)


def halved_sizes(total: int) -> tuple[int, ...]:
    """Halve a number of configurations again and again, down to a sixteenth; in rising order.

    Parameters
    ----------
    total
        The number.
    """
    sizes = {max(1, round(total / 2**k)) for k in range(_SPAN.bit_length())}
    return tuple(sorted(sizes))


def learning_curve(
    training: Sequence[Atoms],
    test: Sequence[Atoms],
    starts: Sequence[FitStart],
    settings: AnySettings,
    store: TaskStore,
    executor: Executor,
    checkpoints: Path,
    *,
    sizes: Sequence[int] | None = None,
    seed: int = 0,
    on_finished: Callable[[int, int], None] | None = None,
) -> LearningCurve:
    """Fit potentials to growing parts of a data set, or go on where an earlier call stopped.

    Each part holds the smaller ones, in an order drawn from the seed.

    Parameters
    ----------
    training
        Labeled configurations.
    test
        Labeled configurations that nothing is fitted to.
    starts
        One for each level.
    settings
        Of the fits.
    store, executor
        Keeps fits, and computes them.
    checkpoints
        Folder where unfinished fits keep what they have.
    sizes
        Of the parts; by default all of the data, half of it, and so on.
    seed
        Of the order of the configurations.
    on_finished
        Called with how many fits are finished, and of how many.

    Returns
    -------
    LearningCurve

    Raises
    ------
    ValueError
        There is nothing to test on, or a part is larger than the whole.
    """
    if not test:
        raise ValueError("a learning curve needs configurations to test potentials on")
    parts = [
        LabelledData(frames, checkpoints / f"training-{len(frames)}.traj")
        for frames in nested_parts(training, sizes, seed)
    ]
    checkpoints.mkdir(parents=True, exist_ok=True)
    pairs = [(start, part) for start in starts for part in parts]
    tasks = [fit_task(*pair, settings, "neighborhood", checkpoints) for pair in pairs]

    def report(done: int, _: Task) -> None:
        if on_finished is not None:
            on_finished(done, len(tasks))

    with contextlib.ExitStack() as stack:
        for part in parts:
            stack.enter_context(part.on_disk())
        folders = store.run(tasks, executor, report)
    points, tested = [], []
    for (start, part), folder in zip(pairs, folders, strict=True):
        fitted = Fitted.of(folder)
        trained = fitted.summary["errors"]
        potential = load(fitted.path)
        tested.append(compare(potential, test, threads=settings.threads))
        errors = errors_from(tested[-1])
        points.append(
            CurvePoint(
                level=start.level,
                parameters=potential.parameter_count,
                configurations=len(part.frames),
                atoms=sum(len(atoms) for atoms in part.frames),
                energy_rmse=trained["energy_rmse"],
                force_rmse=trained["force_rmse"],
                test_energy_rmse=errors.energy_rmse,
                test_force_rmse=errors.force_rmse,
                test_energy_rmse_error=errors.energy_rmse_error,
                test_force_rmse_error=errors.force_rmse_error,
            )
        )
    best = {f"test_{name}": best_of(tested, name) for name in ("energy_rmse", "force_rmse")}
    marked = [
        replace(point, best=tuple(name for name, own in best.items() if index in own))
        for index, point in enumerate(points)
    ]
    return LearningCurve(tuple(marked), len(test), seed)


def nested_parts(
    training: Sequence[Atoms], sizes: Sequence[int] | None, seed: int
) -> list[list[Atoms]]:
    """Draw parts of a data set, each of which holds the smaller ones.

    Configurations of a part keep the order of the data set, so that the whole of it is the
    same fit with every seed.

    Parameters
    ----------
    training
        Labeled configurations.
    sizes
        Of the parts; None for all of the data, half of it, and so on.
    seed
        Of the order in which configurations are added.
    """
    wanted = sorted(set(halved_sizes(len(training)) if sizes is None else sizes))
    if not wanted or wanted[0] < 1 or wanted[-1] > len(training):
        raise ValueError(f"sizes {wanted} are not all from 1 to {len(training)}, the data's size")
    order = np.random.default_rng(seed).permutation(len(training))
    named = [identified(atoms) for atoms in training]
    return [[named[index] for index in sorted(order[:size])] for size in wanted]
