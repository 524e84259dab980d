"""Generators that leave something to chance, and the one that hands structures of files on."""

from __future__ import annotations

import inspect
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_type_hints

from pydantic import Field, PositiveFloat, PositiveInt, create_model, model_validator
from typing_extensions import override

from pescape.plugins.structures import (
    Mutations,
    polymorph_derived,
    random_packing,
    rattled_crystal,
    tabulated_builders,
)
from pescape.structures.base import (
    CrystalConfig,
    Generator,
    named_structures,
    register,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    from ase import Atoms

    from pescape.structures.base import Maker

Range = tuple[float, float]
Radii = dict[str, PositiveFloat]


def _turns(
    function: Callable[..., Atoms],
    given: Sequence[Any],
    seeds: Sequence[np.random.SeedSequence],
    **settings: Any,  # noqa: ANN401 (arguments of builders)
) -> list[Maker]:
    """Prepare calls of a builder, one for each seed, whose first argument takes turns."""
    return [
        partial(function, given[index % len(given)], seed=seed, **settings)
        for index, seed in enumerate(seeds)
    ]


@register
class RattledConfig(CrystalConfig, Generator):
    """Structures derived from crystals by strain and random displacements."""

    builder: Literal["rattled"] = "rattled"
    count: PositiveInt = Field(description="how many structures, shared among the supercells")
    rattle: Range = Field((0.0, 0.2), description="range of the displacements' deviation, Å")
    strain: float = Field(0.03, ge=0.0, description="deviation of the strain components")
    volume: Range = Field((0.9, 1.1), description="range of the ratio of volumes")
    min_distance: float = Field(0.0, ge=0.0, description="Å; structures with less are redrawn")

    @model_validator(mode="after")
    def _ranges(self) -> RattledConfig:
        for name in ("rattle", "volume"):
            low, high = getattr(self, name)
            if not 0.0 <= low <= high:
                raise ValueError(f"{name} = [{low}, {high}] is not a range of positive numbers")
        return self

    @property
    def elements_named(self) -> set[str]:
        """The crystal's element."""
        return {self.element}

    @override
    def makers(self, seed: np.random.SeedSequence, folder: Path) -> list[Maker]:
        settings = self.model_dump(include={"rattle", "strain", "volume", "min_distance"})
        return _turns(rattled_crystal, self.supercells(), seed.spawn(self.count), **settings)


class ParentsConfig(Generator):
    """A generator that derives structures from crystals and files, which take turns."""

    builder: str
    count: PositiveInt = Field(description="how many structures; the parents take turns")
    crystals: tuple[CrystalConfig, ...] = ()
    files: tuple[str, ...] = Field((), description="of parents; beside the configuration file")

    @model_validator(mode="after")
    def _parents(self) -> ParentsConfig:
        if not (self.crystals or self.files):
            raise ValueError("give crystals = [{ element = ... }], files = [...] or both")
        return self

    def parents(self, folder: Path) -> list[Atoms]:
        """Build the crystals and read the files.

        Parameters
        ----------
        folder
            Where the files are.
        """
        built = [atoms for one in self.crystals for atoms in one.supercells()]
        return built + [atoms for name in self.files for atoms in named_structures(folder / name)]


@register
class PolymorphConfig(ParentsConfig):
    """Structures derived from known phases; see `polymorph_derived`."""

    builder: Literal["polymorph"]
    cutoff: PositiveFloat = Field(7.0, description="of the potential to be made, Å")
    elements: tuple[str, ...] | None = Field(None, description="what may be substituted by")
    hard_radii: Radii | None = Field(None, description="by element, Å")
    max_atoms: PositiveInt | None = None
    mutations: Mutations = Mutations()

    @property
    def elements_named(self) -> set[str]:
        """Those of the crystals and what may be substituted by."""
        return {crystal.element for crystal in self.crystals} | set(self.elements or ())

    @override
    def makers(self, seed: np.random.SeedSequence, folder: Path) -> list[Maker]:
        settings = self.model_dump(include={"cutoff", "elements", "hard_radii", "max_atoms"})
        settings |= asdict(self.mutations)
        return _turns(polymorph_derived, self.parents(folder), seed.spawn(self.count), **settings)


@register
class PackingConfig(Generator):
    """Random packings in cubic boxes; see `random_packing`."""

    builder: Literal["packing"]
    count: PositiveInt = Field(description="how many structures; the boxes take turns")
    boxes: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = Field(
        (8.0, 13.0), description="edges, Å"
    )
    composition: Annotated[dict[str, float | Range], Field(min_length=1)]
    volume_fraction: float | Range = (0.05, 0.50)
    radii: Radii | None = Field(None, description="by element, Å; covalent radii if unset")
    hard_ratio: PositiveFloat = 0.9
    hard_radii: Radii | None = Field(None, description="by element, Å; instead of hard_ratio")

    @property
    def elements_named(self) -> set[str]:
        """Those of the composition."""
        return set(self.composition)

    @override
    def makers(self, seed: np.random.SeedSequence, folder: Path) -> list[Maker]:
        settings = self.model_dump(exclude={"builder", "count", "boxes"})
        return _turns(random_packing, self.boxes, seed.spawn(self.count), **settings)


@register
class FilesConfig(Generator):
    """Structures as files hold them."""

    builder: Literal["files"]
    files: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="in any format of ASE; beside the configuration file"
    )
    count: PositiveInt | None = Field(
        None, description="how many; the structures take turns. Each once if unset"
    )

    @override
    def makers(self, seed: np.random.SeedSequence, folder: Path) -> list[Maker]:
        read = [atoms for name in self.files for atoms in named_structures(folder / name)]
        for atoms in read:
            atoms.info.setdefault("parent", atoms.info["name"])
        return [read[index % len(read)].copy for index in range(self.count or len(read))]


class _DerivedConfig(ParentsConfig):
    """A generator whose other fields are the arguments of a builder, which takes a parent."""

    function: ClassVar[Callable[..., Atoms]]

    @property
    def elements_named(self) -> set[str]:
        """Those of the composition if there is one, else of the crystals."""
        named = getattr(self, "composition", None)
        return set(named or {crystal.element for crystal in self.crystals}) - {"X"}

    @override
    def makers(self, seed: np.random.SeedSequence, folder: Path) -> list[Maker]:
        settings = self.model_dump(exclude={"builder", "count", "crystals", "files"})
        parents = self.parents(folder)
        return _turns(type(self).function, parents, seed.spawn(self.count), **settings)


def _generator_of(function: Callable[..., Atoms]) -> type[Generator]:
    """Make the settings model of a builder from its signature: a parent, a seed, settings."""
    _, *parameters = inspect.signature(function).parameters.values()
    hints = get_type_hints(function)
    fields: dict[str, Any] = {
        one.name: (hints[one.name], ... if one.default is one.empty else one.default)
        for one in parameters
        if one.name != "seed"
    }
    name = function.__name__
    fields["builder"] = (Literal[name], ...)
    title = "".join(word.capitalize() for word in name.split("_")) + "Config"
    model = create_model(title, __base__=_DerivedConfig, __doc__=function.__doc__, **fields)
    model.function = function
    return model


for _function in tabulated_builders():
    register(_generator_of(_function))
