"""Label many configurations, keeping each that is finished."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import ase.io

from pescape.dataset import SOURCE
from pescape.files import fingerprint
from pescape.labelling.label import configuration_id, label
from pescape.processes import exclusive, worker_pool
from pescape.structures import as_stored
from pescape.tasks import Task, TaskStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from ase import Atoms

    from pescape.labelling.reference import Reference


LABEL_FILE = "label.xyz"


def label_task(
    atoms: Atoms, reference: Reference, provenance: Mapping[str, str | int | float]
) -> Task:
    """Label one configuration; who asks for it does not change the result's key."""
    key = fingerprint(configuration_id(atoms), reference.identity)
    return Task("label", key, _label, (atoms, reference, dict(provenance)))


def _label(
    folder: Path, atoms: Atoms, reference: Reference, provenance: dict[str, str | int | float]
) -> None:
    ase.io.write(folder / LABEL_FILE, label(atoms, reference, provenance), format="extxyz")


def read_label(folder: Path) -> Atoms:
    """Read the labelled configuration of a finished task."""
    return cast("Atoms", ase.io.read(folder / LABEL_FILE, format="extxyz"))


def label_all(
    frames: Sequence[Atoms],
    reference: Reference,
    folder: Path,
    *,
    workers: int = 1,
    command: str = "",
    on_finished: Callable[[int], None] | None = None,
) -> list[Atoms]:
    """Label configurations in several processes.

    Parameters
    ----------
    frames
        What to label.
    reference
        The calculator.
    folder
        Keeps finished labels, for the next call.
    workers
        Processes.
    command
        Who asks, for the labels' provenance.
    on_finished
        Called with the number of finished labels.

    Returns
    -------
    list of Atoms
        In the order of `frames`, with results and provenance.
    """
    tasks = []
    for frame in frames:
        stored = as_stored(frame)
        parent = str(stored.info.pop(SOURCE, stored.info.get("parent", "")))
        provenance = {"parent": parent, "made_by": "label", "command": command}
        tasks.append(label_task(stored, reference, provenance))
    report = None if on_finished is None else lambda done, _: on_finished(done)
    with exclusive(folder), worker_pool(workers) as pool:
        folders = TaskStore(folder).run(tasks, pool, report)
    return [read_label(one) for one in folders]
