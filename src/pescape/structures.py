"""Initial structures from a configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from pescape.config import Strict
from pescape.labelling.label import configuration_id

if TYPE_CHECKING:
    from ase import Atoms

Range = tuple[float, float]
Repeat = tuple[PositiveInt, PositiveInt, PositiveInt]


class CrystalConfig(Strict):
    """An elemental crystal, in one or several supercells."""

    element: str
    lattice: Literal["bcc", "diamond", "fcc", "hcp", "omega", "sc"]
    a: PositiveFloat = Field(description="lattice parameter, Å")
    c_over_a: PositiveFloat | None = Field(None, description="of hcp and omega")
    cubic: bool = Field(False, description="conventional instead of primitive cell")
    repeat: Annotated[tuple[Repeat, ...], Field(min_length=1)] = ((1, 1, 1),)

    def build(self) -> list[Atoms]:
        """Build the supercells; each knows its name."""
        from pescape.plugins.structures import crystal

        built = []
        for repeat in self.repeat:
            atoms = crystal(
                self.element,
                self.lattice,
                self.a,
                c_over_a=self.c_over_a,
                cubic=self.cubic,
                repeat=repeat,
            )
            atoms.info["name"] = f"{self.lattice} {self.element}{len(atoms)}"
            built.append(atoms)
        return built


class RattledConfig(CrystalConfig):
    """Structures derived from crystals by strain and random displacements."""

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


class StructuresConfig(Strict):
    """The configuration of ``pescape structures``."""

    seed: int = 0
    structures: Annotated[tuple[RattledConfig, ...], Field(min_length=1)]


def build_structures(
    recipes: tuple[RattledConfig, ...], seed: int | np.random.SeedSequence
) -> list[Atoms]:
    """Build the structures of all recipes.

    Parameters
    ----------
    recipes
        What to derive them from.
    seed
        Equal seeds give equal structures, each recipe's whatever the others are.

    Returns
    -------
    list of Atoms
        In the recipes' order; ``info["parent"]`` names the crystal. Positions have eight
        decimals, all that extxyz files keep.
    """
    from pescape.plugins.structures import strained_and_rattled

    sequence = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    built = []
    for recipe, child in zip(recipes, sequence.spawn(len(recipes)), strict=True):
        built += strained_and_rattled(
            recipe.build(),
            recipe.count,
            rattle=recipe.rattle,
            strain=recipe.strain,
            volume=recipe.volume,
            min_distance=recipe.min_distance,
            seed=child,
        )
    return [as_stored(atoms) for atoms in built]


def as_stored(atoms: Atoms) -> Atoms:
    """Round positions and cell as extxyz files do, so that a label fits what is stored."""
    new = atoms.copy()
    new.set_cell(np.round(new.cell.array, 8))
    new.positions = np.round(new.positions, 8)
    new.info["configuration_id"] = configuration_id(new)
    return new
