"""Data sets of several methods as a comparison of their diversity needs them.

Descriptors of atomic environments to measure diversity with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.calculators.calculator import PropertyNotImplementedError

from pescape.errors import DataError, frame_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Names = NDArray[np.str_]


@dataclass(frozen=True)
class InfoKeys:
    """Which entries of ``atoms.info`` say where an image comes from.

    Parameters
    ----------
    trajectory
        What the image's trajectory is called; needed, since images of one trajectory
        resemble each other and only trajectories are independent.
    start
        Entries that together name the structure that the trajectory began from; without
        the last of them, the trajectory.
    calls
        Force calls spent on the trajectory up to the image.
    seed
        Of the campaign, where data sets hold several campaigns.
    reference
        Energy of the (semi-relaxed) start, eV.
    """

    trajectory: str = "trajectory"
    start: tuple[str, ...] = ("builder", "start")
    calls: str = "call"
    seed: str = "campaign_seed"
    reference: str = "start_energy"


@dataclass(frozen=True, eq=False)
class SampledSet:
    """The images that one method sampled.

    Parameters
    ----------
    name
        Of the method.
    frames
        The I images.
    trajectories, starts, seeds
        Names, shape (I,).
    calls
        Force calls up to each image, shape (I,); None where frames do not say.
    energies
        Above the start's, eV/atom, shape (I,); None without labels.
    """

    name: str
    frames: tuple[Atoms, ...]
    trajectories: Names
    starts: Names
    seeds: Names
    calls: Integers | None
    energies: Floats | None

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def total_calls(self) -> int | None:
        """Force calls of all trajectories together."""
        return None if self.calls is None else int(_spent(self, self.calls).sum())


def sampled_sets(
    sets: Mapping[str, Sequence[Atoms]], keys: InfoKeys | None = None
) -> tuple[SampledSet, ...]:
    """Read what a comparison needs off the images of several methods.

    Energies are counted from the energy of the trajectory's start where images know it
    (``keys.reference``), else from the lowest energy that any method met from that start.
    They are the calculators' free energies where all images have one.

    Parameters
    ----------
    sets
        Images by the name of the method.
    keys
        Where images say what they are.

    Returns
    -------
    tuple of SampledSet
        In the order given; energies are None unless all images of all sets have one.

    Raises
    ------
    DataError
        Names the frame and the entry that it lacks.
    """
    keys = keys or InfoKeys()
    empty = [name for name, frames in sets.items() if not len(frames)]
    if empty:
        raise DataError(f"data set {empty[0]!r} holds no images")
    starts = {name: _starts(name, frames, keys) for name, frames in sets.items()}
    energies = _excess_energies(sets, starts, keys)
    return tuple(
        SampledSet(
            name=name,
            frames=tuple(frames),
            trajectories=_trajectories(name, frames, keys),
            starts=starts[name],
            seeds=np.array([str(atoms.info.get(keys.seed, "")) for atoms in frames]),
            calls=_calls(name, frames, keys),
            energies=None if energies is None else energies[name],
        )
        for name, frames in sets.items()
    )


def equal_call_masks(sets: Sequence[SampledSet]) -> list[NDArray[np.bool_]]:
    """Tell which images of each set to keep so that all sets cost as many force calls.

    The cheapest set is kept whole. In any other, all trajectories are cut at one and the
    same number of calls, chosen so that together they spend what the cheapest set spent.

    Parameters
    ----------
    sets
        With force calls.

    Returns
    -------
    list of arrays of bool
        Shape (I,) each.
    """
    known = [one.calls for one in sets if one.calls is not None]
    if len(known) < len(sets):
        silent = next(one.name for one in sets if one.calls is None)
        raise DataError(
            f"data set {silent!r}: its images do not say how many force calls they cost, "
            "so sets cannot be compared at equal calls"
        )
    spent = [_spent(one, calls) for one, calls in zip(sets, known, strict=True)]
    budget = min(int(each.sum()) for each in spent)
    return [
        np.asarray(calls <= _limit(each, budget)) for calls, each in zip(known, spent, strict=True)
    ]


def _limit(calls: Integers, budget: int) -> float:
    """Solve sum(min(calls, limit)) = budget for the limit."""
    ordered = np.sort(calls)
    if ordered.sum() <= budget:
        return float(ordered[-1])
    below = np.concatenate([[0], np.cumsum(ordered)])
    left = len(ordered) - np.arange(len(ordered))
    limits = (budget - below[:-1]) / left
    return float(limits[np.argmax(limits <= ordered)])


def _spent(one: SampledSet, calls: Integers) -> Integers:
    """Give the calls that each trajectory of a set cost, given those up to its images."""
    names, index = np.unique(one.trajectories, return_inverse=True)
    spent = np.zeros(len(names), dtype=np.int64)
    np.maximum.at(spent, index, calls)
    return spent


def _where(atoms: Atoms, name: str, index: int) -> str:
    return frame_name(atoms, f"data set {name!r}, image {index}")


def _trajectories(name: str, frames: Sequence[Atoms], keys: InfoKeys) -> Names:
    for index, atoms in enumerate(frames):
        if keys.trajectory not in atoms.info:
            raise DataError(
                f"{_where(atoms, name, index)} has no info[{keys.trajectory!r}]: error bars need "
                "to know which images belong to one trajectory"
            )
    # The same name may come back under another seed.
    return np.array([f"{a.info.get(keys.seed, '')}/{a.info[keys.trajectory]}" for a in frames])


def _starts(name: str, frames: Sequence[Atoms], keys: InfoKeys) -> Names:
    own = _trajectories(name, frames, keys)
    return np.array(
        [
            "/".join(str(atoms.info.get(key, "")) for key in (keys.seed, *keys.start))
            if keys.start[-1] in atoms.info
            else f"{name}/{trajectory}"
            for atoms, trajectory in zip(frames, own, strict=True)
        ]
    )


def _calls(name: str, frames: Sequence[Atoms], keys: InfoKeys) -> Integers | None:
    told = [atoms.info.get(keys.calls) for atoms in frames]
    if all(value is None for value in told):
        return None
    if None in told:
        index = told.index(None)
        raise DataError(
            f"{_where(frames[index], name, index)} has no info[{keys.calls!r}], but other images "
            "of the set have"
        )
    return np.array(told, dtype=np.int64)


def _energies(sets: Mapping[str, Sequence[Atoms]]) -> dict[str, Floats] | None:
    """Read energies, eV: free energies if all images have one; None if one has none."""
    free = {name: [_energy(atoms, free=True) for atoms in frames] for name, frames in sets.items()}
    if any(None in values for values in free.values()):
        free = {name: [_energy(a, free=False) for a in frames] for name, frames in sets.items()}
    if any(None in values for values in free.values()):
        return None
    return {name: np.array(values, dtype=float) for name, values in free.items()}


def _energy(atoms: Atoms, *, free: bool) -> float | None:
    if atoms.calc is None:
        return None
    try:
        value = atoms.get_potential_energy(force_consistent=free)
    except (PropertyNotImplementedError, RuntimeError):
        return None
    return None if value is None else float(value)


def _excess_energies(
    sets: Mapping[str, Sequence[Atoms]], starts: dict[str, Names], keys: InfoKeys
) -> dict[str, Floats] | None:
    energies = _energies(sets)
    if energies is None:
        return None
    told = all(keys.reference in atoms.info for frames in sets.values() for atoms in frames)
    lowest: dict[str, float] = {}
    sizes: dict[str, int] = {}
    for name, frames in sets.items():
        for index, (atoms, start) in enumerate(zip(frames, starts[name], strict=True)):
            if sizes.setdefault(start, len(atoms)) != len(atoms):
                raise DataError(
                    f"{_where(atoms, name, index)} has {len(atoms)} atoms, but other images from "
                    f"start {start!r} have {sizes[start]}"
                )
            lowest[start] = min(lowest.get(start, np.inf), energies[name][index])
    return {
        name: np.array(
            [
                (energy - (atoms.info[keys.reference] if told else lowest[start])) / len(atoms)
                for atoms, start, energy in zip(frames, starts[name], energies[name], strict=True)
            ]
        )
        for name, frames in sets.items()
    }


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
    from pescape.calculators.bpnn import waters_rondinelli_functions
    from pescape.calculators.bpnn.descriptors import SymmetryFunctions

    return SymmetryFunctions(species, waters_rondinelli_functions(species, cutoff), threads=threads)


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
    from pescape.calculators.doptimality.design_matrix import site_gradients
    from pescape.calculators.mtp import MTPotential

    untrained = MTPotential.untrained(level, list(species), cutoff, min_dist)
    seeds = np.random.SeedSequence(seed).spawn(draws)
    drawn = [untrained.randomized(one) for one in seeds]
    count = len(untrained.scalar_moments)

    def describe(atoms: Atoms) -> Floats:
        return np.hstack([site_gradients(one, atoms)[:, -count:] for one in drawn])

    return describe
