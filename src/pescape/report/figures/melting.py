"""Velocity of the interface against temperature, and where it stands still."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from pescape.plotting import INK
from pescape.report.figures.base import Drawing, legend, panels, panels_size, plain, stem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pescape.report.figures.base import Scene, Series

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
