"""What a campaign is going to do: which starts, which trajectories, which of them are tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pescape.data.configurations import species_of
from pescape.labelling import reference_from
from pescape.sampling.trajectory import trajectory_task
from pescape.structures import build_structures

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

    from pescape.labelling import Reference
    from pescape.sampling.config import AnySampler, SampleConfig
    from pescape.tasks.store import Task

# First words of the spawn keys of what the campaign's seed is for.
_STRUCTURES, _TRAJECTORIES, _SPLIT = 0, 1, 2


@dataclass(frozen=True, eq=False)
class Start:
    """Where trajectories begin.

    Parameters
    ----------
    builder
        Name of the recipe.
    recipe, index
        Which recipe, and which of its structures.
    atoms
        None where the structure could not be built.
    failure
        Why not.
    test
        Whether its trajectories are for testing.
    """

    builder: str
    recipe: int
    index: int
    atoms: Atoms | None
    failure: str
    test: bool

    @property
    def parent(self) -> str:
        """What the structure derives from."""
        return "" if self.atoms is None else str(self.atoms.info.get("parent", ""))


@dataclass(frozen=True, eq=False)
class PlannedTrajectory:
    """One trajectory of the plan.

    Parameters
    ----------
    start, sampler, seed
        Where it begins, what it does, and its chance.
    task
        None where the start could not be built.
    max_calls
        Force calls it makes at most; the relaxation evaluates its start, too.
    """

    start: Start
    sampler: AnySampler
    seed: int
    task: Task | None
    max_calls: int

    @property
    def name(self) -> str:
        """Name of the sampler."""
        return self.sampler.name or self.sampler.method

    @property
    def title(self) -> str:
        """What people call the trajectory: its start and its sampler."""
        return f"{self.start.builder} {self.start.index} {self.name}"


@dataclass(frozen=True, eq=False)
class Plan:
    """All of a campaign.

    Parameters
    ----------
    reference
        Gives energies and forces.
    starts, trajectories
        Every start goes with every sampler.
    """

    reference: Reference
    starts: tuple[Start, ...]
    trajectories: tuple[PlannedTrajectory, ...]

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols that occur."""
        return species_of([start.atoms for start in self.starts if start.atoms is not None])

    @property
    def calls(self) -> int:
        """Force calls that the trajectories make at most."""
        return sum(one.max_calls for one in self.trajectories)


def make_plan(config: SampleConfig, folder: Path, base: Path | str = ".") -> Plan:
    """Build the starts and lay out the trajectories.

    Chance is drawn place by place: more structures in a recipe, another recipe or another
    sampler at the end of its list leave everything else as it was, split included.

    Parameters
    ----------
    config
        Of the campaign.
    folder
        Its output.
    base
        Where relative file names in the configuration start.
    """
    reference = reference_from(config.reference, base)
    seed = np.random.SeedSequence(config.seed, spawn_key=(_STRUCTURES,))
    starts = []
    for built in build_structures(config.structures, seed, base):
        if built.atoms is not None and "momenta" in built.atoms.arrays:
            del built.atoms.arrays["momenta"]  # velocities are the samplers' to draw
        starts.append(
            Start(
                builder=_builder_name(config, built.recipe),
                recipe=built.recipe,
                index=built.index,
                atoms=built.atoms,
                failure=built.failure,
                test=is_test(config.seed, built.recipe, built.index, config.test_fraction),
            )
        )
    trajectories = []
    for start in starts:
        for number, sampler in enumerate(config.samplers):
            place = (_TRAJECTORIES, start.recipe, start.index, number)
            own = int(np.random.SeedSequence(config.seed, spawn_key=place).generate_state(1)[0])
            task = None
            if start.atoms is not None:
                task = trajectory_task(
                    start.atoms,
                    sampler,
                    config.relaxation,
                    reference,
                    folder,
                    seed=own,
                    stress=config.stress,
                )
            calls = 0 if task is None else config.relaxation.steps + 1 + sampler.calls
            trajectories.append(PlannedTrajectory(start, sampler, own, task, calls))
    return Plan(reference, tuple(starts), tuple(trajectories))


def is_test(seed: int, recipe: int, index: int, fraction: float) -> bool:
    """Tell whether the trajectories from a start are for testing.

    Of every 1/`fraction` starts of a recipe in a row chance takes one, so that any number of
    them is balanced as well as can be, and the choice stays when there are more. All
    samplers share it: they are trained and tested on the same starts.

    Parameters
    ----------
    seed
        Of the campaign.
    recipe, index
        Which recipe, and which of its structures.
    fraction
        Share of the starts that are for testing.
    """
    if fraction > 0.5:
        return not is_test(seed, recipe, index, 1.0 - fraction)
    if fraction == 0.0:
        return False
    stratum = int((index + 0.5) * fraction)
    members = range(_first_of(stratum, fraction), _first_of(stratum + 1, fraction))
    place = np.random.SeedSequence(seed, spawn_key=(_SPLIT, recipe, stratum))
    return index == members[int(np.random.default_rng(place).integers(len(members)))]


def _first_of(stratum: int, fraction: float) -> int:
    """Least index with int((index + 0.5) * fraction) == stratum."""
    index = max(0, int(stratum / fraction) - 2)
    while int((index + 0.5) * fraction) < stratum:
        index += 1
    return index


def _builder_name(config: SampleConfig, number: int) -> str:
    """Name of a recipe: its builder, with a number where there are several of a kind."""
    kinds = [recipe.kind for recipe in config.structures]
    kind = kinds[number]
    return kind if kinds.count(kind) == 1 else f"{kind}-{kinds[: number + 1].count(kind)}"
