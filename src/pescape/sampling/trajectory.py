"""One trajectory, as a task."""

from __future__ import annotations

import json
import time
import traceback
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import ase.io
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator

from pescape.files import fingerprint, write_json, write_text
from pescape.labelling.label import configuration_id
from pescape.sampling.evolve import draw, evolve, relax
from pescape.sampling.recording import (
    EvaluationError,
    EvaluationLog,
    RecordingCalculator,
    fresh_session,
)
from pescape.tasks import Task

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

    from pescape.labelling import Reference
    from pescape.sampling.config import AnySampler, RelaxationConfig

KIND = "trajectory"
IMAGES_FILE = "images.traj"
OUTCOME_FILE = "outcome.json"
ERROR_FILE = "error.txt"


@dataclass(frozen=True)
class Outcome:
    """How a trajectory ended.

    Parameters
    ----------
    status
        ``"complete"``: it made all its force calls or converged; ``"stopped"``: a guard ended
        it; ``"failed"``: the reference did not answer, or something else went wrong.
    kind, message
        The reason, as `StopReason` has it; ``"error"`` where there is no better word.
    steps
        Accepted steps of the sampling.
    relaxation_calls, sampling_calls
        Force calls.
    replayed
        Force calls answered from the log of a run that was stopped.
    energy
        Potential energy of the relaxed start, eV; None where the relaxation failed.
    drawn
        Temperatures (K) or energies above the start (eV/atom) that chance chose.
    cpu, seconds
        CPU time of this process alone, and wall time, of the run that ended it, s.
    notes
        What else is worth telling.
    """

    status: str
    kind: str
    message: str
    steps: int
    relaxation_calls: int
    sampling_calls: int
    replayed: int
    energy: float | None
    drawn: dict[str, Any] = field(default_factory=dict)
    cpu: float = 0.0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()


def start_identity(atoms: Atoms) -> str:
    """Fingerprint of all that a trajectory takes from its start."""
    arrays = {
        name: np.asarray(atoms.arrays[name], dtype=float).tolist()
        for name in ("initial_magmoms", "initial_charges", "masses")
        if name in atoms.arrays
    }
    constraints = json.loads(json.dumps([c.todict() for c in atoms.constraints], default=_plain))
    return fingerprint(configuration_id(atoms), arrays, constraints)


def _plain(value: Any) -> Any:  # noqa: ANN401 (an entry of a constraint)
    return value.tolist() if hasattr(value, "tolist") else repr(value)


def trajectory_task(
    start: Atoms,
    sampler: AnySampler,
    relaxation: RelaxationConfig,
    reference: Reference,
    folder: Path,
    *,
    seed: int,
    stress: bool = False,
) -> Task:
    """Relax a start and sample from there.

    Parameters
    ----------
    start
        Where the trajectory begins.
    sampler, relaxation
        What it does. How images are thinned and called does not change the task's key.
    reference
        Gives energies and forces.
    folder
        For what outlives a kill, the log of evaluations, and for the reference's own files.
    seed
        Of this trajectory.
    stress
        Ask for stresses.
    """
    key = fingerprint(
        start_identity(start),
        sampler.model_dump(mode="json", exclude={"name", "every"}),
        relaxation.model_dump(mode="json", exclude={"keep"}),
        seed,
        reference.identity,
        stress,
    )
    log, scratch = log_of(folder, key), scratch_of(folder, key)
    arguments = (start, sampler, relaxation, reference, log, scratch, seed, stress)
    return Task(KIND, key, _run, arguments)


def log_of(folder: Path, key: str) -> Path:
    """Where the evaluations of a trajectory that is not finished are."""
    return folder / "logs" / f"{key}.jsonl"


def scratch_of(folder: Path, key: str) -> Path:
    """Where the reference writes its own files during a trajectory."""
    return folder / "scratch" / key


def _run(
    folder: Path,
    start: Atoms,
    sampler: AnySampler,
    relaxation: RelaxationConfig,
    reference: Reference,
    log: Path,
    scratch: Path,
    seed: int,
    stress: bool,
) -> None:
    cpu, clock = time.process_time(), time.perf_counter()
    start = start.copy()
    start.info = {}  # records of builders are long, and would be copied with every evaluation
    recorder = RecordingCalculator(
        start, lambda: fresh_session(reference, scratch), EvaluationLog(log), stress=stress
    )
    ended = dict[str, Any](status="failed", steps=0, energy=None)
    try:
        atoms = start.copy()
        atoms.calc = recorder
        ended["energy"] = relax(atoms, relaxation)
        reason = evolve(atoms, recorder, sampler, seed, ended["energy"])
        ended |= {"status": "complete" if reason else "stopped", "steps": reason.step}
        ended |= {"kind": reason.kind, "message": reason.message}
        if reason.kind in {"calculator", "not_finite"}:
            ended["status"] = "failed"
    except EvaluationError as error:
        ended |= {"kind": error.kind, "message": str(error)}
        write_text(folder / ERROR_FILE, traceback.format_exc())
    except Exception as error:  # noqa: BLE001 (one trajectory must not end the others)
        ended |= {"kind": "error", "message": f"{type(error).__name__}: {error}"}
        write_text(folder / ERROR_FILE, traceback.format_exc())
    finally:
        recorder.close()
    images = _images(start, recorder)
    if images:
        ase.io.write(folder / IMAGES_FILE, images, format="traj")
    relaxing = sum(evaluation.phase == "relaxation" for evaluation in recorder.evaluations)
    outcome = Outcome(
        **ended,
        relaxation_calls=relaxing,
        sampling_calls=recorder.calls - relaxing,
        replayed=recorder.replayed,
        drawn=draw(sampler, seed)[0],
        cpu=round(time.process_time() - cpu, 3),
        seconds=round(time.perf_counter() - clock, 3),
        notes=tuple(recorder.notes),
    )
    write_json(folder / OUTCOME_FILE, asdict(outcome))


def _images(start: Atoms, recorder: RecordingCalculator) -> list[Atoms]:
    """Give all evaluations as images with results, phase, tag and number of the call."""
    images = []
    calls = {"relaxation": 0, "sampling": 0}
    for evaluation in recorder.evaluations:
        calls[evaluation.phase] += 1
        image = start.copy()
        image.set_constraint()
        call = calls[evaluation.phase]
        image.info = {"phase": evaluation.phase, "tag": evaluation.tag, "call": call}
        image.positions = evaluation.positions
        image.calc = SinglePointCalculator(image, **evaluation.results())
        images.append(image)
    return images


def read_images(folder: Path) -> list[Atoms]:
    """Read all images of a finished trajectory, those of the relaxation first."""
    path = folder / IMAGES_FILE
    return list(ase.io.read(path, ":", format="traj")) if path.exists() else []


def read_outcome(folder: Path) -> Outcome:
    """Read how a finished trajectory ended."""
    content = json.loads((folder / OUTCOME_FILE).read_text(encoding="utf-8"))
    return Outcome(**{**content, "notes": tuple(content["notes"])})
