"""Random solid solutions: elements at random on the sites of a crystal, at a fixed composition.

Chance leaves correlations between neighbors in a small cell. Swaps of unlike atoms that bring
the pairs of the nearest shells closer to those of an endless random alloy lower them, as in
special quasirandom structures (Zunger, Wei, Ferreira and Bernard, Phys. Rev. Lett. 65, 353, 1990).
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.neighborlist import neighbor_list
from scipy.sparse import csr_array

from pescape.plugins.structures.deformed import rattled
from pescape.plugins.structures.records import (
    builder,
    generator,
    note,
    structure_from_dict,
    structure_name,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

#: What a composition calls an empty site.
EMPTY = "X"

# Distances that differ by less, Å, belong to the same shell.
_SAME_SHELL = 0.05


@builder({"parent": structure_from_dict}, tabulated=True)
def solid_solution(
    parent: Atoms,
    composition: dict[str, float],
    *,
    seed: int | np.random.SeedSequence,
    repeat: tuple[int, int, int] = (1, 1, 1),
    sublattice: str | None = None,
    swaps: int = 0,
    shells: int = 2,
    volume: tuple[float, float] = (1.0, 1.0),
    strain: float = 0.0,
    rattle: float = 0.0,
) -> Atoms:
    """Put elements at random on the sites of a crystal.

    Parameters
    ----------
    parent
        The crystal; its sites count, not what is on them.
    composition
        Fraction of the sites that each element takes; they add up to 1. ``X`` leaves sites
        empty. The numbers of atoms are the whole ones nearest to the fractions.
    seed
        Equal seeds give equal structures.
    repeat
        Repetitions of the parent.
    sublattice
        Element of the parent whose sites are taken; all sites when None.
    swaps
        How many swaps are tried that lower the correlations between neighbors; with 0, chance
        alone decides.
    shells
        Shells of neighbors whose correlations count.
    volume
        Range the ratio of volumes is drawn from.
    strain
        Standard deviation of the strain components.
    rattle
        Standard deviation of each Cartesian displacement, Å.

    Returns
    -------
    Atoms
        ``info["record"]["done"]`` holds the numbers of atoms and Warren and Cowley's
        short-range order of each pair by shell: 0 in an ideal solution, negative where unlike
        atoms gather. `replay` builds the structure again.

    Raises
    ------
    ValueError
        An argument is not possible, or an element gets no site.
    """
    low, high = volume
    if not 0.0 < low <= high:
        raise ValueError(f"volume = [{low}, {high}] is not a range of positive numbers")
    if swaps < 0 or shells < 1:
        raise ValueError(f"swaps = {swaps}, shells = {shells}: at least 0 and 1 are needed")
    if parent.cell.rank < 3 or not parent.pbc.any():
        raise ValueError(f"{structure_name(parent)} is no crystal: it has to be periodic")
    atoms = Atoms(parent.numbers, positions=parent.positions, cell=parent.cell, pbc=parent.pbc)
    atoms = atoms.repeat(tuple(repeat))
    symbols = np.array(atoms.get_chemical_symbols())
    sites = np.flatnonzero([sublattice in (None, symbol) for symbol in symbols])
    counts = _counts(composition, len(sites), sublattice)
    rng = generator(seed)
    kinds = np.repeat(np.arange(len(counts)), list(counts.values()))
    kinds = kinds[np.argsort(rng.random(len(kinds)))]
    neighbors = _shells(atoms[sites], shells)
    made = _decorrelate(kinds, neighbors, swaps, rng)
    atoms.symbols[sites] = np.array(list(counts))[kinds]
    del atoms[atoms.numbers == 0]
    chosen = low + rng.random() * (high - low)
    new = rattled(atoms, rng, rattle=rattle, strain=strain, volume=chosen)
    new.info["name"] = f"solid solution {new.get_chemical_formula()} of {structure_name(parent)}"
    new.info["parent"] = structure_name(parent)
    order = _short_range_order(kinds, neighbors, list(counts))
    done = {"counts": counts, "swaps": made, "short_range_order": order, "volume": chosen}
    return note(new, done)


def _counts(composition: dict[str, float], sites: int, sublattice: str | None) -> dict[str, int]:
    """Round the composition to whole numbers of sites, by largest remainders."""
    unknown = [one for one in composition if one != EMPTY and atomic_numbers.get(one, 0) < 1]
    if unknown:
        raise ValueError(f"composition: {unknown[0]!r} is no chemical symbol, nor {EMPTY}")
    shares = np.array(list(composition.values()), dtype=float)
    if not (shares > 0.0).all() or abs(shares.sum() - 1.0) > 1e-6:
        raise ValueError(f"composition: {composition} are not positive fractions that sum to 1")
    if not sites:
        raise ValueError(f"the parent has no sites of {sublattice}")
    wanted = shares * sites
    counts = np.floor(wanted + 1e-9).astype(int)
    counts[np.argsort(counts - wanted, kind="stable")[: sites - counts.sum()]] += 1
    if not counts.all():
        missing = list(composition)[int(counts.argmin())]
        raise ValueError(
            f"composition: {composition[missing]:g} of {sites} sites is no atom of {missing}: "
            "repeat the parent"
        )
    return dict(zip(composition, counts.tolist(), strict=True))


def _shells(atoms: Atoms, count: int) -> list[csr_array]:
    """Count the neighbors of each atom in each shell, (atoms, atoms) by shell."""
    within = 1.5 * (atoms.get_volume() / len(atoms)) ** (1.0 / 3.0)
    while True:
        first, second, distances = neighbor_list("ijd", atoms, within)
        order = np.argsort(distances)
        shell = np.cumsum(np.diff(distances[order], prepend=-np.inf) > _SAME_SHELL) - 1
        # The outermost shell may lack neighbors.
        if len(shell) and shell[-1] >= count:
            break
        within *= 1.25
    found = []
    for number in range(count):
        pairs = order[shell == number]
        size = (len(atoms), len(atoms))
        found.append(csr_array((np.ones(len(pairs)), (first[pairs], second[pairs])), shape=size))
    return found


def _pair_shares(kinds: np.ndarray, neighbors: Sequence[csr_array]) -> np.ndarray:
    """Shares of the pairs of kinds among all pairs of neighbors, (shells, kinds, kinds)."""
    holds = np.eye(int(kinds.max()) + 1)[kinds]
    return np.array([holds.T @ (shell @ holds) / shell.sum() for shell in neighbors])


def _decorrelate(
    kinds: np.ndarray, neighbors: Sequence[csr_array], swaps: int, rng: np.random.Generator
) -> int:
    """Swap unlike atoms where that brings pairs closer to chance; count the swaps made."""
    fractions = np.bincount(kinds) / len(kinds)
    ideal = np.outer(fractions, fractions)

    def excess() -> float:
        return float(((_pair_shares(kinds, neighbors) - ideal) ** 2).sum())

    made, now = 0, excess()
    for _ in range(swaps):
        one, other = (rng.random(2) * len(kinds)).astype(int)
        if kinds[one] == kinds[other]:
            continue
        kinds[[one, other]] = kinds[[other, one]]
        after = excess()
        if after < now:
            made, now = made + 1, after
        else:
            kinds[[one, other]] = kinds[[other, one]]
    return made


def _short_range_order(
    kinds: np.ndarray, neighbors: Sequence[csr_array], elements: Sequence[str]
) -> dict[str, list[float]]:
    """Warren and Cowley's parameters of each pair of elements, by shell."""
    fractions = np.bincount(kinds) / len(kinds)
    shares = _pair_shares(kinds, neighbors)
    return {
        f"{elements[i]}-{elements[j]}": (
            1.0 - shares[:, i, j] / (fractions[i] * fractions[j])
        ).tolist()
        for i, j in combinations(range(len(elements)), 2)
    }
