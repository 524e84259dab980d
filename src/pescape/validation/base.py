"""What the configurations of all properties share."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from pescape.config import Strict


class PropertyConfig(Strict):
    """Base of the configuration of every property."""

    #: Fields that steer how it is computed but not what comes out, such as MPI ranks.
    incidental: ClassVar[frozenset[str]] = frozenset()

    name: str | None = Field(
        None, description="what the names of its values begin with; its kind if unset"
    )

    @field_validator("name")
    @classmethod
    def _identifier(cls, name: str | None) -> str | None:
        if name is not None and not name.isidentifier():
            raise ValueError("a name is made of letters, digits and underscores")
        return name

    @property
    def title(self) -> str:
        """What the names of its values begin with."""
        return self.name or str(getattr(self, "kind"))  # noqa: B009 (subclasses have it)

    @property
    @abstractmethod
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives, known before anything is computed."""


class Relaxation(Strict):
    """When relaxations end."""

    fmax: PositiveFloat = Field(0.005, description="largest force left, eV/Å")
    steps: PositiveInt = Field(500, description="more mean that the property fails")
