"""The files that report on an ensemble."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from typing import TYPE_CHECKING, Any

import pescape
from pescape.errors import TaskError
from pescape.files import atomic, write_json, write_text
from pescape.learning.decision_tree import drawn_tree

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pescape.learning.ensemble import EnsembleConfig
    from pescape.learning.ensemble_results import EnsembleReport

REPORT_FILE = "ensemble.json"
TREE_FILE = "tree.txt"
BEST_FILE = "best.almtp"
FIGURES = ("histograms.png", "tree.png")


def write_report(report: EnsembleReport, config: EnsembleConfig) -> None:
    """Write all of a report into its folder.

    ``ensemble.json`` holds everything; ``members.csv`` a line for each member, ``values.csv`` one
    for each value; ``tree.txt`` and ``tree.png`` the decision tree, ``histograms.png`` the
    distributions; ``best.almtp`` the best member.
    """
    from pescape.learning.ensemble_figure import draw_histograms, draw_tree

    folder = report.folder
    write_json(folder / REPORT_FILE, _described(report, config))
    _write_table(folder / "members.csv", _member_rows(report))
    _write_table(folder / "values.csv", [dataclasses.asdict(one) for one in report.spreads])
    best = report.members[report.best[0] - 1].potential.read_bytes()
    with atomic(folder / BEST_FILE) as path:
        path.write_bytes(best)
    values = [member.values for member in report.members]
    draw_histograms(values, report.spreads, config.shown, folder / FIGURES[0])
    if config.predicates:
        write_text(folder / TREE_FILE, drawn_tree(report.tree) + "\n")
        draw_tree(report.tree, folder / FIGURES[1])


def read_report(folder: Path) -> dict[str, Any]:
    """Read ``ensemble.json``."""
    try:
        content: dict[str, Any] = json.loads((folder / REPORT_FILE).read_text(encoding="utf-8"))
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


def _write_table(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
