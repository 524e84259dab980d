"""Records of a campaign: its rounds, its levels, and where it stands."""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from pescape.files import write_json, write_table
from pescape.tasks.store import TaskStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pescape.calculators.fit.errors import Errors
    from pescape.tasks.store import KindSummary

_PROGRESS = "progress.json"
_SECONDS = 1.0


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
        Risky configurations that were not labeled, and why; see `LabelSelection`.
    labeled, failed
        Configurations added to the data set, and those the reference failed on.
    largest_grade
        Met in the MD.
    surprise_energy, surprise_force
        Root mean square errors of the old potential on the newly labeled configurations,
        meV/atom and eV/Å: what the guard protected the MD from.
    configurations
        Size of the data set after the round.
    energy_rmse, force_rmse, stress_rmse
        Of the new potential on its data, meV/atom, eV/Å, GPa.
    test_energy_rmse, test_force_rmse, test_configurations
        On snapshots of the MD of a round without risk, which are never trained on.
    surprise_energy_error, surprise_force_error, test_energy_rmse_error, test_force_rmse_error
        Standard errors; None of a single configuration.
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
    surprise_energy_error: float | None = None
    surprise_force_error: float | None = None
    test_energy_rmse_error: float | None = None
    test_force_rmse_error: float | None = None


def write_rounds(folder: Path, rounds: Sequence[Round], *, settled: bool) -> None:
    """Write ``rounds.json`` and ``rounds.csv``.

    Parameters
    ----------
    folder
        Of the campaign.
    rounds
        That have ended; at least one.
    settled
        Whether the campaign has ended with nothing risky left.
    """
    rows = [dataclasses.asdict(one) for one in rounds]
    write_json(folder / "rounds.json", {"settled": settled, "rounds": rows})
    write_table(folder / "rounds.csv", rows)


def read_rounds(folder: Path) -> tuple[list[Round], bool]:
    """Read ``rounds.json``.

    Parameters
    ----------
    folder
        Of the campaign.

    Returns
    -------
    tuple
        The rounds, and whether the campaign has settled.
    """
    content = json.loads((folder / "rounds.json").read_text())
    return [Round(**row) for row in content["rounds"]], content["settled"]


@dataclass(frozen=True)
class LevelSummary:
    """One level, settled.

    Parameters
    ----------
    level, parameters
        Of the potential.
    rounds, runs
        That it took.
    labeled
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
    test_energy_rmse_error, test_force_rmse_error
        Standard errors of these; None of a single configuration.
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
    test_energy_rmse_error: float | None = None
    test_force_rmse_error: float | None = None


def summary_of(
    level: int, parameters: int, rounds: Sequence[Round], tested: Errors | None
) -> LevelSummary:
    """Sum up the rounds of a level.

    Parameters
    ----------
    level, parameters
        Of the potential.
    rounds
        Of the level, in order.
    tested
        Errors on snapshots of safe MD, if there are any.
    """
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
        test_energy_rmse_error=tested.energy_rmse_error if tested else None,
        test_force_rmse_error=tested.force_rmse_error if tested else None,
    )


def write_levels(folder: Path, levels: Sequence[LevelSummary]) -> None:
    """Write ``levels.json`` and ``levels.csv``.

    Parameters
    ----------
    folder
        Of the campaign.
    levels
        That have settled; at least one.
    """
    rows = [dataclasses.asdict(one) for one in levels]
    write_json(folder / "levels.json", rows)
    stages = list(dict.fromkeys(stage for one in levels for stage in one.labelled))
    for row in rows:
        counts = row.pop("labelled")
        row.update({f"labelled {stage}": counts.get(stage, 0) for stage in stages})
    write_table(folder / "levels.csv", rows)


def read_levels(folder: Path) -> list[LevelSummary]:
    """Read ``levels.json`` of a campaign's folder; empty before the first level has settled.

    Parameters
    ----------
    folder
        Of the campaign.
    """
    path = folder / "levels.json"
    if not path.exists():
        return []
    return [LevelSummary(**row) for row in json.loads(path.read_text())]


@dataclass(frozen=True)
class Status:
    """What a campaign has done and is doing.

    Parameters
    ----------
    settled
        It has ended, and nothing risky was left.
    rounds, levels
        Those that have ended.
    stage, done, total
        What it was last seen to do, and how many tasks of that were finished.
    tasks
        Finished and failed tasks and their times, by kind.
    """

    settled: bool
    rounds: tuple[Round, ...]
    levels: tuple[LevelSummary, ...]
    stage: str
    done: int
    total: int
    tasks: dict[str, KindSummary]


class _Progress(TypedDict):
    """What the progress file holds."""

    stage: str
    done: int
    total: int


class ProgressFile:
    """A file that says what a campaign is doing, written at most once a second.

    Parameters
    ----------
    folder
        Of the campaign.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _PROGRESS
        self._next = 0.0

    def report(self, stage: str, done: int, total: int) -> None:
        """Write what is being done: at its begin, at its end and now and then.

        Parameters
        ----------
        stage
            A phrase for people.
        done, total
            Numbers of its tasks.
        """
        now = time.monotonic()
        if 0 < done < total and now < self._next:
            return
        self._next = now + _SECONDS
        write_json(self._path, {"stage": stage, "done": done, "total": total})


def read_status(folder: Path) -> Status:
    """Read where a campaign stands; it may be running meanwhile.

    Parameters
    ----------
    folder
        Of the campaign.
    """
    rounds, settled = read_rounds(folder)
    path = folder / _PROGRESS
    now: _Progress = {"stage": "", "done": 0, "total": 0}
    if path.exists():
        now = json.loads(path.read_text())
    return Status(
        settled=settled,
        rounds=tuple(rounds),
        levels=tuple(read_levels(folder)),
        stage=now["stage"],
        done=now["done"],
        total=now["total"],
        tasks=TaskStore(folder / "tasks", read_only=True).summary(),
    )
