"""Label configurations: what the reference says, and who asked; one, or many as tasks.

A label that could not be had is a `LabelFailure`. Of tasks, both are kept.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import ase.io
from ase.calculators.singlepoint import SinglePointCalculator

from pescape.data.configurations import as_stored, configuration_id
from pescape.errors import SOURCE, TaskError
from pescape.files import fingerprint, write_json
from pescape.labelling.evaluation import (
    OUTPUT_FILE,
    AttemptError,
    LabelError,
    LabelFailure,
    evaluate,
    evaluate_isolated,
)
from pescape.tasks.pool import worker_pool
from pescape.tasks.store import Task, TaskStore, exclusive, task_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ase import Atoms

    from pescape.labelling.evaluation import Evaluation
    from pescape.labelling.reference import Reference

_LABEL = task_kind("label")
LABEL_FILE = "label.xyz"
FAILURE_FILE = "failed.json"
#: What is known of a label besides the label: settings, program, attempts, time.
RECORD_FILE = "label.json"
_COMPRESS_ABOVE = 1_000_000  # bytes
_TAIL = 6000  # characters; GPAW's table of timings takes half of them
# Another attempt would say the same.
_FINAL_KINDS = {"beyond_limits"}


def label(
    atoms: Atoms,
    reference: Reference,
    provenance: Mapping[str, str | int | float] | None = None,
    folder: Path | None = None,
) -> Atoms:
    """Compute energy, forces and, for a periodic cell, stress of one configuration.

    Where the reference has a time limit, or another program does the work, each attempt has
    a process of its own: it may crash, hang or be killed without harm to this one.

    Parameters
    ----------
    atoms
        The configuration; it is left as it is.
    reference
        The calculator, and what is done when it fails.
    provenance
        Who asked for the label: parent, command, seed, round, …
    folder
        Existing; keeps the programs' text output of each attempt, ``attempt-1.txt``, and
        ``label.json``, the record. Nothing is kept when None.

    Returns
    -------
    Atoms
        A copy with the results (energy and free_energy, eV; forces, eV/Å; stress, eV/Å³)
        and, in ``info``, the provenance, the reference with its version, and
        ``configuration_id``.

    Raises
    ------
    LabelError
        All attempts failed; its ``failure`` tells how.
    ConfigError
        The reference cannot be used at all: a program or a file is missing.
    """
    begin = time.perf_counter()
    failures: list[dict[str, Any]] = []
    with _workplace(folder) as place:
        found = _attempt(atoms, reference, place, failures)
        seconds = round(time.perf_counter() - begin, 3)
        record = _record(atoms, reference, provenance or {}, failures, seconds)
        if found is None:
            last = failures[-1]
            raise LabelError(
                LabelFailure(
                    kind=last["kind"],
                    message=last["message"],
                    formula=atoms.get_chemical_formula(),
                    configuration_id=configuration_id(atoms),
                    reference=reference.name,
                    attempts=len(failures),
                    seconds=seconds,
                    tail=last["tail"],
                )
            )
        version = found.details.get("version", reference.version)
        more = {"attempts": len(failures) + 1, "converged": True, "program": found.details}
        write_json(place / RECORD_FILE, {**record, "version": version, **more})
    new = atoms.copy()
    new.calc = SinglePointCalculator(new, **found.results)
    new.info = {
        **atoms.info,
        **(provenance or {}),
        "reference": reference.name,
        "reference_version": version,
        "reference_id": reference.identity,
        "configuration_id": configuration_id(atoms),
    }
    return new


@contextlib.contextmanager
def _workplace(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield folder.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="pescape-label-") as made:
        yield Path(made)


def _attempt(
    atoms: Atoms, reference: Reference, place: Path, failures: list[dict[str, Any]]
) -> Evaluation | None:
    """Try until a label is had or attempts are used up; failures are added to the list."""
    policy = reference.policy
    isolated = reference.external or policy.timeout is not None
    for attempt in range(1, policy.attempts + 1):
        directory = place / f"attempt-{attempt}"
        directory.mkdir()
        begin = time.perf_counter()
        changes = policy.changes(attempt)
        tried = dataclasses.replace(reference, local={**reference.local, **changes})
        try:
            if isolated:
                return evaluate_isolated(atoms, tried, directory, policy.timeout)
            return evaluate(atoms, tried, directory)
        except AttemptError as error:
            failures.append(
                {
                    "kind": error.kind,
                    "message": str(error),
                    "changes": changes,
                    "seconds": round(time.perf_counter() - begin, 3),
                    "tail": _output(directory, reference.logs)[-_TAIL:],
                }
            )
            if error.kind in _FINAL_KINDS:
                break
        finally:
            _keep_output(directory, reference.logs, place / f"{directory.name}.txt")
            shutil.rmtree(directory)
    return None


def _output(directory: Path, logs: tuple[str, ...]) -> str:
    """Join the text that programs have written, what they said last at the end."""
    found = []
    for pattern in (*logs, OUTPUT_FILE):
        found += [path for path in sorted(directory.glob(pattern)) if path not in found]
    found.sort(key=lambda path: path.name == OUTPUT_FILE)
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in found]
    return "\n".join(text for text in texts if text.strip())


def _keep_output(directory: Path, logs: tuple[str, ...], target: Path) -> None:
    content = _output(directory, logs).encode()
    if len(content) > _COMPRESS_ABOVE:
        target = target.with_name(f"{target.name}.gz")
        content = gzip.compress(content, mtime=0)
    if content:
        target.write_bytes(content)


def _record(
    atoms: Atoms,
    reference: Reference,
    provenance: Mapping[str, str | int | float],
    failures: list[dict[str, Any]],
    seconds: float,
) -> dict[str, Any]:
    """Describe the label without anything of this machine."""
    return {
        **provenance,
        "configuration_id": configuration_id(atoms),
        "reference": reference.name,
        "reference_id": reference.identity,
        "recipe": reference.recipe,
        "settings": reference.settings,
        "seconds": seconds,
        "failed_attempts": [{k: v for k, v in f.items() if k != "tail"} for f in failures],
    }


def label_task(
    atoms: Atoms, reference: Reference, provenance: Mapping[str, str | int | float]
) -> Task:
    """Make the task that labels one configuration.

    Parameters
    ----------
    atoms
        The configuration.
    reference
        The calculator.
    provenance
        Who asks for the label; this does not change the result's key.
    """
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


def read_label(folder: Path) -> Atoms | LabelFailure:
    """Read the result of a finished task: the labeled configuration, or why there is none.

    Parameters
    ----------
    folder
        Of the task.
    """
    failed = folder / FAILURE_FILE
    if failed.exists():
        return LabelFailure(**json.loads(failed.read_text(encoding="utf-8")))
    return cast("Atoms", ase.io.read(folder / LABEL_FILE, format="extxyz"))


def discard_failed_labels(store: TaskStore, tasks: Sequence[Task]) -> int:
    """Discard failed labels, so that they are tried again.

    Parameters
    ----------
    store
        Keeps the results.
    tasks
        Made by `label_task`.

    Returns
    -------
    int
        How many there were.
    """
    unique = {task.key: task for task in tasks}
    failed = [task for task in unique.values() if (store.folder(task) / FAILURE_FILE).exists()]
    for task in failed:
        store.discard(task)
    return len(failed)


def failure_summary(failures: Sequence[LabelFailure]) -> str:
    """Count failures by kind: ``2 labels failed: 1 not converged, 1 timed out``.

    Parameters
    ----------
    failures
        At least one.
    """
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
        Not one configuration could be labeled.
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
            discard_failed_labels(store, tasks)
        outcomes = [read_label(one) for one in store.run(tasks, pool, report)]
    failures = [outcome for outcome in outcomes if isinstance(outcome, LabelFailure)]
    if frames and len(failures) == len(frames):
        raise TaskError(f"{failure_summary(failures)}; the first one: {failures[0]}")
    return outcomes
