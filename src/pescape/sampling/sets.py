"""From trajectories to data sets: thinning, and limits of energy and force."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator

from pescape.data.configurations import as_stored, configuration_id
from pescape.errors import ConfigError, TaskError
from pescape.files import fingerprint, write_json
from pescape.plugins.dynamics.surface import consistent_energy
from pescape.plugins.structures import EnergyForceLimits, beyond, force_energy_limits
from pescape.sampling.recording import (
    EvaluationError,
    EvaluationLog,
    RecordingCalculator,
    fresh_session,
)
from pescape.sampling.trajectory import read_images, read_outcome
from pescape.tasks.store import Task, task_kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from ase import Atoms

    from pescape.labelling import Reference
    from pescape.sampling.config import LimitsConfig, PlannedTrajectory


_LIMITS = task_kind("limits")
LIMITS_FILE = "limits.json"


@dataclass(frozen=True)
class Limits:
    """What an image of a data set must keep; None lifts a limit.

    Parameters
    ----------
    force
        Largest force on any atom, eV/Å.
    energy
        Largest mean energy per atom relative to isolated atoms, eV.
    atom_energies
        Of isolated atoms by element, eV; `energy` needs them.
    """

    force: float | None = None
    energy: float | None = None
    atom_energies: dict[str, float] = field(default_factory=dict)

    def broken_by(self, atoms: Atoms) -> list[str]:
        """Say in which ways an image goes beyond the limits.

        Parameters
        ----------
        atoms
            With energy and forces.
        """
        return beyond(atoms, force=self.force, energy=self.energy, atom_energies=self.atom_energies)


def limits_from(
    config: LimitsConfig, computed: EnergyForceLimits | None, elements: Iterable[str]
) -> Limits:
    """Make limits from what a configuration says and what was computed for it.

    Parameters
    ----------
    config
        Its numbers go before those computed.
    computed
        From the pairs of elements, where the configuration asks for them.
    elements
        That occur in the campaign.
    """
    force, energy = config.force, config.energy
    alone = dict(config.atom_energies or {})
    if computed is not None:
        alone = computed.atom_energies | alone
        try:
            force = computed.force_limit(config.pairs) if force is None else force
            energy = computed.energy_limit(config.pairs) if energy is None else energy
        except ValueError as error:
            raise ConfigError(f"limits: {error}; give force and energy instead") from error
    missing = sorted(set(elements) - set(alone)) if energy is not None else []
    if missing:
        raise ConfigError(f"limits: no energy of an isolated atom of {missing[0]}")
    return Limits(force, energy, alone)


def read_limits(path: Path) -> EnergyForceLimits:
    """Read limits from the JSON that a campaign wrote.

    Parameters
    ----------
    path
        The file.
    """
    try:
        return EnergyForceLimits.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"limits.file: {path}: {error.strerror}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"limits.file: {path} holds no limits as pescape writes them") from error


def limits_task(
    reference: Reference, elements: Sequence[str], config: LimitsConfig, folder: Path
) -> Task:
    """Make the task that follows all pairs of elements up their repulsive walls.

    Parameters
    ----------
    reference
        Gives energies and forces.
    elements
        Chemical symbols.
    config
        The multiple of the binding energy, and the box.
    folder
        For what was computed before a kill.
    """
    settings = (config.multiple or 2.0, config.box, config.pbc)
    key = fingerprint(sorted(elements), settings, reference.identity)
    logs, scratch = limits_folders(folder, key)
    arguments = (sorted(elements), settings, reference, logs, scratch)
    return Task(_LIMITS, key, _compute_limits, arguments)


def limits_folders(folder: Path, key: str) -> tuple[Path, Path]:
    """Name the folders that the computation of limits leaves: its force calls, and scratch.

    Parameters
    ----------
    folder
        Output of the campaign.
    key
        Of the task.
    """
    return folder / "logs" / f"limits-{key}", folder / "scratch" / f"limits-{key}"


def _compute_limits(
    folder: Path,
    elements: list[str],
    settings: tuple[float, float, bool],
    reference: Reference,
    logs: Path,
    scratch: Path,
) -> None:
    multiple, box, pbc = settings

    def answer(atoms: Atoms) -> SinglePointCalculator:
        # In a session of its own: stateful references take one system only.
        log = EvaluationLog(logs / f"{configuration_id(atoms)}.jsonl")
        recorder = RecordingCalculator(atoms, lambda: fresh_session(reference, scratch), log)
        asked = atoms.copy()
        asked.calc = recorder
        try:
            asked.get_forces()
        except EvaluationError as error:
            name = atoms.get_chemical_formula()
            raise TaskError(f"limits: {reference.name} failed on {name}: {error}") from error
        finally:
            recorder.close()
        return SinglePointCalculator(atoms, **recorder.evaluations[0].results())

    limits = force_energy_limits(answer, elements, multiple=multiple, box=box, pbc=pbc)
    write_json(folder / LIMITS_FILE, limits.as_dict())


@dataclass(frozen=True)
class TrajectoryRecord:
    """One trajectory in the table of a campaign.

    Parameters
    ----------
    key
        Of its task; empty where the start could not be built.
    builder, start, parent
        Where it begins: the recipe, the number of its structure, what that derives from.
    sampler, method, seed
        What it does.
    set
        ``"train"`` or ``"test"``.
    status, kind, message
        How it ended, as in `TrajectoryOutcome`.
    steps, relaxation_calls, sampling_calls, replayed
        As in `TrajectoryOutcome`.
    kept, rejected
        Images in the data set, and beyond the limits or a guard.
    repeated
        Images of a test trajectory left out because the training set has them.
    lowest, highest
        Energies of the sampling relative to the relaxed start, eV/atom.
    cpu, seconds
        CPU time of our own process and wall time, s.
    drawn, notes
        As in `TrajectoryOutcome`.
    """

    key: str
    builder: str
    start: int
    parent: str
    sampler: str
    method: str
    seed: int
    set: str
    status: str
    kind: str
    message: str
    steps: int = 0
    relaxation_calls: int = 0
    sampling_calls: int = 0
    replayed: int = 0
    kept: int = 0
    rejected: int = 0
    repeated: int = 0
    lowest: float | None = None
    highest: float | None = None
    cpu: float = 0.0
    seconds: float = 0.0
    drawn: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class TrajectoryImages:
    """What one trajectory gives: its record and its images, with provenance.

    Parameters
    ----------
    record
        How it went.
    heights
        Energies of all images of the sampling above the relaxed start, eV/atom.
    kept, rejected
        Images for the data sets, and others with the reasons in ``info["rejected"]``.
    """

    record: TrajectoryRecord
    heights: tuple[float, ...]
    kept: tuple[Atoms, ...]
    rejected: tuple[Atoms, ...]

    @property
    def kept_heights(self) -> tuple[float, ...]:
        """Energies of `kept` above the relaxed start, eV/atom; NaN where that is unknown."""
        return tuple(_height(i, i.info.get("start_energy", np.nan)) for i in self.kept)


def gather(
    planned: PlannedTrajectory,
    folder: Path | None,
    reference: Reference,
    limits: Limits | None,
    *,
    keep_relaxation: bool,
    command: str,
) -> TrajectoryImages:
    """Take the images of a finished trajectory that belong into data sets.

    Parameters
    ----------
    planned
        The trajectory.
    folder
        Of its result; None where there is none.
    reference
        That labeled the images.
    limits
        Beyond which images are rejected.
    keep_relaxation
        Take the relaxation's images, too.
    command
        Who asks, for the provenance.
    """
    start = planned.start
    described: dict[str, Any] = {
        "builder": start.builder,
        "start": start.index,
        "parent": start.parent,
        "sampler": planned.name,
        "method": planned.sampler.method,
        "seed": planned.seed,
    }
    common = {**described, "set": "test" if start.test else "train"}
    if folder is None or planned.task is None:
        record = TrajectoryRecord(
            "", **common, status="failed", kind="structure", message=start.failure
        )
        return TrajectoryImages(record, (), (), ())
    outcome = read_outcome(folder)
    images = read_images(folder)
    provenance = {
        "trajectory": planned.task.key,
        **described,
        "command": command,
        "reference": reference.name,
        "reference_version": reference.version,
        "reference_id": reference.identity,
    }
    heights = tuple(
        _height(image, float(outcome.energy or 0.0))
        for image in images
        if image.info["phase"] == "sampling"
    )
    kept: list[Atoms] = []
    rejected: list[Atoms] = []
    for image in images:
        if not _is_wanted(image, planned.sampler.every, keep_relaxation=keep_relaxation):
            continue
        stored = as_stored(image)
        stored.calc = SinglePointCalculator(stored, **image.calc.results)
        stored.info = {**provenance, **stored.info}
        if outcome.energy is not None:
            stored.info["start_energy"] = outcome.energy
        reasons = [] if limits is None else limits.broken_by(image)
        if image.info["tag"] == "refused":
            reasons.append("refused by a guard")
        if reasons:
            stored.info["rejected"] = "; ".join(reasons)
        (rejected if reasons else kept).append(stored)
    record = TrajectoryRecord(
        planned.task.key,
        **common,
        **{name: value for name, value in vars(outcome).items() if name != "energy"},
        kept=len(kept),
        rejected=len(rejected),
        lowest=min(heights, default=None),
        highest=max(heights, default=None),
    )
    return TrajectoryImages(record, heights, tuple(kept), tuple(rejected))


def _is_wanted(image: Atoms, every: int, *, keep_relaxation: bool) -> bool:
    """Whether an image is of the data sets: the force calls every, 2 every, … of the sampling."""
    if image.info["phase"] == "relaxation":
        return keep_relaxation
    return int(image.info["call"]) % every == 0


def _height(image: Atoms, start_energy: float) -> float:
    """Potential energy of an image above that of its relaxed start, eV/atom."""
    return (consistent_energy(image) - start_energy) / len(image)
