"""The configuration of ``pescape sample``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
    model_validator,
)

from pescape.config import Strict, tag_of
from pescape.labelling import ReferenceConfig  # noqa: TC001 (pydantic reads it)
from pescape.plugins.dynamics.guards import Guards
from pescape.structures import Range, Recipe  # noqa: TC001


class RelaxationConfig(Strict):
    """The short relaxation that every trajectory begins with."""

    steps: NonNegativeInt = Field(10, description="0 evaluates the start and leaves it as it is")
    optimizer: Literal["lbfgs", "bfgs", "fire"] = "lbfgs"
    maxstep: PositiveFloat = Field(0.2, description="longest displacement of an atom, Å")
    fmax: NonNegativeFloat = Field(0.01, description="eV/Å; ends the relaxation early")
    keep: bool = Field(False, description="take the relaxation's images into the data sets")


class GuardsConfig(Strict):
    """Limits that end a trajectory; see `Guards`."""

    max_force: PositiveFloat = Field(100.0, description="eV/Å")
    max_energy: PositiveFloat | None = Field(None, description="above the first image, eV/atom")
    max_deviation: PositiveFloat | None = Field(None, description="from the target, eV/atom")
    min_distance: PositiveFloat | None = Field(None, description="Å")
    distance_ratio: PositiveFloat | None = Field(
        None, description="shortest distance over the sum of the covalent radii"
    )
    max_displacement: PositiveFloat | None = Field(None, description="from the first image, Å")
    retries: NonNegativeInt = 4

    def build(self) -> Guards:
        """Make the guards."""
        return Guards(**self.model_dump())


class _Sampler(Strict):
    """What all samplers have."""

    name: str | None = Field(None, description="in tables and data sets; the method if unset")
    calls: PositiveInt = Field(200, description="force calls of the sampling")
    guards: GuardsConfig = GuardsConfig()


class MDConfig(_Sampler):
    """Molecular dynamics at constant volume, from one temperature to another."""

    method: Literal["md"]
    every: PositiveInt = Field(4, description="every so many images enter the data sets")
    temperatures: Range = Field(
        (200.0, 2000.0), description="range of the first and of the last temperature, K"
    )
    timestep: PositiveFloat = Field(1.0, description="fs")
    thermostat: Literal["nose-hoover", "langevin"] = "nose-hoover"

    @model_validator(mode="after")
    def _range(self) -> MDConfig:
        _check_range("temperatures", self.temperatures)
        return self


class ContourConfig(_Sampler):
    """Contour exploration with an energy that rises; see `ContourExploration`.

    Waters and Rondinelli's step of 0.8 Å bounds the length over all 3N coordinates, as ASE's
    `maxstep` did and as `step_cap = "norm"` says here.
    """

    method: Literal["contour"]
    every: PositiveInt = Field(2, description="every so many images enter the data sets")
    energies: Range = Field(
        (0.001, 1.0), description="range of the first and last target above the start, eV/atom"
    )
    maxstep: PositiveFloat = Field(0.8, description="longest step, Å")
    step_cap: Literal["atom", "rms", "norm"] = Field(
        "norm", description="what maxstep bounds: any atom, the root mean square, the 3N norm"
    )
    angle_limit: PositiveFloat = Field(20.0, lt=90.0, description="degrees")
    drift: float = Field(0.2, ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _range(self) -> ContourConfig:
        _check_range("energies", self.energies)
        return self


class DimerConfig(_Sampler):
    """A saddle search from a random displacement, all of whose force calls are images."""

    method: Literal["dimer"]
    every: PositiveInt = Field(4, description="every so many images enter the data sets")
    scheme: Literal["ritz", "vtst"] = Field("ritz", description='"vtst" is the paper\'s')
    displacement: PositiveFloat = Field(
        1.2, description="norm of the random displacement, which is the first mode too, Å"
    )
    separation: PositiveFloat = Field(0.01, description="of the rotated image, Å")
    fmax: PositiveFloat = Field(1e-5, description="ends the search, eV/Å")


def _check_range(name: str, value: tuple[float, float]) -> None:
    low, high = value
    if not 0.0 < low <= high:
        raise ValueError(f"{name} = [{low:g}, {high:g}] is not a range of positive numbers")


def _method_tag(given: Any) -> str | None:  # noqa: ANN401 (whatever stands in the file)
    """Name the model that a table asks for."""
    method = given.get("method") if isinstance(given, dict) else given.method
    models: dict[Any, type] = {"md": MDConfig, "contour": ContourConfig, "dimer": DimerConfig}
    return tag_of(models[method]) if method in models else None


#: Any of the samplers, to Python; `Sampler` below is the same to pydantic.
AnySampler = MDConfig | ContourConfig | DimerConfig

Sampler = Annotated[
    Annotated[MDConfig, Tag(tag_of(MDConfig))]
    | Annotated[ContourConfig, Tag(tag_of(ContourConfig))]
    | Annotated[DimerConfig, Tag(tag_of(DimerConfig))],
    Discriminator(
        _method_tag,
        custom_error_type="method",
        custom_error_message="method has to be 'md', 'contour' or 'dimer'",
    ),
]


#: Samplers that run a potential of ours in ASE instead of LAMMPS' MD.
Explorer = Annotated[
    Annotated[ContourConfig, Tag(tag_of(ContourConfig))]
    | Annotated[DimerConfig, Tag(tag_of(DimerConfig))],
    Discriminator(
        _method_tag,
        custom_error_type="method",
        custom_error_message="method has to be 'contour' or 'dimer'",
    ),
]


class LimitsConfig(Strict):
    """Energies and forces beyond which an image is left out of the data sets."""

    force: PositiveFloat | None = Field(None, description="of any atom, eV/Å")
    energy: float | None = Field(None, description="relative to isolated atoms, eV/atom")
    atom_energies: dict[str, float] | None = Field(
        None, description="of isolated atoms by element, eV; goes with energy"
    )
    multiple: PositiveFloat | None = Field(
        None, description="of the pairs' binding energies; computed with the reference"
    )
    file: str | None = Field(None, description="limits.json of another campaign")
    pairs: tuple[tuple[str, str], ...] | None = Field(
        None, description="those that matter, of multiple or file; all if unset"
    )
    box: PositiveFloat = Field(20.0, description="edge of the cell the pairs are put in, Å")
    pbc: bool = Field(False, description="for references that know periodic cells only")

    @model_validator(mode="after")
    def _source(self) -> LimitsConfig:
        if self.multiple is not None and self.file is not None:
            raise ValueError("give multiple, which computes limits, or file, which has them")
        computed = self.multiple is not None or self.file is not None
        if not computed and self.force is None and self.energy is None:
            raise ValueError("give multiple = 2.0, file = 'limits.json', force = ... or energy")
        if self.pairs is not None and not computed:
            raise ValueError("pairs goes with multiple or file")
        if not computed and self.energy is not None and self.atom_energies is None:
            raise ValueError("energy counts from isolated atoms: give atom_energies = { ... } too")
        return self


class SampleConfig(Strict):
    """The configuration of ``pescape sample``."""

    seed: int = Field(0, ge=0)
    output: str = Field("sampled", description="folder, beside the configuration file")
    workers: PositiveInt = Field(1, description="processes")
    stress: bool = Field(False, description="ask the reference for stresses")
    test_fraction: float = Field(0.5, ge=0.0, le=1.0, description="of the trajectories")
    reference: ReferenceConfig
    structures: Annotated[tuple[Recipe, ...], Field(min_length=1)]
    samplers: Annotated[tuple[Sampler, ...], Field(min_length=1)]
    relaxation: RelaxationConfig = RelaxationConfig()
    limits: LimitsConfig | None = None

    @model_validator(mode="after")
    def _names(self) -> SampleConfig:
        names = [sampler.name or sampler.method for sampler in self.samplers]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(
                f"two samplers are called {twice.pop()!r}: tell them apart by name = ..."
            )
        return self
