"""Weights that give data sets the same energies, and what is left of the sets under them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pescape.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

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
