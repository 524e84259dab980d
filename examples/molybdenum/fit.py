"""Fit molybdenum: real DFT data (VASP, PBE) of Zuo et al., J. Phys. Chem. A 124, 731 (2020).

    python examples/molybdenum/fit.py Mo_train.extxyz Mo_test.extxyz [--level 16] [-o mo.almtp]

The files are the training and test sets of github.com/materialsvirtuallab/mlearn as extxyz, with
energy, forces and stress of every frame. Prints errors on both, and the published test errors of
the paper's moment tensor potential and GAP for comparison.
"""

import argparse
import sys
import time
from pathlib import Path

from pescape.calculators.doptimality.active_set import build_active_set
from pescape.calculators.fit.errors import stated
from pescape.calculators.mtp import MTPotential
from pescape.calculators.mtp.fit import Errors, FitSettings, Progress, Weights, evaluate, fit_mtp
from pescape.data.configurations import read_configurations

# Test errors as published: meV/atom, eV/Å.
PUBLISHED = {"MTP, Zuo et al.": (2.83, 0.09), "GAP, Zuo et al.": (2.24, 0.09)}


def report(name: str, errors: Errors) -> None:
    """Print errors with their standard errors, in two lines."""
    for kind, about in (("mae", "MAE"), ("rmse", "RMSE")):
        print(
            f"{name:16s} {about:4s}  energy {stated(errors, f'energy_{kind}'):>11s} meV/atom   "
            f"force {stated(errors, f'force_{kind}'):>15s} eV/Å   "
            f"stress {stated(errors, f'stress_{kind}'):>13s} GPa"
        )


def main() -> None:
    """Fit, evaluate, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--level", type=int, default=16)
    parser.add_argument("--iterations", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--energy-weight", type=float, default=10.0)
    parser.add_argument("--force-weight", type=float, default=0.01)
    parser.add_argument("--stress-weight", type=float, default=1e-4)
    parser.add_argument("-o", "--output", type=Path, default=Path("mo.almtp"))
    arguments = parser.parse_args()

    train = read_configurations(arguments.train)
    test = read_configurations(arguments.test)
    start = MTPotential.untrained(
        arguments.level, ["Mo"], cutoff=5.0, min_dist=1.8, radial_basis_size=8
    )
    print(f"level {arguments.level}: {start.parameter_count} parameters, {len(train)} frames")

    def progress(now: Progress) -> None:
        if now.iteration % 50 == 0:
            print(f"  {now.stage}, iteration {now.iteration}: loss {now.loss:.5g}", file=sys.stderr)

    settings = FitSettings(
        weights=Weights(arguments.energy_weight, arguments.force_weight, arguments.stress_weight),
        iterations=arguments.iterations,
        threads=arguments.threads,
    )
    begin = time.perf_counter()
    result = fit_mtp(start, train, settings, on_progress=progress)
    seconds = time.perf_counter() - begin
    print(f"{result.iterations} iterations in {seconds:.0f} s on {result.energy_kind} values")
    report("training", result.errors)
    report("test", evaluate(result.potential, test))
    for name, (energy, force) in PUBLISHED.items():
        print(f"{name:16s} energy {energy:6.2f} meV/atom, force {force:.2f} eV/Å (published, test)")
    active = build_active_set(result.potential, train)
    result.potential.with_active_set(active).write(arguments.output)
    print(arguments.output)


if __name__ == "__main__":
    main()
