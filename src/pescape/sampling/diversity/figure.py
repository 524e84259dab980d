"""The figure that compares the diversity of data sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pescape.plotting import COLORS, INK, drawn

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from pescape.sampling.diversity.axes import ElementAxes
    from pescape.sampling.diversity.results import Comparison, Diversity

_COLORS = ("#8a929c", *COLORS)  # the baseline is grey
_PALE = "#7b828c"


def draw_diversity(found: Diversity, path: Path | str) -> None:
    """Draw variances and distributions along the joint axes, and the ratios with errors.

    A column for each element: variances along the first axes, and the distributions along
    the first two; below, the norm of all elements over the baseline's, in each comparison.

    Parameters
    ----------
    found
        What was measured.
    path
        A PNG, PDF or SVG file.
    """
    columns = len(found.elements)
    names = [one.name for one in found.comparisons[0].sets]
    colors = {name: _COLORS[i % len(_COLORS)] for i, name in enumerate(names)}
    shown = found.comparisons[min(1, len(found.comparisons) - 1)]
    with drawn(path, (max(5.6, 3.6 * columns), 9.2)) as figure:
        grid = figure.add_gridspec(4, columns, height_ratios=[1.1, 0.8, 0.8, 1.3])
        for column, element in enumerate(found.elements):
            _draw_variances(figure.add_subplot(grid[0, column]), shown, element, colors)
            for axis, _ in enumerate(element.distributions):
                _draw_distribution(
                    figure.add_subplot(grid[1 + axis, column]), element, axis, colors
                )
        _draw_ratios(figure.add_subplot(grid[3, :]), found, colors)


def _draw_variances(
    axes: Axes, shown: Comparison, element: ElementAxes, colors: dict[str, str]
) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(f"{element.element}: variance along joint axes ({shown.kind})")
    for one in shown.sets:
        variances = np.square(one.root_variances[element.element])
        numbers = np.arange(1, len(variances) + 1)
        axes.plot(numbers, variances, "o-", ms=3.5, lw=1.2, color=colors[one.name], label=one.name)
    axes.set_yscale("log")
    axes.set_xlabel("principal component")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="upper right")


def _draw_distribution(
    axes: Axes, element: ElementAxes, number: int, colors: dict[str, str]
) -> None:
    distribution = element.distributions[number]
    for name, density in distribution.densities.items():
        axes.stairs(density, distribution.edges, color=colors[name], lw=1.2, label=name)
    axes.set_xlabel(f"{element.element}: principal component {number + 1}")
    axes.set_yticks([])
    axes.set_ylim(bottom=0.0)


def _draw_ratios(axes: Axes, found: Diversity, colors: dict[str, str]) -> None:
    axes.set_title(
        f"Diversity over that of {found.baseline} (95 %: bootstrap over {found.resampled}; "
        "dots: single seeds; diamonds: within starts)"
    )
    width = 0.8 / len(colors)
    for place, comparison in enumerate(found.comparisons):
        for index, one in enumerate(comparison.sets):
            x = place + (index - (len(colors) - 1) / 2) * width
            axes.bar(x, one.ratio, 0.9 * width, color=colors[one.name], alpha=0.85)
            below, above = max(0.0, one.ratio - one.low), max(0.0, one.high - one.ratio)
            if above + below > 0.0:
                axes.errorbar(x, one.ratio, [[below], [above]], color=INK, lw=1.0, capsize=3)
            axes.plot(x + 0.25 * width, one.within_ratio, "D", ms=4, mfc="white", color=INK)
            if one.name != found.baseline:
                seeds = list(one.seed_ratios.values())
                axes.plot(
                    np.full(len(seeds), x - 0.25 * width), seeds, ".", ms=4, color=INK, alpha=0.5
                )
            axes.annotate(
                f"{one.ratio:.2f}",
                (x, 0.0),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                color="white",
                fontsize=8,
                fontweight="bold",
            )
    axes.axhline(1.0, color=_PALE, lw=1.0, ls="--", zorder=0)
    axes.set_xticks(range(len(found.comparisons)), [_named(one) for one in found.comparisons])
    axes.set_xlabel("(numbers: effective trajectories of each set)")


def _named(comparison: Comparison) -> str:
    """Name a comparison, with the effective number of trajectories of each set."""
    numbers = ", ".join(f"{one.effective_trajectories:.0f}" for one in comparison.sets)
    return f"{comparison.kind}\n{numbers}"
