"""What each level of a campaign cost and reached."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator

from pescape.calculators.mtp.multigraphs import LEVELS
from pescape.files import write_json, write_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pescape.calculators.mtp.fit import Errors
    from pescape.learning.rounds import Round


def _known(level: int) -> int:
    if level not in LEVELS:
        raise ValueError(f"level {level} is not an even number from {LEVELS[0]} to {LEVELS[-1]}")
    return level


#: The level of a potential, in configurations.
Level = Annotated[int, AfterValidator(_known)]


@dataclass(frozen=True)
class LevelSummary:
    """One level, settled.

    Parameters
    ----------
    level, parameters
        Of the potential.
    rounds, runs
        That it took.
    labelled
        Configurations that it added to the data set, by stage; those of the initial data set
        under ``"initial"``.
    configurations
        Size of the data set at the end of the level.
    largest_grade
        Met in the last round of any of its stages.
    energy_rmse, force_rmse
        On the data set, meV/atom and eV/Å.
    test_configurations, test_energy_rmse, test_force_rmse
        On snapshots of safe MD of all stages, which are never trained on.
    """

    level: int
    parameters: int
    rounds: int
    runs: int
    labelled: dict[str, int]
    configurations: int
    largest_grade: float
    energy_rmse: float
    force_rmse: float
    test_configurations: int = 0
    test_energy_rmse: float | None = None
    test_force_rmse: float | None = None


def summary_of(
    level: int, parameters: int, rounds: Sequence[Round], tested: Errors | None
) -> LevelSummary:
    """Sum up the rounds of a level."""
    labelled: dict[str, int] = {}
    last: dict[str, Round] = {}
    for one in rounds:
        stage = one.stage or "initial"
        labelled[stage] = labelled.get(stage, 0) + one.labelled
        last[stage] = one
    end = rounds[-1]
    assert end.energy_rmse is not None  # every round ends with a fitted potential
    assert end.force_rmse is not None
    return LevelSummary(
        level=level,
        parameters=parameters,
        rounds=len(rounds),
        runs=sum(one.runs for one in rounds),
        labelled=labelled,
        configurations=end.configurations,
        largest_grade=max(one.largest_grade or 0.0 for one in last.values()),
        energy_rmse=end.energy_rmse,
        force_rmse=end.force_rmse,
        test_configurations=tested.configurations if tested else 0,
        test_energy_rmse=tested.energy_rmse if tested else None,
        test_force_rmse=tested.force_rmse if tested else None,
    )


def write_levels(folder: Path, levels: Sequence[LevelSummary]) -> None:
    """Write ``levels.json`` and ``levels.csv``."""
    rows = [dataclasses.asdict(one) for one in levels]
    write_json(folder / "levels.json", rows)
    stages = list(dict.fromkeys(stage for one in levels for stage in one.labelled))
    flat: list[dict[str, Any]] = []
    for row in rows:
        counts = row.pop("labelled")
        flat.append(row | {f"labelled {stage}": counts.get(stage, 0) for stage in stages})
    text = io.StringIO()
    writer = csv.DictWriter(text, list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    write_text(folder / "levels.csv", text.getvalue())


def read_levels(folder: Path) -> list[LevelSummary]:
    """Read ``levels.json``; empty before the first level has settled."""
    path = folder / "levels.json"
    if not path.exists():
        return []
    return [LevelSummary(**row) for row in json.loads(path.read_text())]
