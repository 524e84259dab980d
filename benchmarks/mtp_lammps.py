"""What pair_style mtp costs: LAMMPS runs of 2000 atoms of hcp zirconium, and the ASE calculator.

    python benchmarks/mtp_lammps.py [--levels 8,16,20,26] [--rounds 5] [--json results.json]

Every ratio is the median over alternating runs, so that a machine that gets busy or slow spoils
both of its sides alike. Costs are wall time of the MD loop (neighbour lists, communication and
integration included) of one process with one thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase.build import bulk
from lammps_runs import GRADES, eam_file, lammps, zirconium
from rich.console import Console
from rich.table import Table

from pescape.calculators import MTP
from pescape.calculators.doptimality.active_set import ActiveSet
from pescape.calculators.mtp import MTPotential
from pescape.calculators.zbl import ZBL

if TYPE_CHECKING:
    from pescape.validation.properties.soundness.cost import Timing

CRYSTAL = zirconium((10, 10, 5))
CUTOFF, MIN_DIST, BASIS = 5.0, 2.0, 8
GRADED_LEVELS = (16, 26)
# Switched off below where atoms of the crystal come: what a repulsion costs that does not act.
REPULSION = ZBL(0.8, 1.8)
ASE_LEVEL = 16


def crystal_potential(level: int) -> MTPotential:
    """Make a potential that keeps the crystal together; what it costs depends on its level only."""
    potential = MTPotential.untrained(
        level=level,
        species=["Zr"],
        cutoff=CUTOFF,
        min_dist=MIN_DIST,
        radial_basis_size=BASIS,
    )
    rng = np.random.default_rng(level)
    r = np.linspace(2.4, CUTOFF, 200)
    xi = (2 * r - MIN_DIST - CUTOFF) / (CUTOFF - MIN_DIST)
    basis = np.cos(np.arange(BASIS) * np.arccos(xi)[:, None]) * (r[:, None] - CUTOFF) ** 2
    morse = 0.2 * (np.exp(-2.8 * (r - 3.2)) - 2 * np.exp(-1.4 * (r - 3.2)))
    radial = 0.01 * rng.normal(size=(1, 1, potential.radial_funcs_count, BASIS))
    radial[0, 0, 0] = np.linalg.lstsq(basis, morse, rcond=None)[0]
    moments = 1e-4 * rng.normal(size=len(potential.scalar_moments))
    isotropic = int(np.flatnonzero((potential.basic == 0).all(axis=1))[0])
    moments[list(potential.scalar_moments).index(isotropic)] = 1.0
    return replace(
        potential, radial_coeffs=radial, moment_coeffs=moments, species_coeffs=np.zeros(1)
    )


def write_potentials(folder: Path, levels: tuple[int, ...]) -> None:
    """Write each level with an active set; any invertible matrix will do for one that is timed."""
    for level in levels:
        potential = crystal_potential(level)
        identity = np.eye(potential.parameter_count)
        active = ActiveSet(matrix=identity, inverse=identity)
        potential.with_active_set(active).write(folder / f"{level}.almtp")
        potential.with_repulsion(REPULSION).write(folder / f"{level}_zbl.mtp")


@dataclass
class Level:
    """Results for one level; times in µs per atom and step, medians."""

    level: int
    parameters: int
    loop: float = 0.0
    pair: float = 0.0
    ratio: float = 0.0
    pair_ratio: float = 0.0
    repulsion_overhead: float = 0.0
    grade_overhead: float | None = None
    two_ranks: float | None = None


def measure(folder: Path, level: int, rounds: int, seconds: float) -> tuple[Level, list[Timing]]:
    """Alternate eam/fs, the potential, with a repulsion, with grades and on two ranks."""
    file = f"{level}.almtp"
    result = Level(level, MTPotential.read(folder / file).parameter_count)
    probe = lammps(folder, CRYSTAL, "mtp", file, 5)
    steps = max(20, 10 * round(seconds * 1e5 / (probe.loop * CRYSTAL.atoms)))
    eam_steps = max(20, 10 * round(seconds * 1e5 / (1.5 * CRYSTAL.atoms)))
    eam, mtp, repulsive, graded, pairs = [], [], [], [], []
    for _ in range(rounds):
        eam.append(lammps(folder, CRYSTAL, "eam/fs", str(eam_file()), eam_steps))
        mtp.append(lammps(folder, CRYSTAL, "mtp", file, steps))
        repulsive.append(lammps(folder, CRYSTAL, "mtp", f"{level}_zbl.mtp", steps))
        if level in GRADED_LEVELS:
            graded.append(lammps(folder, CRYSTAL, "mtp", file, steps, fix=GRADES))
        pairs.append(lammps(folder, CRYSTAL, "mtp", file, steps, ranks=2))
    median = statistics.median
    result.loop = median(t.loop for t in mtp)
    result.pair = median(t.pair for t in mtp)
    result.ratio = median(a.loop / b.loop for a, b in zip(mtp, eam, strict=True))
    result.pair_ratio = median(a.pair / b.pair for a, b in zip(mtp, eam, strict=True))
    result.repulsion_overhead = (
        median(a.loop / b.loop for a, b in zip(repulsive, mtp, strict=True)) - 1.0
    )
    if graded:
        result.grade_overhead = (
            median(a.loop / b.loop for a, b in zip(graded, mtp, strict=True)) - 1.0
        )
    result.two_ranks = median(a.pair / b.pair for a, b in zip(mtp, pairs, strict=True))
    return result, eam


def ase_times(folder: Path, rounds: int) -> dict[int, float]:
    """Time of one call for energy and forces in ms, by the number of atoms.

    Atoms move a little between calls, as in dynamics.
    """
    cells = {2: (1, 1, 1), 64: (4, 4, 2), 2000: (10, 10, 10)}
    times = {}
    for count, repeat in cells.items():
        atoms = bulk("Zr", "hcp", a=3.232, c=5.147) * repeat
        atoms.calc = MTP(folder / f"{ASE_LEVEL}.almtp", threads=1)
        rng = np.random.default_rng(0)
        shifts = 1e-3 * rng.normal(size=(10, *atoms.positions.shape))
        home = atoms.positions.copy()
        calls = max(3, 20000 // count)
        best = []
        for _ in range(rounds):
            start = time.perf_counter()
            for call in range(calls):
                atoms.positions = home + shifts[call % 10]
                atoms.get_forces()
            best.append((time.perf_counter() - start) / calls)
        times[count] = 1e3 * statistics.median(best)
    return times


def show(levels: list[Level], eam: float, ase: dict[int, float]) -> None:
    """Print the tables."""
    console = Console()
    console.print(
        "µs per atom and step, whole MD loop and pair style alone; what a repulsion adds of which"
        " no atom is in reach, and grades every 10 steps; how much faster the pair style is on two"
        " ranks"
    )
    table = Table(
        title=f"LAMMPS, {CRYSTAL.atoms} atoms of hcp Zr, {CUTOFF:g} Å, radial basis {BASIS}"
    )
    names = ("level", "params", "µs", "/ eam/fs", "pair µs", "/ eam/fs", "zbl", "grades", "2 ranks")
    for name in names:
        table.add_column(name, justify="right")
    table.add_row("eam/fs", "", f"{eam:.2f}", "1.00", "", "1.00", "", "", "")
    for r in levels:
        table.add_row(
            str(r.level),
            str(r.parameters),
            f"{r.loop:.2f}",
            f"{r.ratio:.2f}",
            f"{r.pair:.2f}",
            f"{r.pair_ratio:.2f}",
            f"{100 * r.repulsion_overhead:+.1f} %",
            "" if r.grade_overhead is None else f"{100 * r.grade_overhead:+.1f} %",
            f"{r.two_ranks:.2f}×",
        )
    console.print(table)
    table = Table(title=f"ASE calculator, level {ASE_LEVEL}, energy and forces, one thread")
    for name in ("atoms", "ms per call", "µs per atom"):
        table.add_column(name, justify="right")
    for count, milliseconds in ase.items():
        table.add_row(str(count), f"{milliseconds:.3f}", f"{1e3 * milliseconds / count:.2f}")
    console.print(table)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--levels", default="8,16,20,26")
    parser.add_argument("--rounds", type=int, default=5, help="alternating runs of each kind")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of each run")
    parser.add_argument("--json", type=Path, help="also write the results here")
    options = parser.parse_args()
    levels = tuple(int(level) for level in options.levels.split(","))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_potentials(folder, tuple({*levels, ASE_LEVEL}))
        results, eam = [], []
        for level in levels:
            result, reference = measure(folder, level, options.rounds, options.seconds)
            results.append(result)
            eam += reference
        ase = ase_times(folder, options.rounds)
    cost = statistics.median(t.loop for t in eam)
    show(results, cost, ase)
    if options.json:
        record = {
            "eam_fs": cost,
            "levels": [asdict(result) for result in results],
            "ase_ms_per_call": ase,
        }
        options.json.write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
