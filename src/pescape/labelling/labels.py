"""Label many configurations, keeping each that is finished, failures included."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, cast

import ase.io

from pescape.data.configurations import as_stored, configuration_id
from pescape.errors import SOURCE, DataError, TaskError
from pescape.files import fingerprint, write_json
from pescape.labelling.evaluation import LabelError, LabelFailure
from pescape.labelling.label import label
from pescape.tasks.pool import worker_pool
from pescape.tasks.store import Task, TaskStore, exclusive, task_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from ase import Atoms

    from pescape.labelling.reference import Reference


_LABEL = task_kind("label")
LABEL_FILE = "label.xyz"
FAILURE_FILE = "failed.json"


def label_task(
    atoms: Atoms, reference: Reference, provenance: Mapping[str, str | int | float]
) -> Task:
    """Label one configuration; who asks for it does not change the result's key."""
    key = fingerprint(configuration_id(atoms), reference.identity)
    arguments = atoms, reference, dict(provenance)
    return Task(_LABEL, key, _label, arguments, cores=reference.cores)


def _label(
    folder: Path, atoms: Atoms, reference: Reference, provenance: dict[str, str | int | float]
) -> None:
    try:
        made = label(atoms, reference, provenance, folder)
    except LabelError as error:
        write_json(folder / FAILURE_FILE, dataclasses.asdict(error.failure))
    else:
        # Read back from extxyz, an empty entry would swallow the one after it.
        made.info = {key: value for key, value in made.info.items() if str(value) != ""}
        ase.io.write(folder / LABEL_FILE, made, format="extxyz")


def outcome_of_label(folder: Path) -> Atoms | LabelFailure:
    """Read what a finished task has: the labelled configuration, or why there is none."""
    failed = folder / FAILURE_FILE
    if failed.exists():
        return LabelFailure(**json.loads(failed.read_text(encoding="utf-8")))
    return cast("Atoms", ase.io.read(folder / LABEL_FILE, format="extxyz"))


def read_label(folder: Path) -> Atoms:
    """Read the labelled configuration of a finished task; there has to be one."""
    outcome = outcome_of_label(folder)
    if isinstance(outcome, LabelFailure):
        raise DataError(f"{folder}: {outcome}")
    return outcome


def forget_failures(store: TaskStore, tasks: Sequence[Task]) -> int:
    """Discard failed labels, so that they are tried again; tell how many there were."""
    unique = {task.key: task for task in tasks}
    failed = [task for task in unique.values() if (store.folder(task) / FAILURE_FILE).exists()]
    for task in failed:
        store.discard(task)
    return len(failed)


def told(failures: Sequence[LabelFailure]) -> str:
    """Count failures by kind: ``2 labels failed: 1 not converged, 1 timed out``."""
    kinds = [failure.kind for failure in failures]
    counts = [f"{kinds.count(kind)} {kind.replace('_', ' ')}" for kind in sorted(set(kinds))]
    noun = "label" if len(failures) == 1 else "labels"
    return f"{len(failures)} {noun} failed: {', '.join(counts)}"


def label_all(
    frames: Sequence[Atoms],
    reference: Reference,
    folder: Path,
    *,
    workers: int = 1,
    command: str = "",
    retry_failed: bool = False,
    on_finished: Callable[[int], None] | None = None,
) -> list[Atoms | LabelFailure]:
    """Label configurations in several processes.

    Parameters
    ----------
    frames
        What to label.
    reference
        The calculator.
    folder
        Keeps finished labels, and failures, for the next call.
    workers
        Processes.
    command
        Who asks, for the labels' provenance.
    retry_failed
        Try again what has failed in an earlier call.
    on_finished
        Called with the number of finished labels.

    Returns
    -------
    list of Atoms or LabelFailure
        In the order of `frames`: the configuration with results and provenance, or why there
        is none.

    Raises
    ------
    ConfigError
        A program, a file or an element's data set is missing; nothing has been computed.
    TaskError
        Not one configuration could be labelled.
    """
    reference.check({symbol for frame in frames for symbol in frame.symbols})
    tasks = []
    for frame in frames:
        stored = as_stored(frame)
        parent = str(stored.info.pop(SOURCE, stored.info.get("parent", "")))
        provenance = {"parent": parent, "made_by": "label", "command": command}
        tasks.append(label_task(stored, reference, provenance))
    report = None if on_finished is None else lambda done, _: on_finished(done)
    with exclusive(folder), worker_pool(workers) as pool:
        store = TaskStore(folder)
        if retry_failed:
            forget_failures(store, tasks)
        outcomes = [outcome_of_label(one) for one in store.run(tasks, pool, report)]
    failures = [outcome for outcome in outcomes if isinstance(outcome, LabelFailure)]
    if frames and len(failures) == len(frames):
        raise TaskError(f"{told(failures)}; the first one: {failures[0]}")
    return outcomes
