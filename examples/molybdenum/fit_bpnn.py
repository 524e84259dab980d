"""Fit a neural network to molybdenum: DFT data of Zuo et al., J. Phys. Chem. A 124, 731 (2020).

    python examples/molybdenum/fit_bpnn.py Mo_train.extxyz Mo_test.extxyz [-o mo.bpnn]

The files are the training and test sets of github.com/materialsvirtuallab/mlearn as extxyz, with
energy, forces and stress of every frame. 24 symmetry functions and two hidden layers of 8 nodes,
fitted by Levenberg-Marquardt. Prints errors on both, beside what n2p2 reaches with as many
functions and nodes. The same on the command line: pescape fit bpnn Mo_train.extxyz -o mo.bpnn
--cutoff 4.8 --test Mo_test.extxyz
"""

import argparse
import sys
import time
from pathlib import Path

from pescape.calculators.bpnn import BPNNPotential
from pescape.calculators.bpnn.fit import (
    Errors,
    FitSettings,
    Progress,
    default_functions,
    evaluate,
    fit_bpnn,
)
from pescape.calculators.doptimality.active_set import build_active_set
from pescape.calculators.fit.errors import compare, stated
from pescape.data.configurations import read_configurations, species_of
from pescape.figures.evaluation import draw_fit

# n2p2, Kalman filter, 100 epochs, 356 CPU s: RMSE on the test set, meV/atom and eV/Å.
N2P2 = (6.9, 0.213)


def report(name: str, errors: Errors) -> None:
    """Print errors with their standard errors, in two lines."""
    for kind, about in (("mae", "MAE"), ("rmse", "RMSE")):
        print(
            f"{name:10s} {about:4s}  energy {stated(errors, f'energy_{kind}'):>11s} meV/atom   "
            f"force {stated(errors, f'force_{kind}'):>15s} eV/Å   "
            f"stress {stated(errors, f'stress_{kind}'):>13s} GPa"
        )


def main() -> None:
    """Fit, evaluate, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--hidden", default="8,8")
    parser.add_argument("--cutoff", type=float, default=4.8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, default=Path("mo.bpnn"))
    arguments = parser.parse_args()

    train = read_configurations(arguments.train)
    test = read_configurations(arguments.test)
    species = species_of(train)
    start = BPNNPotential.untrained(
        species,
        default_functions(species, arguments.cutoff),
        hidden=[int(part) for part in arguments.hidden.split(",")],
    )
    print(f"{start.parameter_count} parameters, {len(train)} frames")

    def progress(now: Progress) -> None:
        if now.iteration % 10 == 0:
            print(
                f"  {now.stage}, iteration {now.iteration}: {now.energy_rmse:.2f} meV/atom, "
                f"{now.force_rmse:.3f} eV/Å",
                file=sys.stderr,
            )

    settings = FitSettings(seed=arguments.seed, threads=arguments.threads)
    begin = time.process_time()
    result = fit_bpnn(start, train, settings, on_progress=progress)
    cpu = time.process_time() - begin
    print(f"{result.iterations} iterations in {cpu:.0f} CPU s on {result.energy_kind} values")
    report("training", result.errors)
    report("test", evaluate(result.potential, test))
    print(f"n2p2       energy RMSE {N2P2[0]} meV/atom, force RMSE {N2P2[1]} eV/Å (test, Mo)")
    active = build_active_set(result.potential, train)
    potential = result.potential.with_active_set(active)
    potential.write(arguments.output)
    figure = arguments.output.with_name(f"{arguments.output.name}.png")
    found = {"training": compare(potential, train), "test": compare(potential, test)}
    draw_fit(result.history, found, figure)
    print(arguments.output, figure)


if __name__ == "__main__":
    main()
