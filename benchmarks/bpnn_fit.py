"""Fitting Behler-Parrinello networks: seconds for each part, and the errors reached.

    python benchmarks/bpnn_fit.py FOLDER [--elements Mo] [--hidden 8,8] [--cutoff 4.8] [--fit]

FOLDER holds ``Mo_train.extxyz``, ``Mo_test.extxyz`` and so on: the data of Zuo et al., J. Phys.
Chem. A 124, 731 (2020), github.com/materialsvirtuallab/mlearn. CPU seconds; set OMP_NUM_THREADS=1.
The ratio is to what NumPy takes for the two products with all derivatives that energies and
forces and their gradient cannot do without. ``--fit`` makes whole fits, too.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from timing import seconds

from pescape.calculators.bpnn import BPNNPotential
from pescape.calculators.bpnn.fit import FitSettings, default_functions, evaluate, fit_bpnn
from pescape.calculators.bpnn.fit.features import CacheSettings, features
from pescape.calculators.bpnn.fit.least_squares import LeastSquares
from pescape.calculators.bpnn.fit.model import Model, batches
from pescape.calculators.bpnn.fit.prepare import row_factors, starting_point
from pescape.calculators.fit.data import training_set
from pescape.calculators.fit.errors import stated
from pescape.data.configurations import read_configurations

if TYPE_CHECKING:
    from collections.abc import Callable

    from pescape.calculators.bpnn.fit.features import Features

#: Others on the same data, 24 functions, 8-8 nodes, one core of an AMD EPYC with AVX-512: CPU
#: seconds for a pass through the data and its gradient, ms/atom for functions and derivatives.
PEERS = {
    "n2p2, Kalman": (3.56, None),
    "SIMPLE-NN, Adam": (0.8, 0.33),
    "Amp, BFGS": (3.8, 65.0),
}


def least_work(table: Features) -> Callable[[], object]:
    """NumPy's products of all derivatives with dE/dG, and back: (m, 3, D) (D,), (3,) (m, 3, D)."""
    rng = np.random.default_rng(0)
    tables = [one.derivatives for one in table.tables]
    vectors = [rng.normal(size=(len(one), one.shape[2], 1)) for one in tables]
    pulls = [rng.normal(size=(len(one), 1, 3)) for one in tables]

    def run() -> None:
        for one, vector, pull in zip(tables, vectors, pulls, strict=True):
            np.matmul(one, vector)
            np.matmul(pull, one)

    return run


def measure(element: str, frames: list[Any], start: BPNNPotential) -> None:
    """Print seconds for each part."""
    data = training_set(frames, start.species, start.cutoff)
    settings = FitSettings()
    print(
        f"{element}: {len(data)} configurations, {len(data.positions)} atoms, "
        f"{len(data.indices) / len(data.positions):.0f} neighbors within {start.cutoff:g} Å"
    )
    for precision in ("double", "single"):
        stored = CacheSettings(precision=precision)  # type: ignore[arg-type]
        cpu = seconds(lambda s=stored: features(start, data, s), 3)
        found = features(start, data, stored)
        model = Model.of(starting_point(start, data, found, settings, np.random.SeedSequence(0)))
        scales = row_factors(data, settings)
        problem = LeastSquares(model, batches(data, found), scales, np.zeros(model.size))
        theta = model.theta()
        gradient = seconds(lambda p=problem, t=theta: p.value_and_gradient(t))
        newton = seconds(lambda p=problem, t=theta: p.gauss_newton(t), 3)
        baseline = seconds(least_work(found))
        print(
            f"  {precision}: functions and derivatives {1000 * cpu / len(data.positions):.3f} "
            f"ms/atom ({found.size / 1e6:.0f} MB); {model.size} parameters: loss and gradient "
            f"{gradient:.3f} s = {gradient / baseline:.1f} x NumPy's products ({baseline:.3f} s); "
            f"Gauss-Newton matrix {newton:.2f} s"
        )


def fit(element: str, frames: list[Any], tests: list[Any], start: BPNNPotential) -> None:
    """Make a whole fit and print its errors."""
    begin = time.process_time()
    result = fit_bpnn(start, frames, FitSettings(device="cpu"))
    cpu = time.process_time() - begin
    errors = {"train": result.errors, "test": evaluate(result.potential, tests)}
    shown = "; ".join(
        f"{name} {stated(one, 'energy_rmse')} meV/atom, {stated(one, 'force_rmse')} eV/Å, "
        f"MAE {stated(one, 'energy_mae')}, {stated(one, 'force_mae')}"
        for name, one in errors.items()
    )
    print(f"  {element} fit: {result.iterations} iterations, {cpu:.0f} CPU s; RMSE {shown}")


def main() -> None:
    """Measure each element."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--elements", default="Mo")
    parser.add_argument("--hidden", default="8,8")
    parser.add_argument("--cutoff", type=float, default=4.8)
    parser.add_argument("--fit", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name, (iteration, table) in PEERS.items():
        shown = "" if table is None else f", functions and derivatives {table} ms/atom"
        print(f"{name}: {iteration} s for an iteration{shown} (Mo; measured beforehand)")
    hidden = [int(part) for part in arguments.hidden.split(",")]
    for element in arguments.elements.split(","):
        frames, tests = (
            read_configurations(arguments.folder / f"{element}_{part}.extxyz")
            for part in ("train", "test")
        )
        functions = default_functions([element], arguments.cutoff)
        start = BPNNPotential.untrained([element], functions, hidden=hidden)
        measure(element, frames, start)
        if arguments.fit:
            fit(element, frames, tests, start)


if __name__ == "__main__":
    main()
