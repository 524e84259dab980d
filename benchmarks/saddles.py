"""Saddle searches beside ASE's dimer and Sella, on the same starts.

Prints, for a Pt heptamer on Pt(111) (Morse) and a vacancy in Cu (EMT): the fraction of starts
that reach a first-order saddle (success), median force calls to 0.01 and 0.001 eV/Å (failures
count as infinite), the fraction of saddles connected to the starting minimum, force calls spent
per connected saddle below 1.5 eV (calls/low), and CPU milliseconds per call outside the
calculator. Starts are Gaussian displacements of 0.2 Å within 3.3 Å of a random atom of the
island, or of a neighbor of the vacancy. Fix the number of threads (OMP_NUM_THREADS=1).

    python benchmarks/saddles.py                                   # all, some 20 minutes
    python benchmarks/saddles.py --starts 8 8 --methods ours       # ours alone, seconds

Sella needs `pip install sella` and takes 0.3 s of CPU a call on the heptamer, hence fewer starts.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from heptamer import MorsePt, heptamer

from pescape.plugins.dynamics import Dimer
from pescape.plugins.dynamics.saddle.relax import connect_to_minima, largest_displacement, relax
from pescape.plugins.dynamics.saddle.rotation import local_displacement

if TYPE_CHECKING:
    from collections.abc import Callable

    from ase import Atoms
    from ase.calculators.calculator import Calculator

FMAX, ROUGH, MOST_CALLS = 0.001, 0.01, 1500
SAME = 0.3  # Å: two minima are one when no atom is further apart


@dataclass(frozen=True)
class System:
    """A minimum, its calculator, and the atoms around which it is displaced."""

    name: str
    minimum: Atoms
    calculator: Callable[[], Calculator]
    centers: tuple[int, ...]


@dataclass(frozen=True)
class Outcome:
    """One search."""

    calls: float = np.inf
    rough: float = np.inf
    made: int = 0
    connected: bool = False
    energy: float = np.inf
    cpu: float = np.nan


class TooManyCallsError(RuntimeError):
    """The search has used up its force calls."""


class Watch:
    """Counts the force calls of a calculator, times them and sees when forces become small."""

    def __init__(self, calculator: Calculator, free: np.ndarray) -> None:
        self.calls, self.cpu, self.rough = 0, 0.0, np.inf
        original = calculator.calculate

        def calculate(*args: object, **kwargs: object) -> None:
            if self.calls >= MOST_CALLS:
                raise TooManyCallsError
            start = time.process_time()
            original(*args, **kwargs)
            self.cpu += time.process_time() - start
            self.calls += 1
            largest = np.linalg.norm(calculator.results["forces"][free], axis=1).max()
            if largest < ROUGH:
                self.rough = min(self.rough, self.calls)

        calculator.calculate = calculate


def vacancy() -> System:
    """Return a vacancy in 32 sites of Cu."""
    atoms = bulk("Cu", cubic=True) * 2
    site = int(np.argmin(np.linalg.norm(atoms.positions, axis=1)))
    near = np.argsort(atoms.get_distances(site, range(len(atoms)), mic=True))[1:13]
    neighbors = tuple(int(i) - (i > site) for i in near)
    del atoms[site]
    atoms.calc = EMT()
    relax(atoms, 1e-5, 200)
    return System("Cu vacancy, EMT", atoms, EMT, neighbors)


def island() -> System:
    """Return the heptamer."""
    atoms = heptamer()
    atoms.calc = MorsePt()
    relax(atoms, 1e-5, 500)
    centers = tuple(range(len(atoms) - 7, len(atoms)))
    return System("Pt heptamer on Pt(111), Morse", atoms, MorsePt, centers)


def ours(atoms: Atoms, shift: np.ndarray) -> np.ndarray | None:
    """Search with the default method; return the mode at a saddle."""
    search = Dimer(atoms, shift)
    return search.mode if search.run(FMAX, MOST_CALLS) else None


def vtst(atoms: Atoms, shift: np.ndarray) -> np.ndarray | None:
    """Search with the settings of the paper."""
    search = Dimer(atoms, shift, method="vtst")
    return search.mode if search.run(FMAX, MOST_CALLS) else None


def ase(atoms: Atoms, shift: np.ndarray) -> np.ndarray | None:
    """Search with ASE's dimer as it comes."""
    from ase.mep import DimerControl, MinModeAtoms, MinModeTranslate

    control = DimerControl(initial_eigenmode_method="displacement", logfile=None)
    mode = shift / np.linalg.norm(shift)
    images = MinModeAtoms(atoms, control, eigenmodes=[mode], random_seed=0)
    with MinModeTranslate(images, logfile=None) as search:
        search.run(fmax=FMAX, steps=MOST_CALLS)
    mode = np.array(images.get_eigenmode())
    return mode if images.get_curvature() < 0 else None


