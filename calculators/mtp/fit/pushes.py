"""Pairs of atoms pushed together, nearer than in the training data: their energy has to rise."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from pescape.calculators.fit.data import training_set
from pescape.calculators.neighbors import neighbors
from pescape.calculators.zbl import ZBL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from pescape.calculators.fit.data import TrainingSet
    from pescape.calculators.mtp.potential import MTPotential

    Pair = tuple[str, str]

# Steps of a push and where it ends, Å.
_STEP, _END = 0.01, 0.5
# Where pairs rest, in shortest distances of the data.
_RESTS = (1.0, 1.03, 1.06)
#: Inner and outer distances of walls in shortest distances of the data, from the default on.
WALLS = (ZBL.WALL, (0.85, 1.1), (1.0, 1.1))


def resting_dimers(potential: MTPotential, configurations: int) -> TrainingSet | None:
    """Make labels that no data gives: without its wall a pair in vacuum rests where data ends.

    Polynomials fitted to crystals alone may attract two atoms in vacuum so strongly, where the
    data ends, that no wall holds them apart which crystals can bear.

    Parameters
    ----------
    potential
        With a repulsion and `nearest`.
    configurations
        Their number in the training data, as one of which each dimer counts.

    Returns
    -------
    TrainingSet or None
        Dimers of all pairs of elements at and just above their shortest distances, whose forces,
        less those of the wall, are zero; None if the data has no pairs.
    """
    assert potential.nearest is not None
    dimers = []
    for pair in combinations_with_replacement(potential.species, 2):
        one, other = (potential.species.index(name) for name in pair)
        nearest = float(potential.nearest[one, other])
        for distance in nearest * np.array(_RESTS):
            if distance < potential.cutoff:
                atoms = Atoms(pair, [[0.0, 0.0, 0.0], [0.0, 0.0, distance]])
                atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=np.zeros((2, 3)))
                dimers.append(atoms)
    if not dimers:
        return None
    data = training_set(dimers, potential.species, potential.cutoff)
    factors = np.full(len(dimers), 1.0 / configurations)
    return replace(data, factors=factors, has_energies=False)


def falling_pairs(potential: MTPotential, configurations: Sequence[Atoms]) -> frozenset[Pair]:
    """Find pairs of elements whose energy falls when two atoms are pushed together.

    Each pair is pushed from its shortest distance in the data on: two atoms in vacuum, and where
    they are nearest in the configuration that has the smallest forces of all that hold the pair.

    Parameters
    ----------
    potential
        Fitted, with `nearest`.
    configurations
        The training data.

    Returns
    -------
    frozenset
        Of (element, element).
    """
    found = set()
    for pair in combinations_with_replacement(potential.species, 2):
        one, other = (potential.species.index(name) for name in pair)
        assert potential.nearest is not None
        nearest = float(potential.nearest[one, other])
        if nearest >= potential.cutoff:
            continue
        pushes = [(Atoms(pair, [[0.0, 0.0, 0.0], [0.0, 0.0, nearest]]), 0, 1, np.zeros(3))]
        pushes += _within(pair, configurations, 1.3 * nearest)
        if any(_falls(potential, *push, nearest) for push in pushes):
            found.add(pair)
    return frozenset(found)


def strengthened(potential: MTPotential, pairs: frozenset[Pair]) -> MTPotential | None:
    """Give some pairs of elements the next stronger wall.

    Parameters
    ----------
    potential
        With walls of its pairs.
    pairs
        Whose walls are too weak.

    Returns
    -------
    MTPotential or None
        None if there is no stronger one.
    """
    assert potential.repulsion is not None
    assert potential.nearest is not None
    walls, changed = {}, False
    for one, other, inner, outer in potential.repulsion.pairs:
        walls[one, other] = (inner, outer)
        i, j = potential.species.index(one), potential.species.index(other)
        nearest = float(potential.nearest[i, j])
        stronger = [wall for wall in WALLS if wall[0] * nearest > inner * (1.0 + 1e-9)]
        if pairs & {(one, other), (other, one)} and stronger:
            low, high = (min(factor * nearest, potential.cutoff) for factor in stronger[0])
            if low < high:
                walls[one, other], changed = (low, high), True
    return potential.with_repulsion(ZBL.of_pairs(walls)) if changed else None


def _within(
    pair: Pair, configurations: Sequence[Atoms], reach: float
) -> Iterator[tuple[Atoms, int, int, NDArray[np.float64]]]:
    """Find the nearest pair in the calmest configuration that has one within a distance."""

    def heat(atoms: Atoms) -> float:
        return float(np.mean(atoms.calc.results["forces"] ** 2)) if atoms.calc else np.inf

    for atoms in sorted(configurations, key=heat):
        symbols = atoms.symbols
        if len(atoms) < 3 or not {*pair} <= set(symbols):
            continue
        near = neighbors(atoms, reach)
        center = np.repeat(np.arange(len(atoms)), np.diff(near.offsets))
        right = (symbols[center] == pair[0]) & (symbols[near.indices] == pair[1])
        right &= center != near.indices
        if not right.any():
            continue
        vectors = atoms.positions[near.indices] + near.shifts - atoms.positions[center]
        lengths = np.where(right, np.linalg.norm(vectors, axis=1), np.inf)
        k = int(lengths.argmin())
        yield atoms, int(center[k]), int(near.indices[k]), near.shifts[k]
        return


def _falls(
    potential: MTPotential,
    atoms: Atoms,
    first: int,
    second: int,
    shift: NDArray[np.float64],
    nearest: float,
) -> bool:
    """Push two atoms together and say whether the energy falls anywhere."""
    pushed = Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    vector = atoms.positions[second] + shift - atoms.positions[first]
    middle, along = atoms.positions[first] + vector / 2, vector / np.linalg.norm(vector)
    types, kernel, last = potential.types_of(atoms.numbers), potential.kernel(), -np.inf
    for distance in np.arange(nearest, _END, -_STEP):
        pushed.positions[first] = middle - along * distance / 2
        pushed.positions[second] = middle + along * distance / 2 - shift
        near = neighbors(pushed, potential.cutoff)
        energies, _, _ = kernel.evaluate(pushed.positions, types, *near.arrays, 1)
        energy = float(energies.sum())
        if energy <= last:
            return True
        last = energy
    return False
