"""What pair_style bpnn costs: LAMMPS runs of 1500 atoms of fluorite zirconia.

    python benchmarks/bpnn_lammps.py [--rounds 5] [--seconds 2] [--json results.json]

The network has the 136 symmetry functions of Waters & Rondinelli, once with their ζ and once with
whole numbers in their place, and one hidden layer of 8. Ratios are to `eam/fs` of as many atoms of
zirconium, medians over alternating runs. Times are CPU times of the MD loop (neighbour lists
every ten steps, communication and integration included) of one thread, so that other processes on
the machine spoil them little; what two ranks gain is wall time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from lammps_runs import GRADES, System, eam_file, lammps, zirconium
from rich.console import Console
from rich.table import Table

from pescape.calculators.bpnn import BPNNPotential, waters_rondinelli_functions
from pescape.calculators.doptimality.active_set import ActiveSet

CUTOFF = 7.0
METAL = zirconium((15, 5, 5))
ZIRCONIA = System(
    """
units metal
lattice custom 5.15 a1 1 0 0 a2 0 1 0 a3 0 0 1 &
    basis 0 0 0 basis 0.5 0.5 0 basis 0.5 0 0.5 basis 0 0.5 0.5 &
    basis 0.25 0.25 0.25 basis 0.75 0.25 0.25 basis 0.25 0.75 0.25 basis 0.25 0.25 0.75 &
    basis 0.75 0.75 0.25 basis 0.75 0.25 0.75 basis 0.25 0.75 0.75 basis 0.75 0.75 0.75
region box block 0 5 0 5 0 5
create_box 2 box
create_atoms 1 box &
    basis 5 2 basis 6 2 basis 7 2 basis 8 2 basis 9 2 basis 10 2 basis 11 2 basis 12 2
mass 1 91.224
mass 2 15.999""",
    1500,
    "Zr O",
)
LISTS = "neigh_modify every 10 delay 0 check no"
WHOLE = {2.154: 2.0, 4.642: 4.0}
KINDS = {"paper": "the paper's ζ", "whole": "whole ζ"}


def network(*, whole: bool) -> BPNNPotential:
    """Make a network of the paper's size, so weak that atoms fly freely for the short runs.

    What it costs depends on its size only. Any invertible matrix will do for an active set that
    is timed.
    """
    species = ["Zr", "O"]
    functions = waters_rondinelli_functions(species, CUTOFF)
    if whole:
        functions = [replace(f, zeta=WHOLE.get(f.zeta, f.zeta)) for f in functions]
    potential = BPNNPotential.untrained(species, functions).randomized(seed=1)
    potential = potential.with_output(slope=dict.fromkeys(species, 1e-6))
    identity = np.eye(potential.active_size("inputs"))
    active = ActiveSet(matrix=identity, inverse=identity, leverage=identity)
    return potential.with_active_set(active, "inputs")


@dataclass(frozen=True)
class Result:
    """Medians; times in CPU µs per atom and step, of one rank unless told otherwise.

    Attributes
    ----------
    kind
        Which exponents ζ.
    loop, pair, neigh
        The MD loop, and what of it the pair style and the neighbour lists take.
    ratio
        Loop of this over loop of eam/fs.
    grade_overhead
        What grades every ten steps add, as a fraction.
    two_ranks
        How much faster the loop is on two ranks, in wall time.
    """

    kind: str
    loop: float
    pair: float
    neigh: float
    ratio: float
    grade_overhead: float
    two_ranks: float


def measure(folder: Path, rounds: int, seconds: float) -> tuple[list[Result], float]:
    """Alternate eam/fs and the networks, with grades and on two ranks."""
    median = statistics.median
    steps = 10 * max(2, round(seconds * 1e5 / (150 * ZIRCONIA.atoms)))
    eam_steps = 10 * max(2, round(seconds * 1e5 / (1.5 * METAL.atoms)))
    eam, runs = [], {kind: ([], [], []) for kind in KINDS}
    for _ in range(rounds):
        eam.append(lammps(folder, METAL, "eam/fs", str(eam_file()), eam_steps, fix=LISTS))
        for kind, (alone, graded, pairs) in runs.items():
            file = f"{kind}.bpnn"
            alone.append(lammps(folder, ZIRCONIA, "bpnn", file, steps, fix=LISTS))
            fix = f"{LISTS}\n{GRADES}"
            graded.append(lammps(folder, ZIRCONIA, "bpnn", file, steps, fix=fix))
            pairs.append(lammps(folder, ZIRCONIA, "bpnn", file, steps, fix=LISTS, ranks=2))
    results = [
        Result(
            kind=KINDS[kind],
            loop=median(t.cpu for t in alone),
            pair=median(t.pair * t.cpu / t.loop for t in alone),
            neigh=median(t.neigh * t.cpu / t.loop for t in alone),
            ratio=median(a.cpu / b.cpu for a, b in zip(alone, eam, strict=True)),
            grade_overhead=median(a.cpu / b.cpu for a, b in zip(graded, alone, strict=True)) - 1.0,
            two_ranks=median(a.loop / b.loop for a, b in zip(alone, pairs, strict=True)),
        )
        for kind, (alone, graded, pairs) in runs.items()
    ]
    return results, median(t.cpu for t in eam)


def show(results: list[Result], eam: float) -> None:
    """Print the table."""
    console = Console()
    console.print(
        "CPU µs per atom and step: whole MD loop, pair style, neighbour lists; what grades every "
        "10 steps add; how much faster two ranks are (wall time)"
    )
    table = Table(title=f"LAMMPS, {ZIRCONIA.atoms} atoms of fluorite ZrO2, {CUTOFF:g} Å, 136-8-1")
    for name in ("", "µs", "/ eam/fs", "pair µs", "lists µs", "grades", "2 ranks"):
        table.add_column(name, justify="right")
    table.add_row("eam/fs (Zr)", f"{eam:.2f}", "1.0", "", "", "", "")
    for r in results:
        table.add_row(
            r.kind,
            f"{r.loop:.1f}",
            f"{r.ratio:.1f}",
            f"{r.pair:.1f}",
            f"{r.neigh:.2f}",
            f"{100 * r.grade_overhead:+.1f} %",
            f"{r.two_ranks:.2f}×",
        )
    console.print(table)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="alternating runs of each kind")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of each run")
    parser.add_argument("--json", type=Path, help="also write the results here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind in KINDS:
            network(whole=kind == "whole").write(folder / f"{kind}.bpnn")
        results, eam = measure(folder, options.rounds, options.seconds)
    show(results, eam)
    if options.json:
        record = {"eam_fs": eam, "networks": [asdict(result) for result in results]}
        options.json.write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
