"""Contour exploration and saddle searches under guard, as tasks that take MD's place."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from pescape.calculators import MTP
from pescape.files import write_text
from pescape.learning.dynamics import Outcome
from pescape.sampling.config import ContourConfig, DimerConfig, RelaxationConfig
from pescape.sampling.evolve import evolve, relax
from pescape.sampling.recording import CallsSpentError

if TYPE_CHECKING:
    from pathlib import Path


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
