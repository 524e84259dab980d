"""The configuration of ``pescape validate``, with a suite of all properties of a crystal."""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PositiveInt,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from pescape.config import Strict
from pescape.errors import ConfigError, did_you_mean
from pescape.tasks.cluster import ExecutorConfig
from pescape.validation.crystals import AnyCrystal, Crystal
from pescape.validation.properties import AnyProperty
from pescape.validation.property import (
    PROPERTIES,
    PropertyConfig,
    check_names,
    current_name,
    known_values,
)
from pescape.validation.study import Threshold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pescape.validation.compounds import Solid


Lattice = Literal["bcc", "diamond", "fcc", "hcp", "omega", "sc"]

_METALS = ("hcp", "bcc", "fcc", "omega")
_ADAPTER: TypeAdapter[PropertyConfig] = TypeAdapter(AnyProperty)


class SuiteConfig(Strict):
    """The crystal that a suite is about, and what is left out."""

    crystal: AnyCrystal
    phases: tuple[Lattice, ...] | None = Field(
        None, description="beside the crystal's own; hcp, bcc, fcc and omega if it is one of them"
    )
    without: tuple[str, ...] = Field((), description="kinds of properties to leave out")

    @field_validator("without")
    @classmethod
    def _known(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        _check_kinds(kinds)
        return kinds

    @property
    def crystals(self) -> tuple[Solid, ...]:
        """The crystal and the other phases of its element; a compound is alone."""
        if not isinstance(self.crystal, Crystal):
            return (self.crystal,)
        usual = _METALS if self.crystal.lattice in _METALS else ()
        others = usual if self.phases is None else self.phases
        wanted = [lattice for lattice in dict.fromkeys(others) if lattice != self.crystal.lattice]
        return (self.crystal, *(_phase(self.crystal, lattice) for lattice in wanted))

    @property
    def properties(self) -> tuple[PropertyConfig, ...]:
        """Configurations of all properties that apply, with their defaults."""
        phases = self.crystals
        found: list[PropertyConfig] = []
        without = {current_name(kind) for kind in self.without}
        for kind, one in PROPERTIES.items():
            if kind in without:
                continue
            found += _applied({"kind": kind}, phases, self.crystal)
            for phase in phases[1:]:
                if phase.title in one.suite_phases:
                    named = {"kind": kind, "name": f"{kind}_{phase.title}"}
                    found += _applied(named, phases, phase)
        return tuple(found)


def _check_kinds(kinds: tuple[str, ...] | list[str]) -> None:
    """Refuse kinds of properties that are not known."""
    for kind in kinds:
        if current_name(kind) not in PROPERTIES:
            hint = did_you_mean(kind, PROPERTIES, cutoff=0.6)
            raise ValueError(f"no property is of kind {kind!r}; {hint}")


def _applied(
    table: dict[str, str], phases: tuple[Solid, ...], crystal: Solid
) -> list[PropertyConfig]:
    """Configure a property by the fields it has; nothing if it is none of such a crystal."""
    fields = PROPERTIES[table["kind"]].config.model_fields
    elements = tuple(crystal.composition)
    about: dict[str, Any] = {
        "crystal": crystal,
        "element": elements[0],
        "elements": elements,
        "species": elements,
    }
    wanted = table | {name: one for name, one in about.items() if name in fields}
    if "phases" not in fields:
        return _valid(wanted)
    possible = tuple(one for one in phases if _valid(wanted | {"phases": (one,)}))
    return _valid(wanted | {"phases": possible})


def _valid(table: dict[str, Any]) -> list[PropertyConfig]:
    """Give the configuration, if it is one: not every property is one of every lattice."""
    try:
        return [_ADAPTER.validate_python(table)]
    except ValidationError:
        return []


def _phase(crystal: Crystal, lattice: str) -> Crystal:
    """Give another phase of the element; of the same volume per atom where a is given."""
    guess: dict[str, Any] = {"element": crystal.element, "lattice": lattice}
    if crystal.a is None:
        return Crystal(**guess)
    own, unit = crystal.primitive(), Crystal(**guess, a=1.0).primitive()
    ratio = own.get_volume() / len(own) / (unit.get_volume() / len(unit))
    return Crystal(**guess, a=ratio ** (1 / 3))


_PERCENT = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*%\s*")


def _threshold_of(given: object) -> Threshold:
    """Read a threshold: a number in the unit of the value, or a percentage of the reference."""
    if isinstance(given, Threshold):
        return given
    percent = _PERCENT.fullmatch(given) if isinstance(given, str) else None
    if percent is not None:
        return Threshold(float(percent.group(1)) / 100.0, relative=True)
    if isinstance(given, bool) or not isinstance(given, (int, float)) or given < 0.0:
        raise ValueError("a number in the unit of the value or a text such as '5 %' was expected")
    return Threshold(float(given))


Limit = Annotated[Threshold, BeforeValidator(_threshold_of)]


class ValidationConfig(Strict):
    """What is computed of each potential, and how near to the references it has to be."""

    title: str = "Validation"
    workers: PositiveInt = Field(2, description="processes, where there is no table executor")
    executor: ExecutorConfig | None = None
    suite: SuiteConfig | None = Field(None, description="every property that applies to a crystal")
    properties: tuple[AnyProperty, ...] = Field(
        (), description="more; one of the suite's titles takes that one's place"
    )
    thresholds: dict[str, Limit] = Field(
        default_factory=dict,
        description="largest difference, in the unit of the value or as '5 %', by name or pattern",
    )

    @model_validator(mode="after")
    def _whole(self) -> ValidationConfig:
        if self.executor is not None and "workers" in self.model_fields_set:
            raise ValueError("give workers or the table executor, not both")
        check_names(self.properties)
        if not self.chosen():
            raise ValueError(
                "nothing to compute: give [suite] with crystal = { element = ..., lattice = ... }, "
                "or [[properties]]"
            )
        return self

    @property
    def where(self) -> ExecutorConfig:
        """Where tasks run."""
        return self.executor or ExecutorConfig(workers=self.workers)

    def chosen(
        self, only: Sequence[str] = (), without: Sequence[str] = ()
    ) -> tuple[PropertyConfig, ...]:
        """Give the properties to compute.

        Parameters
        ----------
        only, without
            Kinds or titles to restrict them to, and to leave out.
        """
        wanted = {} if self.suite is None else {one.title: one for one in self.suite.properties}
        wanted |= {one.title: one for one in self.properties}
        kinds = {name for one in wanted.values() for name in _names(one)}
        _check_kinds([name for name in (*only, *without) if name not in kinds])
        chosen, left_out = ({*given, *map(current_name, given)} for given in (only, without))
        return tuple(
            one
            for one in wanted.values()
            if (not only or _names(one) & chosen) and not _names(one) & left_out
        )

    def limits(self) -> dict[str, Threshold]:
        """Give the thresholds by full name of the value; a full name wins over patterns.

        Raises
        ------
        ConfigError
            A name or pattern is that of no value.
        """
        known = known_values(self.chosen())
        found: dict[str, Threshold] = {}
        # Of two patterns the later one wins; full names are no patterns and come last.
        for pattern in sorted(self.thresholds, key=known.__contains__):
            matching = fnmatch.filter(known, pattern) or fnmatch.filter(
                known, current_name(pattern)
            )
            if not matching:
                hint = did_you_mean(pattern, known, cutoff=0.6, most=0)
                raise ConfigError(
                    f"thresholds: {pattern!r} is the name of no value; {hint}".rstrip("; ")
                )
            found |= dict.fromkeys(matching, self.thresholds[pattern])
        return found


def _names(one: PropertyConfig) -> set[str]:
    return {one.title, one.kind_name}
