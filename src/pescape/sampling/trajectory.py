"""How trajectories move: a short relaxation, then one of the samplers.

One trajectory, as a task.
"""

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

from pescape.data.configurations import configuration_id
from pescape.files import fingerprint, write_json, write_text
from pescape.plugins.dynamics.contour.targets import PerAtomAbove, Ramp
from pescape.plugins.dynamics.guards import StopReason
from pescape.plugins.dynamics.surface import consistent_energy
from pescape.sampling.recording import (
    CallsSpentError,
    EvaluationError,
    EvaluationLog,
    RecordingCalculator,
    fresh_session,
)
from pescape.tasks.store import Task

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ase import Atoms

    from pescape.labelling import Reference
    from pescape.sampling.config import (
        AnySampler,
        ContourConfig,
        DimerConfig,
        MDConfig,
        RelaxationConfig,
    )


class Recorder(Protocol):
    """A calculator that is told what its force calls are for."""

    def sample(self, calls: int, tag: str) -> None:
        """Begin the sampling, of so many force calls; each gets the tag, unless marked."""

    def mark(self, tag: str) -> None:
        """Tag the configuration asked for last."""


_OPTIMIZERS = {"bfgs": BFGS, "fire": FIRE, "lbfgs": LBFGS}


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


def draw(sampler: AnySampler, seed: int) -> tuple[dict[str, Any], np.random.SeedSequence]:
    """Draw what a trajectory leaves to chance.

    Returns
    -------
    tuple
        The numbers, by name; and the seed of the dynamics.
    """
    chance, dynamics = np.random.SeedSequence(seed).spawn(2)
    rng = np.random.default_rng(chance)
    if sampler.method == "md":
        return {"temperatures": rng.uniform(*sampler.temperatures, size=2).tolist()}, dynamics
    if sampler.method == "contour":
        return {"energies": sorted(rng.uniform(*sampler.energies, size=2).tolist())}, dynamics
    return {}, dynamics


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
    drawn, dynamics_seed = draw(sampler, seed)
    begin: dict[str, Callable[..., tuple[Any, Callable[[], StopReason]]]] = {
        "md": _md,
        "contour": _contour,
        "dimer": _dimer,
    }
    dynamics, run = begin[sampler.method](atoms, recorder, sampler, drawn, dynamics_seed, energy)
    try:
        return run()
    except CallsSpentError:
        return StopReason("steps", f"{sampler.calls} force calls made", dynamics.nsteps)


def _md(
    atoms: Atoms,
    recorder: Recorder,
    sampler: MDConfig,
    drawn: dict[str, Any],
    seed: np.random.SeedSequence,
    energy: float,  # noqa: ARG001 (of interest to other samplers)
) -> tuple[Any, Callable[[], StopReason]]:
    from pescape.plugins.dynamics import NVTRamp

    recorder.sample(sampler.calls, "refused")
    dynamics = NVTRamp(
        atoms,
        temperatures=tuple(drawn["temperatures"]),
        steps=sampler.calls,
        timestep=sampler.timestep,
        thermostat=sampler.thermostat,
        seed=seed,
        guards=sampler.guards.build(),
    )
    dynamics.attach(lambda: recorder.mark("step"))
    return dynamics, lambda: dynamics.run(sampler.calls)


def _contour(
    atoms: Atoms,
    recorder: Recorder,
    sampler: ContourConfig,
    drawn: dict[str, Any],
    seed: np.random.SeedSequence,
    energy: float,
) -> tuple[Any, Callable[[], StopReason]]:
    from pescape.plugins.dynamics import ContourExploration

    recorder.sample(sampler.calls, "refused")
    first, last = drawn["energies"]
    ramp = Ramp(first, last, sampler.calls)
    dynamics = ContourExploration(
        atoms,
        PerAtomAbove(ramp, energy, len(atoms)),
        angle_limit=sampler.angle_limit,
        maxstep=sampler.maxstep,
        step_cap=sampler.step_cap,
        drift=sampler.drift,
        seed=seed,
        guards=sampler.guards.build(),
    )
    dynamics.attach(lambda: recorder.mark("step"))
    return dynamics, lambda: dynamics.run(sampler.calls)


class _Marks:
    """Where the dimer writes its images to: only the tags are of interest."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def write(self, image: Atoms) -> None:
        """Take the tag of an image."""
        self._recorder.mark(image.info["dimer"])


def _dimer(
    atoms: Atoms,
    recorder: Recorder,
    sampler: DimerConfig,
    drawn: dict[str, Any],  # noqa: ARG001 (of interest to other samplers)
    seed: np.random.SeedSequence,
    energy: float,  # noqa: ARG001
) -> tuple[Any, Callable[[], StopReason]]:
    from pescape.plugins.dynamics import Dimer

    recorder.sample(sampler.calls, "refused")
    dynamics = Dimer(
        atoms,
        seed=seed,
        method=sampler.scheme,
        separation=sampler.separation,
        displacement=sampler.displacement,
        guards=sampler.guards.build(),
        images=_Marks(recorder),
    )

    def run() -> StopReason:
        dynamics.run(fmax=sampler.fmax, steps=sampler.calls)
        assert dynamics.reason is not None
        return dynamics.reason

    return dynamics, run


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
