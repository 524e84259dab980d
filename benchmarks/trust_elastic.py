"""Elastic constants of default fits beside those that the data's own strained cells give.

    python benchmarks/trust_elastic.py FOLDER [--elements Cu,Li,Mo,Ni,Si] [--levels 16,20]
        [--potential POT.almtp]

FOLDER holds ``Mo_train.extxyz`` and so on: the data of Zuo et al., J. Phys. Chem. A 124, 731
(2020). Constants (GPa) are regressed, with a constant stress beside them, from the second
Piola-Kirchhoff stresses of the cells of the group Elastic whose Green-Lagrange strains are at most
2.5 %, atoms clamped or rattled as they are there: those of the labels and, on the same cells, those
of the fit.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase.neighborlist import neighbor_list
from ase.stress import voigt_6_to_full_3x3_stress
from ase.units import GPa
from rich.console import Console
from rich.table import Table

from pescape.calculators import MTP
from pescape.calculators.fit.errors import evaluate, with_error
from pescape.calculators.mtp import MTPotential
from pescape.calculators.mtp.fit import FitSettings, MTPArchitecture, fit_mtp
from pescape.data.configurations import read_configurations

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LARGEST = 0.025


def strained(frames: list[Atoms]) -> list[tuple[Atoms, Floats]]:
    """Strained crystals and their deformation gradients (3, 3), small strains alone."""
    cells = [a for a in frames if a.info["group"] == "Elastic" and "stress" in a.calc.results]
    size = Counter(map(len, cells)).most_common(1)[0][0]
    cells = [atoms for atoms in cells if len(atoms) == size]

    def distortion(atoms: Atoms) -> float:
        lengths, angles = atoms.cell.lengths(), atoms.cell.angles()
        return float(np.std(lengths) / np.mean(lengths) + np.abs(angles - 90.0).sum())

    reference = min(cells, key=distortion).cell.array
    found = [(atoms, np.linalg.solve(reference, atoms.cell.array)) for atoms in cells]
    return [(a, f) for a, f in found if np.abs(green_lagrange(f)).max() <= LARGEST]


def green_lagrange(deformation: Floats) -> Floats:
    """Strain (3, 3) of a deformation gradient whose rows are those of the cells."""
    return 0.5 * (deformation @ deformation.T - np.eye(3))


def cubic_constants(cells: list[tuple[Atoms, Floats]], stresses: list[Floats]) -> Floats:
    """Regress C11, C12 and C44 (3,) in GPa from stresses (6,) in eV/Å³."""
    rows, sides = [], []
    for (_, deformation), stress in zip(cells, stresses, strict=True):
        inverse = np.linalg.inv(deformation)
        second = (
            np.linalg.det(deformation) * inverse.T @ voigt_6_to_full_3x3_stress(stress) @ inverse
        )
        strain = green_lagrange(deformation)
        trace = np.trace(strain)
        for i in range(3):
            rows.append([strain[i, i], trace - strain[i, i], 0.0, 1.0])
            sides.append(second[i, i])
        for i, j in ((1, 2), (0, 2), (0, 1)):
            rows.append([0.0, 0.0, 2.0 * strain[i, j], 0.0])
            sides.append(second[i, j])
    solution = np.linalg.lstsq(np.array(rows), np.array(sides), rcond=None)[0]
    return solution[:3] / GPa


def of_potential(potential: MTPotential, cells: list[tuple[Atoms, Floats]]) -> Floats:
    """Constants of a potential on the same cells."""
    stresses = []
    for atoms, _ in cells:
        copy = atoms.copy()
        copy.calc = MTP(potential)
        stresses.append(copy.get_stress())
    return cubic_constants(cells, stresses)


def fitted(train: list[Atoms], level: int) -> tuple[MTPotential, float]:
    """Fit with the defaults of `pescape fit mtp`; return CPU seconds, too."""
    wanted = MTPArchitecture(level=level)
    shortest = min(neighbor_list("d", atoms, 3.5).min(initial=9.0) for atoms in train)
    start = MTPotential.untrained(
        level,
        sorted(set(train[0].symbols)),
        wanted.cutoff,
        np.floor(10.0 * shortest) / 10.0,
        wanted.radial_basis_size,
    )
    begun = time.process_time()
    potential = fit_mtp(start, train, FitSettings()).potential
    return potential, time.process_time() - begun


def main() -> None:
    """Fit and compare."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--elements", default="Cu,Li,Mo,Ni,Si")
    parser.add_argument("--levels", default="16,20")
    parser.add_argument("--potential", type=Path, help="a fitted one, of the first element")
    arguments = parser.parse_args()
    table = Table("GPa", "C11", "C12", "C44", "worst", "meV/atom", "eV/Å", "stress", "CPU s")
    for element in arguments.elements.split(","):
        train = read_configurations(arguments.folder / f"{element}_train.extxyz")
        test = read_configurations(arguments.folder / f"{element}_test.extxyz")
        cells = strained(train)
        data = cubic_constants(cells, [atoms.get_stress() for atoms, _ in cells])
        table.add_row(f"{element}, {len(cells)} cells", *(f"{value:.1f}" for value in data))
        if arguments.potential is not None:
            fits = {str(arguments.potential): (MTPotential.read(arguments.potential), np.nan)}
        else:
            levels = [int(level) for level in arguments.levels.split(",")]
            fits = {f"  level {level}": fitted(train, level) for level in levels}
        for name, (potential, seconds) in fits.items():
            found, errors = of_potential(potential, cells), evaluate(potential, test)
            table.add_row(
                name,
                *(f"{value:.1f}" for value in found),
                f"{100.0 * np.abs(found / data - 1.0).max():.0f} %",
                with_error(errors.energy_mae, errors.energy_mae_error),
                with_error(errors.force_mae, errors.force_mae_error),
                with_error(errors.stress_mae, errors.stress_mae_error),
                f"{seconds:.0f}",
            )
        if arguments.potential is not None:
            break
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
