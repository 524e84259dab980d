"""Fitting moment tensor potentials: accuracy, seconds for a gradient of the loss, and for MaxVol.

    python benchmarks/mtp_fit.py FOLDER [--elements Mo] [--levels 8,16,20] [--candidates 100000]
    python benchmarks/mtp_fit.py FOLDER --fit [--elements Mo,Li,Si,Ni,Cu] [--levels 16,20,24]
    python benchmarks/mtp_fit.py FOLDER --curve [--elements Mo] [--levels 16] [--figure curve.png]

FOLDER holds ``Mo_train.extxyz`` and so on: the data of Zuo et al., J. Phys. Chem. A 124, 731
(2020), github.com/materialsvirtuallab/mlearn. CPU seconds; set OMP_NUM_THREADS=1. A gradient is
that of the whole loss (energies, forces, stresses of all configurations) by all parameters; its
ratio is to energies and forces alone, from the same kernel.

With --fit: test errors of fits with default settings and their standard errors (resampled test
configurations), beside the published ones of moment tensor potentials; each level starts from the
one before, and its CPU seconds include that one's. A table in Markdown follows, with those levels
in bold that no other beats by more than chance explains, if some are worse.
With --curve: loss against CPU seconds from the same random starts, for each method.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from timing import seconds

from pescape.calculators.doptimality.active_set import gradient_rows
from pescape.calculators.doptimality.maxvol import maxvol
from pescape.calculators.fit.data import training_set
from pescape.calculators.fit.errors import best_of, compare, errors_from, stated
from pescape.calculators.fit.loss import Weights, residuals
from pescape.calculators.mtp import MTPotential
from pescape.calculators.mtp.fit import FitSettings, MTPArchitecture, fit_mtp, raised
from pescape.calculators.mtp.fit.problem import loss_and_gradient
from pescape.data.configurations import read_configurations
from pescape.figures.style import COLORS, figure_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

    from pescape.calculators.fit.errors import Differences
    from pescape.calculators.mtp.fit import Progress

#: Others on molybdenum, one core of an AMD EPYC with AVX-512: CPU seconds for one iteration.
PEERS = {"MLIP-2": {8: 0.85, 16: 10.0}, "motep": {8: 0.55, 16: 7.2}}
#: Test errors of moment tensor potentials, Zuo et al. 2020: meV/atom, eV/Å.
PUBLISHED = {
    "Mo": ("2.83", "0.09"),
    "Li": ("0.49", "0.01"),
    "Si": ("2.21", "0.06"),
    "Ni": ("0.48", "0.01"),
    "Cu": ("0.41", "0.01"),
}
#: Ways to fit that --curve compares.
METHODS = {
    "BFGS, all parameters": {"method": "bfgs", "ladder": False},
    "variable projection": {"method": "projection", "ladder": False},
    "default": {},
}


def untrained(level: int, element: str, cutoff: float) -> MTPotential:
    """Make a potential with random parameters."""
    potential = MTPotential.untrained(
        level=level, species=[element], cutoff=cutoff, min_dist=2.0, radial_basis_size=8
    )
    return potential.randomized(seed=1)


def blank(level: int, element: str, cutoff: float, frames: Sequence[Atoms]) -> MTPotential:
    """Make the untrained potential that ``pescape fit mtp`` begins with."""
    return MTPArchitecture(level=level, cutoff=cutoff).untrained([element], frames)


def fit_elements(
    folder: Path, elements: Sequence[str], levels: Sequence[int], cutoff: float
) -> None:
    """Print test errors of fits."""
    print(
        f"{'':3}{'level':>6}{'parameters':>11}{'energy MAE':>14}{'force MAE':>18}"
        f"{'published':>14}{'CPU s':>8}\n{'':20}{'meV/atom':>14}{'eV/Å':>18}"
    )
    columns: list[list[str]] = []
    for element in elements:
        train, test = (
            read_configurations(folder / f"{element}_{part}.extxyz") for part in ("train", "test")
        )
        begun, potential, found = time.process_time(), None, []
        for level in levels:
            start = (
                blank(level, element, cutoff, train)
                if potential is None
                else raised(potential, level)
            )
            potential = fit_mtp(start, train, FitSettings()).potential
            spent = time.process_time() - begun
            found.append(compare(potential, test))
            errors = errors_from(found[-1])
            energy, force = PUBLISHED.get(element, ("–", "–"))
            print(
                f"{element:3}{level:6}{potential.parameter_count:11}"
                f"{stated(errors, 'energy_mae'):>14}{stated(errors, 'force_mae'):>18}"
                f"{energy:>8}{force:>6}{spent:8.0f}",
                flush=True,
            )
        columns.append([*marked(found), f"{energy}; {force}"])
    print(f"\n| meV/atom; eV/Å | {' | '.join(elements)} |\n|{'---|' * (1 + len(elements))}")
    names = [*(f"level {level}" for level in levels), "published"]
    for name, *cells in zip(names, *columns, strict=True):
        print(f"| {name} | {' | '.join(cells)} |")


def marked(found: Sequence[Differences]) -> list[str]:
    """Write energy and force errors of potentials, in bold where no other is better."""
    names = "energy_mae", "force_mae"
    best = {name: best_of(found, name) for name in names}
    cells = []
    for index, one in enumerate(found):
        texts = [stated(errors_from(one), name) for name in names]
        cells.append(
            "; ".join(
                f"**{text}**" if index in best[name] else text
                for name, text in zip(names, texts, strict=True)
            )
        )
    return cells


def draw_curves(
    frames: Sequence[Atoms], element: str, level: int, cutoff: float, figure: Path
) -> None:
    """Print and draw the loss on the way, for each method."""
    start = blank(level, element, cutoff, frames)
    curves: dict[str, list[tuple[float, float]]] = {}
    for name, options in METHODS.items():
        curve = curves.setdefault(name, [])
        begun = time.process_time()

        def note(now: Progress, curve: list = curve, begun: float = begun) -> None:
            best = min(now.loss, curve[-1][1]) if curve else now.loss
            curve.append((time.process_time() - begun, best))

        fit_mtp(start, frames, FitSettings(**options), on_progress=note)
    times = [2, 5, 10, 20, 40, 80, 160, 320]
    print(f"{element}, level {level}: lowest loss after CPU seconds (-: ended before)")
    print(f"{'':22}" + "".join(f"{t:>9}" for t in times) + f"{'end':>9}{'after':>8}")
    for name, curve in curves.items():
        shown = [[loss for t, loss in curve if t <= limit] for limit in times]
        cells = [
            f"{found[-1]:9.4f}" if found and limit <= curve[-1][0] else f"{'-':>9}"
            for found, limit in zip(shown, times, strict=True)
        ]
        print(f"{name:22}" + "".join(cells) + f"{curve[-1][1]:9.4f}{curve[-1][0]:6.0f} s")
    with figure_file(figure, (5.0, 3.6)) as canvas:
        axes = canvas.subplots()
        for (name, curve), color in zip(curves.items(), COLORS, strict=False):
            axes.loglog(*zip(*curve, strict=True), color=color, label=name)
        axes.set_xlabel("CPU seconds")
        axes.set_ylabel("lowest loss so far (eV²)")
        axes.set_title(f"{element}, level {level}, from four random starts")
        axes.legend()
    print(f"drawn in {figure}")


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
    parser.add_argument("--elements", default=None, help="Mo; with --fit: Mo,Li,Si,Ni,Cu")
    parser.add_argument("--levels", default=None, help="8,16,20; --fit: 16,20,24; --curve: 16")
    parser.add_argument("--fit", action="store_true", help="accuracy")
    parser.add_argument("--curve", action="store_true", help="loss against time")
    parser.add_argument("--figure", type=Path, default=Path("mtp_fit_curve.png"))
    parser.add_argument("--cutoff", type=float, default=5.0, help="Å")
    parser.add_argument("--candidates", type=int, default=100_000)
    given = parser.parse_args()
    default = ("Mo,Li,Si,Ni,Cu", "16,20,24") if given.fit else ("Mo", "8,16,20")
    elements = (given.elements or default[0]).split(",")
    levels = [int(level) for level in (given.levels or default[1]).split(",")]
    if given.fit:
        fit_elements(given.folder, elements, levels, given.cutoff)
        return
    for element in elements:
        frames = read_configurations(given.folder / f"{element}_train.extxyz")
        if given.curve:
            level = levels[0] if given.levels else 16
            draw_curves(frames, element, level, given.cutoff, given.figure)
            continue
        measure_gradients(frames, element, levels, given.cutoff)
        measure_maxvol(frames, element, 16, given.cutoff, given.candidates)


if __name__ == "__main__":
    main()
