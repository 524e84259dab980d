"""A ready-made suite: every property of the registry that applies to a crystal."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, field_validator

from pescape.config import Strict
from pescape.validation.crystals import AnyCrystal, Crystal
from pescape.validation.registry import PROPERTIES, AnyProperty

if TYPE_CHECKING:
    from pescape.validation.base import PropertyConfig
    from pescape.validation.compounds import Solid

Lattice = Literal["bcc", "diamond", "fcc", "hcp", "omega", "sc"]

_METALS = ("hcp", "bcc", "fcc", "omega")
#: Phases beside the crystal itself of which a property with a field ``crystal`` is computed too,
#: as ``KIND_LATTICE``: the elastic constants of all three of Luo et al.'s figure 7.
_OF_PHASES = {"elastic": ("bcc", "fcc")}
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
        check_kinds(kinds)
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
        for kind in PROPERTIES:
            if kind in self.without:
                continue
            found += _applied({"kind": kind}, phases, self.crystal)
            for phase in phases[1:]:
                if phase.title in _OF_PHASES.get(kind, ()):
                    named = {"kind": kind, "name": f"{kind}_{phase.title}"}
                    found += _applied(named, phases, phase)
        return tuple(found)


def check_kinds(kinds: tuple[str, ...] | list[str]) -> None:
    """See to it that kinds of properties are known."""
    for kind in kinds:
        if kind not in PROPERTIES:
            near = difflib.get_close_matches(kind, PROPERTIES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(PROPERTIES)}"
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
