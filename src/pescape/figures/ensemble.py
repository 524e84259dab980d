"""Figures of an ensemble: distributions of what its members predict, and the decision tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pescape.figures.style import BLUE, GRAY, GREEN, INK, ORANGE, figure_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from pescape.ensemble.results import Branch, Spread

    Floats = NDArray[np.float64]

_MAX_COLUMNS = 3
# Most bars of a histogram.
_MAX_BARS = 30
# A tree with more leaves than this is drawn along the predicates that hold only.
_MAX_LEAVES = 24


def draw_histograms(
    members: Sequence[Mapping[str, float]],
    spreads: Sequence[Spread],
    names: Sequence[str],
    path: Path | str,
) -> None:
    """Draw how values are distributed over the members, with the reference's as dotted lines.

    Parameters
    ----------
    members
        Values of each, by full name.
    spreads
        Of these values.
    names
        Values, by full name.
    path
        A PNG, PDF or SVG file.
    """
    known = {one.name: one for one in spreads}
    columns = min(_MAX_COLUMNS, len(names))
    rows = -(-len(names) // columns)
    with figure_file(path, (0.4 + 2.5 * columns, 0.2 + 2.1 * rows)) as figure:
        panels = figure.subplots(rows, columns, squeeze=False).flat
        # Names first: zip would take a panel too many before it found that they are over.
        for name, axes in zip(names, panels, strict=False):
            values = [one[name] for one in members if name in one]
            _draw_histogram(axes, np.array(values), known[name].reference)
            unit = known[name].unit
            axes.set_title(name, fontsize=8)
            axes.set_xlabel(f"{unit}" if unit else "")
        for axes in list(panels):
            axes.set_axis_off()
        for row in range(rows):
            figure.axes[row * columns].set_ylabel("members")


def _draw_histogram(axes: Axes, values: Floats, reference: float | None) -> None:
    if len(values):
        bins = _bins(values, reference).tolist()
        axes.hist(values, bins=bins, color=BLUE, edgecolor="white", lw=0.6)
        axes.axvline(float(values.mean()), color=INK, lw=1.0)
        axes.locator_params(axis="y", integer=True)
    else:
        axes.text(0.5, 0.5, "no member has it", ha="center", transform=axes.transAxes)
        axes.set_yticks([])
    if reference is not None:
        axes.axvline(reference, color=ORANGE, lw=1.4, ls=":")
        axes.annotate(
            "reference",
            (reference, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(2, -2),
            textcoords="offset points",
            va="top",
            fontsize=7,
            color=ORANGE,
        )


def _bins(values: Floats, reference: float | None) -> Floats:
    """Edges of bars as wide as the values' spread asks for, yet wide enough to be seen."""
    low, high = float(values.min()), float(values.max())
    shown = [low, high] if reference is None else [low, high, reference]
    span = max(shown) - min(shown) or 0.1 * abs(low) or 1.0
    wide = (high - low) / np.clip(1.5 * np.sqrt(len(values)), 4, _MAX_BARS)
    width = max(wide, span / _MAX_BARS)
    count = int(np.floor((high - low) / width)) + 1
    first = (low + high - count * width) / 2
    return first + width * np.arange(count + 1)


def draw_tree(root: Branch, path: Path | str) -> None:
    """Draw a decision tree from left to right: how many members satisfy what.

    Parameters
    ----------
    root
        Of the tree.
    path
        A PNG, PDF or SVG file.
    """
    everything = _leaves(root, whole=True) <= _MAX_LEAVES
    height, depth = _leaves(root, whole=everything), _depth(root)
    with figure_file(path, (1.2 + 2.6 * depth, 0.6 + 0.42 * max(height, 2))) as figure:
        axes = figure.subplots()
        axes.set_axis_off()
        _draw_branch(axes, root, 0, 0.0, whole=everything)
        axes.set_xlim(-0.2, depth + 0.75)
        axes.set_ylim(height - 0.3, -0.7)


def _leaves(branch: Branch, *, whole: bool) -> int:
    if not _opened(branch, whole=whole):
        return 1
    return sum(_leaves(inner, whole=whole) for inner in branch.branches)


def _opened(branch: Branch, *, whole: bool) -> bool:
    on_the_way = branch.holds is True or branch.label == "members"
    return bool(branch.branches) and (whole or on_the_way)


def _depth(branch: Branch) -> int:
    return 1 + max((_depth(inner) for inner in branch.branches), default=-1)


def _draw_branch(axes: Axes, branch: Branch, depth: int, top: float, *, whole: bool) -> float:
    """Draw a branch and what it leads to below `top`; give the height it stands at."""
    heights: list[float] = []
    if _opened(branch, whole=whole):
        below = top
        for inner in branch.branches:
            heights.append(_draw_branch(axes, inner, depth + 1, below, whole=whole))
            below += _leaves(inner, whole=whole)
    height = (heights[0] + heights[-1]) / 2 if heights else top
    for other in heights:
        axes.plot(
            [depth, depth + 0.25, depth + 1], [height, other, other], color=GRAY, lw=1, zorder=0
        )
    color = {True: GREEN, False: ORANGE, None: GRAY if depth else BLUE}[branch.holds]
    axes.text(
        depth,
        height,
        f"{len(branch.members)}",
        ha="center",
        va="center",
        color="white",
        fontweight="bold",
        bbox={"boxstyle": "round,pad=0.35", "color": color},
    )
    axes.annotate(
        branch.label,
        (depth, height),
        xytext=(-16 if depth else 16, 3),
        textcoords="offset points",
        ha="right" if depth else "left",
        va="bottom",
        fontsize=7.5,
    )
    return height
