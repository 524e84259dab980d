"""Call the random builders ten thousand times and check every structure.

    python benchmarks/builders.py                   # 20 systems, 500 calls each
    python benchmarks/builders.py --calls 50

Each system has its own elements, radii, composition ranges, range of volume fractions, skewed
cell and crystal. Overlaps are looked for with ASE's neighbour search, which the builders do
not use. The last lines say how many structures break a bound: none should.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from ase.build import bulk
from ase.neighborlist import neighbor_list

from pescape.plugins.structures import polymorph_derived, random_packing, replay

if TYPE_CHECKING:
    from ase import Atoms

ELEMENTS = ("H", "O", "Al", "Si", "Ti", "Fe", "Zr", "Pb")


@dataclass(frozen=True)
class System:
    """What the builders are asked for."""

    radii: dict[str, float]
    composition: dict[str, tuple[float, float]]
    volume_fraction: tuple[float, float]
    cell: np.ndarray
    crystal: Atoms


@dataclass
class Tally:
    """What came out for one system."""

    calls: int = 0
    atoms: int = 0
    overlaps: int = 0
    composition: int = 0
    filling: int = 0
    replays: int = 0
    crowded: int = 0
    seconds: list[float] = field(default_factory=list)


def random_system(seed: int) -> System:
    """Draw elements, radii, ranges, a cell and a crystal."""
    rng = np.random.default_rng(seed)
    elements = rng.choice(ELEMENTS, rng.integers(1, 5), replace=False).tolist()
    radii = {element: float(rng.uniform(0.5, 1.6)) for element in elements}
    composition = {element: (0.0, float(rng.uniform(0.4, 1.0))) for element in elements}
    if sum(high for _, high in composition.values()) < 1.0:
        composition[elements[0]] = (0.0, 1.0)
    lowest = float(rng.uniform(0.05, 0.40))
    cell = np.diag(rng.uniform(6.0, 10.0, 3)) @ (np.eye(3) + rng.uniform(-0.35, 0.35, (3, 3)))
    return System(
        radii,
        composition,
        (lowest, float(rng.uniform(lowest + 0.1, 0.5))),
        cell,
        _crystal(elements, 2.0 * max(radii.values()), rng),
    )


def _crystal(elements: list[str], distance: float, rng: np.random.Generator) -> Atoms:
    """Build a crystal of up to two of the elements with a nearest-neighbour distance, Å."""
    lattices = {"fcc": 2**0.5, "bcc": 2 / 3**0.5, "rocksalt": 2.0, "zincblende": 4 / 3**0.5}
    single = len(elements) == 1
    lattice = str(rng.choice(["fcc", "bcc"] if single else ["rocksalt", "zincblende"]))
    name = elements[0] if single else "".join(elements[:2])
    return bulk(name, lattice, a=lattices[lattice] * distance)


def check_packing(system: System, seed: int, tally: Tally) -> None:
    """Build one random packing and look at it."""
    began = time.perf_counter()
    atoms = random_packing(
        system.cell,
        system.composition,
        seed=seed,
        volume_fraction=system.volume_fraction,
        radii=system.radii,
    )
    tally.seconds.append(time.perf_counter() - began)
    counts = {element: int((atoms.symbols == element).sum()) for element in system.radii}
    volumes = {element: 4 / 3 * np.pi * radius**3 for element, radius in system.radii.items()}
    filled = sum(counts[e] * volumes[e] for e in counts) / atoms.get_volume()
    low, high = system.volume_fraction
    # Ranges hold at least one whole number of atoms here, or are met within one atom.
    atom = max(volumes.values()) / atoms.get_volume()
    tally.filling += not low - atom <= filled <= high + atom
    for element, (least, most) in system.composition.items():
        tally.composition += not least <= counts[element] / len(atoms) <= most + 1e-9
    tally.crowded += atoms.info["record"]["done"]["crowded"] > 0
    _check_common(atoms, {e: 0.9 * r for e, r in system.radii.items()}, seed, tally)


def check_polymorph(system: System, seed: int, tally: Tally) -> None:
    """Derive one structure from the crystal and look at it."""
    hard = {element: 0.6 * radius for element, radius in system.radii.items()}
    began = time.perf_counter()
    atoms = polymorph_derived(
        system.crystal,
        seed=seed,
        cutoff=7.0,
        elements=list(system.radii),
        hard_radii=hard,
        max_atoms=120,
    )
    tally.seconds.append(time.perf_counter() - began)
    _check_common(atoms, hard, seed, tally)


def _check_common(atoms: Atoms, hard: dict[str, float], seed: int, tally: Tally) -> None:
    reach = np.array([hard[symbol] for symbol in atoms.symbols])
    tally.overlaps += len(neighbor_list("i", atoms, reach)) > 0
    tally.calls += 1
    tally.atoms += len(atoms)
    if seed % 10 == 0:
        tally.replays += replay(atoms.info["record"]) != atoms


def check_system(index: int, calls: int) -> Tally:
    """Make half the calls to each builder."""
    system, tally = random_system(index), Tally()
    for seed in range(calls):
        (check_packing if seed % 2 else check_polymorph)(system, 2 * seed, tally)
    return tally


def main() -> None:
    """Print one line for each system, and the sums."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--systems", type=int, default=20)
    parser.add_argument("--calls", type=int, default=500, help="for each system")
    options = parser.parse_args()
    tallies = []
    print("system  elements        calls  atoms  overlaps  composition  filling  replays  pushed"
          "  median ms  longest s")  # fmt: skip
    for index in range(options.systems):
        tally = check_system(index, options.calls)
        tallies.append(tally)
        print(
            f"{index:6}  {'-'.join(random_system(index).radii):14}  {tally.calls:5}"
            f"  {tally.atoms / tally.calls:5.0f}  {tally.overlaps:8}  {tally.composition:11}"
            f"  {tally.filling:7}  {tally.replays:7}  {tally.crowded:6}"
            f"  {1000 * np.median(tally.seconds):9.1f}  {max(tally.seconds):9.2f}",
            flush=True,
        )
    names = ("calls", "overlaps", "composition", "filling", "replays")
    print(", ".join(f"{name} {sum(getattr(t, name) for t in tallies)}" for name in names))
    slowest = max(max(t.seconds) for t in tallies)
    print(f"longest call {slowest:.2f} s, all {sum(sum(t.seconds) for t in tallies):.0f} s")


if __name__ == "__main__":
    main()
