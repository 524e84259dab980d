"""What a round of a campaign would cost: measured speed of the kernels times the plan."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pescape.calculators.mtp import MTPotential
from pescape.calculators.neighbors import neighbors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

    from pescape.learning.config import LearnConfig
    from pescape.learning.plan import Stage

#: CPU seconds that LAMMPS takes to start.
START_SECONDS = 0.5
_LEAST_SECONDS = 0.2
_ATOMS = 64


@dataclass(frozen=True)
class LevelCost:
    """What one round of every stage costs at a level.

    Parameters
    ----------
    level, parameters
        Of the potential.
    seconds
        CPU seconds for one atom and one step of MD on this machine, one core.
    stages
        CPU hours of a round of each stage, if no run is halted.
    """

    level: int
    parameters: int
    seconds: float
    stages: tuple[float, ...]


def costs_of(config: LearnConfig, stages: Sequence[Stage]) -> list[LevelCost]:
    """Estimate the cost of MD at each level.

    Contour exploration and saddle searches are not counted.
    """
    costs = []
    sample = _crowd(stages[0].jobs[0].atoms)
    for level in config.potential.levels:
        settings = config.potential
        potential = MTPotential.untrained(
            level,
            settings.species,
            settings.cutoff,
            settings.min_dist,
            settings.radial_basis_size,
        ).randomized(0)
        seconds = _seconds(potential, sample)
        hours = []
        for stage in stages:
            runs = [job for job in stage.jobs if job.sampler == "md"]
            work = sum(len(job.atoms) for job in runs) * stage.steps * seconds
            hours.append((work + len(runs) * START_SECONDS) / 3600.0)
        costs.append(LevelCost(level, potential.parameter_count, seconds, tuple(hours)))
    return costs


def _crowd(atoms: Atoms) -> Atoms:
    """Repeat a cell until it fills the kernel's lanes."""
    repeats = max(1, int(np.ceil((_ATOMS / len(atoms)) ** (1 / 3))))
    return atoms.repeat(repeats)


def _seconds(potential: MTPotential, atoms: Atoms) -> float:
    """CPU seconds of energies and forces, per atom."""
    kernel = potential.kernel()
    numbers = {symbol: index for index, symbol in enumerate(potential.species)}
    species = np.array([numbers[symbol] for symbol in atoms.get_chemical_symbols()], "i4")
    near = neighbors(atoms, potential.cutoff)
    arguments = np.ascontiguousarray(atoms.positions), species, *near.arrays, 1
    kernel.evaluate(*arguments)
    calls, begin = 0, time.process_time()
    while time.process_time() - begin < _LEAST_SECONDS:
        kernel.evaluate(*arguments)
        calls += 1
    return (time.process_time() - begin) / calls / len(atoms)
