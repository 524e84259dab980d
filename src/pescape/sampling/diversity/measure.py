"""Weights that give data sets the same energies, and what is left of the sets under them.

How diverse the atomic environments of data sets are, beside each other.

The measure is that of Waters and Rondinelli [1]_: for each element the descriptors of the
atoms of all data sets together are scaled and turned to their joint principal axes; the
root-variances of one data set along these axes, of all elements in one vector, have an L2
norm, and a norm over that of the baseline set (molecular dynamics) is the set's diversity.

As variances along orthogonal axes sum to the trace of the covariance, the norm does not
depend on the axes; the axes show where the variance is.

References
----------
.. [1] M. J. Waters and J. M. Rondinelli, "Benchmarking structural evolution methods for
   training of machine learned interatomic potentials", section III.A.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pescape.errors import DataError
from pescape.sampling.diversity.axes import joint_axes
from pescape.sampling.diversity.data import equal_call_masks
from pescape.sampling.diversity.results import (
    Comparison,
    Diversity,
    DiversitySettings,
    Kind,
    SetDiversity,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from pescape.sampling.diversity.axes import JointAxes
    from pescape.sampling.diversity.data import SampledSet

    Floats = NDArray[np.float64]
    Weigher = Callable[[Sequence[Floats]], Sequence[Floats]]


# Exponents (times the width of the energies) within which a tilt is looked for.
_STEEPEST = 500.0
_NOTHING_COMMON = "the sets have no energies in common: they cannot be matched by energy"


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
        raise DataError(_NOTHING_COMMON)
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
        raise DataError(_NOTHING_COMMON)
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

    low, high = excess(-_STEEPEST), excess(_STEEPEST)
    if not low > 0.0 > high:
        raise DataError(
            f"a mean energy of {target:.4g} eV/atom is too near the end of the images' energies"
        )
    new = np.zeros_like(weights)
    found = tilted(brentq(excess, -_STEEPEST, _STEEPEST))
    new[counted] = found / found.sum()
    return new


def effective_number(weights: Floats, members: NDArray[np.int64] | None = None) -> float:
    """Give Kish's effective number of weighted things, ``(Σw)² / Σw²``.

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


def measure_diversity(
    sets: Sequence[SampledSet],
    descriptors: Callable[[Atoms], Floats],
    baseline: str,
    settings: DiversitySettings | None = None,
) -> Diversity:
    """Compare the diversity of data sets.

    Error bars come from a bootstrap over trajectories. Scales and axes are those of all
    images and are not drawn anew: the replicates are measured with one ruler.

    Parameters
    ----------
    sets
        As from `sampled_sets`; at least two.
    descriptors
        Gives the descriptors (natoms, D) of a configuration, the same D for all.
    baseline
        Name of the set whose diversity is one.
    settings
        How to compare.

    Returns
    -------
    Diversity

    Raises
    ------
    DataError
        An element is missing in a set, a set has fewer than two trajectories, or
        descriptors are not what they should be.
    """
    settings = settings or DiversitySettings()
    _check(sets, baseline)
    axes = joint_axes(sets, descriptors, settings.scaling)
    groups, resampled = _clusters(sets)
    starts = [np.unique(one.starts, return_inverse=True)[1] for one in sets]
    bench = _Bench(sets, axes, baseline, settings, groups, resampled, starts)
    everything = [np.ones(len(one)) for one in sets]
    comparisons = [bench.compare("all images", "every image counts one", everything)]
    missing: list[str] = []
    kept, within = everything, "all images"
    if all(one.calls is not None for one in sets):
        kept = [mask.astype(float) for mask in equal_call_masks(sets)]
        within = "the images at equal calls"
        told = "every set is cut to the force calls of the cheapest, all its trajectories alike"
        comparisons.append(bench.compare("equal calls", told, kept))
    else:
        missing.append("equal calls: images do not say how many force calls they cost")
    matched, unmatched = _matched(bench, kept, within)
    return Diversity(
        baseline=baseline,
        resampled=resampled,
        settings=settings,
        elements=axes.described(sets, kept, settings.components),
        comparisons=(*comparisons, *matched),
        missing=(*missing, *unmatched),
    )


