"""Networks trained on narrow data: the frames of one relaxation.

    python benchmarks/trust_narrow.py DATA [--seeds 2] [--displacements 0,0.05,0.1,0.2] [--fits]

DATA holds ``ZrO2_vasp/ZrO2_vasp_outcar.extxyz``, 29 frames of one relaxation of zirconia. Default
fits to five of every six frames are tested on the others. Symmetry functions are divided by no
less than what displacing all atoms by a small distance changes them by: the first table is about
that distance, the default marked by a star. The second one says how many functions it concerns
in ordinary data, if there is any beside (``mlearn``, ``zro_teacher``): fits where it concerns none
are what they would be without it, and ``--fits`` fits every fourth frame of the others, with it and
without.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table

from pescape.calculators.bpnn.fit import FitSettings, fit_bpnn, prepare, scaling
from pescape.calculators.bpnn.fit.settings import BPNNArchitecture, BPNNFitOptions
from pescape.calculators.fit.errors import compare, errors_from
from pescape.data.configurations import read_configurations, species_of

if TYPE_CHECKING:
    from ase import Atoms

NARROW = "ZrO2_vasp/ZrO2_vasp_outcar.extxyz"
ORDINARY = (
    *(f"mlearn/{name}_train.extxyz" for name in ("Cu", "Li", "Mo", "Ni", "Si")),
    "zro_teacher/train_7net.extxyz",
)
# Of the frames of ordinary data; floors are statistics.
EVERY = 8


def narrow_errors(frames: list[Atoms], seeds: int) -> list[tuple[str, ...]]:
    """Test errors of default fits to five of every six frames."""
    test = frames[5::6]
    train = [atoms for k, atoms in enumerate(frames) if k % 6 != 5]
    rows = []
    for seed in range(seeds):
        untrained = BPNNArchitecture().untrained(species_of(frames))
        result = fit_bpnn(untrained, train, BPNNFitOptions().settings("default", seed))
        found = errors_from(compare(result.potential, test))
        numbers = (found.energy_rmse, found.force_rmse, found.force_max, found.stress_rmse)
        rows.append((str(seed), *(f"{number:.4g}" for number in numbers)))
    return rows


def ordinary_errors(data: Path, name: str) -> list[tuple[str, ...]]:
    """Test errors of default fits to ordinary data, with and without the floor."""
    frames = read_configurations(data / name)[:: EVERY // 2]
    test = read_configurations(data / name.replace("train", "test"))
    default, rows = scaling.DISPLACEMENT, []
    for value in (0.0, default):
        scaling.DISPLACEMENT = value
        untrained = BPNNArchitecture().untrained(species_of(frames))
        result = fit_bpnn(untrained, frames, BPNNFitOptions().settings())
        found = errors_from(compare(result.potential, test))
        numbers = (found.energy_rmse, found.force_rmse, found.stress_rmse)
        rows.append((name, f"{value:g}", *(f"{number:.4g}" for number in numbers)))
    scaling.DISPLACEMENT = default
    return rows


def concerned(frames: list[Atoms]) -> tuple[str, ...]:
    """How many functions the floor concerns, and the least sigma over floor."""
    untrained = BPNNArchitecture().untrained(species_of(frames))
    prepared = prepare.prepare(untrained, frames, FitSettings(), None, None, None)
    ratios = []
    slopes = scaling.displacement_slopes(untrained, prepared.data)
    for table, slope in zip(prepared.features.tables, slopes, strict=True):
        spread = table.functions.std(axis=0)
        ratios.append(spread / scaling.smallest_divisors(table, slope))
    ratio = np.concatenate(ratios)
    return f"{np.count_nonzero(ratio < 1.0)} of {len(ratio)}", f"{ratio.min():.2f}"


def show_ordinary(console: Console, data: Path, *, fits: bool) -> None:
    """Print how many functions the floor concerns in ordinary data, and what it does to fits."""
    table = Table(title=f"functions that a floor of {scaling.DISPLACEMENT:g} Å concerns")
    for name in ("data", "functions", "least sigma / floor"):
        table.add_column(name, justify="right")
    errors = Table(title="RMSE on test frames of ordinary data")
    for name in ("data", "Å", "meV/atom", "eV/Å", "GPa"):
        errors.add_column(name, justify="right")
    for name in ORDINARY:
        if not (data / name).exists():
            continue
        found = concerned(read_configurations(data / name)[::EVERY])
        table.add_row(name, *found)
        if fits and not found[0].startswith("0 "):
            for row in ordinary_errors(data, name):
                errors.add_row(*row)
    console.print(table)
    if fits:
        console.print(errors)


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--displacements", default="0,0.05,0.1,0.2")
    parser.add_argument("--fits", action="store_true", help="fit ordinary data, where concerned")
    given = parser.parse_args()
    default = scaling.DISPLACEMENT
    console = Console()
    errors = Table(title=f"RMSE on the test frames of {NARROW}")
    for name in ("Å", "seed", "meV/atom", "eV/Å", "largest eV/Å", "GPa"):
        errors.add_column(name, justify="right")
    frames = read_configurations(given.data / NARROW)
    for value in map(float, given.displacements.split(",")):
        scaling.DISPLACEMENT = value
        star = "*" if value == default else ""
        for row in narrow_errors(frames, given.seeds):
            errors.add_row(f"{value:g}{star}", *row)
    scaling.DISPLACEMENT = default
    console.print(errors)
    show_ordinary(console, given.data, fits=given.fits)


if __name__ == "__main__":
    main()
