"""Choosing an active set among many environments: swaps in blocks against swaps one by one.

    python benchmarks/maxvol.py DATA.xyz [--levels 16,20] [--candidates 100000] [--one-by-one]

Environments are those of the configurations in DATA, shaken until there are enough of them, seen
by moment tensor potentials with random parameters. CPU seconds; set OMP_NUM_THREADS=1 and
OPENBLAS_NUM_THREADS=1. With --one-by-one the same rows are chosen among by rank-1 updates of the
inverse and of blocks of rows after every single swap, the textbook's way. "x products" is in units
of the product of all rows with a square matrix, of which every pass over the rows takes one.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg.blas import dger
from timing import seconds

from pescape.calculators.doptimality.active_set import gradient_rows
from pescape.calculators.doptimality.maxvol import EMPTY, SWAP_THRESHOLD, maxvol
from pescape.calculators.mtp import MTPotential
from pescape.data.configurations import read_configurations, species_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms


def shaken_rows(potential: MTPotential, frames: Sequence[Atoms], count: int) -> np.ndarray:
    """Rows (count, parameters) of the environments of shaken configurations."""
    rng = np.random.default_rng(1)
    rows: list[np.ndarray] = []
    made = 0
    for frame in itertools.cycle(frames):
        atoms = frame.copy()
        atoms.positions += rng.normal(scale=0.1, size=atoms.positions.shape)
        rows.append(gradient_rows(potential, [atoms])[0])
        made += len(atoms)
        if made >= count:
            break
    return np.concatenate(rows)[:count]


def one_by_one(rows: np.ndarray) -> tuple[np.ndarray, int]:
    """Swap rows in one at a time; give the matrix and the number of passes."""
    size = rows.shape[1]
    matrix, inverse = np.eye(size) * EMPTY, np.eye(size) / EMPTY
    step = max(64, 400_000 // size)
    passes, since = 0, 0
    while True:
        swaps = 0
        for first in range(0, len(rows), step):
            part = rows[first : first + step]
            b = part @ inverse
            while True:
                row, slot = divmod(int(np.abs(b).argmax()), size)
                if not abs(b[row, slot]) > SWAP_THRESHOLD:
                    break
                direction = b[row].copy()
                pivot = direction[slot]
                direction[slot] -= 1.0
                dger(-1.0, direction, inverse[:, slot] / pivot, a=inverse.T, overwrite_a=1)
                dger(-1.0, direction, b[:, slot] / pivot, a=b.T, overwrite_a=1)
                matrix[slot] = part[row]
                swaps, since = swaps + 1, since + 1
                if since >= max(size, 64):
                    inverse, since = _inverse(matrix), 0
                    b = part @ inverse
        passes += 1
        if not swaps:
            return matrix, passes
        inverse, since = _inverse(matrix), 0


def _inverse(matrix: np.ndarray) -> np.ndarray:
    scale = np.abs(matrix).max(axis=0)
    return np.ascontiguousarray(np.linalg.inv(matrix / scale) / scale[:, None])


def measure(frames: Sequence[Atoms], level: int, cutoff: float, count: int, plain: bool) -> None:
    """Print what one level takes."""
    untrained = MTPotential.untrained(level, species_of(frames), cutoff, 2.0, 8)
    rows = shaken_rows(untrained.randomized(seed=1), frames, count)
    square = np.eye(rows.shape[1])
    product = seconds(lambda: rows @ square, 3)
    found: list[np.ndarray] = []
    swaps: list[int] = []
    blocked = seconds(lambda: found.append(maxvol(rows, progress=swaps.append)[0]), 1)
    print(
        f"level {level}, {rows.shape[1]} parameters, {len(rows)} environments: {blocked:.2f} s = "
        f"{blocked / product:.1f} x products, {swaps[-1]} swaps, "
        f"log volume {np.linalg.slogdet(found[0])[1]:.1f}",
        flush=True,
    )
    if plain:
        simple: list[tuple[np.ndarray, int]] = []
        taken = seconds(lambda: simple.append(one_by_one(rows)), 1)
        matrix, passes = simple[0]
        print(
            f"  one by one: {taken:.2f} s = {taken / blocked:.1f} x in blocks, {passes} passes, "
            f"log volume {np.linalg.slogdet(matrix)[1]:.1f}",
            flush=True,
        )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--levels", default="16,20")
    parser.add_argument("--cutoff", type=float, default=5.0, help="Å")
    parser.add_argument("--candidates", type=int, default=100_000)
    parser.add_argument("--one-by-one", action="store_true")
    given = parser.parse_args()
    frames = read_configurations(given.data)
    for level in map(int, given.levels.split(",")):
        measure(frames, level, given.cutoff, given.candidates, given.one_by_one)


if __name__ == "__main__":
    main()
