"""What a study comes to: thresholds held, mean errors, properties that failed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pescape.validation.study import Row, Study

# Values that tell how good others are, or how a run went: differences in them are no errors.
_DIAGNOSTIC = re.compile(
    r"(^|[._])(rmse|asymmetry|moved|spread|bulk_difference|error|uncertainty)$"
    r"|^(physicality|sanity|cost|nve_drift)\."
)


@dataclass(frozen=True)
class MeanError:
    """Mean absolute difference from a reference, over values of one unit.

    Parameters
    ----------
    value, unit
        Of the mean.
    count
        Values it is taken over.
    """

    value: float
    unit: str
    count: int


@dataclass(frozen=True)
class Score:
    """One property of one potential, summed up.

    Parameters
    ----------
    within, judged
        Values within their thresholds, and values that have a threshold and a reference. Those of
        a property that failed are judged and not within.
    errors
        Against the study's first reference, by unit.
    failure
        Why there are no values.
    warnings
        How many there are.
    """

    within: int
    judged: int
    errors: tuple[MeanError, ...]
    failure: str | None
    warnings: int


@dataclass(frozen=True)
class Total:
    """All properties of one potential, summed up.

    Parameters
    ----------
    within, judged, warnings
        Sums of those of the scores.
    failed, properties
        How many failed, and of how many.
    seconds
        That the properties took.
    """

    within: int
    judged: int
    failed: int
    properties: int
    warnings: int
    seconds: float


def title_of(name: str) -> str:
    """Name the property that a value belongs to.

    Parameters
    ----------
    name
        Full name of the value.
    """
    return name.split(".", 1)[0]


def scores(study: Study) -> dict[tuple[str, str], Score]:
    """Sum up every property of every potential, by the property's and the potential's name.

    Parameters
    ----------
    study
        What was found.
    """
    rows: dict[str, list[Row]] = {title: [] for title in study.titles}
    for row in study.rows():
        rows.setdefault(title_of(row.name), []).append(row)
    found = {}
    for subject in study.subjects:
        for outcome in subject.outcomes:
            own = rows[outcome.title]
            verdicts = [
                row.holds(subject.name, reference) is True
                for row in own
                if row.threshold is not None and (reference := _judging_reference(study, row))
            ]
            found[outcome.title, subject.name] = Score(
                within=sum(verdicts),
                judged=len(verdicts),
                errors=_mean_errors(study, own, subject.name),
                failure=outcome.failure,
                warnings=len(outcome.result.warnings) if outcome.result else 0,
            )
    return found


def totals(study: Study, found: Mapping[tuple[str, str], Score]) -> dict[str, Total]:
    """Sum up scores by potential.

    Parameters
    ----------
    study
        What was found.
    found
        As from `scores`.
    """
    summed = {}
    for subject in study.subjects:
        own = [one for (_, name), one in found.items() if name == subject.name]
        summed[subject.name] = Total(
            within=sum(one.within for one in own),
            judged=sum(one.judged for one in own),
            failed=sum(one.failure is not None for one in own),
            properties=len(own),
            warnings=sum(one.warnings for one in own),
            seconds=sum(one.provenance.get("seconds", 0.0) for one in subject.outcomes),
        )
    return summed


def is_beyond(study: Study, row: Row) -> bool:
    """Tell whether any potential is beyond the value's threshold or lacks the value.

    Parameters
    ----------
    study
        What was found.
    row
        The value.
    """
    reference = _judging_reference(study, row)
    return any(
        row.values[one.name] is None
        or (reference is not None and row.holds(one.name, reference) is False)
        for one in study.subjects
    )


def _judging_reference(study: Study, row: Row) -> str | None:
    """Name of the reference that a threshold is about: the first that knows the value."""
    return next((one.name for one in study.standards if one.name in row.references), None)


def _mean_errors(study: Study, rows: Iterable[Row], subject: str) -> tuple[MeanError, ...]:
    """Mean absolute differences from the first reference, unit by unit."""
    if not study.standards:
        return ()
    found: dict[str, list[float]] = {}
    for row in rows:
        error = row.error(subject, study.standards[0].name)
        # Differences are no errors in counts, and in values that tell how good others are.
        counts = not row.unit and "_over_" not in row.name
        if error is not None and not counts and not _DIAGNOSTIC.search(row.name):
            found.setdefault(row.unit, []).append(abs(error))
    return tuple(MeanError(sum(own) / len(own), unit, len(own)) for unit, own in found.items())
