"""What happened in each round of a learning campaign."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pescape.files import write_json, write_text

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Round:
    """One round: MD under guard, labels, a fit.

    Parameters
    ----------
    number, level
        Round 0 fits the initial structures without any MD.
    stage
        Whose starts were run; empty where none were.
    runs, halted, exploded
        MD runs; those the guard ended; those whose atoms flew apart.
    risky
        Configurations the guard saved.
    unphysical, redundant, similar, known
        Risky configurations that were not labelled, and why; see `Choice`.
    labelled, failed
        Configurations added to the data set, and those the reference failed on.
    largest_grade
        Met in the MD.
    surprise_energy, surprise_force
        Root mean square errors of the old potential on the newly labelled configurations,
        meV/atom and eV/Å: what the guard protected the MD from.
    configurations
        Size of the data set after the round.
    energy_rmse, force_rmse, stress_rmse
        Of the new potential on its data, meV/atom, eV/Å, GPa.
    test_energy_rmse, test_force_rmse, test_configurations
        On snapshots of the MD of a round without risk, which are never trained on.
    """

    number: int
    level: int
    stage: str = ""
    runs: int = 0
    halted: int = 0
    exploded: int = 0
    risky: int = 0
    unphysical: int = 0
    redundant: int = 0
    similar: int = 0
    known: int = 0
    labelled: int = 0
    failed: int = 0
    largest_grade: float | None = None
    surprise_energy: float | None = None
    surprise_force: float | None = None
    configurations: int = 0
    energy_rmse: float | None = None
    force_rmse: float | None = None
    stress_rmse: float | None = None
    test_configurations: int = 0
    test_energy_rmse: float | None = None
    test_force_rmse: float | None = None


def write_rounds(folder: Path, rounds: list[Round], *, settled: bool) -> None:
    """Write ``rounds.json`` and ``rounds.csv``."""
    rows = [dataclasses.asdict(one) for one in rounds]
    write_json(folder / "rounds.json", {"settled": settled, "rounds": rows})
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in dataclasses.fields(Round)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / "rounds.csv", text.getvalue())


def read_rounds(folder: Path) -> tuple[list[Round], bool]:
    """Read ``rounds.json``: the rounds, and whether the campaign has settled."""
    content = json.loads((folder / "rounds.json").read_text())
    return [Round(**row) for row in content["rounds"]], content["settled"]
