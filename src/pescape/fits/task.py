"""Fitting a potential and choosing its active set, as a task whose result is kept.

The key of the task is made of all that the fit depends on, under names that never change, so
that a campaign begun by an earlier version of pescape finds its fits again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pescape.calculators.doptimality.active_set import build_active_set
from pescape.calculators.fit.shards import world
from pescape.files import fingerprint, write_json
from pescape.tasks.store import Task, task_kind

if TYPE_CHECKING:
    from pescape.calculators.doptimality.design_matrix import Mode
    from pescape.fits.data import LabelledData
    from pescape.fits.starts import FitStart

_FIT = task_kind("fit")
_POTENTIAL_FILES = {"mtp": "potential.almtp", "bpnn": "potential.bpnn"}
_FIT_FILE = "fit.json"


@dataclass(frozen=True)
class Fitted:
    """A fitted potential: its file and the fingerprint of the file's content."""

    path: Path
    digest: str

    @classmethod
    def of(cls, folder: Path) -> Fitted:
        """Take the potential from the folder of a finished fit.

        Parameters
        ----------
        folder
            Of the fit's task.
        """
        path = next(path for name in _POTENTIAL_FILES.values() if (path := folder / name).exists())
        return cls(path, fingerprint(path.read_bytes()))

    @property
    def summary(self) -> dict[str, Any]:
        """Errors, iterations, … of the fit."""
        summary: dict[str, Any] = json.loads((self.path.parent / _FIT_FILE).read_text())
        return summary


def fit_task(
    start: FitStart,
    data: LabelledData,
    settings: Any,  # noqa: ANN401 (those of the start's kind)
    mode: Mode,
    checkpoints: Path,
    *,
    ranks: int = 1,
) -> Task:
    """Make the task that fits a potential and chooses its active set.

    Parameters
    ----------
    start
        Where the fit starts from.
    data
        Labelled configurations.
    settings
        Of the fit, for the start's kind of potential.
    mode
        Of the active set.
    checkpoints
        Folder in which an unfinished fit keeps its state.
    ranks
        MPI ranks that share the work where the executor can start them; the result is the same.
    """
    described, begin, record = start.record(settings)
    key = fingerprint(described, begin, data.ids, record, mode)
    arguments = start, data, settings, mode, str(checkpoints / f"{key}.npz")
    return Task(_FIT, key, _fit, arguments, cores=settings.threads, ranks=ranks)


def _fit(
    folder: Path,
    start: FitStart,
    data: LabelledData,
    settings: Any,  # noqa: ANN401
    mode: Mode,
    checkpoint: str,
) -> None:
    """Fit in a folder: what a ``fit`` task does."""
    ranks = world()
    frames = data.frames
    potential, summary = start.fit(frames, settings, checkpoint, ranks)
    if ranks.rank:
        return
    active = build_active_set(potential, frames, mode, threads=settings.threads)
    potential.with_active_set(active).write(folder / _POTENTIAL_FILES[start.kind])
    write_json(folder / _FIT_FILE, summary | {"active_rows": active.filled})
    Path(checkpoint).unlink(missing_ok=True)
