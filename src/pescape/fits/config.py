"""Settings of potentials that are fitted by tasks, and of their fits, as tables of TOML files."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from ase.data import atomic_numbers
from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from pescape.calculators.mtp.contraction import LEVELS
from pescape.calculators.mtp.fit import FitSettings, Weights
from pescape.calculators.zbl import ZBL
from pescape.config import Strict


def _known(level: int) -> int:
    if level not in LEVELS:
        raise ValueError(f"level {level} is not an even number from {LEVELS[0]} to {LEVELS[-1]}")
    return level


#: The level of a moment tensor potential.
Level = Annotated[int, AfterValidator(_known)]


class PotentialConfig(Strict):
    """The potential that a campaign learns."""

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
        if any(level not in LEVELS for level in self.levels):
            raise ValueError(f"levels {list(self.levels)} are not even numbers from 2 to 28")
        if any(a >= b for a, b in pairwise(self.levels)):
            raise ValueError(f"levels {list(self.levels)} do not rise")
        unknown = [symbol for symbol in self.species if symbol not in atomic_numbers]
        if unknown:
            raise ValueError(f"species: {unknown[0]!r} is no chemical symbol")
        return self


class MemberConfig(Strict):
    """The potentials of an ensemble."""

    species: Annotated[tuple[str, ...], Field(min_length=1)]
    level: Level = Field(16, description="even, from 2 to 28")
    cutoff: PositiveFloat = Field(5.0, description="Å")
    min_dist: PositiveFloat = Field(2.0, description="Å")
    radial_basis_size: PositiveInt = 8


class FitConfig(Strict):
    """How each fit is done; see `FitSettings`."""

    energy_weight: NonNegativeFloat = 10.0
    force_weight: NonNegativeFloat = 0.01
    stress_weight: NonNegativeFloat = 1e-4
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
        """Make the settings of one fit from a seed."""
        return FitSettings(
            weights=Weights(self.energy_weight, self.force_weight, self.stress_weight),
            iterations=self.iterations,
            tolerance=self.tolerance,
            starts=self.starts,
            threads=self.threads,
            seed=seed,
        )
