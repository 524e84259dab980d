"""What a validation has found: potentials beside references, errors by group, all numbers."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping  # noqa: TC003 (pydantic reads annotations)
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pescape.files import write_table
from pescape.validation.property import Stored
from pescape.validation.runner import PropertyOutcome  # noqa: TC001 (pydantic reads annotations)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def structures_file(source: str, title: str) -> str:
    """Where, from the study's folder on, the structures of a property of a potential are.

    Parameters
    ----------
    source
        The potential's name.
    title
        The property's name.
    """
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
class TestedPotential:
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

    #: Not a test, whatever pytest makes of the name.
    __test__ = False

    name: str
    description: str
    identity: str
    outcomes: tuple[PropertyOutcome, ...]

    @property
    def values(self) -> dict[str, float]:
        """All numbers by full name."""
        return {name: value for one in self.outcomes for name, value in one.values.items()}


@dataclass(frozen=True, eq=False)
class ReferenceData:
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
    outcomes: tuple[PropertyOutcome, ...] = ()


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
        """Whether a value is near enough.

        Parameters
        ----------
        value
            Of a potential.
        reference
            Of what it is compared with.
        """
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
        """Signed difference from a reference, in the unit of the value.

        Parameters
        ----------
        subject, standard
            Names of a potential and a reference.
        """
        value, reference = self.values.get(subject), self.references.get(standard)
        return None if value is None or reference is None else value - reference

    def relative_error(self, subject: str, standard: str) -> float | None:
        """Signed difference as a fraction of the reference; None for a reference of zero.

        Parameters
        ----------
        subject, standard
            Names of a potential and a reference.
        """
        error, reference = self.error(subject, standard), self.references.get(standard)
        return error / abs(reference) if error is not None and reference else None

    def holds(self, subject: str, standard: str) -> bool | None:
        """Whether the difference is within the threshold; None where that cannot be told.

        Parameters
        ----------
        subject, standard
            Names of a potential and a reference.
        """
        value, reference = self.values.get(subject), self.references.get(standard)
        if self.threshold is None or value is None or reference is None:
            return None
        return self.threshold.holds(value, reference)


@dataclass(frozen=True, eq=False)
class Study(Stored):
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
    subjects: tuple[TestedPotential, ...]
    standards: tuple[ReferenceData, ...] = ()
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)

    @property
    def titles(self) -> tuple[str, ...]:
        """Names of the properties, in order."""
        return tuple(outcome.title for outcome in self.subjects[0].outcomes)

    def outcomes(self, title: str) -> tuple[PropertyOutcome, ...]:
        """Outcomes of one property: potentials first, then references that were computed.

        Parameters
        ----------
        title
            The property's name.
        """
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


#: Groups of values, as in Luo et al.'s figure 7 and beyond: patterns of kind and name, for values
#: that have a unit. Numbers that repeat others (in smaller cells, as ratios) are left out.
GROUPS: dict[str, tuple[str, ...]] = {
    "lattice parameters": ("lattice.*.a", "lattice.*.c"),
    "elastic constants": ("elastic.C[1-6][1-6]",),
    "cohesive energies": ("lattice.*.cohesive",),
    "phase energies": ("lattice.*.relative",),
    "defect formation energies": (
        "vacancy.formation",
        "divacancy.*.formation",
        "interstitial.[A-Z]",
        "interstitial.[A-Z][A-Z]",
    ),
    "migration barriers": (
        "vacancy_migration.basal",
        "vacancy_migration.out_of_basal",
        "vacancy_migration.barrier",
        "interstitial_migration.*",
    ),
    "surface energies": ("surface.*.energy",),
    "unstable stacking faults": ("stacking_fault.*.unstable",),
    "melting temperatures": ("melting.*.temperature",),
}

COLUMNS = (
    "potential",
    "reference",
    "property",
    "unit",
    "value",
    "reference value",
    "error",
    "relative error",
    "threshold",
    "verdict",
)


@dataclass(frozen=True)
class GroupError:
    """How far a potential is from a reference in values of one sort.

    Parameters
    ----------
    group
        Which.
    subject, standard
        The potential and the reference, by name.
    unit
        Of the error.
    mean
        Mean absolute error.
    largest
        Largest absolute error.
    count
        Values that both have.
    """

    group: str
    subject: str
    standard: str
    unit: str
    mean: float
    largest: float
    count: int


def grouped_rows(study: Study) -> dict[str, list[Row]]:
    """Give the values of each group that has some.

    Parameters
    ----------
    study
        The study.
    """
    kinds = {
        outcome.title: outcome.result.kind
        for title in study.titles
        for outcome in study.outcomes(title)
        if outcome.result is not None
    }
    rows = [row for row in study.rows() if row.unit]
    found = {
        group: [row for row in rows if _belongs(row, kinds, patterns)]
        for group, patterns in GROUPS.items()
    }
    return {group: own for group, own in found.items() if own}


def group_errors(study: Study) -> tuple[GroupError, ...]:
    """Average absolute errors over groups of properties.

    Parameters
    ----------
    study
        The study.

    Returns
    -------
    tuple of GroupError
        By group, reference and potential; none where they have no value in common. A value that
        is a reference's zero by definition, as the energy of the first phase is, counts too.
    """
    found = []
    for group, own in grouped_rows(study).items():
        for standard in study.standards:
            for subject in study.subjects:
                errors = [row.error(subject.name, standard.name) for row in own]
                sizes = np.abs([error for error in errors if error is not None])
                if sizes.size:
                    mean, largest = float(sizes.mean()), float(sizes.max())
                    found.append(
                        GroupError(
                            group,
                            subject.name,
                            standard.name,
                            own[0].unit,
                            mean,
                            largest,
                            int(sizes.size),
                        )
                    )
    return tuple(found)


def _belongs(row: Row, kinds: dict[str, str], patterns: tuple[str, ...]) -> bool:
    title, _, name = row.name.partition(".")
    full = f"{kinds[title]}.{name}"
    return any(fnmatch.fnmatchcase(full, pattern) for pattern in patterns)


def violations(study: Study) -> list[tuple[Row, str, str]]:
    """Give the values beyond their thresholds, with potential and reference.

    Parameters
    ----------
    study
        The study.
    """
    return [
        (row, subject.name, standard.name)
        for row in study.rows()
        for subject in study.subjects
        for standard in study.standards
        if row.holds(subject.name, standard.name) is False
    ]


def verdict(row: Row, subject: str, standard: str) -> str:
    """Say what became of a value: within, beyond, failed, or nothing without a threshold.

    Parameters
    ----------
    row
        The value.
    subject, standard
        Names of a potential and a reference.
    """
    if row.values.get(subject) is None:
        return "failed"
    holds = row.holds(subject, standard)
    return "" if holds is None else ("within" if holds else "beyond")


def records(study: Study) -> Iterator[dict[str, Any]]:
    """Give every number of every potential beside every reference, by `COLUMNS`.

    Parameters
    ----------
    study
        The study.
    """
    names: list[str] = [one.name for one in study.standards] or [""]
    for row in study.rows():
        threshold = row.threshold
        for subject in study.subjects:
            for standard in names:
                limit = "" if threshold is None else str(threshold)
                numbers = (
                    subject.name,
                    standard,
                    row.name,
                    row.unit,
                    row.values.get(subject.name),
                    row.references.get(standard),
                    row.error(subject.name, standard),
                    row.relative_error(subject.name, standard),
                    limit,
                    verdict(row, subject.name, standard),
                )
                yield dict(zip(COLUMNS, numbers, strict=True))


def write_values(study: Study, path: Path) -> None:
    """Write every number as CSV, atomically.

    Parameters
    ----------
    study
        The study.
    path
        The file.
    """
    write_table(path, records(study), COLUMNS)
