"""What a ZBL repulsion does to a fit: errors on data, and two atoms pushed together in a crystal.

    python benchmarks/mtp_repulsion.py FOLDER [--level 8] [--iterations 100]

FOLDER holds ``Mo_train.extxyz`` and ``Mo_test.extxyz``: the data of Zuo et al., J. Phys. Chem. A
124, 731 (2020), github.com/materialsvirtuallab/mlearn. All fits start from the same seeds. Errors
come with standard errors (resampled test configurations); bold are those that no other beats by
more than chance explains, if some are worse.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase.build import bulk
from rich.console import Console
from rich.table import Table

from pescape.calculators import MTP
from pescape.calculators.fit.errors import best_of, compare, errors_from, stated
from pescape.calculators.mtp import MTPotential
from pescape.calculators.mtp.fit import FitSettings, fit_mtp
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
    curves = Table(title="eV to push two neighbours in bcc Mo to a distance in Å")
    names = [
        "no repulsion" if one is None else f"{one.inner:g} to {one.outer:g} Å" for one in REPULSIONS
    ]
    for name in ("repulsion", "energy MAE meV/atom", "force MAE eV/Å"):
        errors.add_column(name, justify="right")
    for name in ("distance", *names):
        curves.add_column(name, justify="right")
    fits = [fit_mtp(untrained.with_repulsion(one), train, settings) for one in REPULSIONS]
    found = [compare(fit.potential, test) for fit in fits]
    best = {measure: best_of(found, measure) for measure in ("energy_mae", "force_mae")}
    for index, (name, one) in enumerate(zip(names, found, strict=True)):
        texts = {measure: stated(errors_from(one), measure) for measure in best}
        cells = (f"[bold]{t}[/]" if index in best[m] else t for m, t in texts.items())
        errors.add_row(name, *cells)
    for distance, *energies in zip(DISTANCES, *(pushed(f.potential) for f in fits), strict=True):
        curves.add_row(f"{distance:.1f}", *(f"{energy:.3g}" for energy in energies))
    Console().print(errors, curves)


if __name__ == "__main__":
    main()
