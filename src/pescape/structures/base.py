"""What families of structures share."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from pescape.config import Strict
from pescape.errors import ConfigError
from pescape.plugins.structures import BulkCrystal

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from ase import Atoms

    #: Builds a structure at a ratio to the host's own volume.
    Plan = Callable[[float], Atoms]

Repeat = tuple[PositiveInt, PositiveInt, PositiveInt]
Lattice = Literal["bcc", "diamond", "fcc", "hcp", "omega", "sc"]
Volumes = Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]


class Family(Strict):
    """What all families share.

    Those that derive from it give `plans`: what builds each structure, one by one.
    """

    family: str
    volumes: Volumes = Field((1.0,), description="ratios to the crystal's own volume")
    count: PositiveInt | None = Field(
        None,
        description="how many, evenly spread over what there is; all if unset. Each is built "
        "at all volumes",
    )

    @property
    def builder(self) -> str:
        """Name of the family, by which recipes of all kinds are told apart."""
        return self.family

    @property
    def elements_named(self) -> set[str]:
        """Elements that the table itself names; its files may hold others."""
        return {
            element
            for name in ("element", "extra_element")
            if (element := getattr(self, name, None)) is not None
        }

    def plans(self, folder: Path) -> list[Plan]:
        """Give what builds the structures at any volume."""
        raise NotImplementedError

    def makers(
        self,
        seed: np.random.SeedSequence | None = None,  # noqa: ARG002 (no chance here)
        folder: Path = Path(),
    ) -> list[Callable[[], Atoms]]:
        """Give what builds the structures, one by one."""
        plans = self._kept(self.plans(folder))
        return [partial(self._made, plan, volume) for plan in plans for volume in self.volumes]

    def build(self, folder: Path = Path()) -> list[Atoms]:
        """Build all structures.

        Parameters
        ----------
        folder
            Where the files are that the table names.

        Returns
        -------
        list of Atoms
            ``info["name"]`` describes each, ``info["family"]`` names the family and
            ``info["record"]``, where there is one, builds it again.

        Raises
        ------
        ConfigError
            A structure cannot be built.
        """
        try:
            return [maker() for maker in self.makers(folder=folder)]
        except ValueError as error:
            raise ConfigError(f"family {self.family}: {error}") from error

    def _kept(self, plans: list[Plan]) -> list[Plan]:
        """Thin the structures out to the middles of `count` equal parts."""
        if self.count is None:
            return plans
        if self.count > len(plans):
            raise ValueError(f"count = {self.count}, but there are {len(plans)} structures")
        return [plans[int((k + 0.5) * len(plans) / self.count)] for k in range(self.count)]

    def _made(self, plan: Plan, volume: float) -> Atoms:
        atoms = plan(volume)
        atoms.info["name"] += f", volume × {volume:g}"
        atoms.info["family"] = self.family
        return atoms

    @model_validator(mode="after")
    def _possible(self) -> Family:
        """Find wrong sizes, sites, planes, … while the table is read."""
        for name, value in self:
            if value == ():
                raise ValueError(f"{name} = [] is empty")
        self.check()
        return self

    def check(self) -> None:
        """Raise ValueError where the table asks for what cannot be built."""
        self.makers()


class HostFamily(Family):
    """A family in a crystal of one element."""

    element: str
    lattice: Lattice
    a: PositiveFloat = Field(description="lattice parameter, Å")
    c_over_a: PositiveFloat | None = Field(None, description="of hcp and omega")

    @property
    def host(self) -> BulkCrystal:
        """The perfect crystal."""
        return BulkCrystal(self.element, self.lattice, self.a, self.c_over_a)

    def check(self) -> None:
        """Raise ValueError where host or table ask for what cannot be built."""
        self.host.atoms()
        super().check()

    def _plan(self, function: Callable[..., Atoms], *given: Any, **named: Any) -> Plan:  # noqa: ANN401 (arguments of builders)
        return lambda volume: function(self.host.scaled(volume), *given, **named)
