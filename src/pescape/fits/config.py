"""Settings of potentials that are fitted by tasks, and of their fits, as tables of TOML files."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from pescape.calculators.mtp.fit.settings import (
    FitOptions,
    FitSettings,
    Level,
    MTPArchitecture,
    MTPBasis,
    Repulsion,
    Species,
)


class BasisConfig(MTPBasis):
    """Elements, distances and radial functions of potentials that tasks fit."""

    min_dist: PositiveFloat = Field(2.0, description="Å")


class PotentialConfig(BasisConfig):
    """The potential that a campaign learns."""

    file: str = Field("potential.almtp", description="where it is written, in the output folder")
    species: Species = Field(description="elements in order")
    levels: Annotated[tuple[Level, ...], Field(min_length=1)] = Field(
        (8, 12), description="rising; each is learned until nothing is risky"
    )

    @field_validator("levels")
    @classmethod
    def _rising(cls, levels: tuple[int, ...]) -> tuple[int, ...]:
        if any(a >= b for a, b in pairwise(levels)):
            raise ValueError(f"levels {list(levels)} do not rise")
        return levels


class CurveConfig(BasisConfig):
    """Potentials of several levels, and the parts of a data set they are fitted to."""

    levels: Annotated[tuple[Level, ...], Field(min_length=1)] = Field(
        (8, 12, 16), description="of the potentials"
    )
    sizes: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] | None = Field(
        None, description="of the parts; all, half, … a sixteenth if unset"
    )


class MemberConfig(BasisConfig, MTPArchitecture):
    """The potentials of an ensemble."""

    species: Species = Field(description="elements in order")


class FitConfig(FitOptions, Repulsion):
    """How each fit is done."""

    # Campaigns fit often, and each fit goes on from the last one.
    iterations: PositiveInt = Field(1000, description="most iterations on the last level")

    def settings(self, seed: int) -> FitSettings:
        """Make the settings of one fit.

        Parameters
        ----------
        seed
            Of its random starts.
        """
        given = {name: getattr(self, name) for name in FitOptions.model_fields}
        return FitSettings(**given, seed=seed)
