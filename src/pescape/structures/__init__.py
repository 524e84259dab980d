"""Initial structures from a configuration."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Discriminator, Field, PositiveFloat, PositiveInt, Tag, model_validator

from pescape.config import Strict, tag_of
from pescape.data.configurations import as_stored
from pescape.errors import ConfigError, DataError
from pescape.plugins.structures.polymorphs import Mutations
from pescape.structures.families import (
    AnyStart,
    CrystalConfig,
    Family,
    StartConfig,
    named_structures,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ase import Atoms

    #: Builds one structure, or raises ValueError where that is not possible.
    Maker = Callable[[], Atoms]

Range = tuple[float, float]
Radii = dict[str, PositiveFloat]


class RattledConfig(CrystalConfig):
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
        """Elements that the recipe itself names; its files may hold others."""
        return {self.element}

    def makers(self, seed: np.random.SeedSequence, folder: Path) -> list[Maker]:  # noqa: ARG002
        """Give what builds the structures, one by one; their parents take turns."""
        from pescape.plugins.structures import rattled_crystal

        parents = self.build()
        return [
            partial(
                rattled_crystal,
                parents[index % len(parents)],
                seed=child,
                rattle=self.rattle,
                strain=self.strain,
                volume=self.volume,
                min_distance=self.min_distance,
            )
            for index, child in enumerate(seed.spawn(self.count))
        ]


class PolymorphConfig(Strict):
    """Structures derived from known phases; see `polymorph_derived`."""

    builder: Literal["polymorph"]
    count: PositiveInt = Field(description="how many structures; the phases take turns")
    crystals: tuple[CrystalConfig, ...] = ()
    files: tuple[str, ...] = Field((), description="of phases; beside the configuration file")
    cutoff: PositiveFloat = Field(7.0, description="of the potential to be made, Å")
    elements: tuple[str, ...] | None = Field(None, description="what may be substituted by")
    hard_radii: Radii | None = Field(None, description="by element, Å")
    max_atoms: PositiveInt | None = None
    mutations: Mutations = Mutations()

    @model_validator(mode="after")
    def _phases(self) -> PolymorphConfig:
        if not (self.crystals or self.files):
            raise ValueError("give crystals = [{ element = ... }], files = [...] or both")
        return self

    @property
    def elements_named(self) -> set[str]:
        """Elements that the recipe itself names; its files may hold others."""
        return {crystal.element for crystal in self.crystals} | set(self.elements or ())

    def makers(self, seed: np.random.SeedSequence, folder: Path) -> list[Maker]:
        """Give what builds the structures, one by one; their parents take turns."""
        from pescape.plugins.structures import polymorph_derived

        phases = [atoms for crystal in self.crystals for atoms in crystal.build()]
        phases += [atoms for name in self.files for atoms in named_structures(folder / name)]
        return [
            partial(
                polymorph_derived,
                phases[index % len(phases)],
                seed=child,
                cutoff=self.cutoff,
                elements=self.elements,
                hard_radii=self.hard_radii,
                max_atoms=self.max_atoms,
                **asdict(self.mutations),
            )
            for index, child in enumerate(seed.spawn(self.count))
        ]


class PackingConfig(Strict):
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
        """Elements that the recipe itself names; its files may hold others."""
        return set(self.composition)

    def makers(self, seed: np.random.SeedSequence, folder: Path) -> list[Maker]:  # noqa: ARG002
        """Give what builds the structures, one by one; the boxes take turns."""
        from pescape.plugins.structures import random_packing

        return [
            partial(
                random_packing,
                self.boxes[index % len(self.boxes)],
                self.composition,
                seed=child,
                volume_fraction=self.volume_fraction,
                radii=self.radii,
                hard_ratio=self.hard_ratio,
                hard_radii=self.hard_radii,
            )
            for index, child in enumerate(seed.spawn(self.count))
        ]


class FilesConfig(Strict):
    """Structures as files hold them."""

    builder: Literal["files"]
    files: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="in any format of ASE; beside the configuration file"
    )
    count: PositiveInt | None = Field(
        None, description="how many; the structures take turns. Each once if unset"
    )

    @property
    def elements_named(self) -> set[str]:
        """Elements that the recipe itself names; its files may hold others."""
        return set()

    def makers(self, seed: np.random.SeedSequence, folder: Path) -> list[Maker]:  # noqa: ARG002
        """Give what hands the structures out, one by one; they take turns."""
        read = [atoms for name in self.files for atoms in named_structures(folder / name)]
        for atoms in read:
            atoms.info.setdefault("parent", atoms.info["name"])
        return [read[index % len(read)].copy for index in range(self.count or len(read))]


def _builder_tag(given: Any) -> str | None:  # noqa: ANN401 (whatever stands in the file)
    """Name the model that a table asks for; rattled crystals are the default."""
    if (isinstance(given, dict) and {"family", "builder"} & set(given) == {"family"}) or (
        isinstance(given, Family)
    ):
        return "family()"
    builder = given.get("builder", "rattled") if isinstance(given, dict) else given.builder
    models: dict[Any, type] = {
        "rattled": RattledConfig,
        "polymorph": PolymorphConfig,
        "packing": PackingConfig,
        "files": FilesConfig,
    }
    return tag_of(models[builder]) if builder in models else None


#: Any of the recipes, to Python; `Recipe` below is the same to pydantic.
AnyRecipe = RattledConfig | PolymorphConfig | PackingConfig | FilesConfig | AnyStart


Recipe = Annotated[
    Annotated[RattledConfig, Tag(tag_of(RattledConfig))]
    | Annotated[PolymorphConfig, Tag(tag_of(PolymorphConfig))]
    | Annotated[PackingConfig, Tag(tag_of(PackingConfig))]
    | Annotated[FilesConfig, Tag(tag_of(FilesConfig))]
    | Annotated[StartConfig, Tag("family()")],
    Discriminator(
        _builder_tag,
        custom_error_type="builder",
        custom_error_message="builder has to be 'rattled', 'polymorph', 'packing' or 'files'",
    ),
]


class StructuresConfig(Strict):
    """The configuration of ``pescape structures``."""

    seed: int = 0
    structures: Annotated[tuple[Recipe, ...], Field(min_length=1)]


@dataclass(frozen=True, eq=False)
class BuiltStructure:
    """A structure that a recipe asked for.

    Parameters
    ----------
    recipe, index
        Which recipe, and which of its structures, from 0.
    atoms
        The structure; None where it could not be built.
    failure
        Why not.
    """

    recipe: int
    index: int
    atoms: Atoms | None
    failure: str = ""


def build_structures(
    recipes: Sequence[AnyRecipe],
    seed: int | np.random.SeedSequence,
    folder: Path | str = ".",
) -> list[BuiltStructure]:
    """Build the structures of all recipes as far as possible.

    Takes what `build_all` takes. A structure that cannot be built, such as a packing
    without room, is told in `BuiltStructure.failure`; a recipe none of whose structures can be
    built is an error.
    """
    sequence = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    drawn: list[BuiltStructure] = []
    for number, (recipe, child) in enumerate(
        zip(recipes, sequence.spawn(len(recipes)), strict=True)
    ):
        one = [
            _built(number, index, maker)
            for index, maker in enumerate(recipe.makers(child, Path(folder)))
        ]
        if all(structure.atoms is None for structure in one):
            raise ConfigError(f"structures[{number + 1}] ({recipe.builder}): {one[0].failure}")
        drawn += one
    return drawn


def _built(recipe: int, index: int, maker: Maker) -> BuiltStructure:
    try:
        return BuiltStructure(recipe, index, as_stored(maker()))
    except ValueError as error:
        return BuiltStructure(recipe, index, None, str(error))


def build_all(
    recipes: Sequence[AnyRecipe],
    seed: int | np.random.SeedSequence,
    folder: Path | str = ".",
) -> list[Atoms]:
    """Build the structures of all recipes.

    Parameters
    ----------
    recipes
        What to build, or to derive from.
    seed
        Equal seeds give equal structures, each recipe's whatever the others are.
    folder
        Where the recipes' files are.

    Returns
    -------
    list of Atoms
        In the recipes' order; ``info["parent"]`` names what a structure derives from, and
        ``info["record"]``, where there is one, builds it again. Positions have eight decimals,
        all that extxyz files keep.
    """
    built = []
    for drawn in build_structures(recipes, seed, folder):
        if drawn.atoms is None:
            raise DataError(
                f"structures[{drawn.recipe + 1}], structure {drawn.index + 1}: {drawn.failure}"
            )
        built.append(drawn.atoms)
    return built
