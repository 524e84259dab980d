"""Descriptors of atomic environments, and the joint principal axes of several data sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from ase.data import chemical_symbols
from scipy.sparse import csr_array

from pescape.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from pescape.sampling.diversity.data import SampledSet

    Floats = NDArray[np.float64]

Scaling = Literal["minmax", "deviation", "none"]

# Descriptors whose range is smaller, relative to their size, are constant.
_MIN_RANGE = 1e-12
_HISTOGRAM_BINS = 60


def waters_rondinelli_descriptors(
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
    order of neighbors, and of as many bodies as the level allows.

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


@dataclass(frozen=True)
class Distribution:
    """The distribution of the atoms of all sets along one joint principal axis.

    Parameters
    ----------
    edges
        Of the bins, shape (bins + 1,).
    densities
        By set, each of integral one, shape (bins,).
    """

    edges: tuple[float, ...]
    densities: dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class ElementAxes:
    """The joint axes of one element, and how well they serve each set.

    Parameters
    ----------
    element
        Chemical symbol.
    descriptors, constant
        How many descriptors vary, and how many do not and are left out.
    atoms
        By set.
    joint_variances
        Of all sets together along the first axes, falling.
    axes_difference
        By set: relative difference between the norms over the joint axes and over the set's
        own principal axes. The paper's test of the joint axes; with all axes the two are
        equal by algebra, so this tests the arithmetic.
    captured, captured_by_own
        By set: share of its variance that lies along the first joint axes, and along as many
        of its own: this does test the axes.
    distributions
        Along the first two joint axes.
    """

    element: str
    descriptors: int
    constant: int
    atoms: dict[str, int]
    joint_variances: tuple[float, ...]
    axes_difference: dict[str, float]
    captured: dict[str, float]
    captured_by_own: dict[str, float]
    distributions: tuple[Distribution, ...]


@dataclass(frozen=True, eq=False)
class _Element:
    """Scaled descriptors of one element's atoms, along the joint axes.

    ``scores[s]`` (n, D) are those of set s, ``images[s]`` (n,) the images they are in;
    ``counts[s]`` (I,), ``sums[s]`` and ``squares[s]`` (I, D) their moments by image, and
    ``lengths[s]`` (I,) the sums of ``squares[s]`` over the axes.
    """

    symbol: str
    constant: int
    scores: list[Floats]
    images: list[NDArray[np.int64]]
    counts: list[Floats]
    sums: list[Floats]
    squares: list[Floats]
    lengths: list[Floats]

    def variances(self, index: int, weights: Floats) -> Floats:
        """Variances (D,) of a set along the axes.

        Parameters
        ----------
        index
            Of the set.
        weights
            What each of its images counts, (I,).
        """
        counts = weights @ self.counts[index]
        if counts <= 0.0:
            return np.full(self.sums[index].shape[1], np.nan)
        mean = weights @ self.sums[index] / counts
        return np.maximum(weights @ self.squares[index] / counts - mean**2, 0.0)

    def traces(
        self, index: int, weights: Floats, members: NDArray[np.int64]
    ) -> tuple[float, float]:
        """Variance along all axes together, and that around the means of groups of images.

        Parameters
        ----------
        index
            Of the set.
        weights, members
            What each of its images counts, and the number of its group, (I,).
        """
        grouping = csr_array((weights, (members, np.arange(len(weights)))))
        sums, sizes = grouping @ self.sums[index], grouping @ self.counts[index]
        counts = sizes.sum()
        if counts <= 0.0:
            return np.nan, np.nan
        square = weights @ self.lengths[index] / counts
        some = sizes > 0.0
        within = ((sums[some] ** 2).sum(axis=1) / sizes[some]).sum() / counts
        total = (sums.sum(axis=0) ** 2).sum() / counts**2
        return max(square - total, 0.0), max(square - within, 0.0)


@dataclass(frozen=True, eq=False)
class JointAxes:
    """Descriptors of all elements along their joint axes."""

    elements: tuple[_Element, ...]

    def variances(self, index: int, weights: Floats) -> dict[str, Floats]:
        """Compute the variances (D,) of a set along the axes, by element.

        Parameters
        ----------
        index
            Of the set.
        weights
            What each of its images counts, (I,).
        """
        return {one.symbol: one.variances(index, weights) for one in self.elements}

    def norms(self, index: int, weights: Floats, members: NDArray[np.int64]) -> tuple[float, float]:
        """Compute the L2 norm of the root-variances of all elements, and that within groups.

        Parameters
        ----------
        index
            Of the set.
        weights, members
            What each of its images counts, and the number of its group, (I,).
        """
        traces = np.array([one.traces(index, weights, members) for one in self.elements])
        total, within = np.sqrt(traces.sum(axis=0))
        return float(total), float(within)

    def described(
        self, sets: Sequence[SampledSet], weights: Sequence[Floats], components: int
    ) -> tuple[ElementAxes, ...]:
        """Describe the axes of each element.

        Parameters
        ----------
        sets
            That the axes were found for.
        weights
            What each image of each set counts, (I,).
        components
            Number of axes to describe.
        """
        names = [one.name for one in sets]
        return tuple(_described(one, names, weights, components) for one in self.elements)


def joint_axes(
    sets: Sequence[SampledSet], descriptors: Callable[[Atoms], Floats], scaling: Scaling
) -> JointAxes:
    """Describe all atoms and find the joint principal axes of each element.

    Parameters
    ----------
    sets
        The data sets.
    descriptors
        Gives the descriptors (natoms, D) of a configuration.
    scaling
        How descriptors are scaled over all sets together.

    Returns
    -------
    JointAxes
    """
    rows: list[Floats] = []
    numbers: list[NDArray[np.int64]] = []
    images: list[NDArray[np.int64]] = []
    for one in sets:
        described = [
            _checked(descriptors(atoms), one.name, i, atoms) for i, atoms in enumerate(one.frames)
        ]
        widths = {values.shape[1] for values in described}
        if len(widths | {values.shape[1] for values in rows}) > 1:
            raise DataError(f"descriptors: their number differs between images of {one.name!r}")
        rows.append(np.concatenate(described))
        numbers.append(np.concatenate([atoms.numbers for atoms in one.frames]))
        images.append(np.repeat(np.arange(len(one)), [len(atoms) for atoms in one.frames]))
    elements = []
    for number in np.unique(np.concatenate(numbers)):
        members = [n == number for n in numbers]
        for one, some in zip(sets, members, strict=True):
            if some.sum() < 2:
                raise DataError(
                    f"data set {one.name!r} has {some.sum()} atoms of {chemical_symbols[number]}, "
                    "which other sets contain: diversity is compared among sets of the same "
                    "elements"
                )
        elements.append(
            _element(
                chemical_symbols[number],
                [values[some] for values, some in zip(rows, members, strict=True)],
                [i[some] for i, some in zip(images, members, strict=True)],
                [len(one) for one in sets],
                scaling,
            )
        )
    return JointAxes(tuple(elements))


def _checked(values: Floats, name: str, index: int, atoms: Atoms) -> Floats:
    values = np.asarray(values, dtype=float)
    if values.ndim != 2 or len(values) != len(atoms):
        raise DataError(
            f"descriptors of data set {name!r}, image {index}: shape {values.shape}, expected "
            f"({len(atoms)}, number of descriptors)"
        )
    if not np.isfinite(values).all():
        raise DataError(f"descriptors of data set {name!r}, image {index} are not finite")
    return values


def _element(
    symbol: str,
    rows: list[Floats],
    images: list[NDArray[np.int64]],
    sizes: list[int],
    scaling: Scaling,
) -> _Element:
    joint = np.concatenate(rows)
    low, high = joint.min(axis=0), joint.max(axis=0)
    varies = high - low > _MIN_RANGE * np.maximum(np.abs(low), np.abs(high))
    if not varies.any():
        raise DataError(f"all descriptors of {symbol} are constant over all data sets")
    joint = joint[:, varies]
    center = joint.mean(axis=0)
    scale = np.ones(joint.shape[1])
    if scaling == "minmax":
        scale = (high - low)[varies]
    elif scaling == "deviation":
        scale = joint.std(axis=0)
    covariance = np.cov((joint - center) / scale, rowvar=False, ddof=0)
    _, axes = np.linalg.eigh(np.atleast_2d(covariance))
    # From the longest axis to the shortest, each pointing to where its largest entry does.
    axes = axes[:, ::-1]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    scores = [(values[:, varies] - center) / scale @ axes for values in rows]
    pairs = list(zip(scores, images, sizes, strict=True))
    squares = [_by_image(s**2, i, n) for s, i, n in pairs]
    return _Element(
        symbol=symbol,
        constant=int((~varies).sum()),
        scores=scores,
        images=images,
        counts=[np.bincount(i, minlength=n).astype(float) for _, i, n in pairs],
        sums=[_by_image(s, i, n) for s, i, n in pairs],
        squares=squares,
        lengths=[each.sum(axis=1) for each in squares],
    )


def _by_image(values: Floats, images: NDArray[np.int64], size: int) -> Floats:
    """Sum rows (n, D) over the atoms of each image, shape (size, D)."""
    out = np.zeros((size, values.shape[1]))
    # Atoms of an image follow each other.
    present, first = np.unique(images, return_index=True)
    out[present] = np.add.reduceat(values, first, axis=0)
    return out


def _described(
    one: _Element, names: list[str], weights: Sequence[Floats], components: int
) -> ElementAxes:
    joint = np.concatenate(one.scores)
    atoms, difference, captured, by_own = {}, {}, {}, {}
    for index, (name, w) in enumerate(zip(names, weights, strict=True)):
        along = one.variances(index, w)
        share = w[one.images[index]]
        covariance = np.cov(one.scores[index], rowvar=False, aweights=share, ddof=0)
        own = np.linalg.eigvalsh(np.atleast_2d(covariance))[::-1]
        norms = np.sqrt(along.sum()), np.sqrt(np.maximum(own, 0.0).sum())
        atoms[name] = int((share > 0.0).sum())
        difference[name] = float(abs(norms[0] - norms[1]) / norms[1])
        captured[name] = float(along[:components].sum() / along.sum())
        by_own[name] = float(own[:components].sum() / own.sum())
    return ElementAxes(
        element=one.symbol,
        descriptors=joint.shape[1],
        constant=one.constant,
        atoms=atoms,
        joint_variances=tuple(joint[:, :components].var(axis=0).tolist()),
        axes_difference=difference,
        captured=captured,
        captured_by_own=by_own,
        distributions=tuple(
            _distribution(one, axis, names, weights) for axis in range(min(2, joint.shape[1]))
        ),
    )


def _distribution(
    one: _Element, axis: int, names: list[str], weights: Sequence[Floats]
) -> Distribution:
    values = [scores[:, axis] for scores in one.scores]
    # A few stray atoms should not leave the histogram empty: its ends are open.
    low, high = np.percentile(np.concatenate(values), [0.1, 99.9])
    edges = np.linspace(low, high, _HISTOGRAM_BINS + 1)
    densities = {}
    for index, (name, w) in enumerate(zip(names, weights, strict=True)):
        share = w[one.images[index]]
        counted, _ = np.histogram(values[index], edges, weights=share)
        densities[name] = tuple((counted / (share.sum() * np.diff(edges))).tolist())
    return Distribution(tuple(edges.tolist()), densities)
