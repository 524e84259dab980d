"""What the members of an ensemble predict, how that is summed up, and the files that say so."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import pescape
from pescape.ensemble.tree import Verdicts, count_satisfied, decision_tree, tree_text
from pescape.errors import TaskError
from pescape.figures.ensemble import draw_histograms, draw_tree
from pescape.files import atomic, write_json, write_table, write_text
from pescape.validation.property import known_values

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pescape.ensemble.config import EnsembleConfig
    from pescape.ensemble.tree import Branch, Satisfied
    from pescape.validation.runner import PropertyOutcome

_REPORT_FILE = "ensemble.json"


@dataclass(frozen=True, eq=False)
class Member:
    """One potential of an ensemble.

    Parameters
    ----------
    number
        From 1.
    seed
        Of its random start.
    potential
        Its file.
    errors
        Root mean square errors by name (meV/atom, eV/Å, GPa): on the training set, and on the
        test set if there is one.
    outcomes
        Of the properties.
    verdicts
        Which predicates hold.
    """

    number: int
    seed: int
    potential: Path
    errors: dict[str, dict[str, float | None]]
    outcomes: tuple[PropertyOutcome, ...]
    verdicts: Verdicts

    @property
    def values(self) -> dict[str, float]:
        """Numbers by full name, without those of properties that failed."""
        return {name: value for one in self.outcomes for name, value in one.values.items()}

    @property
    def failures(self) -> dict[str, str]:
        """Why properties failed."""
        return {one.title: one.failure for one in self.outcomes if one.failure is not None}

    @property
    def satisfied(self) -> int:
        """How many predicates hold."""
        return sum(verdict is True for verdict in self.verdicts.values())

    @property
    def rank(self) -> tuple[int, float]:
        """What members are ordered by: predicates satisfied, then the error of forces."""
        force = self.errors.get("test", self.errors["training"])["force_rmse"]
        return -self.satisfied, np.inf if force is None else force


@dataclass(frozen=True)
class Spread:
    """How a value is distributed over an ensemble.

    Parameters
    ----------
    name, unit
        Of the value.
    count
        Members that have it.
    mean, std, least, largest
        Over these; the standard deviation of a sample, 0 of a single member.
    reference
        The reference's value, if known.
    """

    name: str
    unit: str
    count: int
    mean: float | None
    std: float | None
    least: float | None
    largest: float | None
    reference: float | None


@dataclass(frozen=True, eq=False)
class EnsembleReport:
    """What an ensemble has shown.

    Parameters
    ----------
    folder
        Where the files are.
    members
        In order of their numbers.
    reference
        Outcomes of the reference; empty without one.
    satisfied
        Counts of each predicate.
    tree
        Which members satisfy which predicates together.
    spreads
        Of all values.
    best
        Numbers of the members that satisfy the most predicates, least error of forces first.
    """

    folder: Path
    members: tuple[Member, ...]
    reference: tuple[PropertyOutcome, ...]
    satisfied: tuple[Satisfied, ...]
    tree: Branch
    spreads: tuple[Spread, ...]
    best: tuple[int, ...]


def report_of(
    config: EnsembleConfig,
    members: Sequence[Member],
    reference: Sequence[PropertyOutcome],
    folder: Path,
) -> EnsembleReport:
    """Sum up what members predict.

    Parameters
    ----------
    config
        The ensemble's.
    members
        With their verdicts.
    reference
        Its outcomes; empty without one.
    folder
        Where the files of the report will be.
    """
    verdicts = {member.number: member.verdicts for member in members}
    ordered = sorted(members, key=lambda member: member.rank)
    most = ordered[0].satisfied
    return EnsembleReport(
        folder=folder,
        members=tuple(members),
        reference=tuple(reference),
        satisfied=count_satisfied(verdicts, config.predicates),
        tree=decision_tree(verdicts, list(config.predicates)),
        spreads=_spreads(known_values(config.properties), members, reference),
        best=tuple(member.number for member in ordered if member.satisfied == most),
    )


def _spreads(
    names: Sequence[str], members: Sequence[Member], reference: Sequence[PropertyOutcome]
) -> tuple[Spread, ...]:
    known = {name: value for one in reference for name, value in one.values.items()}
    units = {
        name: unit
        for outcomes in (reference, *(member.outcomes for member in members))
        for one in outcomes
        for name, unit in one.units.items()
    }
    found = []
    for name in names:
        values = np.array([m.values[name] for m in members if name in m.values])
        some = len(values) > 0
        found.append(
            Spread(
                name,
                units.get(name, ""),
                len(values),
                mean=float(values.mean()) if some else None,
                std=float(values.std(ddof=min(1, len(values) - 1))) if some else None,
                least=float(values.min()) if some else None,
                largest=float(values.max()) if some else None,
                reference=known.get(name),
            )
        )
    return tuple(found)


def write_report(report: EnsembleReport, config: EnsembleConfig) -> None:
    """Write all of a report into its folder.

    ``ensemble.json`` holds everything; ``members.csv`` a line for each member, ``values.csv`` one
    for each value; ``tree.txt`` and ``tree.png`` the decision tree, ``histograms.png`` the
    distributions; ``best.almtp`` or ``best.bpnn`` the best member.

    Parameters
    ----------
    report
        What the ensemble has shown.
    config
        Its configuration.
    """
    folder = report.folder
    write_json(folder / _REPORT_FILE, _described(report, config))
    write_table(folder / "members.csv", _member_rows(report))
    write_table(folder / "values.csv", [dataclasses.asdict(one) for one in report.spreads])
    best = report.members[report.best[0] - 1].potential
    with atomic(folder / f"best{best.suffix}") as path:
        path.write_bytes(best.read_bytes())
    values = [member.values for member in report.members]
    draw_histograms(values, report.spreads, config.shown, folder / "histograms.png")
    if config.predicates:
        write_text(folder / "tree.txt", tree_text(report.tree) + "\n")
        draw_tree(report.tree, folder / "tree.png")


def read_report(folder: Path) -> dict[str, Any]:
    """Read ``ensemble.json`` from the folder of a finished ensemble.

    Parameters
    ----------
    folder
        Of the ensemble.
    """
    try:
        content: dict[str, Any] = json.loads((folder / _REPORT_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TaskError(f"{folder}: no ensemble has been finished here yet") from None
    return content


def _described(report: EnsembleReport, config: EnsembleConfig) -> dict[str, Any]:
    return {
        "pescape": pescape.__version__,
        "config": config.model_dump(mode="json"),
        "best": list(report.best),
        "predicates": [dataclasses.asdict(one) for one in report.satisfied],
        "tree": report.tree.to_json(),
        "values": [dataclasses.asdict(one) for one in report.spreads],
        "members": [
            {
                "number": member.number,
                "seed": member.seed,
                # From the store's folder on: reports of equal ensembles are equal anywhere.
                "task": "/".join(member.potential.parts[-3:-1]),
                "errors": member.errors,
                "satisfied": member.satisfied,
                "verdicts": member.verdicts,
                "values": member.values,
                "failures": member.failures,
                "warnings": {
                    one.title: list(one.result.warnings)
                    for one in member.outcomes
                    if one.result is not None and one.result.warnings
                },
            }
            for member in report.members
        ],
        "reference": {
            one.title: {"values": one.values, "failure": one.failure} for one in report.reference
        },
    }


def _member_rows(report: EnsembleReport) -> list[dict[str, Any]]:
    rows = []
    for member in report.members:
        row: dict[str, Any] = {"member": member.number, "seed": member.seed}
        for on, errors in member.errors.items():
            row |= {f"{on}_{name}": value for name, value in errors.items()}
        row["satisfied"] = member.satisfied
        row |= {name: _word(verdict) for name, verdict in member.verdicts.items()}
        row |= {spread.name: member.values.get(spread.name) for spread in report.spreads}
        rows.append(row)
    return rows


def _word(verdict: bool | None) -> str:
    return "unknown" if verdict is None else "yes" if verdict else "no"
