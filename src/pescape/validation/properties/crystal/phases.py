"""Doing the same for many things when some of them may fail.

What properties of several phases share: which energies can be compared, and how.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from pescape.validation.compounds import value_name
from pescape.validation.crystals import Crystals, check_titles
from pescape.validation.property import PropertyConfig, PropertyError, Value
from pescape.validation.symmetry import COARSE, symmetry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ase import Atoms

    from pescape.validation.compounds import Solid


Item = TypeVar("Item")
Found = TypeVar("Found")


def for_each(
    items: Mapping[str, Item], compute: Callable[[Item], Found]
) -> tuple[dict[str, Found], list[str]]:
    """Compute something of everything that it can be computed of.

    Parameters
    ----------
    items
        By name.
    compute
        Raises where there is nothing to give.

    Returns
    -------
    dict
        What was computed, by name.
    list of str
        Why others are missing.

    Raises
    ------
    PropertyError
        Nothing is left.
    """
    found: dict[str, Found] = {}
    told: list[str] = []
    for name, item in items.items():
        with _told(name, told):
            found[name] = compute(item)
    if not found:
        raise PropertyError(told[0])
    return found, told


@contextlib.contextmanager
def _told(name: str, told: list[str]) -> Iterator[None]:
    """Note what goes wrong."""
    try:
        yield
    except (OSError, MemoryError):  # another attempt may mend it
        raise
    except PropertyError as error:
        told.append(str(error))
    except Exception as error:  # noqa: BLE001 (calculators raise anything, as of elements)
        told.append(f"{name}: {str(error) or type(error).__name__}")


# Shares of elements closer than this are the same composition.
_SAME = 1e-9


class PhasesConfig(PropertyConfig):
    """Base of properties that compare phases."""

    phases: Crystals
    relative_to: dict[str, str] = Field(
        {},
        description="phases by name, and the phase that each is compared with; the first of the "
        "same composition if unset",
    )
    end_members: tuple[str, ...] = Field(
        (), description="phases by name that formation energies count from"
    )
    element_energies: dict[str, float] = Field(
        {}, description="eV/atom, of elements that no end member stands for, such as oxygen"
    )
    fmax: PositiveFloat = Field(0.001, description="largest force left, eV/Å")
    steps: PositiveInt = Field(200, description="more mean that the property fails")

    @field_validator("relative_to")
    @classmethod
    def _titled(cls, given: dict[str, str]) -> dict[str, str]:
        return {value_name(one): value_name(other) for one, other in given.items()}

    @field_validator("end_members")
    @classmethod
    def _members_titled(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(value_name, given))

    @model_validator(mode="after")
    def _phases(self) -> PhasesConfig:
        check_titles(self.phases)
        known = {phase.title for phase in self.phases}
        named = (*self.relative_to, *self.relative_to.values(), *self.end_members)
        unknown = [name for name in named if name not in known]
        if unknown:
            raise ValueError(f"no phase is called {unknown[0]!r}; there are {', '.join(known)}")
        if self.end_members or self.element_energies:
            for phase in self.phases:
                _shares(phase, self)
        return self

    @property
    def energy_names(self) -> tuple[str, ...]:
        """Names of the compared energies that each phase has."""
        formation = self.end_members or self.element_energies
        return ("relative", "formation") if formation else ("relative",)

    @property
    def by_title(self) -> dict[str, Solid]:
        """The phases by name."""
        return {phase.title: phase for phase in self.phases}

    def reference_of(self, phase: Solid) -> Solid:
        """Find the phase that another is compared with."""
        if phase.title in self.relative_to:
            return self.by_title[self.relative_to[phase.title]]
        return next(one for one in self.phases if _alike(one, phase))


def compared(
    config: PhasesConfig, energies: Mapping[str, float]
) -> tuple[dict[str, dict[str, Value]], list[str]]:
    """Compare energies per atom.

    Parameters
    ----------
    config
        The phases, and what they are compared with.
    energies
        eV/atom by phase; some may be missing.

    Returns
    -------
    dict
        For each phase ``relative`` (meV/atom above the phase it is compared with) and, if there
        are end members, ``formation`` (eV/atom; negative where the phase is lower than they
        are); without what counts from a missing phase.
    list of str
        What a reader of the numbers has to know.
    """
    values: dict[str, dict[str, Value]] = {}
    told = []
    for phase in (one for one in config.phases if one.title in energies):
        found = values.setdefault(phase.title, {})
        reference = config.reference_of(phase)
        if reference.title in energies:
            above = energies[phase.title] - energies[reference.title]
            found["relative"] = Value(1000.0 * above, "meV/atom")
        if not _alike(phase, reference):
            told.append(
                f"{phase.title} has another composition than {reference.title}: their relative "
                "energy depends on where the calculator's energies of elements begin"
            )
        if "formation" in config.energy_names:
            shares = _shares(phase, config)
            members = {**energies, **{f"[{k}]": e for k, e in config.element_energies.items()}}
            if shares.keys() <= members.keys():
                parts = sum(share * members[name] for name, share in shares.items())
                gained = energies[phase.title] - parts
                found["formation"] = Value(gained, "eV/atom")
    return values, told


def changed_symmetry(config: PhasesConfig, relaxed: Mapping[str, Atoms]) -> list[str]:
    """Tell which phases have become more symmetric, that is, have turned into others.

    Parameters
    ----------
    config
        The phases.
    relaxed
        Relaxed primitive cells by phase; some may be missing.
    """
    told = []
    for phase in config.phases:
        if phase.title not in relaxed:
            continue
        guessed = phase.symmetry
        found = symmetry(relaxed[phase.title], COARSE)
        if found.number != guessed.number:
            told.append(f"{phase.title} has turned from {guessed.symbol} into {found.symbol}")
    return told


def _alike(one: Solid, other: Solid) -> bool:
    """Whether two phases have the same composition."""
    first, second = one.composition, other.composition
    return first.keys() == second.keys() and all(
        abs(share - second[element]) < _SAME for element, share in first.items()
    )


def _shares(phase: Solid, config: PhasesConfig) -> dict[str, float]:
    """Share of its atoms that each end member contributes; given elements are in brackets."""
    members = {one.title: one.composition for one in config.phases}
    members = {title: members[title] for title in config.end_members}
    members |= {f"[{element}]": {element: 1.0} for element in config.element_energies}
    elements = sorted({*phase.composition, *(e for one in members.values() for e in one)})
    matrix = np.array([[one.get(e, 0.0) for one in members.values()] for e in elements])
    wanted = np.array([phase.composition.get(element, 0.0) for element in elements])
    if np.linalg.matrix_rank(matrix) < len(members):
        raise ValueError(f"end_members {', '.join(members)} make up each other: leave one out")
    # Rounded, so that end members are exactly zero above themselves.
    shares = np.linalg.lstsq(matrix, wanted, rcond=None)[0].round(12)
    if np.abs(matrix @ shares - wanted).max() > _SAME:
        raise ValueError(f"{phase.title} is not made up of the end_members {', '.join(members)}")
    return {
        name: float(share)
        for name, share in zip(members, shares, strict=True)
        if abs(share) > _SAME
    }
