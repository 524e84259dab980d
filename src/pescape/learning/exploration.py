"""Exploration under guard, as tasks: MD in LAMMPS, contours and saddle searches in ASE."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.io.lammpsdata import write_lammps_data

from pescape.calculators import PotentialCalculator, load
from pescape.calculators.potential import potential_kind
from pescape.data.configurations import configuration_id
from pescape.errors import TaskError
from pescape.files import fingerprint
from pescape.lammps_style.launcher import run_script
from pescape.learning.outcomes import (
    RISKY_FILE,
    SNAPSHOTS_FILE,
    START_FILE,
    MDOutcome,
    risky_frames,
)
from pescape.sampling.config import ContourConfig, DimerConfig, RelaxationConfig
from pescape.sampling.recording import CallsSpentError
from pescape.sampling.trajectory import evolve, relax
from pescape.tasks.store import Task, task_kind

if TYPE_CHECKING:
    from pathlib import Path

    from pescape.fits.task import Fitted
    from pescape.lammps_style.launcher import LammpsRun


_MD = task_kind("md")
_INPUT = """\
units           metal
atom_style      atomic
boundary        p p p
box             tilt large
read_data       start.data
pair_style      {style}
pair_coeff      * * "{potential}" {elements}
timestep        {timestep:.6g}
neigh_modify    every 1 delay 0 check yes
variable        T equal {temperature:.6g}
velocity        all create $T {velocity_seed} mom yes dist gaussian
fix             move all nve
fix             bath all langevin $T $T {damping:.6g} {bath_seed} zero yes
fix             guard all extrapolation {every} select {select} break {stop} &
                file risky.xyz halt soft
thermo          {thermo}
thermo_style    custom step temp pe press f_guard f_guard[1] f_guard[2]
dump            shots all custom {between} snapshots.dump id type x y z
dump_modify     shots sort id first no format float %.8f
run             {steps}
print           "pescape: step $(step) grade $(f_guard[1]:%.10g) saved $(f_guard[2]:%.0f)"
"""

# What LAMMPS says when the atoms have flown apart: an outcome, not a fault of ours.
_EXPLODED = re.compile(
    r"lost atoms|of 0 atoms|non-numeric|not finite|\bnan\b|out of range|too far|missing",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class MDRun:
    """One MD run under guard; the names of the fields are part of the task's key.

    Parameters
    ----------
    name
        Of its crystal, for people.
    temperature
        K.
    steps, timestep, damping
        Number; ps; ps.
    every, select, stop
        Of ``fix extrapolation``.
    snapshots
        How many to keep.
    elements
        The potential's species, in the order of the atom types.
    seed
        Of velocities and thermostat.
    ranks
        MPI ranks; the thermostat's random numbers depend on them.
    """

    name: str
    temperature: float
    steps: int
    timestep: float
    damping: float
    every: int
    select: float
    stop: float
    snapshots: int
    elements: tuple[str, ...]
    seed: int
    ranks: int = 1


def dynamics_task(run: MDRun, start: Atoms, potential: Fitted) -> Task:
    """Make the task of an MD run.

    Parameters
    ----------
    run
        Its settings.
    start
        Where it begins.
    potential
        What drives and guards it; its file holds an active set.
    """
    key = fingerprint(dataclasses.asdict(run), configuration_id(start), potential.digest)
    arguments = run, start, str(potential.path)
    return Task(_MD, key, run_dynamics, arguments, cores=run.ranks)


def run_dynamics(folder: Path, run: MDRun, start: Atoms, potential: str) -> None:
    """Run MD in a folder: what an ``md`` task does.

    Leaves the input, the log, ``risky.xyz`` if anything was risky, ``snapshots.xyz`` and
    ``outcome.json``.

    Parameters
    ----------
    folder
        An empty one.
    run
        The settings.
    start
        Where it begins.
    potential
        Path of a potential with its active set.

    Raises
    ------
    TaskError
        LAMMPS failed for another reason than that the atoms flew apart.
    """
    write_lammps_data(
        folder / START_FILE,
        start,
        specorder=list(run.elements),
        masses=True,
        atom_style="atomic",
        units="metal",
    )
    finished = run_script(folder, "in.md", _input(run, potential), run.ranks)
    outcome = _outcome(run, folder, finished)
    _keep_snapshots(folder, run)
    outcome.write(folder)


def _input(run: MDRun, potential: str) -> str:
    velocity_seed, bath_seed = np.random.SeedSequence(run.seed).generate_state(2) % 900_000_000 + 1
    return _INPUT.format(
        style=potential_kind(potential),
        potential=potential,
        elements=" ".join(run.elements),
        timestep=run.timestep,
        temperature=run.temperature,
        velocity_seed=velocity_seed,
        bath_seed=bath_seed,
        damping=run.damping,
        every=run.every,
        select=run.select,
        stop=run.stop,
        thermo=max(run.steps // 10, 1),
        between=max(run.steps // max(run.snapshots, 1), 1),
        steps=run.steps,
    )


def _outcome(run: MDRun, folder: Path, finished: LammpsRun) -> MDOutcome:
    line = re.search(r"^pescape: step (\d+) grade (\S+) saved (\d+)", finished.log, re.MULTILINE)
    if finished.code == 0 and line:
        steps = int(line[1])
        status = "finished" if steps >= run.steps else "halted"
        return MDOutcome(status, steps, float(line[2]), int(line[3]))
    message = finished.message
    if finished.code <= 0 or not _EXPLODED.search(message):
        raise TaskError(
            f"LAMMPS failed ({run.name}, {run.temperature:g} K, exit code {finished.code}): "
            f"{message or 'without a message'}"
        )
    frames = risky_frames(folder)
    return MDOutcome(
        status="exploded",
        steps=int(frames[-1].info["step"]) if frames else 0,
        largest_grade=max((float(f.info["max_grade"]) for f in frames), default=0.0),
        saved=len(frames),
        message=message,
    )


def _keep_snapshots(folder: Path, run: MDRun) -> None:
    """Rewrite LAMMPS' dump as extxyz."""
    dump = folder / "snapshots.dump"
    frames: list[Atoms] = []
    if dump.exists() and dump.stat().st_size:
        elements = list(run.elements)
        frames = list(ase.io.read(dump, ":", format="lammps-dump-text", specorder=elements))
    if run.snapshots and len(frames) > 1:  # the first is where the run started
        ase.io.write(folder / SNAPSHOTS_FILE, frames[1:], format="extxyz")
    dump.unlink(missing_ok=True)


