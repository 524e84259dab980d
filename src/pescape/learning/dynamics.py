"""Molecular dynamics in LAMMPS under guard, as a task.

Contour exploration and saddle searches under guard, as tasks that take MD's place.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.io.lammpsdata import write_lammps_data

from pescape.calculators import MTP
from pescape.data.configurations import as_stored
from pescape.errors import TaskError
from pescape.files import write_text
from pescape.lammps_style.run import run_script
from pescape.sampling.config import ContourConfig, DimerConfig, RelaxationConfig
from pescape.sampling.recording import CallsSpentError
from pescape.sampling.trajectory import evolve, relax

if TYPE_CHECKING:
    from pathlib import Path

    from pescape.lammps_style.run import LammpsRun


_INPUT = """\
units           metal
atom_style      atomic
boundary        p p p
box             tilt large
read_data       start.data
pair_style      mtp
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
class Run:
    """One MD run under guard.

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


@dataclass(frozen=True)
class Outcome:
    """How a run went.

    Parameters
    ----------
    status
        ``"finished"``, ``"halted"`` by the guard, or ``"exploded"``.
    steps
        Made.
    largest_grade
        Met (of the saved configurations only, if the run exploded).
    saved
        Risky configurations saved.
    message
        What LAMMPS said when it exploded.
    """

    status: str
    steps: int
    largest_grade: float
    saved: int
    message: str = ""


def run_dynamics(folder: Path, run: Run, start: Atoms, potential: str) -> None:
    """Run MD in a folder: the function of an ``md`` task.

    Leaves the input, the log, ``risky.xyz`` if anything was risky, ``snapshots.xyz`` and
    ``outcome.json``.
    """
    write_lammps_data(
        folder / "start.data",
        start,
        specorder=list(run.elements),
        masses=True,
        atom_style="atomic",
        units="metal",
    )
    finished = run_script(folder, "in.md", _input(run, potential), run.ranks)
    outcome = _outcome(run, folder, finished)
    _keep_snapshots(folder, run)
    write_text(folder / "outcome.json", json.dumps(asdict(outcome), indent=1) + "\n")


def _input(run: Run, potential: str) -> str:
    velocity_seed, bath_seed = np.random.SeedSequence(run.seed).generate_state(2) % 900_000_000 + 1
    return _INPUT.format(
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


def _outcome(run: Run, folder: Path, finished: LammpsRun) -> Outcome:
    line = re.search(r"^pescape: step (\d+) grade (\S+) saved (\d+)", finished.log, re.MULTILINE)
    if finished.code == 0 and line:
        steps = int(line[1])
        status = "finished" if steps >= run.steps else "halted"
        return Outcome(status, steps, float(line[2]), int(line[3]))
    message = finished.message
    if finished.code <= 0 or not _EXPLODED.search(message):
        raise TaskError(
            f"LAMMPS failed ({run.name}, {run.temperature:g} K, exit code {finished.code}): "
            f"{message or 'without a message'}"
        )
    frames = _frames(folder / "risky.xyz")
    return Outcome(
        status="exploded",
        steps=int(frames[-1].info["step"]) if frames else 0,
        largest_grade=max((float(f.info["max_grade"]) for f in frames), default=0.0),
        saved=len(frames),
        message=message,
    )


def _frames(path: Path) -> list[Atoms]:
    if not path.exists() or path.stat().st_size == 0:
        return []
    return list(ase.io.read(path, ":", format="extxyz"))


def _keep_snapshots(folder: Path, run: Run) -> None:
    """Rewrite LAMMPS' dump as extxyz."""
    dump = folder / "snapshots.dump"
    frames: list[Atoms] = []
    if dump.exists() and dump.stat().st_size:
        elements = list(run.elements)
        frames = list(ase.io.read(dump, ":", format="lammps-dump-text", specorder=elements))
    if run.snapshots and len(frames) > 1:  # the first is where the run started
        ase.io.write(folder / "snapshots.xyz", frames[1:], format="extxyz")
    dump.unlink(missing_ok=True)


def outcome_of(folder: Path) -> Outcome:
    """Read how a finished run went."""
    return Outcome(**json.loads((folder / "outcome.json").read_text()))


