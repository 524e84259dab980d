"""The configuration of reference calculators: ``[reference]`` of every command's TOML."""

from __future__ import annotations

from typing import Any

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from pescape.config import Strict
from pescape.labelling.recipes.settings import (
    STEERING,
    EspressoConfig,
    GpawConfig,
    VaspConfig,
)

_CHOICE = (
    "give exactly one of eam = 'FILE', a table gpaw, espresso or vasp, and "
    "calculator = 'MODULE:CLASS' or 'FILE.py:FUNCTION'"
)


class ReferenceConfig(Strict):
    """Which calculator labels configurations: one of the recipes, or any of ASE's."""

    eam: str | None = Field(
        None, description="setfl file, here or among the potentials that LAMMPS ships"
    )
    gpaw: GpawConfig | None = Field(None, description="GPAW, plane waves")
    espresso: EspressoConfig | None = Field(None, description="pw.x of Quantum ESPRESSO")
    vasp: VaspConfig | None = None
    calculator: str | None = Field(
        None,
        description="what makes an ASE calculator: a class or function by its import path, "
        "'ase.calculators.emt:EMT', or a function of a file, 'dft.py:calculator'",
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="keyword arguments of the calculator"
    )
    timeout: PositiveFloat | None = Field(
        None, description="s; an attempt that takes longer is killed with all it started"
    )
    attempts: PositiveInt = Field(2, description="most attempts at one label")
    retry: tuple[dict[str, Any], ...] = Field(
        (),
        description="what changes at the second attempt, the third, …: options of the "
        "calculator, or mixing, max_steps and algorithm of a recipe",
    )
    max_force: PositiveFloat | None = Field(
        None, description="eV/Å; labels with a larger force are failures"
    )
    energy_limits: tuple[float, float] | None = Field(
        None, description="eV per atom; labels beyond them are failures"
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> ReferenceConfig:
        given = [name for name in _RECIPE_KEYS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(_CHOICE + (f"; {' and '.join(given)} are given" if given else ""))
        if given == ["eam"] and self.options:
            raise ValueError("options go with calculator, the eam recipe has none")
        if given != ["calculator"] and self.options:
            raise ValueError(f"options of {given[0]} go into its table: {given[0]}.options")
        self._check_retry(given[0])
        if self.energy_limits and self.energy_limits[0] >= self.energy_limits[1]:
            raise ValueError(f"energy_limits = {list(self.energy_limits)} do not rise")
        return self

    def _check_retry(self, recipe: str) -> None:
        if recipe == "calculator":
            return
        known = () if recipe == "eam" else STEERING
        wrong = sorted({key for changes in self.retry for key in changes} - set(known))
        if wrong:
            allowed = f"may change {', '.join(known)} only" if known else "goes with other recipes"
            raise ValueError(f"retry: {wrong[0]!r} would change labels; retry {allowed}")

    @property
    def recipe(self) -> str:
        """Which of the recipes: ``"file"`` for a calculator of the user's own file."""
        if self.calculator is not None and self.calculator.partition(":")[0].endswith(".py"):
            return "file"
        return next(name for name in _RECIPE_KEYS if getattr(self, name) is not None)


_RECIPE_KEYS = ("eam", "gpaw", "espresso", "vasp", "calculator")