def _matched(
    bench: _Bench, kept: Sequence[Floats], within: str
) -> tuple[list[Comparison], list[str]]:
    """Compare at matched energies, by histogram and by mean, or say why not."""
    if any(one.energies is None for one in bench.sets):
        return [], ["matched energies: not all images have energies"]
    made, failed = [], []
    for match in (bench.match_histogram, bench.match_mean):
        try:
            made.append(match(kept, within))
        except DataError as error:  # noqa: PERF203 (two of them)
            failed.append(str(error))
    return made, failed


def _check(sets: Sequence[SampledSet], baseline: str) -> None:
    names = [one.name for one in sets]
    if len(sets) < 2:
        raise DataError("diversity compares data sets: give at least two")
    if baseline not in names:
        raise DataError(f"no data set {baseline!r} to compare with, there are {', '.join(names)}")
    for one in sets:
        count = len(np.unique(one.trajectories))
        if count < 2:
            raise DataError(
                f"data set {one.name!r} has {len(one)} images of one trajectory: error bars need "
                "at least two trajectories, and should have ten or more"
            )


def _clusters(sets: Sequence[SampledSet]) -> tuple[list[NDArray[np.int64]], str]:
    """Give numbers to what the bootstrap draws: shared starts, or own trajectories."""
    starts = [set(one.starts) for one in sets]
    if all(other == starts[0] for other in starts) and len(starts[0]) > 1:
        return [np.unique(one.starts, return_inverse=True)[1] for one in sets], "starts"
    return [np.unique(one.trajectories, return_inverse=True)[1] for one in sets], "trajectories"


