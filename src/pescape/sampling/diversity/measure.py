"""How diverse the atomic environments of data sets are, beside each other.

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

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pescape.errors import DataError
from pescape.sampling.diversity.axes import joint_axes
from pescape.sampling.diversity.data import (
    effective_number,
    equal_call_masks,
    equal_histogram,
    equal_mean,
    histogram_edges,
    spent_calls,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from pescape.sampling.diversity.axes import ElementAxes, JointAxes, Scaling
    from pescape.sampling.diversity.data import SampledSet

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Weigher = Callable[[Sequence[Floats]], Sequence[Floats]]


Kind = Literal["all images", "equal calls", "equal energy histogram", "equal mean energy"]
KINDS: tuple[Kind, ...] = (
    "all images",
    "equal calls",
    "equal energy histogram",
    "equal mean energy",
)


@dataclass(frozen=True)
class DiversitySettings:
    """How to compare.

    Parameters
    ----------
    scaling
        ``"minmax"`` brings each descriptor to 0 … 1 over all sets together, as in the
        paper; ``"deviation"``, which one stray atom cannot rule, to unit joint variance;
        ``"none"`` leaves descriptors as they are.
    resamples
        Bootstrap replicates of the trajectories.
    bins
        Of the energy histogram.
    components
        Principal axes to report and to draw.
    seed
        Of the bootstrap.
    """

    scaling: Scaling = "minmax"
    resamples: int = 400
    bins: int = 12
    components: int = 12
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("resamples", 10), ("bins", 1), ("components", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"diversity: {name} {getattr(self, name)} is not at least {least}")
        if self.scaling not in ("minmax", "deviation", "none"):
            raise ValueError(
                f"diversity: scaling has to be minmax, deviation or none, not {self.scaling!r}"
            )


@dataclass(frozen=True)
class SetDiversity:
    """One data set in one comparison.

    Parameters
    ----------
    name
        Of the method.
    images, trajectories
        That count at all.
    calls
        Force calls of these trajectories up to the last image that counts; None if unknown.
    mean_energy
        Above the start, eV/atom, with the weights of the comparison; None without labels.
    effective_images, effective_trajectories
        Kish's effective numbers under the weights. The second is the honest one: images of
        one trajectory are not independent.
    norm
        L2 norm of the root-variances of all elements.
    ratio
        `norm` over the baseline's.
    error
        Standard deviation of the ratio over the bootstrap.
    low, high
        95 % interval of the ratio (percentiles of the bootstrap).
    within_ratio, within_error
        The same, of the variance around the mean of each start's images: what the methods
        add to the variety of the starts, which all sets share.
    element_ratios
        The ratio of each element by itself.
    root_variances
        By element, along the first joint principal axes.
    seed_ratios
        The ratio in each campaign by itself, by the campaign's seed.
    seed_error
        Standard error of the mean of `seed_ratios`; None with fewer than two seeds.
    """

    name: str
    images: int
    trajectories: int
    calls: int | None
    mean_energy: float | None
    effective_images: float
    effective_trajectories: float
    norm: float
    ratio: float
    error: float
    low: float
    high: float
    within_ratio: float
    within_error: float
    element_ratios: dict[str, float]
    root_variances: dict[str, tuple[float, ...]]
    seed_ratios: dict[str, float]
    seed_error: float | None


@dataclass(frozen=True)
class Comparison:
    """All data sets under equal conditions.

    Parameters
    ----------
    kind
        What is equal.
    statement
        How it was made equal, in words.
    sets
        In the order given.
    support
        Share of each set's images that have energies within the common support; None where
        energies are not matched by histogram.
    failed
        Bootstrap replicates that could not be matched and are left out.
    """

    kind: Kind
    statement: str
    sets: tuple[SetDiversity, ...]
    support: tuple[float, ...] | None = None
    failed: int = 0

    def __getitem__(self, name: str) -> SetDiversity:
        """Look a set up by its name."""
        for one in self.sets:
            if one.name == name:
                return one
        raise KeyError(f"no data set {name!r}, there are {', '.join(s.name for s in self.sets)}")


@dataclass(frozen=True)
class Diversity:
    """The diversity of data sets in all comparisons that their images allow.

    Parameters
    ----------
    baseline
        Name of the set that has ratio one.
    resampled
        What the bootstrap draws: ``"starts"``, jointly for all sets where all began from the
        same ones, else ``"trajectories"`` of each set by itself.
    elements
        Joint axes of each element and the distributions along the first two.
    comparisons
        What was compared; energies are matched among the images kept at equal calls where
        calls are known.
    missing
        Why other comparisons were not made.
    """

    baseline: str
    resampled: str
    settings: DiversitySettings
    elements: tuple[ElementAxes, ...]
    comparisons: tuple[Comparison, ...]
    missing: tuple[str, ...]

    def __getitem__(self, kind: Kind) -> Comparison:
        """Look a comparison up by its kind."""
        for one in self.comparisons:
            if one.kind == kind:
                return one
        raise KeyError(f"no comparison {kind!r}: {'; '.join(self.missing) or 'unknown'}")

    def summary(self) -> dict[str, Any]:
        """Convert all of it to what JSON can hold."""
        return asdict(self)


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
    return _Bench(sets, axes, baseline, settings).measure()


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


def _numbered(names: NDArray[np.str_]) -> Integers:
    """Replace names by numbers, equal ones by equal numbers."""
    return np.unique(names, return_inverse=True)[1]


class _Bench:
    """All that comparisons of one group of sets share."""

    def __init__(
        self,
        sets: Sequence[SampledSet],
        axes: JointAxes,
        baseline: str,
        settings: DiversitySettings,
    ) -> None:
        self.sets, self.axes, self.settings, self.baseline = sets, axes, settings, baseline
        self.base = [one.name for one in sets].index(baseline)
        self.starts = [_numbered(one.starts) for one in sets]
        names = [set(one.starts) for one in sets]
        #: What the bootstrap draws: starts that all sets share, or trajectories of each set.
        self.resampled = "trajectories"
        self.clusters = [_numbered(one.trajectories) for one in sets]
        if all(other == names[0] for other in names) and len(names[0]) > 1:
            self.resampled, self.clusters = "starts", self.starts

    def measure(self) -> Diversity:
        """Compare the sets in all ways that their images allow."""
        everything = [np.ones(len(one)) for one in self.sets]
        comparisons = [self._compare("all images", "every image counts one", everything)]
        missing: list[str] = []
        kept, within = everything, "all images"
        if all(one.calls is not None for one in self.sets):
            kept = [mask.astype(float) for mask in equal_call_masks(self.sets)]
            within = "the images at equal calls"
            how = "every set is cut to the force calls of the cheapest, all its trajectories alike"
            comparisons.append(self._compare("equal calls", how, kept))
        else:
            missing.append("equal calls: images do not say how many force calls they cost")
        if all(one.energies is not None for one in self.sets):
            for match in (self._match_histogram, self._match_mean):
                try:
                    comparisons.append(match(kept, within))
                except DataError as error:  # noqa: PERF203 (two of them)
                    missing.append(str(error))
        else:
            missing.append("matched energies: not all images have energies")
        return Diversity(
            baseline=self.baseline,
            resampled=self.resampled,
            settings=self.settings,
            elements=self.axes.described(self.sets, kept, self.settings.components),
            comparisons=tuple(comparisons),
            missing=tuple(missing),
        )

    def _match_histogram(self, kept: Sequence[Floats], within: str) -> Comparison:
        energies = self._energies()
        edges = histogram_edges(energies, kept, self.settings.bins)

        def weigh(before: Sequence[Floats]) -> Sequence[Floats]:
            return equal_histogram(energies, before, edges)

        inside = [
            float(before[new > 0.0].sum() / before.sum())
            for before, new in zip(kept, weigh(kept), strict=True)
        ]
        return self._compare(
            "equal energy histogram",
            f"{within}, re-weighted to one common histogram of energies above the start: "
            f"{len(edges) - 1} bins of equal shares, in each the smallest share of any set",
            kept,
            weigh,
            tuple(inside),
        )

    def _match_mean(self, kept: Sequence[Floats], within: str) -> Comparison:
        energies = self._energies()

        def weigh(before: Sequence[Floats]) -> Sequence[Floats]:
            target = float(np.average(energies[self.base], weights=before[self.base]))
            return [
                w / w.sum() if index == self.base else equal_mean(e, w, target)
                for index, (e, w) in enumerate(zip(energies, before, strict=True))
            ]

        return self._compare(
            "equal mean energy",
            f"{within}, weighted with exp(-λE) so that each set's mean energy above the start "
            f"is that of {self.baseline}",
            kept,
            weigh,
        )

    def _compare(
        self,
        kind: Kind,
        statement: str,
        kept: Sequence[Floats],
        weigh: Weigher = lambda before: before,
        support: tuple[float, ...] | None = None,
    ) -> Comparison:
        """Measure all sets, with error bars; each bootstrap replicate is weighed anew."""
        weights = weigh(kept)
        replicates, failed = self._bootstrap(kept, weigh)
        by_seed = self._by_seed(kept, weigh)
        variances = [self.axes.variances(index, w) for index, w in enumerate(weights)]
        sets = tuple(
            self._described(index, weights, variances, replicates, by_seed)
            for index in range(len(self.sets))
        )
        return Comparison(kind, statement, sets, support, failed)

    def _described(
        self,
        index: int,
        weights: Sequence[Floats],
        variances: Sequence[dict[str, Floats]],
        replicates: Floats,
        by_seed: dict[str, Floats],
    ) -> SetDiversity:
        """Describe a set beside the baseline."""
        one, w = self.sets[index], weights[index]
        own, reference = variances[index], variances[self.base]
        norms = self._norms(weights)
        counted = w > 0.0
        mean = None if one.energies is None else float(np.average(one.energies, weights=w))
        spent = None
        if one.calls is not None:
            spent = int(spent_calls(one.trajectories[counted], one.calls[counted]).sum())
        members = np.unique(one.trajectories, return_inverse=True)[1]
        ratio, within = norms[index] / norms[self.base]
        ratios = replicates[:, index] / replicates[:, self.base]
        seeds = {seed: float(each[index, 0] / each[self.base, 0]) for seed, each in by_seed.items()}
        low, high = np.percentile(ratios[:, 0], [2.5, 97.5])
        return SetDiversity(
            name=one.name,
            images=int(counted.sum()),
            trajectories=len(np.unique(members[counted])),
            calls=spent,
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
        """Norms (S, 2) of the S sets: of all variance, and of that within starts."""
        return np.array(
            [self.axes.norms(index, w, self.starts[index]) for index, w in enumerate(weights)]
        )

    def _bootstrap(self, kept: Sequence[Floats], weigh: Weigher) -> tuple[Floats, int]:
        """Norms (B, S, 2) of all sets in each replicate, and the number of those that failed."""
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
        """Norms (S, 2) of each campaign by itself, where all sets have it, by its seed."""
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
    """How often each of `count` things came when as many were drawn with replacement."""
    return np.bincount(rng.integers(count, size=count), minlength=count).astype(float)
