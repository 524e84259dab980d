"""What a campaign runs, stages by size and each in batches of runs, and what a round costs."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from pescape.calculators.neighbors import neighbors
from pescape.data.configurations import as_stored
from pescape.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ase import Atoms

    from pescape.calculators.potential import Potential
    from pescape.learning.config import LearnConfig, StageConfig


@dataclass(frozen=True, eq=False)
class SamplerRun:
    """One run of a sampler, made in every round of a stage.

    Parameters
    ----------
    name, family
        Of its start, for people.
    start
        Where it begins.
    sampler
        ``"md"`` or the name of another sampler.
    temperature
        K, of MD.
    """

    name: str
    family: str
    start: Atoms
    sampler: str
    temperature: float = 0.0


@dataclass(frozen=True, eq=False)
class Stage:
    """Starts of one class of sizes and what is run from them.

    Parameters
    ----------
    name
        Of the stage.
    batches
        A round may end after each; the runs of a batch are of one sampler.
    steps, ranks
        Of each MD run.
    """

    name: str
    batches: tuple[tuple[SamplerRun, ...], ...]
    steps: int
    ranks: int

    @property
    def runs(self) -> tuple[SamplerRun, ...]:
        """All of them, in order."""
        return tuple(chain.from_iterable(self.batches))


def stages_of(config: LearnConfig, base: Path) -> tuple[Stage, ...]:
    """Build the starts and sort them into stages by their numbers of atoms.

    Parameters
    ----------
    config
        Of the campaign.
    base
        Where relative file names start.

    Returns
    -------
    tuple of Stage
        Those without starts are left out.

    Raises
    ------
    ConfigError
        A start is larger than the last stage admits.
    """
    starts = [_as_named(atoms) for start in config.md.start for atoms in start.build(base)]
    stages, below = [], 0
    for stage in config.stages:
        largest = stage.largest or max(map(len, starts), default=0)
        own = [atoms for atoms in starts if below < len(atoms) <= largest]
        below = max(below, largest)
        if own:
            stages.append(_stage(config, stage, own))
    beyond = next((atoms for atoms in starts if len(atoms) > below), None)
    if beyond is not None:
        raise ConfigError(
            f"stages: start {beyond.info['name']!r} has {len(beyond)} atoms, the last stage "
            f"admits {below}: raise its largest, or leave it away"
        )
    return tuple(stages)


def _as_named(atoms: Atoms) -> Atoms:
    """Bring a start into the form in which files keep it, with its name and family."""
    stored = as_stored(atoms)
    stored.info = {key: str(atoms.info.get(key, "")) for key in ("name", "family")}
    return stored


def _stage(config: LearnConfig, stage: StageConfig, starts: Sequence[Atoms]) -> Stage:
    md = config.md
    temperatures = stage.temperatures or md.temperatures
    batches: list[tuple[SamplerRun, ...]] = []
    for sampler in stage.samplers or config.sampler_names:
        runs = [
            SamplerRun(start.info["name"], start.info["family"], start, sampler, temperature)
            for start in starts
            for temperature in (temperatures if sampler == "md" else (0.0,))
        ]
        size = md.batch or len(runs)
        batches += [tuple(runs[i : i + size]) for i in range(0, len(runs), size)]
    ranks = stage.ranks or md.ranks or config.where.cores_of("md")
    return Stage(stage.name, tuple(batches), stage.steps or md.steps, ranks)


@dataclass(frozen=True)
class FamilyPlan:
    """Starts of one family in one stage: their number, atoms from and to, and runs a round."""

    stage: str
    family: str
    starts: int
    smallest: int
    largest: int
    runs: int
    atom_steps: int


def families_of(stages: Sequence[Stage]) -> list[FamilyPlan]:
    """Count what a round of each stage runs, by family.

    Atom-steps are those of MD: atoms times steps, summed over the runs.

    Parameters
    ----------
    stages
        Of the campaign.
    """
    plans: dict[tuple[str, str], FamilyPlan] = {}
    for stage in stages:
        seen: set[int] = set()
        for run in stage.runs:
            atoms, key = len(run.start), (stage.name, run.family)
            old = plans.get(key, FamilyPlan(*key, 0, atoms, atoms, 0, 0))
            plans[key] = dataclasses.replace(
                old,
                starts=old.starts + (id(run.start) not in seen),
                smallest=min(old.smallest, atoms),
                largest=max(old.largest, atoms),
                runs=old.runs + 1,
                atom_steps=old.atom_steps + atoms * stage.steps * (run.sampler == "md"),
            )
            seen.add(id(run.start))
    return list(plans.values())


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

    Parameters
    ----------
    config
        Of the campaign.
    stages
        What is run.
    """
    costs = []
    sample = _crowd(stages[0].runs[0].start)
    for level in config.potential.levels:
        potential = config.potential.start(level, config.fit).potential().randomized(0)
        seconds = _seconds(potential, sample)
        hours = []
        for stage in stages:
            runs = [run for run in stage.runs if run.sampler == "md"]
            work = sum(len(run.start) for run in runs) * stage.steps * seconds
            hours.append((work + len(runs) * START_SECONDS) / 3600.0)
        costs.append(LevelCost(level, potential.parameter_count, seconds, tuple(hours)))
    return costs


def _crowd(atoms: Atoms) -> Atoms:
    """Repeat a cell until it fills the kernel's lanes."""
    repeats = max(1, int(np.ceil((_ATOMS / len(atoms)) ** (1 / 3))))
    return atoms.repeat(repeats)


def _seconds(potential: Potential, atoms: Atoms) -> float:
    """CPU seconds of energies and forces, per atom."""
    kernel = potential.kernel()
    species = potential.types_of(atoms.numbers)
    near = neighbors(atoms, potential.cutoff)
    arguments = np.ascontiguousarray(atoms.positions), species, *near.arrays, 1
    kernel.evaluate(*arguments)
    calls, begin = 0, time.process_time()
    while time.process_time() - begin < _LEAST_SECONDS:
        kernel.evaluate(*arguments)
        calls += 1
    return (time.process_time() - begin) / calls / len(atoms)
