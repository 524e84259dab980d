"""Predicted errors of forces: coverage, rank correlation, and alarms outside the training groups.

    python benchmarks/trust_errors.py FOLDER [--elements Cu,Li,Mo,Ni,Si,Zr-O] [--levels 12]
        [--kind mtp,bpnn] [--iterations N] [--potentials FOLDER] [--figure out.png]

FOLDER holds ``mlearn/Mo_train.extxyz`` and so on, the data of Zuo et al., J. Phys. Chem. A 124,
731 (2020), and ``zro_teacher/train_nequix.extxyz``. Every potential is fitted twice with default
settings: to all training data, and to that without surfaces and vacancies (Zr-O: without random
packings and vacancies).

- in: the first one on the test set. Coverage of the 90 % bounds of force errors with its standard
  error, and Spearman's correlation of bound and error.
- out: the second one on the frames of the groups that were left out, of training and test set.
  Of atoms off by more than 0.3 eV/Å the share that is flagged, where the threshold flags 20 % of
  the test set's atoms of the groups it learned that are off by less; and how many of these have
  to be flagged for 90 % of the former.
- members: seconds for predicted errors over those for energies and forces.

With --potentials fits are kept in a folder and read from it. CPU seconds; set OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from timing import seconds

from pescape.calculators import PotentialCalculator, load
from pescape.calculators.committee.assess import assess
from pescape.calculators.committee.files import error_file, errors_beside, write_errors
from pescape.data.configurations import read_configurations, species_of
from pescape.figures.calibration import draw_calibration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

    from pescape.calculators.committee.model import ErrorModel
    from pescape.calculators.potential import Potential

#: An error worth an alarm, eV/Å.
BAD = 0.3
FALSE_ALARMS, WANTED = 0.2, 0.9
CUTOFF = 5.0


def data(folder: Path, element: str, part: str) -> list[Atoms]:
    """Read the training or the test set of an element."""
    if element == "Zr-O":
        return list(read_configurations(folder / "zro_teacher" / f"{part}_nequix.extxyz"))
    return list(read_configurations(folder / "mlearn" / f"{element}_{part}.extxyz"))


def left_out(atoms: Atoms) -> bool:
    """Tell whether a frame is of a group that the second potential does not see."""
    kind = str(atoms.info.get("group", atoms.info.get("config_type")))
    return kind in ("Surface", "Vacancy", "random") or kind.endswith("_vac")


def fitted_mtp(
    frames: Sequence[Atoms], level: int, iterations: int | None
) -> tuple[Potential, ErrorModel | None]:
    """Fit a moment tensor potential as ``pescape fit mtp`` does."""
    from pescape.calculators.mtp.fit import FitSettings, MTPArchitecture, fit_mtp
    from pescape.calculators.mtp.fit.committee import error_model

    start = MTPArchitecture(level=level, cutoff=CUTOFF).untrained(species_of(frames), frames)
    few = {} if iterations is None else {"iterations": iterations, "rung_iterations": iterations}
    settings = FitSettings(**few)
    result = fit_mtp(start, frames, settings)
    model = error_model(
        result.potential, frames, settings.weights, stress_offset=result.stress_offset
    )
    return result.potential, model


def fitted_bpnn(
    frames: Sequence[Atoms], level: int, iterations: int | None
) -> tuple[Potential, ErrorModel | None]:
    """Fit a network as ``pescape fit bpnn`` does; it has no levels."""
    del level
    from pescape.calculators.bpnn.fit import FitSettings, fit_bpnn
    from pescape.calculators.bpnn.fit.committee import error_model
    from pescape.calculators.bpnn.fit.settings import BPNNArchitecture

    settings = FitSettings(most_iterations=iterations)
    result = fit_bpnn(BPNNArchitecture().untrained(species_of(frames)), frames, settings)
    return result.potential, error_model(result.potential, frames, settings)


def kept(path: Path | None, make: Any, *arguments: Any) -> tuple[Potential, ErrorModel]:  # noqa: ANN401
    """Read a potential and its committee, or fit and keep them."""
    if path is not None and error_file(path).exists():
        potential = load(path)
        model = errors_beside(potential)
    else:
        potential, model = make(*arguments)
        if path is not None and model is not None:
            potential.write(path)
            write_errors(error_file(path), model)
    if model is None:
        raise SystemExit("too few configurations for a committee")
    return potential, model


def alarms(potential: Potential, model: ErrorModel, known: list[Atoms], new: list[Atoms]) -> str:
    """Return how many bad atoms are flagged, and how many good ones."""
    inside, outside = assess(potential, model, known), assess(potential, model, new)
    good = inside.force_bounds[inside.force_errors <= BAD]
    bad = outside.force_bounds[outside.force_errors > BAD]
    if not len(bad) or not len(good):
        return f"{len(bad):6d}       –       –"
    threshold = np.quantile(good, 1.0 - FALSE_ALARMS)
    flagged = np.mean(bad > threshold)
    price = np.mean(good >= np.quantile(bad, 1.0 - WANTED))
    return f"{len(bad):6d}  {flagged:6.1%}  {price:6.1%}  {outside.rank_correlation:6.2f}"


def cost(potential: Potential, model: ErrorModel, atoms: Atoms) -> float:
    """Return seconds for predicted errors over those for energies and forces."""
    calculator = PotentialCalculator(potential, errors=model)
    atoms = atoms.copy()

    def moved(name: str) -> None:
        atoms.positions[0, 0] += 1e-9
        calculator.get_property(name, atoms)

    plain = seconds(lambda: moved("forces"))
    return (seconds(lambda: moved("force_errors")) - plain) / plain


def main() -> None:
    """Fit, and print a line for each potential."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--elements", default="Cu,Li,Mo,Ni,Si,Zr-O")
    parser.add_argument("--levels", default="12")
    parser.add_argument("--kind", default="mtp")
    parser.add_argument("--iterations", type=int)
    parser.add_argument("--potentials", type=Path)
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    makers = {"mtp": fitted_mtp, "bpnn": fitted_bpnn}
    print("             in:                            out:  atoms            for           ")
    print("                      coverage  rank corr.       bad flagged  90 %   rank  members")
    for kind in given.kind.split(","):
        levels = given.levels.split(",") if kind == "mtp" else ["0"]
        for element in given.elements.split(","):
            train, test = (data(given.folder, element, part) for part in ("train", "test"))
            for level in map(int, levels):
                found = []
                for name, frames in (
                    ("all", train),
                    ("known", [one for one in train if not left_out(one)]),
                ):
                    path = given.potentials
                    if path is not None:
                        path.mkdir(parents=True, exist_ok=True)
                        path = path / f"{element}_{name}_{level}.{kind}"
                    arguments = (frames, level, given.iterations)
                    found.append(kept(path, makers[kind], *arguments))
                inside = assess(*found[0], test)
                told = alarms(
                    *found[1],
                    [one for one in test if not left_out(one)],
                    [one for one in train + test if left_out(one)],
                )
                covered = f"{inside.force_coverage:.1%} ± {inside.force_coverage_error:.1%}"
                called = f"{element} {kind}{level or ''}"
                times = cost(*found[0], max(test, key=len))
                print(
                    f"{called:12s} {covered:>17s}  {inside.rank_correlation:10.2f}    {told}  "
                    f"{times:7.2f}",
                    flush=True,
                )
                if given.figure is not None:
                    draw_calibration(inside, given.figure)


if __name__ == "__main__":
    main()