_EXPLORE = task_kind("explore")


@dataclass(frozen=True)
class ExplorationRun:
    """One run of a sampler under guard; the names of the fields are part of the task's key.

    Parameters
    ----------
    name
        Of its start, for people.
    sampler
        Its settings.
    every, select, stop
        Of the guard; `every` counts accepted images.
    snapshots
        How many to keep.
    seed
        Of the sampler.
    """

    name: str
    sampler: ContourConfig | DimerConfig
    every: int
    select: float
    stop: float
    snapshots: int
    seed: int


def exploration_task(run: ExplorationRun, start: Atoms, potential: Fitted) -> Task:
    """Make the task of a sampler's run.

    Parameters
    ----------
    run
        Its settings.
    start
        Where it begins.
    potential
        What drives and guards it; its file holds an active set.
    """
    described = {**vars(run), "sampler": run.sampler.model_dump(mode="json")}
    key = fingerprint(described, configuration_id(start), potential.digest)
    return Task(_EXPLORE, key, run_exploration, (run, start, str(potential.path)))


class _GuardedCalculator(Calculator):
    """A potential that looks at the grade of every so many images a sampler accepts.

    Parameters
    ----------
    potential
        File of a potential with its active set.
    run
        What the guard is to do.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012 (ASE's)

    def __init__(self, potential: str, run: ExplorationRun) -> None:
        super().__init__()
        self.risky: list[Atoms] = []
        self.images: list[Atoms] = []
        self.largest_grade = 0.0
        self.halted = False
        self._run = run
        self._potential = PotentialCalculator(load(potential))
        self._left: int | None = None  # no limit before the sampling begins

    def sample(self, calls: int, tag: str) -> None:  # noqa: ARG002 (part of what samplers call)
        """Begin the sampling, of so many force calls.

        Parameters
        ----------
        calls
            So many.
        tag
            Of no meaning here.
        """
        self._left = calls

    def mark(self, tag: str) -> None:  # noqa: ARG002 (part of what samplers call)
        """Take the configuration computed last as an image; look at every so many.

        Parameters
        ----------
        tag
            Of no meaning here.
        """
        image = Atoms(
            self.atoms.numbers,
            positions=self.atoms.positions,
            cell=self.atoms.cell,
            pbc=self.atoms.pbc,
        )
        self.images.append(image)
        if (len(self.images) - 1) % self._run.every:
            return
        grade = float(self._potential.get_property("extrapolation_grade", image))
        self.largest_grade = max(self.largest_grade, grade)
        if grade > self._run.select:
            image.info = {"step": len(self.images) - 1, "max_grade": grade}
            self.risky.append(image)
        if not grade <= self._run.stop:
            self.halted = True
            raise CallsSpentError

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Evaluate the potential while calls are left.

        Parameters
        ----------
        atoms, properties, system_changes
            As ASE passes them.
        """
        super().calculate(atoms, properties, system_changes)
        if self._left is not None:
            if self._left == 0:
                raise CallsSpentError
            self._left -= 1
        assert atoms is not None
        self._potential.get_property("forces", atoms)
        self._potential.get_property("stress", atoms)
        self.results = dict(self._potential.results)


def run_exploration(folder: Path, run: ExplorationRun, start: Atoms, potential: str) -> None:
    """Run a sampler in a folder: what an ``explore`` task does.

    Leaves what MD leaves: ``risky.xyz`` if anything was risky, ``snapshots.xyz`` and
    ``outcome.json``.

    Parameters
    ----------
    folder
        An empty one.
    run
        The settings.
    start
        Where it begins.
    potential
        Path of a potential with its active set.
    """
    atoms = start.copy()
    calculator = _GuardedCalculator(potential, run)
    atoms.calc = calculator
    energy = relax(atoms, RelaxationConfig())
    reason = evolve(atoms, calculator, run.sampler, run.seed, energy)
    if calculator.risky:
        ase.io.write(folder / RISKY_FILE, calculator.risky, format="extxyz")
    kept = np.linspace(0, len(calculator.images) - 1, run.snapshots + 1).astype(int)[1:]
    shots = [calculator.images[index] for index in dict.fromkeys(kept.tolist()) if index >= 0]
    if shots:
        ase.io.write(folder / SNAPSHOTS_FILE, shots, format="extxyz")
    exploded = reason.kind in {"not_finite", "calculator"}
    outcome = MDOutcome(
        status="halted" if calculator.halted else "exploded" if exploded else "finished",
        steps=len(calculator.images),
        largest_grade=calculator.largest_grade,
        saved=len(calculator.risky),
        message=str(reason),
    )
    outcome.write(folder)