def sella(atoms: Atoms, shift: np.ndarray) -> np.ndarray | None:
    """Search with Sella in Cartesian coordinates as it comes."""
    from sella import Sella

    del shift
    search = Sella(atoms, order=1, internal=False, logfile=None)
    if not search.run(fmax=FMAX, steps=MOST_CALLS):
        return None
    values, vectors = search.pes.H.evals, search.pes.H.evecs
    if values[0] >= 0:
        return None
    mode = vectors[:, 0]
    if len(mode) != 3 * len(atoms):
        mode = search.pes.get_Ufree() @ mode
    return mode.reshape(-1, 3)


METHODS = {"ours": ours, "vtst": vtst, "ase": ase, "sella": sella}


def search(
    system: System, method: Callable[[Atoms, np.ndarray], np.ndarray | None], number: int
) -> Outcome:
    """Search from one start and relax to both sides of what was found."""
    rng = np.random.default_rng(np.random.SeedSequence(number))
    shift = local_displacement(system.minimum, int(rng.choice(system.centers)), rng)
    energy = system.minimum.get_potential_energy()
    atoms = system.minimum.copy()
    atoms.calc = system.calculator()
    atoms.set_positions(atoms.positions + shift)
    fixed = [i for c in atoms.constraints for i in c.index]
    watch = Watch(atoms.calc, np.setdiff1d(np.arange(len(atoms)), fixed))
    start = time.process_time()
    try:
        mode = method(atoms, shift)
    except TooManyCallsError:
        return Outcome(made=watch.calls)
    made, cpu = watch.calls, 1e3 * (time.process_time() - start - watch.cpu) / watch.calls
    if mode is None:
        return Outcome(made=made, cpu=cpu)
    saddle = system.minimum.copy()
    saddle.calc = system.calculator()
    saddle.positions = atoms.positions
    height = saddle.get_potential_energy() - energy
    connected = False
    for end in connect_to_minima(saddle, mode):
        saddle.positions = end.positions
        connected |= end.converged and largest_displacement(saddle, system.minimum) < SAME
    return Outcome(made, watch.rough, made, connected, height, cpu)


def report(name: str, outcomes: list[Outcome]) -> str:
    """Return one line of the table."""
    found = [o for o in outcomes if np.isfinite(o.calls)]
    low = [o for o in found if o.connected and o.energy < 1.5]
    made = sum(o.made for o in outcomes)
    share = f"{sum(o.connected for o in found)}/{len(found)}"
    return (
        f"{name:8s} {len(found) / len(outcomes):8.2f} "
        f"{np.median([o.rough if np.isfinite(o.calls) else np.inf for o in outcomes]):9.0f} "
        f"{np.median([o.calls for o in outcomes]):9.0f} {share:>10s} "
        f"{made / len(low) if low else np.inf:12.0f} "
        f"{np.nanmedian([o.cpu for o in outcomes]):10.2f}"
    )


def measure(system: System, name: str, starts: int) -> str:
    """Return the line of one method, or why there is none."""
    try:
        outcomes = [search(system, METHODS[name], number) for number in range(starts)]
    except ImportError as error:
        return f"{name:8s} left out: {error.name} is not installed (pip install {error.name})"
    return f"{report(name, outcomes)} {starts:7d}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    two = {"type": int, "nargs": 2, "metavar": ("PT", "CU")}
    parser.add_argument(
        "--starts", **two, default=(40, 20), help="starts on each system (default: 40 20)"
    )
    parser.add_argument(
        "--sella-starts", **two, default=(8, 20), help="the same for Sella (default: 8 20)"
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=METHODS,
        default=list(METHODS),
        help="what to compare (default: all)",
    )
    options = parser.parse_args()
    for place, build in enumerate((island, vacancy)):
        if not options.starts[place]:
            continue
        system = build()
        print(
            f"{system.name}\n{'method':8s} {'success':>8s} {'to 0.01':>9s} {'to 0.001':>9s} "
            f"{'connected':>10s} {'calls/low':>12s} {'CPU ms':>10s} {'starts':>7s}"
        )
        for name in options.methods:
            starts = options.starts[place]
            if name == "sella":
                starts = min(starts, options.sella_starts[place])
            print(measure(system, name, starts), flush=True)
    print("to reach with ours: success 0.98, medians 150 (Pt) and 100 (Cu), connected 0.7, 3 ms")


if __name__ == "__main__":
    main()
