"""One trajectory, as a task: a short relaxation, then one of the samplers."""

from __future__ import annotations

import json
import time
import traceback
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import ase.io
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.optimize import BFGS, FIRE, LBFGS
from pydantic import TypeAdapter

from pescape.data.configurations import configuration_id
from pescape.files import fingerprint, write_json, write_text
from pescape.plugins.dynamics.contour.walk import PerAtomAbove, Ramp
from pescape.plugins.dynamics.guards import StopReason
from pescape.plugins.dynamics.surface import consistent_energy
from pescape.sampling.recording import (
    CallsSpentError,
    EvaluationError,
    EvaluationLog,
    RecordingCalculator,
    fresh_session,
)
from pescape.tasks.store import Task, task_kind

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

    from pescape.labelling import Reference
    from pescape.plugins.dynamics import ContourExploration, Dimer, NVTRamp
    from pescape.sampling.config import AnySampler, RelaxationConfig

IMAGES_FILE = "images.traj"
OUTCOME_FILE = "outcome.json"
ERROR_FILE = "error.txt"
_KIND = task_kind("trajectory")
_OPTIMIZERS = {"bfgs": BFGS, "fire": FIRE, "lbfgs": LBFGS}


class Recorder(Protocol):
    """A calculator that keeps what its force calls are for."""

    def sample(self, calls: int, tag: str) -> None:
        """Begin the sampling.

        Parameters
        ----------
        calls
            Force calls it may make.
        tag
            Of each, unless it is marked.
        """

    def mark(self, tag: str) -> None:
        """Tag the configuration asked for last.

        Parameters
        ----------
        tag
            What the sampler used it for.
        """


@dataclass(frozen=True)
class TrajectoryOutcome:
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
        What else a reader has to know.
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


def relax(atoms: Atoms, settings: RelaxationConfig) -> float:
    """Relax a start a little.

    Parameters
    ----------
    atoms
        With a calculator; moved.
    settings
        How far.

    Returns
    -------
    float
        The potential energy reached, the one that belongs to the forces, eV.
    """
    if settings.steps:
        optimizer = _OPTIMIZERS[settings.optimizer](atoms, logfile=None, maxstep=settings.maxstep)
        optimizer.run(fmax=settings.fmax, steps=settings.steps)
    atoms.get_forces()
    return consistent_energy(atoms)


def evolve(
    atoms: Atoms, recorder: Recorder, sampler: AnySampler, seed: int, energy: float
) -> StopReason:
    """Sample from a relaxed start until the force calls are spent, or earlier.

    Parameters
    ----------
    atoms
        With `recorder` as their calculator.
    recorder
        Counts the force calls.
    sampler
        The method.
    seed
        Of this trajectory.
    energy
        Potential energy of the relaxed start, eV.

    Returns
    -------
    StopReason
        Why the trajectory ended.
    """
    from pescape.plugins.dynamics import Dimer

    recorder.sample(sampler.calls, "refused")
    dynamics = _dynamics(atoms, recorder, sampler, seed, energy)
    try:
        if isinstance(dynamics, Dimer):
            assert sampler.method == "dimer"
            dynamics.run(fmax=sampler.fmax, steps=sampler.calls)
            assert dynamics.reason is not None
            return dynamics.reason
        dynamics.attach(lambda: recorder.mark("step"))
        return dynamics.run(sampler.calls)
    except CallsSpentError:
        return StopReason("steps", f"{sampler.calls} force calls made", dynamics.nsteps)


def _dynamics(
    atoms: Atoms, recorder: Recorder, sampler: AnySampler, seed: int, energy: float
) -> NVTRamp | ContourExploration | Dimer:
    """Make the dynamics of a sampler."""
    from pescape.plugins.dynamics import ContourExploration, Dimer, NVTRamp

    drawn, dynamics_seed = _draw(sampler, seed)
    guards = sampler.guards.build()
    if sampler.method == "md":
        return NVTRamp(
            atoms,
            temperatures=tuple(drawn["temperatures"]),
            steps=sampler.calls,
            timestep=sampler.timestep,
            thermostat=sampler.thermostat,
            seed=dynamics_seed,
            guards=guards,
        )
    if sampler.method == "contour":
        first, last = drawn["energies"]
        return ContourExploration(
            atoms,
            PerAtomAbove(Ramp(first, last, sampler.calls), energy, len(atoms)),
            angle_limit=sampler.angle_limit,
            maxstep=sampler.maxstep,
            step_cap=sampler.step_cap,
            drift=sampler.drift,
            seed=dynamics_seed,
            guards=guards,
        )
    return Dimer(
        atoms,
        seed=dynamics_seed,
        method=sampler.scheme,
        separation=sampler.separation,
        displacement=sampler.displacement,
        guards=guards,
        images=_Marks(recorder),
    )


def _draw(sampler: AnySampler, seed: int) -> tuple[dict[str, Any], np.random.SeedSequence]:
    """Draw the temperatures or energies of a trajectory by name, and the seed of its dynamics."""
    chance, dynamics = np.random.SeedSequence(seed).spawn(2)
    rng = np.random.default_rng(chance)
    if sampler.method == "md":
        return {"temperatures": rng.uniform(*sampler.temperatures, size=2).tolist()}, dynamics
    if sampler.method == "contour":
        return {"energies": sorted(rng.uniform(*sampler.energies, size=2).tolist())}, dynamics
    return {}, dynamics


class _Marks:
    """Where the dimer writes its images to: only the tags are of interest."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def write(self, image: Atoms) -> None:
        """Take the tag of an image.

        Parameters
        ----------
        image
            Whose ``info["dimer"]`` tells which one it is.
        """
        self._recorder.mark(image.info["dimer"])


def start_identity(atoms: Atoms) -> str:
    """Compute the fingerprint of all that a trajectory takes from its start.

    Parameters
    ----------
    atoms
        The start.
    """
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
    """Make the task that relaxes a start and samples from there.

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
    return Task(_KIND, key, _run, arguments)


def log_of(folder: Path, key: str) -> Path:
    """Name the file of the evaluations of a trajectory that is not finished.

    Parameters
    ----------
    folder
        Output of the campaign.
    key
        Of the task.
    """
    return folder / "logs" / f"{key}.jsonl"


def scratch_of(folder: Path, key: str) -> Path:
    """Name the folder in which the reference writes its own files during a trajectory.

    Parameters
    ----------
    folder
        Output of the campaign.
    key
        Of the task.
    """
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
    outcome = TrajectoryOutcome(
        **ended,
        relaxation_calls=relaxing,
        sampling_calls=recorder.calls - relaxing,
        replayed=recorder.replayed,
        drawn=_draw(sampler, seed)[0],
        cpu=round(time.process_time() - cpu, 3),
        seconds=round(time.perf_counter() - clock, 3),
        notes=tuple(recorder.notes),
    )
    write_json(folder / OUTCOME_FILE, asdict(outcome))


def _images(start: Atoms, recorder: RecordingCalculator) -> list[Atoms]:
    """All evaluations as images with results, phase, tag and number of the call."""
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
    """Read all images of a finished trajectory, those of the relaxation first.

    Parameters
    ----------
    folder
        Of the task.
    """
    path = folder / IMAGES_FILE
    return list(ase.io.read(path, ":", format="traj")) if path.exists() else []


def read_outcome(folder: Path) -> TrajectoryOutcome:
    """Read how a finished trajectory ended.

    Parameters
    ----------
    folder
        Of the task.
    """
    content = (folder / OUTCOME_FILE).read_bytes()
    return TypeAdapter(TrajectoryOutcome).validate_json(content)
