"""Many contour explorations at once, through any executor of `concurrent.futures`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pescape.plugins.dynamics.contour.exploration import ContourExploration
from pescape.plugins.dynamics.guards import StopReason

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator

    from pescape.plugins.dynamics.contour.targets import EnergyTarget


@dataclass(frozen=True, eq=False)
class Replica:
    """One exploration of a batch, as it is sent to a worker.

    Attributes
    ----------
    index
        Place in the batch.
    atoms
        Where it starts; with a calculator, unless `calculator` makes one.
    energy_target
        As for `ContourExploration`.
    steps
        Number of steps.
    seed
        Its own random numbers.
    calculator
        Called with the index, in the worker, for a calculator.
    settings
        Further arguments of `ContourExploration`.
    """

    index: int
    atoms: Atoms
    energy_target: float | EnergyTarget | None
    steps: int
    seed: np.random.SeedSequence
    calculator: Callable[[int], BaseCalculator] | None
    settings: dict[str, Any]


@dataclass(frozen=True, eq=False)
class ReplicaResult:
    """What became of one exploration.

    Attributes
    ----------
    index
        Place in the batch.
    reason
        Why it ended; a calculator that raised ends its own replica only.
    energies, targets
        Energies, and the energies aimed at, by step from 0, eV.
    positions
        Last positions, (natoms, 3), Å.
    force_calls
        Configurations evaluated.
    """

    index: int
    reason: StopReason
    energies: np.ndarray
    targets: np.ndarray
    positions: np.ndarray
    force_calls: int


def run_replica(replica: Replica) -> ReplicaResult:
    """Run one exploration of a batch."""
    atoms = replica.atoms.copy()
    atoms.calc = replica.atoms.calc
    if replica.calculator is not None:
        atoms.calc = replica.calculator(replica.index)
    walk = ContourExploration(atoms, replica.energy_target, seed=replica.seed, **replica.settings)
    energies: list[float] = []
    targets: list[float] = []
    before = walk.nsteps
    try:
        for _ in walk.irun(steps=max(0, replica.steps - walk.nsteps)):
            if not energies or before != walk.nsteps:
                energies.append(walk.energy)
                targets.append(walk.energy_target)
            before = walk.nsteps
        reason = walk.reason
        assert reason is not None
    except Exception as error:  # noqa: BLE001 -- one replica's failure is its own
        reason = StopReason("calculator", f"{type(error).__name__}: {error}", walk.nsteps)
    return ReplicaResult(
        replica.index,
        reason,
        np.array(energies),
        np.array(targets),
        atoms.get_positions(),
        walk.force_calls,
    )


def explore_replicas(
    starts: Sequence[Atoms],
    energy_targets: Sequence[float | EnergyTarget | None] | float | EnergyTarget | None,
    *,
    steps: int,
    seed: int | None,
    executor: Executor | None = None,
    calculator: Callable[[int], BaseCalculator] | None = None,
    folder: str | Path | None = None,
    **settings: Any,  # noqa: ANN401 -- handed on to ContourExploration
) -> list[ReplicaResult]:
    """Run an exploration from every start.

    Parameters
    ----------
    starts
        One Atoms object each; they are not changed.
    energy_targets
        One target each, or one for all.
    steps
        Number of steps of each.
    seed
        Seed of the batch; every replica gets its own stream from it, the same whatever executor
        runs it and however many replicas follow.
    executor
        Any executor; None runs one replica after another. With processes, all arguments must be
        such that they can be pickled.
    calculator
        Called with a replica's index, where it runs, for its calculator. Without it, the starts
        carry calculators, and no two of them the same.
    folder
        Folder for `replica-0000.traj` and `replica-0000.npz`, the trajectories and the
        checkpoints; a second call with the same folder takes the runs up where they ended.
    **settings
        Further arguments of `ContourExploration`.

    Returns
    -------
    list of ReplicaResult
        In the order of the starts.
    """
    if isinstance(energy_targets, Sequence | np.ndarray):
        targets = list(energy_targets)
    else:
        targets = [energy_targets] * len(starts)
    if len(targets) != len(starts):
        raise ValueError(
            f"{len(targets)} energy_targets for {len(starts)} starts: one each, or one for all"
        )
    calculators = [id(atoms.calc) for atoms in starts]
    if calculator is None and len(set(calculators)) != len(calculators):
        raise ValueError("starts share a calculator: give each its own, or use calculator=...")
    seeds = np.random.SeedSequence(seed).spawn(len(starts))
    replicas = []
    for index, (atoms, target) in enumerate(zip(starts, targets, strict=True)):
        own = dict(settings)
        if folder is not None:
            Path(folder).mkdir(parents=True, exist_ok=True)
            own |= {
                "trajectory": Path(folder) / f"replica-{index:04d}.traj",
                "restart": Path(folder) / f"replica-{index:04d}.npz",
            }
        replicas.append(Replica(index, atoms, target, steps, seeds[index], calculator, own))
    if executor is None:
        return [run_replica(replica) for replica in replicas]
    return list(executor.map(run_replica, replicas))
