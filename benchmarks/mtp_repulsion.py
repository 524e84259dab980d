"""What a ZBL repulsion does to a fit: errors on data, and two atoms pushed together in a crystal.

    python benchmarks/mtp_repulsion.py FOLDER [--level 8] [--iterations 100]

FOLDER holds ``Mo_train.extxyz`` and ``Mo_test.extxyz``: the data of Zuo et al., J. Phys. Chem. A
124, 731 (2020), github.com/materialsvirtuallab/mlearn. All fits start from the same seeds. Errors
come with standard errors (resampled test configurations).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase.build import bulk
from rich.console import Console
from rich.table import Table

from pescape.calculators import MTP
from pescape.calculators.fit.errors import stated
from pescape.calculators.mtp import MTPotential
from pescape.calculators.mtp.fit import FitSettings, evaluate, fit_mtp
from pescape.calculators.zbl import ZBL
from pescape.data.configurations import read_configurations

REPULSIONS = (None, ZBL(0.8, 1.8), ZBL(1.2, 2.6))
CUTOFF, MIN_DIST = 5.0, 1.8
# Å, of two neighbours in bcc molybdenum that are pushed together.
DISTANCES = (0.3, 0.6, 1.0, 1.2, 1.4, 1.6, 1.8, 2.1)


def pushed(potential: MTPotential) -> list[float]:
    """Energies in eV of pushing an atom of a crystal to given distances from a neighbour."""
    crystal = bulk("Mo", a=3.17, cubic=True) * (3, 3, 3)
    calculator = MTP(potential)
    home = calculator.get_property("energy", crystal)
    line = crystal.positions[1] - crystal.positions[0]
    energies = []
    for distance in DISTANCES:
        atoms = crystal.copy()
        atoms.positions[1] = atoms.positions[0] + distance * line / np.linalg.norm(line)
        energies.append(calculator.get_property("energy", atoms) - home)
    return energies


def main() -> None:
    """Fit with and without, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--level", type=int, default=8)
    parser.add_argument("--iterations", type=int, default=100)
    given = parser.parse_args()
    train, test = (read_configurations(given.folder / f"Mo_{k}.extxyz") for k in ("train", "test"))
    untrained = MTPotential.untrained(given.level, ["Mo"], CUTOFF, MIN_DIST)
    settings = FitSettings(iterations=given.iterations)
    errors = Table(title=f"Mo, level {given.level}, test data")
    curves = Table(title="eV to push two neighbours in bcc Mo together, at distances in Å")
    for name in ("repulsion (Å)", "energy MAE meV/atom", "force MAE eV/Å"):
        errors.add_column(name, justify="right")
    for name in ("repulsion (Å)", *map(str, DISTANCES)):
        curves.add_column(name, justify="right")
    for repulsion in REPULSIONS:
        fitted = fit_mtp(untrained.with_repulsion(repulsion), train, settings).potential
        found = evaluate(fitted, test)
        name = "none" if repulsion is None else f"{repulsion.inner:g} to {repulsion.outer:g}"
        errors.add_row(name, stated(found, "energy_mae"), stated(found, "force_mae"))
        curves.add_row(name, *(f"{energy:.3g}" for energy in pushed(fitted)))
    Console().print(errors, curves)


if __name__ == "__main__":
    main()
