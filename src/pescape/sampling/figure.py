"""The figure that shows a sampling campaign."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pescape.plotting import COLORS, INK, drawn
from pescape.sampling.sets import height_above

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from pescape.sampling.limits import Limits
    from pescape.sampling.sets import Gathered

_LINES: tuple[str | tuple[int, tuple[int, int]], ...] = ("-", (0, (4, 1)), ":", "-.")


def draw_sample(
    gathered: Sequence[Gathered], path: Path | str, *, limits: Limits | None = None
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
    with drawn(path, (max(7.5, 3.0 * len(samplers)), 6.4)) as figure:
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
    axes: Axes, gathered: Sequence[Gathered], builders: Sequence[str], colour: str
) -> None:
    """Draw the energy of every trajectory of a sampler against the force calls."""
    axes.axhline(0.0, color="#b9bec6", lw=0.8, zorder=0)
    for one in gathered:
        if not one.heights:
            continue
        line = _LINES[builders.index(one.record.builder) % 4]
        calls = np.arange(1, len(one.heights) + 1)
        axes.plot(calls, one.heights, color=colour, ls=line, lw=0.8, alpha=0.8)
        if one.record.status != "complete":
            axes.plot(calls[-1], one.heights[-1], "x", color=colour, ms=5)


def _draw_sets(
    energies: Axes,
    forces: Axes,
    gathered: Sequence[Gathered],
    samplers: Sequence[str],
    limits: Limits | None,
) -> None:
    """Draw how energies and largest forces are distributed over samplers and sets."""
    kept = [image for one in gathered for image in one.kept]
    heights = np.array([height_above(i, i.info.get("start_energy", np.nan)) for i in kept])
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
            colour = COLORS[number % len(COLORS)]
            for which, line in (("train", "-"), ("test", "--")):
                own = values[[owner == (sampler, which) for owner in owners]]
                inside = np.clip(own, low, high)  # the last bins hold what is beyond
                label = f"{sampler}, {which}"
                bins = edges.tolist()
                axes.hist(inside, bins, histtype="step", color=colour, ls=line, label=label)
    energies.set_xlabel("Energy above the relaxed start (eV/atom)")
    forces.set_xlabel("Largest force in an image (eV/Å)")
    if limits is not None and limits.force is not None:
        forces.axvline(limits.force, color=INK, lw=0.8, ls=":")
    forces.legend()
