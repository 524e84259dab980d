"""Holes of default fits: random packings that collapse, pairs that fall into each other.

    python benchmarks/trust_holes.py FOLDER [--elements Cu,Li,Mo,Ni,Si] [--levels 12,16,20]
        [--packings 100] [--potential POT.almtp]

FOLDER holds ``Mo_train.extxyz`` and so on: the data of Zuo et al., J. Phys. Chem. A 124, 731
(2020).
Each element is fitted with default settings, and again without the wall, whose test errors
stand beside. Random packings of 8 Å cells at densities from a third to twice those of the data are
relaxed (FIRE, 200 steps at fixed cell). One has collapsed if two atoms come nearer than 0.7 of the
shortest distance in the data, or if its energy falls 1 eV/atom below the lowest of the data.
A pair is pushed together from the shortest distance of the data to 0.5 Å, in vacuum and in the
least stressed crystal of the data.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list
from ase.optimize import FIRE
from rich.console import Console
from rich.table import Table

from pescape.calculators import MTP
from pescape.calculators.fit.errors import evaluate, with_error
from pescape.calculators.mtp import MTPotential
from pescape.calculators.mtp.fit import FitSettings, MTPArchitecture, fit_mtp
from pescape.data.configurations import read_configurations
from pescape.plugins.structures import random_packing

CELL, STEPS, FORCE = 8.0, 200, 0.05
CUTOFF = 5.0
#: What counts as collapsed: distances (of the shortest in the data), energies (eV/atom).
CONTACT, FALL = 0.7, 1.0


def fitted(train: list[Atoms], level: int, *, wall: bool) -> MTPotential:
    """Fit with default settings."""
    shortest = min(neighbor_list("d", atoms, 3.5).min(initial=9.0) for atoms in train)
    species = sorted(set(train[0].symbols))
    size = MTPArchitecture().radial_basis_size
    start = MTPotential.untrained(level, species, CUTOFF, np.floor(10.0 * shortest) / 10.0, size)
    return fit_mtp(start, train, FitSettings(), wall=wall).potential


def relaxed(packing: Atoms, floor: float) -> tuple[float, float]:
    """Relax; return the lowest energy (eV/atom) on the way and the shortest distance at the end."""
    lowest = np.inf
    optimizer = FIRE(packing, logfile=None)
    for _ in range(STEPS // 10):
        lowest = min(lowest, packing.get_potential_energy() / len(packing))
        if lowest < floor or optimizer.run(fmax=FORCE, steps=10):
            break
    lowest = min(lowest, packing.get_potential_energy() / len(packing))
    return lowest, float(neighbor_list("d", packing, CUTOFF).min(initial=CUTOFF))


def packings(potential: MTPotential, train: list[Atoms], count: int) -> tuple[int, float]:
    """How many of the packings collapse, and the lowest energy relative to the data, eV/atom."""
    element = potential.species[0]
    lowest = min(atoms.get_potential_energy() / len(atoms) for atoms in train)
    contact = CONTACT * float(np.min(potential.nearest))
    collapsed, least = 0, np.inf
    for seed in range(count):
        packing = random_packing(CELL, {element: 1.0}, seed=seed, volume_fraction=(0.15, 0.5))
        packing.calc = MTP(potential)
        energy, distance = relaxed(packing, lowest - FALL)
        collapsed += energy < lowest - FALL or distance < contact
        least = min(least, energy - lowest)
    return collapsed, least


def push(atoms: Atoms, first: int, second: int, potential: MTPotential) -> float:
    """Push a pair together; return the longest distance (Å) at which its energy falls, or 0."""
    atoms = atoms.copy()
    atoms.calc = MTP(potential)
    vector = atoms.get_distance(first, second, mic=True, vector=True)
    middle, along = atoms.positions[first] + vector / 2, vector / np.linalg.norm(vector)
    distances = np.arange(float(np.min(potential.nearest)), 0.5, -0.01)
    energies = []
    for distance in distances:
        atoms.positions[first] = middle - along * distance / 2
        atoms.positions[second] = middle + along * distance / 2
        energies.append(atoms.get_potential_energy())
    falling = np.diff(energies) <= 0.0
    return float(distances[1:][falling].max(initial=0.0))


def pushes(potential: MTPotential, train: list[Atoms]) -> str:
    """Where pairs fall, in vacuum and in a crystal."""
    element = potential.species[0]
    dimer = Atoms([element] * 2, [[0, 0, 0], [0, 0, 2.0]])
    crystals = [atoms for atoms in train if len(atoms) > 8 and "stress" in atoms.calc.results]
    crystal = min(crystals, key=lambda atoms: np.abs(atoms.get_stress()).max())
    i, j, d = neighbor_list("ijd", crystal, 4.0)
    found = push(dimer, 0, 1, potential), push(crystal, i[d.argmin()], j[d.argmin()], potential)
    return ", ".join("rises" if at == 0.0 else f"falls at {at:.2f} Å" for at in found)


def main() -> None:
    """Fit and count."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--elements", default="Cu,Li,Mo,Ni,Si")
    parser.add_argument("--levels", default="12,16,20")
    parser.add_argument("--packings", type=int, default=100)
    parser.add_argument("--potential", type=Path, help="a fitted one, of the first element")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*nearer than any of the training data")
    table = Table(
        "fit", "collapsed", "lowest (eV/atom)", "pairs: vacuum, crystal", "test meV/atom", "eV/Å"
    )
    for element in arguments.elements.split(","):
        train = read_configurations(arguments.folder / f"{element}_train.extxyz")
        test = read_configurations(arguments.folder / f"{element}_test.extxyz")
        if arguments.potential is not None:
            fits = {f"{arguments.potential}": MTPotential.read(arguments.potential)}
        else:
            fits = {
                f"{element} level {level}{'' if wall else ' without wall'}": fitted(
                    train, int(level), wall=wall
                )
                for level in arguments.levels.split(",")
                for wall in (True, False)
            }
        for name, potential in fits.items():
            collapsed, least = packings(potential, train, arguments.packings)
            errors = evaluate(potential, test)
            table.add_row(
                name,
                f"{collapsed} of {arguments.packings}",
                f"{least:+.2f}",
                pushes(potential, train),
                with_error(errors.energy_mae, errors.energy_mae_error),
                with_error(errors.force_mae, errors.force_mae_error),
            )
        if arguments.potential is not None:
            break
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
