"""Fitting moment tensor potentials: seconds for a gradient of the loss, and for MaxVol.

    python benchmarks/mtp_fit.py FOLDER [--element Mo] [--levels 8,16,20] [--candidates 100000]

FOLDER holds ``Mo_train.extxyz`` and so on: the data of Zuo et al., J. Phys. Chem. A 124, 731
(2020), github.com/materialsvirtuallab/mlearn. CPU seconds; set OMP_NUM_THREADS=1. A gradient is
that of the whole loss (energies, forces, stresses of all configurations) by all parameters; its
ratio is to energies and forces alone, from the same kernel.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from timing import seconds

from pescape.calculators.activeset import gradient_rows
from pescape.calculators.fitting.data import training_set
from pescape.calculators.fitting.loss import Weights, residuals
from pescape.calculators.maxvol import maxvol
from pescape.calculators.mtp import MTPotential
from pescape.calculators.mtp.fit.gradient import loss_and_gradient
from pescape.dataset import read_configurations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

#: Others on molybdenum, one core of an AMD EPYC with AVX-512: CPU seconds for one iteration.
PEERS = {"MLIP-2": {8: 0.85, 16: 10.0}, "motep": {8: 0.55, 16: 7.2}}


def untrained(level: int, element: str, cutoff: float) -> MTPotential:
    """Make a potential with random parameters."""
    potential = MTPotential.untrained(
        level=level, species=[element], cutoff=cutoff, min_dist=2.0, radial_basis_size=8
    )
    return potential.randomized(seed=1)


def measure_gradients(
    frames: Sequence[Atoms], element: str, levels: Sequence[int], cutoff: float
) -> None:
    """Print what an iteration of the fit takes."""
    data = training_set(frames, [element], cutoff)
    atoms = len(data.positions)
    print(
        f"{element}: {len(data)} configurations, {atoms} atoms, "
        f"{len(data.indices) / atoms:.0f} neighbours within {cutoff:g} Å"
    )
    for level in levels:
        potential = untrained(level, element, cutoff)
        gradient = seconds(lambda p=potential: loss_and_gradient(p, data, Weights()))
        plain = seconds(lambda p=potential: residuals(p, data))
        peers = ", ".join(
            f"{name} {found[level]:g} s" for name, found in PEERS.items() if level in found
        )
        print(
            f"  level {level}, {potential.parameter_count} parameters: loss and gradient "
            f"{gradient:.3f} s = {gradient / plain:.1f} x energies and forces"
            + (f"; {peers} (Mo, measured beforehand)" if peers else "")
        )


def measure_maxvol(
    frames: Sequence[Atoms], element: str, level: int, cutoff: float, candidates: int
) -> None:
    """Print what choosing an active set among many environments takes."""
    potential = untrained(level, element, cutoff)
    rng = np.random.default_rng(1)
    rows: list[np.ndarray] = []
    start = time.process_time()
    while sum(map(len, rows)) < candidates:
        moved = []
        for frame in frames:
            atoms = frame.copy()
            atoms.positions += rng.normal(scale=0.1, size=atoms.positions.shape)
            moved.append(atoms)
        rows.append(gradient_rows(potential, moved)[0])
    described = time.process_time() - start
    table = np.concatenate(rows)[:candidates]
    chosen = seconds(lambda: maxvol(table), 1)
    product = seconds(lambda: table @ np.eye(table.shape[1]), 3)
    print(
        f"level {level}: rows of {len(table)} environments {described:.1f} s, MaxVol "
        f"{chosen:.1f} s = {chosen / product:.0f} x one product of the rows with a square matrix"
    )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--element", default="Mo")
    parser.add_argument("--levels", default="8,16,20")
    parser.add_argument("--cutoff", type=float, default=5.0, help="Å")
    parser.add_argument("--candidates", type=int, default=100_000)
    given = parser.parse_args()
    frames = read_configurations(given.folder / f"{given.element}_train.extxyz")
    levels = [int(level) for level in given.levels.split(",")]
    measure_gradients(frames, given.element, levels, given.cutoff)
    measure_maxvol(frames, given.element, 16, given.cutoff, given.candidates)


if __name__ == "__main__":
    main()
