"""Where a campaign stands, from what its folder holds."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from pescape.files import write_json
from pescape.learning.levels import LevelSummary, read_levels
from pescape.learning.rounds import Round, read_rounds
from pescape.tasks import TaskStore

if TYPE_CHECKING:
    from pathlib import Path

    from pescape.tasks import KindSummary

_PROGRESS = "progress.json"
_SECONDS = 1.0


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
    """Keeps what a campaign does in a file, without writing too often.

    Parameters
    ----------
    folder
        Of the campaign.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _PROGRESS
        self._next = 0.0

    def tell(self, stage: str, done: int, total: int) -> None:
        """Write what is being done, at its begin, at its end and now and then."""
        now = time.monotonic()
        if 0 < done < total and now < self._next:
            return
        self._next = now + _SECONDS
        write_json(self._path, {"stage": stage, "done": done, "total": total})


def read_status(folder: Path) -> Status:
    """Read where a campaign stands; it may be running meanwhile."""
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
