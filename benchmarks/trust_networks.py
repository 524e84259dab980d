"""Whether a network knows where it is: grades far from the training data, and where forces are off.

    python benchmarks/trust_networks.py DATA [--sets Si,Mo,Zr-O] [--keep FOLDER] [--inside]

DATA holds ``mlearn/Mo_train.extxyz`` and so on, and ``zro_teacher/train_7net.extxyz``. Default fits
to every second of the cold frames (elastic ones, and the half of the dynamics with the smaller
forces; of Zr-O the half with the smaller forces) are tested on all others: hot, surfaces,
vacancies, compressed; with ``--inside`` fits to all training frames are tested on the data's own
test frames. Two grades are compared, by MaxVol on the output layer's features, and by
the leverage of the inputs and the layers behind them, which is the default.

The first table has the largest grade where a training crystal is compressed to a fraction of its
length and where its two nearest atoms are pushed together to a fraction of their distance, or to a
distance in Å. The second one is about the test frames' atoms: the AUC of the grade for atoms whose
force is off by more than 0.3 eV/Å, its rank correlation with the error, how many of these atoms
and of the others are above 2.1, and how many are found at 20 % false alarms.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase.neighborlist import neighbor_list
from rich.console import Console
from rich.table import Table
from scipy.stats import rankdata, spearmanr

from pescape.calculators import BPNN
from pescape.calculators.bpnn import BPNNPotential
from pescape.calculators.bpnn.fit import fit_bpnn
from pescape.calculators.bpnn.fit.settings import BPNNArchitecture, BPNNFitOptions
from pescape.calculators.doptimality.active_set import build_active_set
from pescape.data.configurations import read_configurations, species_of

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from pescape.calculators.bpnn.data import ActiveParameters

GRADES: dict[ActiveParameters, str] = {"output": "MaxVol, output", "inputs": "leverage, inputs"}
LENGTHS = (0.95, 0.9, 0.85, 0.8, 0.7)
FRACTIONS, DISTANCES = (0.9, 0.8, 0.7), (1.5, 1.2, 0.8, 0.5)
BAD_FORCE, RISKY = 0.3, 2.1
# Å; crystals are repeated until they are so large.
LARGE = 8.0


def frames_of(data: Path, name: str, *, inside: bool) -> tuple[list[Atoms], list[Atoms]]:
    """Training frames, every second of the cold ones, and all others; or the data's own sets."""
    if name == "Zr-O":
        files = [data / f"zro_teacher/{part}_7net.extxyz" for part in ("train", "test")]
    else:
        files = [data / f"mlearn/{name}_{part}.extxyz" for part in ("train", "test")]
    parts = [read_configurations(file) for file in files]
    if inside:
        return parts[0], parts[1]
    frames = parts[0] + parts[1]
    largest = np.array([np.linalg.norm(a.get_forces(), axis=1).max() for a in frames])
    groups = np.array([atoms.info.get("group", "AIMD-NVT") for atoms in frames])
    dynamics = groups == "AIMD-NVT"
    cold = (groups == "Elastic") | (dynamics & (largest < np.median(largest[dynamics])))
    chosen = set(np.flatnonzero(cold)[::2].tolist())
    train = [frames[k] for k in sorted(chosen)]
    return train, [atoms for k, atoms in enumerate(frames) if k not in chosen]


def fitted(train: list[Atoms], kept: Path | None) -> BPNNPotential:
    """Make a default fit, or read it again."""
    if kept is not None and kept.exists():
        return BPNNPotential.read(kept)
    untrained = BPNNArchitecture().untrained(species_of(train))
    potential = fit_bpnn(untrained, train, BPNNFitOptions().settings()).potential
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        potential.write(kept)
    return potential


def pushed(calm: Atoms) -> dict[str, Atoms]:
    """Compress a crystal, and push its two nearest atoms together."""
    found = {}
    for length in LENGTHS:
        found[f"×{length:g}"] = atoms = calm.copy()
        atoms.set_cell(length * calm.cell, scale_atoms=True)
    first, second, distances, vectors = neighbor_list("ijdD", calm, 4.0)
    pair = int(np.argmin(distances))
    home = distances[pair]
    goals = {f"{part:g} d": part * home for part in FRACTIONS} | {f"{r:g} Å": r for r in DISTANCES}
    for name, distance in goals.items():
        found[name] = atoms = calm.copy()
        step = vectors[pair] / home * (home - distance) / 2
        atoms.positions[first[pair]] += step
        atoms.positions[second[pair]] -= step
    return found


def atom_grades(potential: BPNNPotential, frames: list[Atoms]) -> NDArray[np.float64]:
    """Grades of all atoms."""
    calculator = BPNN(potential)
    return np.concatenate(
        [calculator.get_property("extrapolation_grades", atoms) for atoms in frames]
    )


def measures(grades: NDArray[np.float64], errors: NDArray[np.float64]) -> tuple[str, ...]:
    """Return what the second table says."""
    bad = errors > BAD_FORCE
    ranks, count, others = rankdata(grades), np.count_nonzero(bad), np.count_nonzero(~bad)
    auc = (ranks[bad].sum() - count * (count + 1) / 2) / (count * others)
    limit = np.quantile(grades[~bad], 0.8)
    numbers = (
        auc,
        spearmanr(grades, errors)[0],
        np.mean(grades[bad] > RISKY),
        np.mean(grades[~bad] > RISKY),
        np.mean(grades[bad] > limit),
    )
    return f"{np.mean(bad):.2f}", *(f"{number:.2f}" for number in numbers)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", default="Si,Mo,Zr-O")
    parser.add_argument(
        "--keep", type=Path, help="folder of fits, which are read if they are there"
    )
    parser.add_argument("--inside", action="store_true", help="test inside the training domain")
    given = parser.parse_args()
    far = Table(title="largest grade: crystal compressed, pair pushed together")
    near = Table(title=f"atoms of test frames; bad: forces off by > {BAD_FORCE:g} eV/Å")
    names = [f"×{one:g}" for one in LENGTHS]
    names += [f"{one:g} d" for one in FRACTIONS] + [f"{one:g} Å" for one in DISTANCES]
    for name in ("data", "grade", *names):
        far.add_column(name, justify="right")
    columns = ("bad", "AUC", "rank corr.", "bad > 2.1", "others > 2.1", "found at 20 %")
    for name in ("data", "grade", "training's", *columns):
        near.add_column(name, justify="right")
    for name in given.sets.split(","):
        train, test = frames_of(given.data, name, inside=given.inside)
        potential = fitted(
            train, given.keep and given.keep / f"{name}{'-inside' * given.inside}.bpnn"
        )
        calm = min(train, key=lambda a: np.linalg.norm(a.get_forces(), axis=1).max())
        calm = calm.repeat([math.ceil(LARGE / length) for length in calm.cell.lengths()])
        calculator = BPNN(potential)
        errors = np.concatenate(
            [np.linalg.norm(calculator.get_forces(a) - a.get_forces(), axis=1) for a in test]
        )
        for which, title in GRADES.items():
            bare = potential.with_active_set(None, which)
            graded = bare.with_active_set(build_active_set(bare, train))
            grades = [atom_grades(graded, [atoms]).max() for atoms in pushed(calm).values()]
            far.add_row(name, title, *(f"{grade:.3g}" for grade in grades))
            largest = f"{atom_grades(graded, train).max():.3f}"
            near.add_row(name, title, largest, *measures(atom_grades(graded, test), errors))
    Console(width=180).print(far, near)


if __name__ == "__main__":
    main()
