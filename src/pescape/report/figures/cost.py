"""CPU time against the number of parameters: figure 3 of Luo et al."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from pescape.plotting import GREY
from pescape.report.figures.bars import draw_bars
from pescape.report.figures.base import Drawing, plain, stem

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pescape.report.figures.base import Scene

_TIME, _BASELINE, _PARAMETERS = "microseconds", "baseline", "parameters"
_WHAT = "CPU time (µs/atom/step)"


def draw_cost(scene: Scene) -> list[Drawing]:
    """Draw times on logarithmic axes, beside what an embedded-atom potential takes there."""
    if not any(_PARAMETERS in one.result.values for one in scene.series):
        return draw_bars(scene, {_TIME: "potential", _BASELINE: "eam/fs"}, what=_WHAT)
    return [
        Drawing(
            stem(scene.title, "parameters"),
            f"{_WHAT} of molecular dynamics on one core against the number of parameters; the "
            "dashed line is an embedded-atom potential on the same machine",
            (5.2, 3.6),
            functools.partial(_draw, scene=scene),
        )
    ]


def _draw(figure: Figure, scene: Scene) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    axes = figure.subplots()
    points = []
    for one in scene.series:
        time, parameters = one.value(_TIME), one.value(_PARAMETERS)
        if time is not None and parameters is not None:
            points.append((parameters, time))
            axes.plot(parameters, time, "o", ms=7, color=one.style.color)
            label = plain(one.name, 24)
            axes.annotate(label, (parameters, time), xytext=(6, -9), textcoords="offset points")
    axes.plot(*zip(*sorted(points), strict=True), color=GREY, lw=1.0, zorder=0)
    baselines = [value for one in scene.series if (value := one.value(_BASELINE)) is not None]
    if baselines:
        level = float(np.median(baselines))
        axes.axhline(level, color=GREY, ls="--", lw=1.2)
        axes.annotate(
            "eam/fs",
            (1.0, level),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    least, most = min(x for x, _ in points), max(x for x, _ in points)
    axes.set_xlim(least / 1.8, 3.0 * most)  # room for names on the right
    axes.margins(y=0.2)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("parameters")
    axes.set_ylabel(_WHAT)
