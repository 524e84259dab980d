"""What members of an ensemble predict, who satisfies what, and the files of it."""

from __future__ import annotations

import dataclasses
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

import pescape
from pescape.errors import TaskError
from pescape.figures.ensemble import draw_histograms, draw_tree
from pescape.files import atomic, write_json, write_table, write_text
from pescape.validation.property import known_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pescape.ensemble.run import EnsembleConfig
    from pescape.validation.runner import PropertyOutcome


#: What a member makes of each predicate: it holds, it does not, or a property failed (None).
Verdicts = dict[str, bool | None]


@dataclass(frozen=True)
class Branch:
    """Members that agree on all predicates so far.

    Parameters
    ----------
    label
        How it differs from its siblings: ``NAME``, ``not NAME`` or ``NAME unknown``; of the
        root, ``members``.
    holds
        Whether the predicate of its label holds; None of the root and where it is unknown.
    members
        Their numbers.
    branches
        What the next predicate parts them into; none of them is empty.
    """

    label: str
    holds: bool | None
    members: tuple[int, ...]
    branches: tuple[Branch, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Give what JSON can hold."""
        return {
            "label": self.label,
            "holds": self.holds,
            "count": len(self.members),
            "members": list(self.members),
            "branches": [branch.to_json() for branch in self.branches],
        }


def decision_tree(verdicts: Mapping[int, Verdicts], predicates: Sequence[str]) -> Branch:
    """Part members by one predicate after the other.

    Parameters
    ----------
    verdicts
        What each member makes of each predicate, by the member's number.
    predicates
        Names, in the order of the tree's levels.

    Returns
    -------
    Branch
        The root. A path along predicates that hold counts how many members satisfy all of them.
    """
    return Branch("members", None, tuple(verdicts), _parted(verdicts, predicates))


def _parted(verdicts: Mapping[int, Verdicts], predicates: Sequence[str]) -> tuple[Branch, ...]:
    if not predicates:
        return ()
    name, *rest = predicates
    branches = []
    for holds, label in ((True, name), (False, f"not {name}"), (None, f"{name} unknown")):
        own = {number: one for number, one in verdicts.items() if one[name] is holds}
        if own:
            branches.append(Branch(label, holds, tuple(own), _parted(own, rest)))
    return tuple(branches)


@dataclass(frozen=True)
class Satisfied:
    """How many members satisfy a predicate.

    Parameters
    ----------
    name, text
        Of the predicate.
    alone
        Members that satisfy it.
    together
        Members that satisfy it and all before it.
    unknown
        Members with a property it needs that failed.
    """

    name: str
    text: str
    alone: int
    together: int
    unknown: int


def count_satisfied(
    verdicts: Mapping[int, Verdicts], predicates: Mapping[str, str]
) -> tuple[Satisfied, ...]:
    """Count members that satisfy each predicate, alone and with all before it.

    Parameters
    ----------
    verdicts
        What each member makes of each predicate, by the member's number.
    predicates
        Their texts by name, in order.
    """
    counts, left = [], set(verdicts)
    for name, text in predicates.items():
        own = {number for number, one in verdicts.items() if one[name] is True}
        left &= own
        unknown = sum(one[name] is None for one in verdicts.values())
        counts.append(Satisfied(name, text, len(own), len(left), unknown))
    return tuple(counts)


class _NarrowTree(Tree):
    """Guides of three characters, which is how ``tree.txt`` has always been drawn."""

    TREE_GUIDES = [("   ", "│  ", "├─ ", "└─ ")] * 3


def tree_text(root: Branch) -> str:
    """Draw a tree with characters, a line for each branch.

    Parameters
    ----------
    root
        Of the tree.
    """
    text = io.StringIO()
    console = Console(file=text, width=10_000, color_system=None)
    console.print(_grown(root, f"{len(root.members)} members"), highlight=False)
    return text.getvalue().rstrip("\n")


def _grown(branch: Branch, label: str) -> Tree:
    tree = _NarrowTree(Text(label))
    for inner in branch.branches:
        tree.children.append(_grown(inner, f"{inner.label}: {len(inner.members)}"))
    return tree


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
        test set if there is one, there with standard errors.
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