def risky_of(folder: Path, most: int) -> list[Atoms]:
    """Read the risky configurations of a finished run.

    Parameters
    ----------
    folder
        Of the run.
    most
        If there are more, so many are kept, evenly in time, the last one among them.

    Returns
    -------
    list of Atoms
        With step, temperature and grade in ``info``.
    """
    frames = _frames(folder / "risky.xyz")
    if len(frames) > most:
        kept = np.linspace(len(frames) - 1, 0, most).round().astype(int)[::-1]
        frames = [frames[index] for index in kept]
    return [_stripped(frame, ("step", "temperature", "max_grade")) for frame in frames]


def lost_start_of(folder: Path) -> Atoms | None:
    """Read where a run began that exploded before anything risky was saved; else give None.

    The potential took the start for known and drove it apart all the same: it learns from
    nothing but the start itself.
    """
    start = folder / "start.data"
    outcome = outcome_of(folder)
    if outcome.status != "exploded" or outcome.saved or not start.exists():
        return None
    atoms = ase.io.read(start, format="lammps-data", atom_style="atomic", units="metal")
    new = _stripped(cast("Atoms", atoms), ())
    new.info["parent"] = f"md/{folder.name} step 0"
    return new


def snapshots_of(folder: Path) -> list[Atoms]:
    """Read the snapshots of a finished run."""
    return [_stripped(frame, ()) for frame in _frames(folder / "snapshots.xyz")]


def _stripped(atoms: Atoms, keys: tuple[str, ...]) -> Atoms:
    """Keep species, cell and positions, and the named entries of ``info``."""
    from ase import Atoms

    new = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    new.info = {key: atoms.info[key] for key in keys if key in atoms.info}
    return as_stored(new)


@dataclass(frozen=True)
class Exploration:
    """One run of a sampler under guard.

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

    def described(self) -> dict[str, Any]:
        """Give what a task's key is made of."""
        return {**vars(self), "sampler": self.sampler.model_dump(mode="json")}


class GuardedCalculator(Calculator):
    """A potential that looks at the grade of every so many images a sampler accepts.

    Parameters
    ----------
    potential
        File of a moment tensor potential with its active set.
    run
        What the guard is to do.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012 (ASE's)

    def __init__(self, potential: str, run: Exploration) -> None:
        super().__init__()
        self.risky: list[Atoms] = []
        self.images: list[Atoms] = []
        self.largest_grade = 0.0
        self.halted = False
        self._run = run
        self._potential = MTP(potential)
        self._left: int | None = None  # no limit before the sampling begins

    def sample(self, calls: int, tag: str) -> None:  # noqa: ARG002 (part of what samplers call)
        """Begin the sampling, of so many force calls."""
        self._left = calls

    def mark(self, tag: str) -> None:  # noqa: ARG002 (part of what samplers call)
        """Take the configuration computed last as an image; look at every so many."""
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
        """Evaluate the potential while calls are left."""
        super().calculate(atoms, properties, system_changes)
        if self._left is not None:
            if self._left == 0:
                raise CallsSpentError
            self._left -= 1
        assert atoms is not None
        self._potential.get_property("forces", atoms)
        self._potential.get_property("stress", atoms)
        self.results = dict(self._potential.results)


def run_exploration(folder: Path, run: Exploration, start: Atoms, potential: str) -> None:
    """Run a sampler in a folder: the function of an ``explore`` task.

    Leaves what MD leaves: ``risky.xyz`` if anything was risky, ``snapshots.xyz`` and
    ``outcome.json``.
    """
    atoms = start.copy()
    calculator = GuardedCalculator(potential, run)
    atoms.calc = calculator
    energy = relax(atoms, RelaxationConfig())  # type: ignore[call-arg]
    reason = evolve(atoms, calculator, run.sampler, run.seed, energy)
    if calculator.risky:
        ase.io.write(folder / "risky.xyz", calculator.risky, format="extxyz")
    kept = np.linspace(0, len(calculator.images) - 1, run.snapshots + 1).astype(int)[1:]
    shots = [calculator.images[index] for index in dict.fromkeys(kept.tolist()) if index >= 0]
    if shots:
        ase.io.write(folder / "snapshots.xyz", shots, format="extxyz")
    exploded = reason.kind in {"not_finite", "calculator"}
    outcome = Outcome(
        status="halted" if calculator.halted else "exploded" if exploded else "finished",
        steps=len(calculator.images),
        largest_grade=calculator.largest_grade,
        saved=len(calculator.risky),
        message=str(reason),
    )
    write_text(folder / "outcome.json", json.dumps(asdict(outcome), indent=1) + "\n")
