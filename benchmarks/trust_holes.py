"""Holes of default fits: random packings that collapse, pairs that fall into each other.

    python benchmarks/trust_holes.py FOLDER [--elements Cu,Li,Mo,Ni,Si] [--levels 12,16,20]
        [--packings 100] [--potential POT.almtp]

FOLDER holds ``Mo_train.extxyz`` and so on: the data of Zuo et al., J. Phys. Chem. A 124, 731
(2020). Each element is fitted with default settings, and again without the wall, whose test errors
stand beside. Packings and pushes are those of `pescape check`: a packing has collapsed if two atoms
come nearer than 0.7 of the shortest distance in the data, or if its energy falls 1 eV/atom below
the lowest of the data.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table

from pescape.calculators.fit.errors import evaluate, stated
from pescape.calculators.mtp import MTPotential
from pescape.calculators.mtp.fit import FitSettings, MTPArchitecture, fit_mtp
from pescape.data.configurations import read_configurations, species_of
from pescape.validation.check.contacts import push_pair
from pescape.validation.check.crystals import find_crystals
from pescape.validation.check.labels import facts_of, pairs_of
from pescape.validation.check.packings import relax_packing
from pescape.validation.check.probe import Probe

if TYPE_CHECKING:
    from ase import Atoms

STEPS = 200


def holes(potential: MTPotential, train: list[Atoms], count: int) -> tuple[str, str, str]:
    """Count packings that collapse, give the lowest energy, and say where pairs fall."""
    probe = Probe(potential)
    facts, crystals = facts_of(train, potential.species, potential.cutoff), find_crystals(train)
    packings = [
        packing
        for index, seed in enumerate(np.random.SeedSequence(0).spawn(count))
        for packing in relax_packing(probe, facts, dense=bool(index % 2), seed=seed, steps=STEPS)
    ]
    collapsed = sum(bool(one.collapsed) for one in packings)
    lowest = min(one.energy for one in packings if one.energy is not None)
    pushes = []
    for pair in pairs_of(potential.species):
        for push in push_pair(probe, pair, facts, crystals, train):
            if isinstance(push, str):
                pushes.append(push)
            elif push.falls_at is not None:
                pushes.append(f"{'–'.join(pair)} in {push.where} at {push.falls_at:.2f} Å")
    return f"{collapsed} of {len(packings)}", f"{lowest:+.2f}", ", ".join(pushes) or "none"


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
    table = Table("fit", "collapsed", "lowest eV/atom", "pairs that fall", "meV/atom", "eV/Å")
    for element in arguments.elements.split(","):
        train, test = (
            read_configurations(arguments.folder / f"{element}_{part}.extxyz")
            for part in ("train", "test")
        )
        if arguments.potential is not None:
            fits = {str(arguments.potential): MTPotential.read(arguments.potential)}
        else:
            fits = {}
            for level in arguments.levels.split(","):
                start = MTPArchitecture(level=int(level)).untrained(species_of(train), train)
                for name, wall in (("", True), (" without wall", False)):
                    fitted = fit_mtp(start, train, FitSettings(), wall=wall).potential
                    fits[f"{element} level {level}{name}"] = fitted
        for name, potential in fits.items():
            errors = evaluate(potential, test)
            table.add_row(
                name,
                *holes(potential, train, arguments.packings),
                *(stated(errors, f"{kind}_mae") for kind in ("energy", "force")),
            )
        if arguments.potential is not None:
            break
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
