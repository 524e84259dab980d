"""Predicted errors beside true ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pescape.figures.style import BLUE, INK, ORANGE, figure_file

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from pescape.calculators.committee.assess import Assessment

# Errors below this, eV/Å, are drawn there.
_LEAST = 1e-4
_BINS = 10


def draw_calibration(found: Assessment, path: Path | str) -> None:
    """Draw errors against their bounds, and the coverage of bounds of another level.

    Left: the norm of the error of each atom's force against its bound; below the line are 90 %.
    Right: the share of atoms below the bound times a factor, for atoms of small and of large
    bounds; where the two lines lie on top of each other, bounds scale as errors do.

    Parameters
    ----------
    found
        True and predicted errors.
    path
        A PNG, PDF or SVG file.
    """
    with figure_file(path, (8.0, 3.4)) as figure:
        left, right = figure.subplots(1, 2)
        bounds = np.maximum(found.force_bounds, _LEAST)
        errors = np.maximum(found.force_errors, _LEAST)
        left.loglog(bounds, errors, ".", ms=2.0, color=BLUE, alpha=0.4, rasterized=True)
        ends = np.array([min(bounds.min(), errors.min()), max(bounds.max(), errors.max())])
        left.loglog(ends, ends, color=INK, lw=0.8)
        quantiles = np.unique(np.quantile(bounds, np.linspace(0.0, 1.0, _BINS + 1)))
        if len(quantiles) > 2:
            place = np.clip(np.searchsorted(quantiles, bounds) - 1, 0, len(quantiles) - 2)
            chosen = [place == k for k in range(len(quantiles) - 1) if (place == k).any()]
            middle = [float(np.median(bounds[one])) for one in chosen]
            high = [float(np.quantile(errors[one], found.coverage)) for one in chosen]
            name = f"{found.coverage:.0%} of the errors"
            left.loglog(middle, high, "o-", ms=3.0, lw=1.2, color=ORANGE, label=name)
            left.legend()
        left.set_title(f"Force: {found.force_coverage:.1%} of errors below their bound")
        left.set_xlabel("predicted bound (eV/Å)")
        left.set_ylabel("true error (eV/Å)")
        _draw_shares(right, found)


def _draw_shares(axes: Axes, found: Assessment) -> None:
    scores = found.force_errors / np.maximum(found.force_bounds, np.finfo(float).tiny)
    small = found.force_bounds <= np.median(found.force_bounds)
    factors = np.linspace(0.0, 2.0, 81)
    for name, chosen, color in (("small", small, BLUE), ("large", ~small, ORANGE)):
        if chosen.any():
            shares = [float(np.mean(scores[chosen] <= factor)) for factor in factors]
            axes.plot(factors, shares, color=color, lw=1.4, label=f"{name} bounds")
    axes.axhline(found.coverage, color=INK, lw=0.6, ls=":")
    axes.axvline(1.0, color=INK, lw=0.6, ls=":")
    axes.set_title("Share of errors below factor × bound")
    axes.set_xlabel("factor")
    axes.set_ylim(0.0, 1.02)
    axes.legend()
