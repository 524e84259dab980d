"""Potentials beside references: errors by group, and every number in one table."""

from __future__ import annotations

import csv
import fnmatch
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pescape.files import write_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pescape.validation.study import Row, Study

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
    """Give the values of each group that has some."""
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
    """Give the values beyond their thresholds, with potential and reference."""
    return [
        (row, subject.name, standard.name)
        for row in study.rows()
        for subject in study.subjects
        for standard in study.standards
        if row.holds(subject.name, standard.name) is False
    ]


def verdict(row: Row, subject: str, standard: str) -> str:
    """Say what became of a value: within, beyond, failed, or nothing without a threshold."""
    if row.values.get(subject) is None:
        return "failed"
    holds = row.holds(subject, standard)
    return "" if holds is None else ("within" if holds else "beyond")


def records(study: Study) -> Iterator[dict[str, Any]]:
    """Give every number of every potential beside every reference, by `COLUMNS`."""
    names: list[str] = [one.name for one in study.standards] or [""]
    for row in study.rows():
        threshold = row.threshold
        for subject in study.subjects:
            for standard in names:
                limit = "" if threshold is None else str(threshold)
                told = (
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
                yield dict(zip(COLUMNS, told, strict=True))


def write_values(study: Study, path: Path) -> None:
    """Write every number as CSV, atomically."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records(study))
    write_text(path, text.getvalue())
