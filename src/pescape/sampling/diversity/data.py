"""Data sets of several methods, and weights of their images that make conditions equal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.calculators.calculator import PropertyNotImplementedError

from pescape.errors import DataError, frame_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Names = NDArray[np.str_]

# Largest exponent (times the width of the energies) with which images are weighted.
_MAX_TILT = 500.0
_NO_OVERLAP = "the sets have no energies in common: they cannot be matched by energy"


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
        return None if self.calls is None else int(spent_calls(self.trajectories, self.calls).sum())


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
    calls = [atoms.info.get(keys.calls) for atoms in frames]
    if all(value is None for value in calls):
        return None
    if None in calls:
        index = calls.index(None)
        raise DataError(
            f"{_where(frames[index], name, index)} has no info[{keys.calls!r}], but other images "
            "of the set have"
        )
    return np.array(calls, dtype=np.int64)


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
    has_start = all(keys.reference in atoms.info for frames in sets.values() for atoms in frames)
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
                (energy - (atoms.info[keys.reference] if has_start else lowest[start])) / len(atoms)
                for atoms, start, energy in zip(frames, starts[name], energies[name], strict=True)
            ]
        )
        for name, frames in sets.items()
    }


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
    spent = [spent_calls(one.trajectories, calls) for one, calls in zip(sets, known, strict=True)]
    budget = min(int(each.sum()) for each in spent)
    return [
        np.asarray(calls <= _call_limit(each, budget))
        for calls, each in zip(known, spent, strict=True)
    ]


def _call_limit(calls: Integers, budget: int) -> float:
    """Solve sum(min(calls, limit)) = budget for the limit."""
    ordered = np.sort(calls)
    if ordered.sum() <= budget:
        return float(ordered[-1])
    below = np.concatenate([[0], np.cumsum(ordered)])
    left = len(ordered) - np.arange(len(ordered))
    limits = (budget - below[:-1]) / left
    return float(limits[np.argmax(limits <= ordered)])


def spent_calls(trajectories: Names, calls: Integers) -> Integers:
    """Count the force calls that each trajectory cost, (number of trajectories,).

    Parameters
    ----------
    trajectories, calls
        Of images: the trajectory's name, and its force calls up to there, (I,).
    """
    names, index = np.unique(trajectories, return_inverse=True)
    spent = np.zeros(len(names), dtype=np.int64)
    np.maximum.at(spent, index, calls)
    return spent


def histogram_edges(energies: Sequence[Floats], weights: Sequence[Floats], bins: int) -> Floats:
    """Choose bins over the range that all sets cover.

    Parameters
    ----------
    energies, weights
        Of the images of each set, shapes (I,).
    bins
        How many.

    Returns
    -------
    array
        Rising edges, at most ``bins + 1``. Each bin holds an equal share of the images in
        the common range, with each set counted once.

    Raises
    ------
    DataError
        There is no common range.
    """
    counted = [(e[w > 0.0], w[w > 0.0] / w.sum()) for e, w in zip(energies, weights, strict=True)]
    low, high = max(e.min() for e, _ in counted), min(e.max() for e, _ in counted)
    if not low < high:
        raise DataError(_NO_OVERLAP)
    values, share = (np.concatenate(parts) for parts in zip(*counted, strict=True))
    order = np.argsort(values)
    inside = order[(values[order] >= low) & (values[order] <= high)]
    cumulated = np.cumsum(share[inside]) / share[inside].sum()
    inner = np.interp(np.arange(1, bins) / bins, cumulated, values[inside])
    return np.unique([low, *inner, high])


def equal_histogram(
    energies: Sequence[Floats], weights: Sequence[Floats], edges: Floats
) -> list[Floats]:
    """Weight images so that all sets have the same histogram of energies.

    The common histogram is the overlap: in each bin the smallest of the sets' shares. Bins
    in which some set has nothing are outside the common support and count for no set.
    Within a bin the images of a set keep their relative weights: this is the expectation of
    a stratified sub-sampling.

    Parameters
    ----------
    energies
        Of the images of each set, shapes (I,).
    weights
        What each image counts before, shapes (I,).
    edges
        Of the bins, as from `histogram_edges`.

    Returns
    -------
    list of arrays
        New weights, each set's summing to one.

    Raises
    ------
    DataError
        The sets have no energies in common.
    """
    count = len(edges) - 1
    # One more bin, for what is outside; nothing there is common.
    members = [
        np.where(
            (e >= edges[0]) & (e <= edges[-1]),
            np.minimum(np.searchsorted(edges, e, side="right") - 1, count - 1),
            count,
        )
        for e in energies
    ]
    shares = np.array(
        [
            np.bincount(m, w, minlength=count + 1) / w.sum()
            for m, w in zip(members, weights, strict=True)
        ]
    )
    shares[:, count] = 0.0
    common = shares.min(axis=0)
    if not common.any():
        raise DataError(_NO_OVERLAP)
    common = common / common.sum()
    factors = np.divide(common, shares, out=np.zeros_like(shares), where=shares > 0.0)
    return [w / w.sum() * factor[m] for w, m, factor in zip(weights, members, factors, strict=True)]


def equal_mean(energies: Floats, weights: Floats, target: float) -> Floats:
    """Weight images so that their mean energy is the target, changing weights least.

    Of all weights with that mean these, proportional to ``exp(-λ E)``, have the smallest
    relative entropy to the ones before.

    Parameters
    ----------
    energies, weights
        Of the images, shapes (I,).
    target
        The mean wanted.

    Returns
    -------
    array
        New weights, summing to one.

    Raises
    ------
    DataError
        No image lies on one side of the target.
    """
    from scipy.optimize import brentq

    counted = weights > 0.0
    values = energies[counted]
    width = float(np.ptp(values))
    if not values.min() < target < values.max():
        if np.isclose(width, 0.0) and np.isclose(target, values[0]):
            return weights / weights.sum()
        raise DataError(
            f"no weights give a mean energy of {target:.4g} eV/atom: the images have "
            f"{values.min():.4g} to {values.max():.4g}"
        )
    scaled = (values - target) / width

    def tilted(strength: float) -> Floats:
        exponents = -strength * scaled
        return weights[counted] * np.exp(exponents - exponents.max())

    def excess(strength: float) -> float:
        new = tilted(strength)
        return float(new @ scaled / new.sum())

    low, high = excess(-_MAX_TILT), excess(_MAX_TILT)
    if not low > 0.0 > high:
        raise DataError(
            f"a mean energy of {target:.4g} eV/atom is too near the end of the images' energies"
        )
    new = np.zeros_like(weights)
    found = tilted(brentq(excess, -_MAX_TILT, _MAX_TILT))
    new[counted] = found / found.sum()
    return new


def effective_number(weights: Floats, members: NDArray[np.int64] | None = None) -> float:
    """Compute Kish's effective number of weighted things, ``(Σw)² / Σw²``.

    Parameters
    ----------
    weights
        Shape (I,).
    members
        To which thing (a trajectory) each weight belongs, shape (I,); by default each
        stands for itself.
    """
    shares = weights if members is None else np.bincount(members, weights).astype(float)
    return float(shares.sum() ** 2 / (shares**2).sum())
