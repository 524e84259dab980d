"""What properties of several phases share: which energies can be compared, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from pescape.validation.compounds import COARSE, crystal_symmetry, value_name
from pescape.validation.crystals import Crystals, check_titles
from pescape.validation.property import (
    Curve,
    PropertyConfig,
    PropertyError,
    PropertyResult,
    Value,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ase import Atoms

    from pescape.validation.compounds import Solid

Item = TypeVar("Item")
Found = TypeVar("Found")

# Shares of elements closer than this are the same composition.
_SAME_SHARE = 1e-9


def for_each(
    items: Mapping[str, Item], compute: Callable[[Item], Found]
) -> tuple[dict[str, Found], list[str]]:
    """Compute something of every item that it can be computed of.

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
    failures: list[str] = []
    for name, item in items.items():
        try:
            found[name] = compute(item)
        except (OSError, MemoryError):  # noqa: PERF203 (another attempt may mend it)
            raise
        except PropertyError as error:
            failures.append(str(error))
        except Exception as error:  # noqa: BLE001 (calculators raise anything, as of elements)
            failures.append(f"{name}: {str(error) or type(error).__name__}")
    if not found:
        raise PropertyError(failures[0])
    return found, failures


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
        """Find the phase that another is compared with.

        Parameters
        ----------
        phase
            The other, one of `phases`.
        """
        if phase.title in self.relative_to:
            return self.by_title[self.relative_to[phase.title]]
        return next(one for one in self.phases if _alike(one, phase))


@dataclass(frozen=True, eq=False)
class PhaseValues:
    """What was computed of one phase.

    Parameters
    ----------
    relaxed
        The primitive cell, with its energy.
    values
        By name; ``energy`` (eV/atom) is compared with that of other phases.
    curve
        To plot, if there is one.
    warnings
        What a reader of the numbers has to know.
    """

    relaxed: Atoms
    values: dict[str, Value]
    curve: Curve | None = None
    warnings: tuple[str, ...] = ()


def phases_result(config: PhasesConfig, compute: Callable[[Solid], PhaseValues]) -> PropertyResult:
    """Compute all phases and compare their energies.

    Parameters
    ----------
    config
        The phases, and what they are compared with.
    compute
        Gives the values of one phase.

    Returns
    -------
    PropertyResult
        For each phase its values, then ``relative`` (meV/atom above the phase it is compared
        with) and, if there are end members, ``formation`` (eV/atom; negative where the phase is
        lower than they are), without what counts from a missing phase. A phase that cannot be
        computed is left out, with a warning.
    """
    found, warnings = for_each(config.by_title, compute)
    warnings += _changed_symmetry(found, config)
    warnings += [text for phase in found.values() for text in phase.warnings]
    energies = {title: phase.values["energy"].value for title, phase in found.items()}
    values: dict[str, Value] = {}
    for title, phase in found.items():
        compared, remarks = _compared(config.by_title[title], energies, config)
        values |= {f"{title}.{name}": one for name, one in {**phase.values, **compared}.items()}
        warnings += remarks
    return config.result(
        values,
        curves={title: phase.curve for title, phase in found.items() if phase.curve is not None},
        structures=[phase.relaxed for phase in found.values()],
        warnings=warnings,
    )


def _compared(
    phase: Solid, energies: Mapping[str, float], config: PhasesConfig
) -> tuple[dict[str, Value], list[str]]:
    """Compare the energy (eV/atom) of a phase with others, of which some may be missing."""
    found, remarks = {}, []
    reference = config.reference_of(phase)
    if reference.title in energies:
        above = energies[phase.title] - energies[reference.title]
        found["relative"] = Value(1000.0 * above, "meV/atom")
    if not _alike(phase, reference):
        remarks.append(
            f"{phase.title} has another composition than {reference.title}: their relative "
            "energy depends on where the calculator's energies of elements begin"
        )
    if "formation" in config.energy_names:
        shares = _shares(phase, config)
        members = {**energies, **{f"[{k}]": e for k, e in config.element_energies.items()}}
        if shares.keys() <= members.keys():
            parts = sum(share * members[name] for name, share in shares.items())
            found["formation"] = Value(energies[phase.title] - parts, "eV/atom")
    return found, remarks


def _changed_symmetry(found: Mapping[str, PhaseValues], config: PhasesConfig) -> list[str]:
    """Say which phases have become more symmetric, that is, have turned into others."""
    remarks = []
    for title, phase in found.items():
        guessed = config.by_title[title].symmetry
        relaxed = crystal_symmetry(phase.relaxed, COARSE)
        if relaxed.number != guessed.number:
            remarks.append(f"{title} has turned from {guessed.symbol} into {relaxed.symbol}")
    return remarks


def _alike(one: Solid, other: Solid) -> bool:
    """Whether two phases have the same composition."""
    first, second = one.composition, other.composition
    return first.keys() == second.keys() and all(
        abs(share - second[element]) < _SAME_SHARE for element, share in first.items()
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
    if np.abs(matrix @ shares - wanted).max() > _SAME_SHARE:
        raise ValueError(f"{phase.title} is not made up of the end_members {', '.join(members)}")
    return {
        name: float(share)
        for name, share in zip(members, shares, strict=True)
        if abs(share) > _SAME_SHARE
    }
