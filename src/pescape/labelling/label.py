"""Label configurations: what the reference says, and who asked."""

from __future__ import annotations

import contextlib
import gzip
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase.calculators.singlepoint import SinglePointCalculator

from pescape.data.configurations import configuration_id
from pescape.files import write_json
from pescape.labelling.evaluation import AttemptError, LabelError, LabelFailure, evaluate
from pescape.labelling.isolated import OUTPUT_FILE, evaluate_isolated
from pescape.labelling.reference import with_changes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ase import Atoms

    from pescape.labelling.evaluation import Answer
    from pescape.labelling.reference import Reference

#: What is known of a label besides the label: settings, program, attempts, time.
RECORD_FILE = "label.json"
_COMPRESS_ABOVE = 1_000_000  # bytes
_TAIL = 6000  # characters; GPAW's table of timings takes half of them
# Another attempt would say the same.
_FINAL = {"beyond_limits"}


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
        answer = _answer(atoms, reference, place, failures)
        seconds = round(time.perf_counter() - begin, 3)
        record = _record(atoms, reference, provenance or {}, failures, seconds)
        if answer is None:
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
        version = answer.details.get("version", reference.version)
        more = {"attempts": len(failures) + 1, "converged": True, "program": answer.details}
        write_json(place / RECORD_FILE, {**record, "version": version, **more})
    new = atoms.copy()
    new.calc = SinglePointCalculator(new, **answer.results)
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


def _answer(
    atoms: Atoms, reference: Reference, place: Path, failures: list[dict[str, Any]]
) -> Answer | None:
    """Try until there is an answer or attempts are used up; failures are added to the list."""
    policy = reference.policy
    isolated = reference.external or policy.timeout is not None
    for attempt in range(1, policy.attempts + 1):
        directory = place / f"attempt-{attempt}"
        directory.mkdir()
        begin = time.perf_counter()
        changes = policy.changes(attempt)
        tried = with_changes(reference, changes)
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
            if error.kind in _FINAL:
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
