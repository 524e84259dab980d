"""How closely contour exploration keeps its energy, and what a call costs, beside ASE's.

    python benchmarks/contour.py [--full] [--atoms 31,107,864] [--seeds 5] [--steps 200] [--json F]

Copper with one vacancy, EMT. Steady targets begin from random displacements that have the target's
energy, ramps and the jump from the relaxed crystal. Errors are those of the potential energy,
whatever comes after the first 15 steps (for the jump, after the 20 steps that follow it); ramps
count from the first step. Both codes make one force call per step and take steps of the length
that the angle limit allows; the mean length is printed beside the errors. CPU time per call is
that of the process, less what the calculator takes.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.md.contour_exploration import ContourExploration as AseContour
from ase.md.verlet import VelocityVerlet
from ase.optimize import FIRE
from rich.console import Console
from rich.progress import track
from rich.table import Table

from pescape.plugins.dynamics import ContourExploration
from pescape.plugins.dynamics.contour.walk import Constant, PerAtomAbove, Ramp, Schedule
from pescape.plugins.dynamics.guards import Guards

if TYPE_CHECKING:
    from collections.abc import Callable

    from ase import Atoms

CELLS = {31: 2, 107: 3, 864: 6}
DRIFT = 0.2
# Both codes get a step cap that leaves the angle limit in charge, Å per atom and root of atoms.
MAXSTEP = 1.0
JUMP_AT = 60
SKIP = 15


@dataclass(frozen=True)
class Errors:
    """Errors of the energy in one kind of run.

    Attributes
    ----------
    code, task, atoms, angle
        Which code, which target, how many atoms, which angle limit in degrees.
    rms, bias
        Errors, meV/atom.
    scale
        Energy that percentages refer to, meV/atom; 0 for ramps.
    length
        Mean length of a step, Å.
    calls
        Force calls per step.
    """

    code: str
    task: str
    atoms: int
    angle: float
    rms: float
    bias: float
    scale: float
    length: float
    calls: float


class Springs(Calculator):
    """Springs of different strength to fixed points; counts the time that it takes."""

    implemented_properties = ("energy", "free_energy", "forces")

    def __init__(self, start: np.ndarray, strength: np.ndarray) -> None:
        super().__init__()
        self.start, self.strength, self.spent = start, strength, 0.0

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: tuple[str, ...] = ("energy",),
        system_changes: list[str] = all_changes,
    ) -> None:
        """Compute energy and forces."""
        begin = time.thread_time()
        super().calculate(atoms, properties, system_changes)
        away = self.atoms.positions - self.start
        energy = 0.5 * float((self.strength * away * away).sum())
        forces = -self.strength * away
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}
        self.spent += time.thread_time() - begin


@cache
def relaxed(count: int) -> tuple[Atoms, float]:
    atoms = bulk("Cu", cubic=True) * CELLS[count]
    if count != 864:
        del atoms[0]
    atoms.calc = EMT()
    FIRE(atoms, logfile=None).run(fmax=0.01, steps=100)
    energy = atoms.get_potential_energy()
    atoms.calc = None
    return atoms, energy


def start_at(count: int, per_atom: float, seed: int) -> Atoms:
    """Return atoms displaced at random to a given energy above the relaxed crystal, eV/atom."""
    atoms = displaced(count, per_atom, seed).copy()
    atoms.calc = EMT()
    return atoms


@cache
def displaced(count: int, per_atom: float, seed: int) -> Atoms:
    reference, energy = relaxed(count)
    atoms = reference.copy()
    atoms.calc = EMT()
    direction = np.random.default_rng(seed).normal(size=(count, 3))
    low, high = 0.0, 0.6
    for _ in range(14):
        middle = 0.5 * (low + high)
        atoms.set_positions(reference.positions + middle * direction)
        above = atoms.get_potential_energy() - energy > per_atom * count
        low, high = (low, middle) if above else (middle, high)
    atoms.calc = None
    return atoms


def run_ours(
    atoms: Atoms, target: Callable[[int], float], angle: float, seed: int, steps: int
) -> tuple[np.ndarray, np.ndarray, float]:
    walk = ContourExploration(
        atoms,
        target,
        angle_limit=angle,
        maxstep=MAXSTEP,
        drift=DRIFT,
        seed=seed,
        guards=Guards(max_force=None),  # ASE has none, and random starts are crowded
    )
    energies, lengths = [], []
    for _ in walk.irun(steps):
        energies.append(walk.energy)
        lengths.append(walk.step_size)
    return np.array(energies), np.array(lengths[1:]), (walk.force_calls - 1) / walk.nsteps


def run_ase(
    atoms: Atoms, target: Callable[[int], float], angle: float, seed: int, steps: int
) -> tuple[np.ndarray, np.ndarray, float]:
    atoms.set_momenta(np.zeros((len(atoms), 3)))
    walk = AseContour(
        atoms,
        maxstep=MAXSTEP * np.sqrt(len(atoms)),
        parallel_drift=DRIFT,
        energy_target=target(0),
        angle_limit=angle,
        rng=np.random.RandomState(seed),
        logfile=None,
    )
    energies, lengths = [atoms.get_potential_energy()], []
    for step in range(1, steps + 1):
        walk.energy_target = target(step)
        walk.step()
        energies.append(atoms.get_potential_energy())
        lengths.append(walk.step_size)
    return np.array(energies), np.array(lengths), 1.0


CODES = {"ours": run_ours, "ASE": run_ase}


def measure(
    code: str, task: str, count: int, angle: float, seeds: int, steps: int, per_atom: float = 0.0
) -> Errors:
    """Run one task with several seeds."""
    errors, lengths, calls = [], [], []
    _, reference = relaxed(count)
    for seed in range(seeds):
        rng = np.random.default_rng([seed, count])
        skip = SKIP
        if task == "steady":
            atoms, plan = start_at(count, per_atom, seed), Constant(per_atom)
        elif task == "jump":
            atoms, skip = start_at(count, 0.05, seed), JUMP_AT + 20
            plan = Schedule((0, JUMP_AT, JUMP_AT), (0.05, 0.05, per_atom))
        else:
            first, last = (0.001, 1.0) if task == "ramp" else np.sort(rng.uniform(0.001, 1.0, 2))
            atoms, plan, skip = start_at(count, first, seed), Ramp(first, last, steps), 0
        target = PerAtomAbove(plan, reference, count)
        energies, sizes, per_step = CODES[code](atoms, target, angle, seed, steps)
        aims = np.array([target(step) for step in range(len(energies))])
        errors.append(1e3 * (energies - aims)[skip:] / count)
        lengths.append(sizes[skip:])
        calls.append(per_step)
    every = np.concatenate(errors)
    return Errors(
        code,
        f"{task} {per_atom:g}" if per_atom else task,
        count,
        angle,
        float(np.sqrt((every**2).mean())),
        float(every.mean()),
        1e3 * per_atom,
        float(np.concatenate(lengths).mean()),
        float(np.mean(calls)),
    )


def cpu_per_call(make: Callable[[Atoms], object], cells: int, rounds: int = 100) -> float:
    """Return the best CPU time per call of many short rounds, ms, without the calculator."""
    atoms = bulk("Cu", cubic=True) * cells
    strength = np.random.default_rng(0).uniform(2, 8, size=(len(atoms), 3))
    atoms.calc = Springs(atoms.get_positions(), strength)
    atoms.rattle(0.3, seed=1)
    run = make(atoms)
    run.run(20)
    best = np.inf
    for _ in range(rounds):
        atoms.calc.spent, begin = 0.0, time.thread_time()
        run.run(20)
        best = min(best, (time.thread_time() - begin - atoms.calc.spent) / 20)
    return 1e3 * float(best)


def costs() -> dict[str, dict[int, float]]:
    """Return CPU times per call, ms, by code and number of atoms."""
    makers = {
        "ours": lambda atoms: ContourExploration(atoms, maxstep=MAXSTEP, drift=DRIFT, seed=0),
        "ASE": lambda atoms: AseContour(
            atoms, maxstep=MAXSTEP * np.sqrt(len(atoms)), parallel_drift=DRIFT
        ),
        "velocity Verlet": lambda atoms: VelocityVerlet(atoms, 1e-3),
    }
    return {
        name: {4 * cells**3: cpu_per_call(make, cells) for cells in (3, 6, 10)}
        for name, make in makers.items()
    }


def tasks(counts: list[int], steps: int, *, full: bool) -> list[tuple[str, int, float, float, int]]:
    """Return what to measure: task, atoms, angle limit, eV/atom, steps."""
    found: list[tuple[str, int, float, float, int]] = []
    for count in counts:
        large = count == 864  # steps are dear there, and every one has many more atoms to average
        levels = (0.05, 0.1, 0.25, 0.5) if full and not large else (0.05, 0.5)
        short = min(steps, 60) if large else steps
        found += [("steady", count, a, e, short) for a in (20.0, 10.0) for e in levels]
        ramps = ("ramp",) if large else ("ramp", "random ramps")
        found += [(ramp, count, 20.0, 0.0, steps) for ramp in ramps]
        found.append(("jump", count, 20.0, 0.5, min(steps, 120) if large else steps))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="all sizes and energies (20 minutes)")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--atoms", help="some of 31,107,864; 31, or all with --full")
    options = parser.parse_args()
    default = "31,107,864" if options.full else "31"
    counts = [int(count) for count in (options.atoms or default).split(",")]
    console = Console()
    table = Table(box=None)
    for name in (
        "task",
        "atoms",
        "angle",
        "code",
        "rms",
        "bias",
        "rms/%",
        "bias/%",
        "step",
        "calls",
    ):
        table.add_column(name, no_wrap=True, justify="left" if name == "task" else "right")
    table.caption = "rms and bias: meV/atom, then % of the target; step: Å; calls: per step"
    rows = []
    planned = tasks(counts, options.steps, full=options.full)
    for task, count, angle, per_atom, steps in track(planned, console=Console(stderr=True)):
        for code in CODES:
            row = measure(code, task, count, angle, options.seeds, steps, per_atom)
            rows.append(row)
            share = [f"{100 * x / row.scale:.3f}" if row.scale else "" for x in (row.rms, row.bias)]
            table.add_row(
                row.task, str(count), f"{angle:g}°", code, f"{row.rms:.3f}", f"{row.bias:+.3f}",
                *share, f"{row.length:.3f}", f"{row.calls:.2f}",
            )  # fmt: skip
    console.print(table)
    cost = costs()
    table = Table("CPU ms per call, without the calculator", *map(str, cost["ours"]))
    for name, values in cost.items():
        table.add_row(name, *(f"{value:.3f}" for value in values.values()))
    console.print(table)
    if options.json:
        results = {"errors": [asdict(row) for row in rows], "cpu_ms": cost}
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