@dataclass(frozen=True, eq=False)
class _Bench:
    """All that comparisons of one group of sets share."""

    sets: Sequence[SampledSet]
    axes: JointAxes
    baseline: str
    settings: DiversitySettings
    clusters: Sequence[NDArray[np.int64]]
    resampled: str
    starts: Sequence[NDArray[np.int64]]

    def match_histogram(self, kept: Sequence[Floats], within: str) -> Comparison:
        energies = self._energies()
        edges = histogram_edges(energies, kept, self.settings.bins)

        def weigh(before: Sequence[Floats]) -> Sequence[Floats]:
            return equal_histogram(energies, before, edges)

        inside = [
            float(before[new > 0.0].sum() / before.sum())
            for before, new in zip(kept, weigh(kept), strict=True)
        ]
        return self.compare(
            "equal energy histogram",
            f"{within}, re-weighted to one common histogram of energies above the start: "
            f"{len(edges) - 1} bins of equal shares, in each the smallest share of any set",
            kept,
            weigh,
            tuple(inside),
        )

    def match_mean(self, kept: Sequence[Floats], within: str) -> Comparison:
        energies = self._energies()
        base = [one.name for one in self.sets].index(self.baseline)

        def weigh(before: Sequence[Floats]) -> Sequence[Floats]:
            target = float(np.average(energies[base], weights=before[base]))
            return [
                w / w.sum() if index == base else equal_mean(e, w, target)
                for index, (e, w) in enumerate(zip(energies, before, strict=True))
            ]

        return self.compare(
            "equal mean energy",
            f"{within}, weighted with exp(-λE) so that each set's mean energy above the start "
            f"is that of {self.baseline}",
            kept,
            weigh,
        )

    def compare(
        self,
        kind: Kind,
        statement: str,
        kept: Sequence[Floats],
        weigh: Weigher = lambda before: before,
        support: tuple[float, ...] | None = None,
    ) -> Comparison:
        """Measure all sets, with error bars.

        Parameters
        ----------
        kept
            What each image counts before it is weighed.
        weigh
            Makes conditions equal; it is applied to each bootstrap replicate anew.
        """
        weights = weigh(kept)
        replicates, failed = self._bootstrap(kept, weigh)
        by_seed = self._by_seed(kept, weigh)
        variances = [self.axes.variances(index, w) for index, w in enumerate(weights)]
        base = [one.name for one in self.sets].index(self.baseline)
        sets = tuple(
            self._described(index, weights, variances, base, replicates, by_seed)
            for index in range(len(self.sets))
        )
        return Comparison(kind, statement, sets, support, failed)

    def _described(
        self,
        index: int,
        weights: Sequence[Floats],
        variances: Sequence[dict[str, Floats]],
        base: int,
        replicates: Floats,
        by_seed: dict[str, Floats],
    ) -> SetDiversity:
        one, w = self.sets[index], weights[index]
        own, reference = variances[index], variances[base]
        norms = self._norms(weights)
        counted = w > 0.0
        mean = None if one.energies is None else float(np.average(one.energies, weights=w))
        members = np.unique(one.trajectories, return_inverse=True)[1]
        ratio, within = norms[index] / norms[base]
        ratios = replicates[:, index] / replicates[:, base]
        seeds = {seed: float(each[index, 0] / each[base, 0]) for seed, each in by_seed.items()}
        low, high = np.percentile(ratios[:, 0], [2.5, 97.5])
        return SetDiversity(
            name=one.name,
            images=int(counted.sum()),
            trajectories=len(np.unique(members[counted])),
            calls=_calls(one, counted, members),
            mean_energy=mean,
            effective_images=effective_number(w),
            effective_trajectories=effective_number(w, members),
            norm=float(norms[index, 0]),
            ratio=float(ratio),
            error=float(ratios[:, 0].std(ddof=1)),
            low=float(low),
            high=float(high),
            within_ratio=float(within),
            within_error=float(ratios[:, 1].std(ddof=1)),
            element_ratios={
                element: float(np.sqrt(v.sum() / reference[element].sum()))
                for element, v in own.items()
            },
            root_variances={
                element: tuple(np.sqrt(v[: self.settings.components]).tolist())
                for element, v in own.items()
            },
            seed_ratios=seeds,
            seed_error=(
                float(np.std(list(seeds.values()), ddof=1) / np.sqrt(len(seeds)))
                if len(seeds) > 1
                else None
            ),
        )

    def _energies(self) -> list[Floats]:
        return [one.energies for one in self.sets if one.energies is not None]

    def _norms(self, weights: Sequence[Floats]) -> Floats:
        """Give the norms (S, 2) of the S sets: of all variance, and of that within starts."""
        return np.array(
            [self.axes.norms(index, w, self.starts[index]) for index, w in enumerate(weights)]
        )

    def _bootstrap(self, kept: Sequence[Floats], weigh: Weigher) -> tuple[Floats, int]:
        """Give the norms (B, S, 2) of all sets in each replicate, and how many failed."""
        rng = np.random.default_rng(self.settings.seed)
        counts = [int(c.max()) + 1 for c in self.clusters]
        norms: list[Floats] = []
        for _ in range(self.settings.resamples):
            if self.resampled == "starts":
                draws = [_draw(rng, counts[0])] * len(counts)
            else:
                draws = [_draw(rng, count) for count in counts]
            before = [k * d[c] for k, d, c in zip(kept, draws, self.clusters, strict=True)]
            try:
                found = self._norms(weigh(before))
            except DataError:
                continue
            if np.isfinite(found).all() and (found > 0.0).all():
                norms.append(found)
        failed = self.settings.resamples - len(norms)
        if len(norms) < 2:
            raise DataError(
                "the bootstrap failed: too few trajectories have energies or elements in common"
            )
        return np.array(norms), failed

    def _by_seed(self, kept: Sequence[Floats], weigh: Weigher) -> dict[str, Floats]:
        """Measure each campaign by itself, where all sets have it."""
        names = set.intersection(*(set(one.seeds) for one in self.sets))
        found = {}
        for name in sorted(names) if len(names) > 1 else ():
            before = [k * (one.seeds == name) for k, one in zip(kept, self.sets, strict=True)]
            try:
                norms = self._norms(weigh(before))
            except DataError:
                continue
            if np.isfinite(norms).all() and (norms > 0.0).all():
                found[str(name)] = norms
        return found


def _draw(rng: np.random.Generator, count: int) -> Floats:
    """Draw `count` things with replacement; how often each came."""
    return np.bincount(rng.integers(count, size=count), minlength=count).astype(float)


def _calls(one: SampledSet, counted: NDArray[np.bool_], members: NDArray[np.int64]) -> int | None:
    if one.calls is None:
        return None
    spent = np.zeros(int(members.max()) + 1, dtype=np.int64)
    np.maximum.at(spent, members[counted], one.calls[counted])
    return int(spent.sum())
