"""Contour exploration and saddle searches under guard, as tasks that take the place of MD."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from pescape.calculators import PotentialCalculator, load
from pescape.data.configurations import configuration_id
from pescape.files import fingerprint
from pescape.learning.outcomes import RISKY_FILE, SNAPSHOTS_FILE, MDOutcome
from pescape.sampling.config import ContourConfig, DimerConfig, RelaxationConfig
from pescape.sampling.recording import CallsSpentError
from pescape.sampling.trajectory import evolve, relax
from pescape.tasks.store import Task, task_kind

if TYPE_CHECKING:
    from pathlib import Path

    from pescape.fits.task import Fitted


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
