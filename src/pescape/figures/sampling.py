"""Figures of sampling: the limits of images, a campaign, the diversity of its data sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pescape.figures.style import BLUE, COLORS, GRAY, GREEN, INK, ORANGE, figure_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pescape.plugins.structures.limits import EnergyForceLimits, PairLimits
    from pescape.sampling.diversity.axes import ElementAxes
    from pescape.sampling.diversity.measure import Comparison, Diversity
    from pescape.sampling.sets import Limits, TrajectoryImages


# Lines of builders.
_LINES: tuple[str | tuple[int, tuple[int, int]], ...] = ("-", (0, (4, 1)), ":", "-.")
# Colors of pairs of elements.
_PAIR_COLORS = (
    *(BLUE, ORANGE, GREEN, "#9a5fb5", "#b23b3b"),
    *("#6b7280", "#c2a12b", "#2aa5a0", "#d46a9f", "#7a5230"),
)
# Colors of data sets, of which the baseline is gray, and of lines behind them.
_SET_COLORS = ("#8a929c", *COLORS)
_PALE = "#7b828c"


def draw_limits(figure: Figure, limits: EnergyForceLimits) -> None:
    """Draw energy against distance of pairs of atoms and, beside it, energy against force.

    Dashed lines lead from the height on each pair's wall to the force there.

    Parameters
    ----------
    figure
        Empty.
    limits
        From `force_energy_limits`.
    """
    wells, beak = figure.subplots(1, 2, sharey=True)
    bound = [pair for pair in limits.pairs if pair.binding_energy is not None]
    for index, pair in enumerate(bound):
        _draw_pair(wells, beak, pair, _PAIR_COLORS[index % len(_PAIR_COLORS)])
    depths = [pair.binding_energy or 0.0 for pair in bound] or [1.0]
    forces = [pair.force_limit for pair in bound if pair.force_limit is not None] or [1.0]
    wells.set_ylim(-1.15 * max(depths), 1.5 * max(limits.multiple - 1.0, 0.3) * max(depths))
    wells.set_xlim(0.4, 2.5)
    beak.set_xlim(-0.02 * max(forces), 1.25 * max(forces))
    wells.set_xlabel("Distance / equilibrium distance")
    wells.set_ylabel("Energy relative to isolated atoms (eV)")
    beak.set_xlabel("Magnitude of the force (eV/Å)")
    if bound:
        figure.legend(loc="outside right upper")
    for axes in (wells, beak):
        axes.axhline(0.0, color=GRAY, lw=0.8, zorder=0)


def _draw_pair(wells: Axes, beak: Axes, pair: PairLimits, color: str) -> None:
    from scipy.interpolate import CubicHermiteSpline

    curve = CubicHermiteSpline(pair.distances, pair.energies, -np.array(pair.forces))
    fine = np.linspace(pair.distances[0], pair.distances[-1], 1000)
    equilibrium, depth = pair.equilibrium_distance or 1.0, pair.binding_energy or 0.0
    label = f"{pair.name}  {depth:.2f} eV, {equilibrium:.3f} Å"
    if pair.force_limit is not None:
        label += f", {pair.force_limit:.1f} eV/Å"
    wells.plot(fine / equilibrium, curve(fine), color=color, lw=1.5, label=label)
    beak.plot(np.abs(curve.derivative()(fine)), curve(fine), color=color, lw=1.5)
    if pair.force_limit is None or pair.energy_limit is None or pair.distance_limit is None:
        return
    height, force = pair.energy_limit, pair.force_limit
    for axes, across, up in (
        (wells, [pair.distance_limit / equilibrium, 2.5], [height, height]),
        (beak, [0.0, force, force], [height, height, -depth]),
    ):
        axes.plot(across, up, color=color, lw=0.9, ls="--")


def draw_sample(
    gathered: Sequence[TrajectoryImages], path: Path | str, *, limits: Limits | None = None
) -> None:
    """Draw how energies went, and what the data sets hold; crosses are early ends.

    Parameters
    ----------
    gathered
        Trajectories with their images.
    path
        A PNG, PDF or SVG file.
    limits
        What the images were held to.
    """
    samplers = list(dict.fromkeys(one.record.sampler for one in gathered))
    builders = list(dict.fromkeys(one.record.builder for one in gathered))
    with figure_file(path, (max(7.5, 3.0 * len(samplers)), 6.4)) as figure:
        parts: Any = figure.subfigures(2, 1, height_ratios=[1.1, 1.0])
        upper, lower = parts
        walks = upper.subplots(1, len(samplers), sharey=True, squeeze=False)[0]
        for number, (axes, sampler) in enumerate(zip(walks, samplers, strict=True)):
            own = [one for one in gathered if one.record.sampler == sampler]
            _draw_walks(axes, own, builders, COLORS[number % len(COLORS)])
            axes.set_title(sampler)
            axes.set_xlabel("Force call")
        walks[0].set_ylabel("Energy above the relaxed\nstart (eV/atom)")
        if len(builders) > 1:
            for number, builder in enumerate(builders):
                walks[-1].plot([], [], color=INK, ls=_LINES[number % 4], lw=0.8, label=builder)
            walks[-1].legend(loc="best")
        energies, forces = lower.subplots(1, 2)
        _draw_sets(energies, forces, gathered, samplers, limits)


def _draw_walks(
    axes: Axes, gathered: Sequence[TrajectoryImages], builders: Sequence[str], color: str
) -> None:
    """Draw the energy of every trajectory of a sampler against the force calls."""
    axes.axhline(0.0, color=GRAY, lw=0.8, zorder=0)
    for one in gathered:
        if not one.heights:
            continue
        line = _LINES[builders.index(one.record.builder) % 4]
        calls = np.arange(1, len(one.heights) + 1)
        axes.plot(calls, one.heights, color=color, ls=line, lw=0.8, alpha=0.8)
        if one.record.status != "complete":
            axes.plot(calls[-1], one.heights[-1], "x", color=color, ms=5)


def _draw_sets(
    energies: Axes,
    forces: Axes,
    gathered: Sequence[TrajectoryImages],
    samplers: Sequence[str],
    limits: Limits | None,
) -> None:
    """Draw how energies and largest forces are distributed over samplers and sets."""
    kept = [image for one in gathered for image in one.kept]
    heights = np.array([height for one in gathered for height in one.kept_heights])
    largest = np.array([np.linalg.norm(image.get_forces(), axis=1).max() for image in kept])
    owners = [(one.record.sampler, one.record.set) for one in gathered for _ in one.kept]
    for axes, values, scale in ((energies, heights, "linear"), (forces, largest, "log")):
        axes.set_ylabel("Images")
        axes.set_xscale(scale)
        found = values[np.isfinite(values) & ((values > 0) | (scale == "linear"))]
        if not len(found):
            continue
        low, high = np.percentile(found, [0.5, 99.5])
        edges = np.linspace(low, high, 31) if scale == "linear" else np.geomspace(low, high, 31)
        for number, sampler in enumerate(samplers):
            color = COLORS[number % len(COLORS)]
            for which, line in (("train", "-"), ("test", "--")):
                own = values[[owner == (sampler, which) for owner in owners]]
                inside = np.clip(own, low, high)  # the last bins hold what is beyond
                label = f"{sampler}, {which}"
                bins = edges.tolist()
                axes.hist(inside, bins, histtype="step", color=color, ls=line, label=label)
    energies.set_xlabel("Energy above the relaxed start (eV/atom)")
    forces.set_xlabel("Largest force in an image (eV/Å)")
    if limits is not None and limits.force is not None:
        forces.axvline(limits.force, color=INK, lw=0.8, ls=":")
    forces.legend()


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
    colors = {name: _SET_COLORS[i % len(_SET_COLORS)] for i, name in enumerate(names)}
    shown = found.comparisons[min(1, len(found.comparisons) - 1)]
    with figure_file(path, (max(5.6, 3.6 * columns), 9.2)) as figure:
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
