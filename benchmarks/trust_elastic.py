"""Elastic constants of default fits beside those that the data's own strained cells give.

    python benchmarks/trust_elastic.py FOLDER [--elements Cu,Li,Mo,Ni,Si] [--levels 16,20]
        [--potential POT.almtp]

FOLDER holds ``Mo_train.extxyz`` and so on: the data of Zuo et al., J. Phys. Chem. A 124, 731
(2020). Constants are those of `pescape check`: regressed from the stresses of the strained cells
of the data's main crystal, the labels' and the fit's in the same cells.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from pescape.calculators.fit.errors import evaluate, stated
from pescape.calculators.mtp import MTPotential
from pescape.calculators.mtp.fit import FitSettings, MTPArchitecture, fit_mtp
from pescape.data.configurations import read_configurations, species_of
from pescape.validation.check.crystals import find_crystals
from pescape.validation.check.probe import Probe
from pescape.validation.check.strained import examine_crystal


def main() -> None:
    """Fit and compare."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--elements", default="Cu,Li,Mo,Ni,Si")
    parser.add_argument("--levels", default="16,20")
    parser.add_argument("--potential", type=Path, help="a fitted one, of the first element")
    arguments = parser.parse_args()
    names = ("C11", "C12", "C44")
    table = Table("GPa: data, fit", *names, "worst", "meV/atom", "eV/Å", "GPa", "CPU s")
    for element in arguments.elements.split(","):
        train, test = (
            read_configurations(arguments.folder / f"{element}_{part}.extxyz")
            for part in ("train", "test")
        )
        crystal = find_crystals(train)[0]
        for level in [None] if arguments.potential else arguments.levels.split(","):
            begun = time.process_time()
            if level is None:
                potential = MTPotential.read(arguments.potential)
            else:
                start = MTPArchitecture(level=int(level)).untrained(species_of(train), train)
                potential = fit_mtp(start, train, FitSettings()).potential
            seconds = time.process_time() - begun
            found = examine_crystal(Probe(potential), crystal, train).elastic
            known = {name: found[name] for name in names if found[name].data is not None}
            off = [abs(one.same_frames / one.data - 1.0) for one in known.values()]
            errors = evaluate(potential, test)
            table.add_row(
                str(arguments.potential) if level is None else f"{element} level {level}",
                *(
                    f"{known[name].data:.1f} ± {known[name].error:.1f}, "
                    f"{known[name].same_frames:.1f}"
                    if name in known
                    else "–"
                    for name in names
                ),
                f"{100.0 * np.max(off):.0f} %" if off else "–",
                *(stated(errors, f"{kind}_mae") for kind in ("energy", "force", "stress")),
                f"{seconds:.0f}",
            )
        if arguments.potential is not None:
            break
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
