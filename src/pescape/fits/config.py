"""Settings of potentials that are fitted by tasks, and of their fits, as tables of TOML files.

``[potential] kind`` says what kind of potential is fitted, ``"mtp"`` where it is unset; the
table ``[fit]`` is about fits of that kind.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    PositiveFloat,
    PositiveInt,
    Tag,
    create_model,
    field_validator,
    model_validator,
)

from pescape.calculators.bpnn.fit.settings import BPNNFitOptions, BPNNFunctions, Preset
from pescape.calculators.mtp.fit.settings import (
    FitOptions,
    FitSettings,
    Level,
    MTPArchitecture,
    MTPBasis,
    Repulsion,
    Species,
)
from pescape.config import Strict, tag_of
from pescape.errors import ConfigError
from pescape.fits.task import BPNNStart, MTPStart

if TYPE_CHECKING:
    from pescape.calculators.bpnn.fit.settings import FitSettings as BPNNFitSettings
    from pescape.fits.task import AnySettings, FitStart

_Nodes = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]


def _as_schedule(given: Any) -> Any:  # noqa: ANN401 (whatever stands in the file)
    """Take the nodes of one network for a schedule of a single one."""
    is_one = isinstance(given, (list, tuple)) and all(isinstance(part, int) for part in given)
    return [given] if is_one and given else given


def _kind_of(given: Any) -> Any:  # noqa: ANN401 (whatever stands in the file)
    is_table = isinstance(given, dict)
    return given.get("kind", "mtp") if is_table else getattr(given, "kind", "mtp")


def _by_kind(mtp: type[Strict], bpnn: type[Strict]) -> Discriminator:
    """Tell tables of the two kinds apart by their key ``kind``."""
    tags = {"mtp": tag_of(mtp), "bpnn": tag_of(bpnn)}

    return Discriminator(
        lambda given: tags.get(_kind_of(given)),
        custom_error_type="kind",
        custom_error_message="kind has to be 'mtp' or 'bpnn'",
    )


# Fits --------------------------------------------------------------------------------------


class FitConfig(FitOptions, Repulsion):
    """How each fit of a moment tensor potential is done."""

    kind: Literal["mtp"] = Field("mtp", description="that of the potential", exclude=True)
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


class NetworkFitConfig(BPNNFitOptions):
    """How each fit of a network is done."""

    kind: Literal["bpnn"] = Field("bpnn", description="that of the potential", exclude=True)


AnyFit = FitConfig | NetworkFitConfig
#: The table ``fit``, of the potential's kind.
FitTable = Annotated[
    Annotated[FitConfig, Tag(tag_of(FitConfig))]
    | Annotated[NetworkFitConfig, Tag(tag_of(NetworkFitConfig))],
    _by_kind(FitConfig, NetworkFitConfig),
]


class WithFit(Strict):
    """A configuration whose tables ``potential`` and ``fit`` are of one kind."""

    fit: FitTable = FitConfig()

    @model_validator(mode="before")
    @classmethod
    def _fit_of_kind(cls, content: Any) -> Any:  # noqa: ANN401 (whatever stands in the file)
        if not isinstance(content, dict) or not isinstance(content.get("fit", {}), dict):
            return content
        kind = _kind_of(content.get("potential"))
        return {**content, "fit": {"kind": kind, **content.get("fit", {})}}

    @model_validator(mode="after")
    def _one_kind(self) -> WithFit:
        kind = _kind_of(getattr(self, "potential", None))
        if self.fit.kind != kind:
            raise ValueError(f"fit.kind is {self.fit.kind!r}, but the potential is {kind!r}")
        return self


# Potentials --------------------------------------------------------------------------------


class BasisConfig(MTPBasis):
    """Elements, distances and radial functions of moment tensor potentials that tasks fit."""

    kind: Literal["mtp"] = Field("mtp", description="of the potential", exclude=True)
    species: Species = Field(description="elements in order")
    min_dist: PositiveFloat = Field(2.0, description="Å")

    def start(self, level: int, fit: AnyFit, path: str | None = None) -> MTPStart:
        """Make the start of a fit.

        Parameters
        ----------
        level
            Of the potential.
        fit
            How it is fitted, and the repulsion beside it.
        path
            A fitted potential to go on from.
        """
        assert isinstance(fit, FitConfig)
        size = self.radial_basis_size
        wall = Repulsion(zbl=fit.zbl, no_zbl=fit.no_zbl)
        return MTPStart(level, self.species, self.cutoff, self.min_dist, size, path, wall)

    def settings(self, fit: AnyFit, seed: int) -> FitSettings:
        """Make the settings of one fit.

        Parameters
        ----------
        fit
            How the potential is fitted.
        seed
            Of its random starts.
        """
        assert isinstance(fit, FitConfig)
        return fit.settings(seed)


class NetworkBasisConfig(BPNNFunctions):
    """Elements and symmetry functions of networks that tasks fit."""

    kind: Literal["bpnn"] = Field(description="of the potential")
    species: Species = Field(description="elements")
    preset: Preset = Field(
        "default", description="paper: functions, activations and fits of Waters and Rondinelli"
    )

    def start(
        self,
        level: int,
        fit: AnyFit,  # noqa: ARG002 (of moment tensor potentials)
        path: str | None = None,  # noqa: ARG002
    ) -> BPNNStart:
        """Make the start of a fit.

        Parameters
        ----------
        level
            Number of the network, from 1.
        fit
            How it is fitted.
        path
            Without meaning: networks are fitted anew.
        """
        functions = self.cutoff, self.radial, self.angular
        return BPNNStart(level, self.species, self.nodes(level), *functions, self.preset)

    def nodes(self, level: int) -> tuple[int, ...] | None:
        """Return the nodes of the hidden layers of a network.

        Parameters
        ----------
        level
            Number of the network, from 1.
        """
        raise NotImplementedError

    def settings(self, fit: AnyFit, seed: int) -> BPNNFitSettings:
        """Make the settings of one fit.

        Parameters
        ----------
        fit
            How the network is fitted.
        seed
            Of its first weights and of the data for validation.
        """
        assert isinstance(fit, NetworkFitConfig)
        return fit.settings(self.preset, seed)


class PotentialConfig(BasisConfig):
    """The moment tensor potential that a campaign learns."""

    file: str = Field("potential.almtp", description="where it is written, in the output folder")
    levels: Annotated[tuple[Level, ...], Field(min_length=1)] = Field(
        (8, 12), description="rising; each is learned until nothing is risky"
    )

    @field_validator("levels")
    @classmethod
    def _rising(cls, levels: tuple[int, ...]) -> tuple[int, ...]:
        if any(a >= b for a, b in pairwise(levels)):
            raise ValueError(f"levels {list(levels)} do not rise")
        return levels


class NetworkConfig(NetworkBasisConfig):
    """The network that a campaign learns."""

    file: str = Field("potential.bpnn", description="where it is written, in the output folder")
    hidden: Annotated[tuple[_Nodes, ...], Field(min_length=1), BeforeValidator(_as_schedule)] = (
        Field(
            ((8, 8),),
            description="nodes of the hidden layers, [8, 8], or of those of several networks, "
            "[[8, 8], [16, 16]], each larger than the one before; each is learned until nothing is "
            "risky",
        )
    )

    @field_validator("hidden")
    @classmethod
    def _rising(cls, hidden: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
        if any(sum(a) >= sum(b) for a, b in pairwise(hidden)):
            raise ValueError("each network must have more nodes than the one before")
        return hidden

    @property
    def levels(self) -> tuple[int, ...]:
        """Numbers of the networks, from 1."""
        return tuple(range(1, len(self.hidden) + 1))

    def nodes(self, level: int) -> tuple[int, ...]:
        """Return the nodes of the hidden layers of a network.

        Parameters
        ----------
        level
            Number of the network, from 1.
        """
        return self.hidden[level - 1]


class MemberConfig(BasisConfig, MTPArchitecture):
    """The moment tensor potentials of an ensemble."""


class NetworkMemberConfig(NetworkBasisConfig):
    """The networks of an ensemble."""

    hidden: _Nodes | None = Field(
        None, description="nodes of the hidden layers; 8,8 if unset, 8 with the paper's preset"
    )

    @property
    def level(self) -> int:
        """The number of all networks: an ensemble has one size."""
        return 1

    def nodes(self, level: int) -> tuple[int, ...] | None:  # noqa: ARG002 (there is one)
        """Return the nodes of the hidden layers.

        Parameters
        ----------
        level
            Number of the network, from 1.
        """
        return self.hidden


#: The table ``potential`` of a campaign.
PotentialTable = Annotated[
    Annotated[PotentialConfig, Tag(tag_of(PotentialConfig))]
    | Annotated[NetworkConfig, Tag(tag_of(NetworkConfig))],
    _by_kind(PotentialConfig, NetworkConfig),
]
#: The table ``potential`` of an ensemble.
MemberTable = Annotated[
    Annotated[MemberConfig, Tag(tag_of(MemberConfig))]
    | Annotated[NetworkMemberConfig, Tag(tag_of(NetworkMemberConfig))],
    _by_kind(MemberConfig, NetworkMemberConfig),
]


# Learning curves ---------------------------------------------------------------------------


_MODELS: dict[str, tuple[type[MemberConfig | NetworkMemberConfig], type[AnyFit]]] = {
    "mtp": (MemberConfig, FitConfig),
    "bpnn": (NetworkMemberConfig, NetworkFitConfig),
}
# Keys of the tables that are options of curves.
_CURVE_KEYS = (
    *("cutoff", "min_dist", "radial_basis_size", "hidden", "radial", "angular"),
    *("energy_weight", "force_weight", "stress_weight", "iterations", "starts", "zbl", "no_zbl"),
    *("validation", "threads"),
)


def _optional(name: str) -> tuple[Any, Any]:
    """Take a key of the tables as a field that may be unset, of all kinds that have it."""
    found = {
        kind: model.model_fields[name]
        for kind, models in _MODELS.items()
        for model in models
        if name in model.model_fields
    }
    texts = {
        kind: f"{one.description}{'' if one.default is None else f'; {one.default} if unset'}"
        for kind, one in found.items()
    }
    same = len(found) == len(_MODELS) and len(set(texts.values())) == 1
    shown = texts["mtp"] if same else "; ".join(f"{text} ({kind})" for kind, text in texts.items())
    field = next(iter(found.values()))
    bounds: Any = (
        Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    )
    return bounds | None, Field(None, description=shown, json_schema_extra=field.json_schema_extra)


class _Curve(Strict):
    """Potentials, and the parts of a data set they are fitted to.

    What is unset is as in the tables ``potential`` and ``fit``; what does not belong to the kind
    is refused.
    """

    kind: Literal["mtp", "bpnn"] = Field("mtp", description="of the potentials")
    species: Species | None = Field(
        None, description="elements in order, such as Zr,O; those of the data if unset"
    )
    levels: Annotated[tuple[Level, ...], Field(min_length=1)] = Field(
        (8, 12, 16), description="of moment tensor potentials"
    )
    sizes: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] | None = Field(
        None, description="of the parts; all, half, … a sixteenth if unset"
    )

    def starts_and_settings(
        self, species: tuple[str, ...], seed: int
    ) -> tuple[list[FitStart], AnySettings]:
        """Make what is fitted, and the settings of the fits.

        Parameters
        ----------
        species
            Elements where none are given.
        seed
            Of random starts.

        Raises
        ------
        ConfigError
            An option is of the other kind of potential.
        """
        given = {k: v for k in _CURVE_KEYS if (v := getattr(self, k)) is not None}
        models = _MODELS[self.kind]
        strangers = [k for k in given if not any(k in model.model_fields for model in models)]
        if strangers:
            option = strangers[0].replace("_", "-")
            raise ConfigError(f"--{option} is of no meaning for potentials of kind {self.kind!r}")
        potential_values, fit_values = (
            {name: value for name, value in given.items() if name in model.model_fields}
            for model in models
        )
        named = {"kind": self.kind, "species": self.species or species}
        potential = models[0].model_validate(named | potential_values)
        fit = models[1].model_validate(fit_values)
        levels = self.levels if self.kind == "mtp" else (1,)
        return [potential.start(level, fit) for level in levels], potential.settings(fit, seed)


if TYPE_CHECKING:
    #: Settings of ``pescape learning-curve``.
    CurveConfig = _Curve
else:
    CurveConfig = create_model(
        "CurveConfig", __base__=_Curve, **{name: _optional(name) for name in _CURVE_KEYS}
    )
