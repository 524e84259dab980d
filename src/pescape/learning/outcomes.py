"""What a run under guard leaves in its folder, and which of its configurations are labeled."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, cast

import ase.io
import numpy as np
from ase import Atoms

from pescape.calculators import load
from pescape.calculators.doptimality.select import select_for_labelling
from pescape.data.configurations import as_stored
from pescape.files import fingerprint, write_json, write_text
from pescape.tasks.store import Task, task_kind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pescape.fits.task import Fitted, LabelledData
    from pescape.learning.config import GuardConfig

_SELECT = task_kind("select")
START_FILE = "start.data"
RISKY_FILE = "risky.xyz"
SNAPSHOTS_FILE = "snapshots.xyz"
_OUTCOME_FILE = "outcome.json"
_CHOSEN_FILE = "chosen.xyz"
_CHOICE_FILE = "choice.json"


@dataclass(frozen=True)
class MDOutcome:
    """How a run under guard went: MD, or a sampler that takes its place.

    Parameters
    ----------
    status
        ``"finished"``, ``"halted"`` by the guard, or ``"exploded"``.
    steps
        Made.
    largest_grade
        Met (of the saved configurations only, if the run exploded).
    saved
        Risky configurations saved.
    message
        What LAMMPS said when it exploded, or why the sampler ended.
    """

    status: str
    steps: int
    largest_grade: float
    saved: int
    message: str = ""

    @classmethod
    def read(cls, folder: Path) -> MDOutcome:
        """Read the outcome from the folder of a finished run.

        Parameters
        ----------
        folder
            Of the run.
        """
        return cls(**json.loads((folder / _OUTCOME_FILE).read_text()))

    def write(self, folder: Path) -> None:
        """Write the outcome into the folder of a run.

        Parameters
        ----------
        folder
            Of the run.
        """
        write_text(folder / _OUTCOME_FILE, json.dumps(asdict(self), indent=1) + "\n")


def risky_frames(folder: Path, most: int | None = None) -> list[Atoms]:
    """Read the risky configurations of a run.

    Parameters
    ----------
    folder
        Of the run.
    most
        If there are more, so many are kept, evenly in time, the last one among them.

    Returns
    -------
    list of Atoms
        With step, temperature and grade in ``info``.
    """
    frames = _frames(folder / RISKY_FILE)
    if most is not None and len(frames) > most:
        kept = np.linspace(len(frames) - 1, 0, most).round().astype(int)[::-1]
        frames = [frames[index] for index in kept]
    return [_stripped(frame, ("step", "temperature", "max_grade")) for frame in frames]


def snapshots_of(folder: Path) -> list[Atoms]:
    """Read the snapshots of a finished run from its folder.

    Parameters
    ----------
    folder
        Of the run.
    """
    return [_stripped(frame, ()) for frame in _frames(folder / SNAPSHOTS_FILE)]


def lost_start_of(folder: Path) -> Atoms | None:
    """Read where a run began that exploded before anything risky was saved.

    The potential took the start for known and drove it apart all the same: it learns from
    nothing but the start itself.

    Parameters
    ----------
    folder
        Of the run.

    Returns
    -------
    Atoms or None
        None where the run did not explode or has saved something.
    """
    start = folder / START_FILE
    outcome = MDOutcome.read(folder)
    if outcome.status != "exploded" or outcome.saved or not start.exists():
        return None
    atoms = ase.io.read(start, format="lammps-data", atom_style="atomic", units="metal")
    new = _stripped(cast("Atoms", atoms), ())
    new.info["parent"] = f"md/{folder.name} step 0"
    return new


def _frames(path: Path) -> list[Atoms]:
    if not path.exists() or path.stat().st_size == 0:
        return []
    return list(ase.io.read(path, ":", format="extxyz"))


def _stripped(atoms: Atoms, keys: tuple[str, ...]) -> Atoms:
    """Keep species, cell and positions, and the named entries of ``info``."""
    new = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    new.info = {key: atoms.info[key] for key in keys if key in atoms.info}
    return as_stored(new)


def select_task(
    runs: Sequence[Path],
    potential: Fitted,
    data: LabelledData,
    guard: GuardConfig,
    min_distance: float,
) -> Task:
    """Make the task that chooses which risky configurations of runs are worth a label.

    Parameters
    ----------
    runs
        Folders of the runs.
    potential
        What has guarded them.
    data
        The data set that the potential is fitted to.
    guard
        The guard's settings.
    min_distance
        Å; configurations with atoms nearer than this are left out.
    """
    key = fingerprint(
        [run.name for run in runs],
        potential.digest,
        [name for name, _ in data.ids],
        guard.model_dump(),
        min_distance,
    )
    arguments = list(runs), str(potential.path), data, guard, min_distance
    return Task(_SELECT, key, _select, arguments)


def _select(
    folder: Path,
    runs: list[Path],
    potential: str,
    data: LabelledData,
    guard: GuardConfig,
    min_distance: float,
) -> None:
    """Choose in a folder: what a ``select`` task does."""
    candidates = []
    for run in runs:
        for frame in risky_frames(run, guard.most_per_run):
            frame.info["parent"] = f"md/{run.name} step {frame.info['step']}"
            candidates.append(frame)
    choice = select_for_labelling(
        load(potential),
        candidates,
        training=data.frames,
        min_distance=min_distance,
        similarity=guard.similarity,
    )
    if choice.configurations:
        ase.io.write(folder / _CHOSEN_FILE, choice.configurations, format="extxyz")
    summary = {
        "candidates": len(candidates),
        "unphysical": choice.unphysical,
        "redundant": choice.redundant,
        "similar": choice.similar,
        "known": choice.known,
    }
    write_json(folder / _CHOICE_FILE, summary)


def read_chosen(folder: Path) -> tuple[list[Atoms], dict[str, int]]:
    """Read what a finished ``select`` task chose.

    Parameters
    ----------
    folder
        Of the task.

    Returns
    -------
    tuple
        The chosen configurations, and how many were left out and why.
    """
    return _frames(folder / _CHOSEN_FILE), json.loads((folder / _CHOICE_FILE).read_text())
