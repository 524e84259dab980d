"""Label many configurations, keeping each that is finished."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pescape.dataset import SOURCE
from pescape.learning.processes import exclusive, worker_pool
from pescape.learning.tasks import TaskStore
from pescape.learning.work import label_task, read_label
from pescape.structures import as_stored

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ase import Atoms

    from pescape.labelling import Reference


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
