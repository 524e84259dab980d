"""The configuration of ``pescape learn``."""

from __future__ import annotations

from typing import Annotated, Literal

from ase.data import atomic_numbers
from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from pescape.calculators.mtp.fit import FitSettings, Weights
from pescape.calculators.zbl import ZBL
from pescape.config import Strict
from pescape.labelling import ReferenceConfig  # noqa: TC001 (pydantic reads it)
from pescape.structures import CrystalConfig, Recipe


class PotentialConfig(Strict):
    """The potential to learn."""

    file: str = Field("potential.almtp", description="where it is written, in the output folder")
    species: Annotated[tuple[str, ...], Field(min_length=1)]
    levels: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = Field(
        (8, 12), description="rising; each is learned until nothing is risky"
    )
    cutoff: PositiveFloat = Field(5.0, description="Å")
    min_dist: PositiveFloat = Field(2.0, description="Å")
    radial_basis_size: PositiveInt = 8

    @model_validator(mode="after")
    def _rising(self) -> PotentialConfig:
        if any(level % 2 or not 2 <= level <= 28 for level in self.levels):
            raise ValueError(f"levels {list(self.levels)} are not even numbers from 2 to 28")
        if any(a >= b for a, b in zip(self.levels[:-1], self.levels[1:], strict=True)):
            raise ValueError(f"levels {list(self.levels)} do not rise")
        unknown = [symbol for symbol in self.species if symbol not in atomic_numbers]
        if unknown:
            raise ValueError(f"species: {unknown[0]!r} is no chemical symbol")
        return self


class FitConfig(Strict):
    """How each fit goes about it; see `FitSettings`."""

    energy_weight: NonNegativeFloat = 1.0
    force_weight: NonNegativeFloat = 0.01
    stress_weight: NonNegativeFloat = 0.001
    iterations: PositiveInt = Field(1000, description="most BFGS iterations")
    tolerance: NonNegativeFloat = Field(1e-3, description="least gain of a cycle, relative")
    starts: PositiveInt = Field(4, description="random starts of the first fit")
    zbl: tuple[float, float] | None = Field(
        None, description="Å; where a short-range repulsion begins to be switched off, and ends"
    )
    threads: PositiveInt = 1

    @field_validator("zbl")
    @classmethod
    def _switched_off(cls, zbl: tuple[float, float] | None) -> tuple[float, float] | None:
        if zbl is not None:
            ZBL(*zbl)  # which refuses distances that make no sense
        return zbl

    def settings(self, seed: int) -> FitSettings:
        """Make the settings of one fit."""
        return FitSettings(
            weights=Weights(self.energy_weight, self.force_weight, self.stress_weight),
            iterations=self.iterations,
            tolerance=self.tolerance,
            starts=self.starts,
            threads=self.threads,
            seed=seed,
        )


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


class StartConfig(CrystalConfig):
    """A crystal that MD starts from."""

    volumes: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = Field(
        (1.0,), description="ratios to the crystal's own volume"
    )


class DynamicsConfig(Strict):
    """Molecular dynamics: every crystal at every volume and every temperature."""

    temperatures: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
    start: Annotated[tuple[StartConfig, ...], Field(min_length=1)]
    steps: PositiveInt = 10_000
    timestep: PositiveFloat = Field(2.0, description="fs")
    damping: PositiveFloat = Field(100.0, description="of the Langevin thermostat, fs")
    snapshots: PositiveInt = Field(2, description="of each run, to test the potential on")


class LearnConfig(Strict):
    """The configuration of ``pescape learn``."""

    seed: int = Field(0, ge=0)
    output: str = Field("learned", description="folder, beside the configuration file")
    workers: PositiveInt = Field(2, description="processes")
    max_rounds: PositiveInt = Field(30, description="most rounds at one level")
    reference: ReferenceConfig
    potential: PotentialConfig
    structures: Annotated[tuple[Recipe, ...], Field(min_length=1)]
    fit: FitConfig = FitConfig()  # type: ignore[call-arg]
    guard: GuardConfig = GuardConfig()  # type: ignore[call-arg]
    md: DynamicsConfig

    @model_validator(mode="after")
    def _repulsion_within_cutoff(self) -> LearnConfig:
        if self.fit.zbl is not None and self.fit.zbl[1] > self.potential.cutoff:
            raise ValueError(
                f"fit.zbl ends at {self.fit.zbl[1]:g} Å, beyond potential.cutoff = "
                f"{self.potential.cutoff:g} Å"
            )
        return self

    @model_validator(mode="after")
    def _species(self) -> LearnConfig:
        known = set(self.potential.species)
        elements = {start.element for start in self.md.start}
        for recipe in self.structures:
            elements |= recipe.elements_named
        for element in sorted(elements - known):
            raise ValueError(
                f"element {element!r} of a structure is not among the potential's "
                f"species {list(self.potential.species)}"
            )
        return self
