"""The configuration of ``pescape learn``."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from pescape.config import Strict
from pescape.ensemble.run import EnsembleConfig  # noqa: TC001 (pydantic reads it)
from pescape.fits.config import FitConfig, PotentialConfig, PotentialTable, WithFit
from pescape.labelling import ReferenceConfig  # noqa: TC001 (pydantic reads it)
from pescape.sampling.config import Explorer  # noqa: TC001
from pescape.structures import Recipe, StartConfig  # noqa: TC001
from pescape.tasks.cluster import ExecutorConfig


class GuardConfig(Strict):
    """What makes a configuration risky."""

    select: float = Field(2.1, gt=1.0, description="grade above which a configuration is risky")
    stop: float = Field(10.0, description="grade above which a run ends")
    every: PositiveInt = Field(10, description="steps between checks")
    mode: Literal["neighborhood", "configuration"] = "neighborhood"
    similarity: NonNegativeFloat = Field(
        0.5, description="in grades; risky configurations that differ less are labelled once"
    )
    min_distance: PositiveFloat | None = Field(
        None, description="Å; nearer atoms make a configuration unphysical (min_dist if unset)"
    )
    most_per_run: PositiveInt = Field(30, description="risky configurations kept of one run")

    @model_validator(mode="after")
    def _order(self) -> GuardConfig:
        if self.stop < self.select:
            raise ValueError(f"stop = {self.stop} is below select = {self.select}")
        return self


class TestConfig(Strict):
    """Snapshots of safe MD that each level's potential is tested on; they are never trained on."""

    configurations: NonNegativeInt = Field(50, description="of each stage, spread over its runs")
    most_atoms: PositiveInt | None = Field(None, description="larger cells are not labelled")


class DynamicsConfig(Strict):
    """Molecular dynamics under guard: every start at every temperature."""

    temperatures: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
    start: Annotated[tuple[StartConfig, ...], Field(min_length=1)]
    steps: PositiveInt = Field(100_000, description="of each run")
    timestep: PositiveFloat = Field(1.0, description="fs")
    damping: PositiveFloat = Field(100.0, description="of the Langevin thermostat, fs")
    ranks: PositiveInt | None = Field(
        None, description="MPI ranks of each run; as many as executor.cores gives md if unset"
    )
    batch: PositiveInt | None = Field(
        None, description="runs between looks: the fit does not wait for the rest; all if unset"
    )


class StageConfig(Strict):
    """A part of each level: starts up to a size are settled before larger ones are tried.

    What is unset is as in the table `md`.
    """

    name: str
    largest: PositiveInt | None = Field(None, description="atoms of its largest start")
    temperatures: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] | None = None
    steps: PositiveInt | None = None
    ranks: PositiveInt | None = None
    samplers: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        None, description='"md" and names of samplers, in turn; all if unset'
    )


class LearnConfig(WithFit):
    """The configuration of ``pescape learn``."""

    seed: int = Field(0, ge=0)
    output: str = Field("learned", description="folder, beside the configuration file")
    workers: PositiveInt = Field(2, description="processes, where there is no table executor")
    executor: ExecutorConfig | None = None
    max_rounds: PositiveInt = Field(30, description="most rounds of one stage at one level")
    revisit: bool = Field(
        False, description="go through the stages of a level again until none learns anything"
    )
    reference: ReferenceConfig
    potential: PotentialTable
    structures: Annotated[tuple[Recipe, ...], Field(min_length=1)]
    guard: GuardConfig = GuardConfig()
    md: DynamicsConfig
    samplers: tuple[Explorer, ...] = ()
    stages: Annotated[tuple[StageConfig, ...], Field(min_length=1)] = (StageConfig(name="all"),)
    test: TestConfig = TestConfig()
    ensemble: EnsembleConfig | None = None
    check: bool = Field(True, description="check the last potential, as pescape check does")

    @property
    def where(self) -> ExecutorConfig:
        """Where tasks run."""
        return self.executor or ExecutorConfig(workers=self.workers)

    @property
    def sampler_names(self) -> tuple[str, ...]:
        """What may take a turn in a stage; ``"md"`` first."""
        return ("md", *(sampler.name or sampler.method for sampler in self.samplers))

    @model_validator(mode="after")
    def _repulsion_within_cutoff(self) -> LearnConfig:
        zbl = self.fit.zbl if isinstance(self.fit, FitConfig) else None
        cutoff = self.potential.cutoff
        if zbl is not None and cutoff is not None and zbl[1] > cutoff:
            raise ValueError(
                f"fit.zbl ends at {zbl[1]:g} Å, beyond potential.cutoff = {cutoff:g} Å"
            )
        return self

    @property
    def min_distance(self) -> float:
        """Å; configurations with nearer atoms are unphysical."""
        if self.guard.min_distance is not None:
            return self.guard.min_distance
        assert isinstance(self.potential, PotentialConfig)
        return self.potential.min_dist

    @model_validator(mode="after")
    def _network(self) -> LearnConfig:
        if isinstance(self.potential, PotentialConfig):
            return self
        if self.guard.min_distance is None:
            raise ValueError(
                "guard.min_distance is missing: networks have no min_dist, so say from which "
                "distance (Å) of two atoms on a configuration is too unphysical for a label"
            )
        if self.ensemble is not None and self.ensemble.level is not None:
            raise ValueError(
                "ensemble.level is of moment tensor potentials; members of this ensemble are "
                "networks of the last size of potential.hidden"
            )
        return self

    @model_validator(mode="after")
    def _species(self) -> LearnConfig:
        known = set(self.potential.species)
        elements = {element for start in self.md.start for element in start.elements_named}
        for recipe in self.structures:
            elements |= recipe.elements_named
        for element in sorted(elements - known):
            raise ValueError(
                f"element {element!r} of a structure is not among the potential's "
                f"species {list(self.potential.species)}"
            )
        return self

    @model_validator(mode="after")
    def _one_place(self) -> LearnConfig:
        if self.executor is not None and "workers" in self.model_fields_set:
            raise ValueError("give workers or the table executor, not both")
        return self

    @model_validator(mode="after")
    def _stages(self) -> LearnConfig:
        names = [stage.name for stage in self.stages]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two stages are called {name!r}")
        sizes = [stage.largest for stage in self.stages]
        ends = [size for size in sizes[:-1] if size is None]
        given = [size for size in sizes if size is not None]
        if ends or any(a >= b for a, b in pairwise(given)):
            raise ValueError(
                "stages: the numbers of atoms in largest must rise; the last stage alone may "
                "go without"
            )
        return self

    @model_validator(mode="after")
    def _samplers(self) -> LearnConfig:
        names = self.sampler_names
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two samplers are called {name!r}: give them names")
        for stage in self.stages:
            for name in stage.samplers or ():
                if name not in names:
                    raise ValueError(
                        f"stage {stage.name!r}: no sampler {name!r}; there are {', '.join(names)}"
                    )
        return self
