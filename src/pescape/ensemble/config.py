"""Settings of ensembles, as tables of TOML files."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt, model_validator

from pescape.calculators.mtp.fit.settings import Level  # noqa: TC001 (pydantic reads it)
from pescape.config import Strict
from pescape.errors import ConfigError
from pescape.fits.config import MemberTable, WithFit
from pescape.validation.predicates import Predicate
from pescape.validation.properties import AnyProperty  # noqa: TC001 (pydantic reads it)
from pescape.validation.property import check_names, known_values

#: How names of the reference's values begin in predicates.
REFERENCE = "reference."


class EnsembleConfig(Strict):
    """An ensemble: how many members, which properties, and what is asked of them."""

    members: PositiveInt = Field(10, description="potentials fitted from random seeds")
    level: Level | None = Field(
        None, description="of the members; the last one of the campaign if unset"
    )
    starts: PositiveInt = Field(1, description="random starts of each member; the best is fitted")
    seed: int = Field(0, ge=0)
    properties: Annotated[tuple[AnyProperty, ...], Field(min_length=1)]
    predicates: dict[str, str] = Field(
        default_factory=dict,
        description="by name, in the order of the tree; reference.NAME is the reference's value",
    )
    histograms: tuple[str, ...] | None = Field(
        None, description="values to draw; those that predicates are about if unset"
    )

    @model_validator(mode="after")
    def _names(self) -> EnsembleConfig:
        check_names(self.properties)
        known = known_values(self.properties)
        try:
            for predicate in self.parsed:
                predicate.check([*known, *(REFERENCE + name for name in known)])
        except ConfigError as error:
            raise ValueError(str(error)) from error
        for name in self.histograms or ():
            if name not in known:
                raise ValueError(f"histograms: no value {name!r} among those of the properties")
        return self

    @property
    def parsed(self) -> tuple[Predicate, ...]:
        """The predicates, in order."""
        return tuple(Predicate.parse(text, name) for name, text in self.predicates.items())

    @property
    def shown(self) -> tuple[str, ...]:
        """Values to draw histograms of."""
        if self.histograms is not None:
            return self.histograms
        about = [name for one in self.parsed for name in one.names]
        names = dict.fromkeys(name.removeprefix(REFERENCE) for name in about)
        return tuple(names) or known_values(self.properties)[:12]


class EnsembleRunConfig(EnsembleConfig, WithFit):
    """The configuration of ``pescape ensemble``."""

    workers: PositiveInt = Field(1, description="processes")
    potential: MemberTable

    @model_validator(mode="after")
    def _one_level(self) -> EnsembleRunConfig:
        if self.level is not None:
            raise ValueError("level belongs into the table potential")
        return self
