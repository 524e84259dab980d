"""The configuration of ``pescape sample``, and its plan: which starts, trajectories and tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import (
    Discriminator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
    model_validator,
)

from pescape.config import Strict, tag_of
from pescape.data.configurations import species_of
from pescape.labelling import ReferenceConfig, reference_from
from pescape.plugins.dynamics.guards import Guards
from pescape.sampling.trajectory import trajectory_task
from pescape.structures import Range, Recipe, build_structures

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

    from pescape.labelling import Reference
    from pescape.tasks.store import Task


class RelaxationConfig(Strict):
    """The short relaxation that every trajectory begins with."""

    steps: NonNegativeInt = Field(10, description="0 evaluates the start and leaves it as it is")
    optimizer: Literal["lbfgs", "bfgs", "fire"] = "lbfgs"
    maxstep: PositiveFloat = Field(0.2, description="longest displacement of an atom, Å")
    fmax: NonNegativeFloat = Field(0.01, description="eV/Å; ends the relaxation early")
    keep: bool = Field(False, description="take the relaxation's images into the data sets")


class GuardsConfig(Strict):
    """Limits that end a trajectory; see `Guards`."""

    max_force: PositiveFloat = Field(100.0, description="eV/Å")
    max_energy: PositiveFloat | None = Field(None, description="above the first image, eV/atom")
    max_deviation: PositiveFloat | None = Field(None, description="from the target, eV/atom")
    min_distance: PositiveFloat | None = Field(None, description="Å")
    distance_ratio: PositiveFloat | None = Field(
        None, description="shortest distance over the sum of the covalent radii"
    )
    max_displacement: PositiveFloat | None = Field(None, description="from the first image, Å")
    retries: NonNegativeInt = 4

    def build(self) -> Guards:
        """Make the guards."""
        return Guards(**self.model_dump())


class _Sampler(Strict):
    """What all samplers have."""

    name: str | None = Field(None, description="in tables and data sets; the method if unset")
    calls: PositiveInt = Field(200, description="force calls of the sampling")
    guards: GuardsConfig = GuardsConfig()


class MDConfig(_Sampler):
    """Molecular dynamics at constant volume, from one temperature to another."""

    method: Literal["md"]
    every: PositiveInt = Field(4, description="every so many images enter the data sets")
    temperatures: Range = Field(
        (200.0, 2000.0), description="range of the first and of the last temperature, K"
    )
    timestep: PositiveFloat = Field(1.0, description="fs")
    thermostat: Literal["nose-hoover", "langevin"] = "nose-hoover"

    @model_validator(mode="after")
    def _range(self) -> MDConfig:
        _check_range("temperatures", self.temperatures)
        return self


class ContourConfig(_Sampler):
    """Contour exploration with an energy that rises; see `ContourExploration`.

    Waters and Rondinelli's step of 0.8 Å bounds the length over all 3N coordinates, as ASE's
    `maxstep` did and as `step_cap = "norm"` says here.
    """

    method: Literal["contour"]
    every: PositiveInt = Field(2, description="every so many images enter the data sets")
    energies: Range = Field(
        (0.001, 1.0), description="range of the first and last target above the start, eV/atom"
    )
    maxstep: PositiveFloat = Field(0.8, description="longest step, Å")
    step_cap: Literal["atom", "rms", "norm"] = Field(
        "norm", description="what maxstep bounds: any atom, the root mean square, the 3N norm"
    )
    angle_limit: PositiveFloat = Field(20.0, lt=90.0, description="degrees")
    drift: float = Field(0.2, ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _range(self) -> ContourConfig:
        _check_range("energies", self.energies)
        return self


class DimerConfig(_Sampler):
    """A saddle search from a random displacement, all of whose force calls are images."""

    method: Literal["dimer"]
    every: PositiveInt = Field(4, description="every so many images enter the data sets")
    scheme: Literal["ritz", "vtst"] = Field("ritz", description='"vtst" is the paper\'s')
    displacement: PositiveFloat = Field(
        1.2, description="norm of the random displacement, which is the first mode too, Å"
    )
    separation: PositiveFloat = Field(0.01, description="of the rotated image, Å")
    fmax: PositiveFloat = Field(1e-5, description="ends the search, eV/Å")


def _check_range(name: str, value: tuple[float, float]) -> None:
    low, high = value
    if not 0.0 < low <= high:
        raise ValueError(f"{name} = [{low:g}, {high:g}] is not a range of positive numbers")


def _method_tag(given: Any) -> str | None:  # noqa: ANN401 (whatever stands in the file)
    """Name the model that a table asks for."""
    method = given.get("method") if isinstance(given, dict) else given.method
    models: dict[Any, type] = {"md": MDConfig, "contour": ContourConfig, "dimer": DimerConfig}
    return tag_of(models[method]) if method in models else None


#: Any of the samplers, to Python; `Sampler` below is the same to pydantic.
AnySampler = MDConfig | ContourConfig | DimerConfig

Sampler = Annotated[
    Annotated[MDConfig, Tag(tag_of(MDConfig))]
    | Annotated[ContourConfig, Tag(tag_of(ContourConfig))]
    | Annotated[DimerConfig, Tag(tag_of(DimerConfig))],
    Discriminator(
        _method_tag,
        custom_error_type="method",
        custom_error_message="method has to be 'md', 'contour' or 'dimer'",
    ),
]


#: Samplers that run a potential of ours in ASE instead of LAMMPS' MD.
Explorer = Annotated[
    Annotated[ContourConfig, Tag(tag_of(ContourConfig))]
    | Annotated[DimerConfig, Tag(tag_of(DimerConfig))],
    Discriminator(
        _method_tag,
        custom_error_type="method",
        custom_error_message="method has to be 'contour' or 'dimer'",
    ),
]


class LimitsConfig(Strict):
    """Energies and forces beyond which an image is left out of the data sets."""

    force: PositiveFloat | None = Field(None, description="of any atom, eV/Å")
    energy: float | None = Field(None, description="relative to isolated atoms, eV/atom")
    atom_energies: dict[str, float] | None = Field(
        None, description="of isolated atoms by element, eV; goes with energy"
    )
    multiple: PositiveFloat | None = Field(
        None, description="of the pairs' binding energies; computed with the reference"
    )
    file: str | None = Field(None, description="limits.json of another campaign")
    pairs: tuple[tuple[str, str], ...] | None = Field(
        None, description="those that matter, of multiple or file; all if unset"
    )
    box: PositiveFloat = Field(20.0, description="edge of the cell the pairs are put in, Å")
    pbc: bool = Field(False, description="for references that know periodic cells only")

    @model_validator(mode="after")
    def _source(self) -> LimitsConfig:
        if self.multiple is not None and self.file is not None:
            raise ValueError("give multiple, which computes limits, or file, which has them")
        computed = self.multiple is not None or self.file is not None
        if not computed and self.force is None and self.energy is None:
            raise ValueError("give multiple = 2.0, file = 'limits.json', force = ... or energy")
        if self.pairs is not None and not computed:
            raise ValueError("pairs goes with multiple or file")
        if not computed and self.energy is not None and self.atom_energies is None:
            raise ValueError("energy counts from isolated atoms: give atom_energies = { ... } too")
        return self


class SampleConfig(Strict):
    """The configuration of ``pescape sample``."""

    seed: int = Field(0, ge=0)
    output: str = Field("sampled", description="folder, beside the configuration file")
    workers: PositiveInt = Field(1, description="processes")
    stress: bool = Field(False, description="ask the reference for stresses")
    test_fraction: float = Field(0.5, ge=0.0, le=1.0, description="of the trajectories")
    reference: ReferenceConfig
    structures: Annotated[tuple[Recipe, ...], Field(min_length=1)]
    samplers: Annotated[tuple[Sampler, ...], Field(min_length=1)]
    relaxation: RelaxationConfig = RelaxationConfig()
    limits: LimitsConfig | None = None

    @model_validator(mode="after")
    def _names(self) -> SampleConfig:
        names = [sampler.name or sampler.method for sampler in self.samplers]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(
                f"two samplers are called {twice.pop()!r}: tell them apart by name = ..."
            )
        return self


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
