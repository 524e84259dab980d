"""Velocity of the interface against temperature, and where it stands still.

CPU time against the number of parameters: figure 3 of Luo et al.

Which checks a potential has passed, as a table of colours.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

import numpy as np

from pescape.figures.bars import draw_bars
from pescape.figures.base import Drawing, legend, panels, panels_size, plain, stem
from pescape.figures.curves import draw_curves
from pescape.figures.style import GREEN, GREY, INK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pescape.figures.base import Scene, Series


_SOLID = re.compile(r"(.+)\.solid_\d+_(\d+)K")


def draw_melting(scene: Scene) -> list[Drawing]:
    """Draw how interfaces moved, and the solid fraction in every run."""
    phases = [n.removesuffix(".velocity") for n in scene.curve_names if n.endswith(".velocity")]
    if not phases:
        return []
    drawings = [
        Drawing(
            stem(scene.title, "velocity"),
            "Velocity of the interface between crystal and liquid against temperature; the "
            "crystal melts where it is zero",
            panels_size(len(phases), height=3.0),
            functools.partial(_draw_velocities, scene=scene, phases=phases),
        )
    ]
    runs = [
        (phase, one)
        for phase in phases
        for one in scene.series
        if any(name.startswith(f"{phase}.solid_") for name in one.result.curves)
    ]
    if runs:
        drawings.append(
            Drawing(
                stem(scene.title, "runs"),
                "Solid fraction in every run, from the coldest (dark) to the hottest (light)",
                panels_size(len(runs)),
                functools.partial(_draw_runs, runs=runs),
            )
        )
    return drawings


def _draw_velocities(figure: Figure, scene: Scene, phases: Sequence[str]) -> None:
    axes = panels(figure, len(phases))
    for panel, phase in zip(axes, phases, strict=True):
        for one, curve in scene.curves(f"{phase}.velocity"):
            panel.plot(curve.x, curve.y, one.style.marker, ms=4, color=one.style.color)
            panel.set_xlabel(plain(curve.x_label))
            panel.set_ylabel(plain(curve.y_label))
        for one, curve in scene.curves(f"{phase}.fit"):
            found = one.value(f"{phase}.temperature")
            told = "" if found is None else f", {found:.0f} K"
            label = plain(f"{one.name}{told}")
            panel.plot(curve.x, curve.y, one.style.line, color=one.style.color, label=label)
            for x, _ in curve.marks:
                panel.plot(x, 0.0, "|", ms=14, mew=1.6, color=one.style.color)
        for reference, values in scene.known.items():
            known = values.get(f"{phase}.temperature")
            if known is not None:
                style = scene.styles[reference]
                label = plain(f"{reference}, {known:.0f} K")
                panel.axvline(known, color=style.color, ls=style.line, lw=1.2, label=label)
        panel.axhline(0.0, color=INK, lw=0.7, zorder=0)
        panel.set_title(plain(phase))
        panel.legend(fontsize=7)


def _draw_runs(figure: Figure, runs: Sequence[tuple[str, Series]]) -> None:
    axes = panels(figure, len(runs))
    for panel, (phase, one) in zip(axes, runs, strict=True):
        _draw_fractions(panel, phase, one)
        panel.set_title(plain(f"{phase}, {one.name}", 30))
    legend(figure, axes)


def _draw_fractions(axes: Axes, phase: str, one: Series) -> None:
    from matplotlib import colormaps

    found = [(name, match) for name in one.result.curves if (match := _SOLID.fullmatch(name))]
    own = sorted((float(match[2]), name) for name, match in found if match[1] == phase)
    for index, (_, name) in enumerate(own):
        curve = one.result.curves[name]
        color = colormaps["plasma"](0.85 * index / max(len(own) - 1, 1))
        axes.plot(curve.x, curve.y, color=color, lw=1.0)
        axes.set_xlabel(plain(curve.x_label))
        axes.set_ylabel(plain(curve.y_label))
    axes.set_ylim(0.0, 1.0)


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


_RED = "#b3423c"


def draw_checks(scene: Scene) -> list[Drawing]:
    """Draw a field for each check of each potential, and the scans behind them."""
    names = [name.removesuffix(".passed") for name in scene.units if name.endswith(".passed")]
    if not names:
        return []
    size = (2.4 + 1.1 * len(scene.series), 1.0 + 0.24 * len(names))
    table = Drawing(
        stem(scene.title, "checks"),
        "Checks that each potential has passed (green, ✓) or not (red, ✗)",
        size,
        functools.partial(_draw_checks, scene=scene, names=names),
    )
    # Scans reach from wells of some eV to walls of hundreds, or holes of thousands.
    return [table, *draw_curves(scene, scale="symlog")]


def _draw_checks(figure: Figure, scene: Scene, names: Sequence[str]) -> None:
    axes = figure.subplots()
    for x, one in enumerate(scene.series):
        for y, name in enumerate(names):
            passed = one.value(f"{name}.passed")
            color = GREY if passed is None else GREEN if passed > 0.5 else _RED
            mark = "–" if passed is None else "✓" if passed > 0.5 else "✗"
            axes.barh(y, 0.94, 0.88, left=x - 0.47, color=color)
            axes.text(x, y, mark, ha="center", va="center", color="white", fontweight="bold")
    axes.set_yticks(range(len(names)), [plain(name.replace("_", " ")) for name in names])
    axes.set_xticks(range(len(scene.series)), [plain(one.name, 14) for one in scene.series])
    axes.set_xlim(-0.5, len(scene.series) - 0.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
