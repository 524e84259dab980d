"""Descriptors of atomic environments to measure diversity with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def paper_descriptors(
    species: Sequence[str], *, cutoff: float = 7.0, threads: int = 1
) -> Callable[[Atoms], Floats]:
    """Make the symmetry functions of Waters and Rondinelli, table I.

    Parameters
    ----------
    species
        Elements of all configurations; two give 136 functions for each atom.
    cutoff
        Å.
    threads
        OpenMP threads.

    Returns
    -------
    callable
        From Atoms to an array (natoms, number of functions).
    """
    from pescape.calculators.bpnn import paper_functions
    from pescape.calculators.bpnn.descriptors import SymmetryFunctions

    return SymmetryFunctions(species, paper_functions(species, cutoff), threads=threads)


def moment_descriptors(
    species: Sequence[str],
    *,
    cutoff: float = 6.0,
    min_dist: float = 1.0,
    level: int = 12,
    draws: int = 4,
    seed: int = 0,
) -> Callable[[Atoms], Floats]:
    """Make descriptors of the basis functions of moment tensor potentials.

    Each atom is described by all scalar contractions of its moments up to a level, once for
    each of several draws of random radial functions: invariant to rotations and to the
    order of neighbours, and of as many bodies as the level allows.

    Parameters
    ----------
    species
        Elements of all configurations.
    cutoff, min_dist
        Å; where the radial functions end and the shortest distance they resolve.
    level
        Of the contractions, even.
    draws
        Of radial functions; more of them leave less to chance.
    seed
        Of the draws.

    Returns
    -------
    callable
        From Atoms to an array (natoms, draws times the number of basis functions).
    """
    from pescape.calculators.mtp import MTPotential

    untrained = MTPotential.untrained(level, list(species), cutoff, min_dist)
    seeds = np.random.SeedSequence(seed).spawn(draws)
    drawn = [untrained.randomized(one) for one in seeds]
    count = len(untrained.scalar_moments)

    def describe(atoms: Atoms) -> Floats:
        return np.hstack([one.site_gradients(atoms)[:, -count:] for one in drawn])

    return describe
