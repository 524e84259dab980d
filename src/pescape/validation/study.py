"""What a validation has found: properties of potentials beside those of references."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pescape.validation.runner import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping


def structures_file(source: str, title: str) -> str:
    """Where, from the study's folder on, the structures of a property of a potential are."""
    folder, file = (re.sub(r"[^\w.+-]", "_", name) for name in (source, title))
    return f"structures/{folder}/{file}.xyz"


@dataclass(frozen=True)
class KnownValue:
    """A number that somebody else has found.

    Parameters
    ----------
    value
        In the unit that the property gives it in.
    source
        Who found it, and where it is published; empty if the reference says so as a whole.
    """

    value: float
    source: str = ""


@dataclass(frozen=True, eq=False)
class Subject:
    """A potential, and what its properties have come to.

    Parameters
    ----------
    name
        How tables call it.
    description
        What it is: its file, its level, its calculator.
    identity
        Fingerprint of what its numbers depend on.
    outcomes
        In the order of the study's properties.
    """

    name: str
    description: str
    identity: str
    outcomes: tuple[Outcome, ...]

    @property
    def values(self) -> dict[str, float]:
        """All numbers by full name."""
        return {name: value for one in self.outcomes for name, value in one.values.items()}


@dataclass(frozen=True, eq=False)
class Standard:
    """What potentials are compared with: computed alike, or numbers from a file.

    Parameters
    ----------
    name
        How tables call it.
    description
        Where it is from.
    values
        By full name.
    outcomes
        If it was computed; empty for numbers from a file.
    """

    name: str
    description: str
    values: Mapping[str, KnownValue]
    outcomes: tuple[Outcome, ...] = ()


@dataclass(frozen=True)
class Threshold:
    """How far from a reference a value may be.

    Parameters
    ----------
    amount
        In the unit of the value, or a fraction of the reference.
    relative
        Whether it is a fraction.
    """

    amount: float
    relative: bool = False

    def __str__(self) -> str:
        return f"{100.0 * self.amount:g} %" if self.relative else f"{self.amount:g}"

    def holds(self, value: float, reference: float) -> bool:
        """Whether a value is near enough."""
        scale = abs(reference) if self.relative else 1.0
        return abs(value - reference) <= self.amount * scale


@dataclass(frozen=True)
class Row:
    """One value, by all potentials and all references.

    Parameters
    ----------
    name
        Full name.
    unit
        Empty for numbers without one.
    values
        By the potential's name; None where the property has failed.
    references
        By the reference's name; only those that know it.
    threshold
        None where none was asked for.
    """

    name: str
    unit: str
    values: Mapping[str, float | None]
    references: Mapping[str, float]
    threshold: Threshold | None = None

    def error(self, subject: str, standard: str) -> float | None:
        """Signed difference from a reference, in the unit of the value."""
        value, reference = self.values.get(subject), self.references.get(standard)
        return None if value is None or reference is None else value - reference

    def relative_error(self, subject: str, standard: str) -> float | None:
        """Signed difference as a fraction of the reference; None for a reference of zero."""
        error, reference = self.error(subject, standard), self.references.get(standard)
        return error / abs(reference) if error is not None and reference else None

    def holds(self, subject: str, standard: str) -> bool | None:
        """Whether the difference is within the threshold; None where that cannot be told."""
        value, reference = self.values.get(subject), self.references.get(standard)
        if self.threshold is None or value is None or reference is None:
            return None
        return self.threshold.holds(value, reference)


@dataclass(frozen=True, eq=False)
class Study:
    """Everything that a validation has found.

    Parameters
    ----------
    title
        Of the report.
    subjects
        The potentials.
    standards
        What they are compared with, the most important first.
    thresholds
        By full name of the value.
    """

    title: str
    subjects: tuple[Subject, ...]
    standards: tuple[Standard, ...] = ()
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)

    @property
    def titles(self) -> tuple[str, ...]:
        """Names of the properties, in order."""
        return tuple(outcome.title for outcome in self.subjects[0].outcomes)

    def outcomes(self, title: str) -> tuple[Outcome, ...]:
        """Outcomes of one property: potentials first, then references that were computed."""
        everyone = [one.outcomes for one in self.subjects]
        everyone += [one.outcomes for one in self.standards]
        return tuple(one for outcomes in everyone for one in outcomes if one.title == title)

    def rows(self) -> tuple[Row, ...]:
        """Every value that a potential has, in the order of the properties."""
        everything = (one for title in self.titles for one in self.outcomes(title))
        units = {name: unit for one in everything for name, unit in one.units.items()}
        return tuple(
            Row(
                name,
                unit,
                {one.name: one.values.get(name) for one in self.subjects},
                {s.name: s.values[name].value for s in self.standards if name in s.values},
                self.thresholds.get(name),
            )
            for name, unit in units.items()
        )

    def to_json(self) -> dict[str, Any]:
        """Give what JSON can hold, all digits included."""
        return {
            "title": self.title,
            "subjects": [
                {
                    "name": one.name,
                    "description": one.description,
                    "identity": one.identity,
                    "outcomes": [outcome.to_json() for outcome in one.outcomes],
                }
                for one in self.subjects
            ],
            "standards": [
                {
                    "name": one.name,
                    "description": one.description,
                    "values": {name: vars(value) for name, value in one.values.items()},
                    "outcomes": [outcome.to_json() for outcome in one.outcomes],
                }
                for one in self.standards
            ],
            "thresholds": {name: vars(one) for name, one in self.thresholds.items()},
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Study:
        """Make the study again that `to_json` described."""
        subjects = (
            Subject(**{**one, "outcomes": _outcomes(one["outcomes"])})
            for one in content["subjects"]
        )
        standards = (
            Standard(
                one["name"],
                one["description"],
                {name: KnownValue(**value) for name, value in one["values"].items()},
                _outcomes(one["outcomes"]),
            )
            for one in content["standards"]
        )
        thresholds = {name: Threshold(**one) for name, one in content["thresholds"].items()}
        return cls(content["title"], tuple(subjects), tuple(standards), thresholds)


def _outcomes(content: list[Any]) -> tuple[Outcome, ...]:
    return tuple(Outcome.from_json(one) for one in content)
