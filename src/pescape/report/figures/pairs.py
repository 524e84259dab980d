"""Energy of two atoms in vacuum against their distance: figure 4 of Luo et al."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from pescape.plotting import GREY
from pescape.report.figures.base import Drawing, legend, panels, panels_size, plain, stem
from pescape.report.figures.curves import draw_panel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pescape.report.figures.base import Scene
    from pescape.validation.result import Curve


def draw_pairs(scene: Scene) -> list[Drawing]:
    """Draw all pairs, each in a panel that shows the well rather than the wall."""
    names = scene.curve_names
    return [
        Drawing(
            stem(scene.title, "curves"),
            f"Energy of two atoms in vacuum against their distance: {', '.join(names)}",
            panels_size(len(names), height=3.0),
            functools.partial(_draw, scene=scene),
        )
    ]


def _draw(figure: Figure, scene: Scene) -> None:
    names = scene.curve_names
    axes = panels(figure, len(names))
    for panel, name in zip(axes, names, strict=True):
        draw_panel(panel, scene, name)
        panel.axhline(0.0, color=GREY, lw=0.8, zorder=0)
        depth = max(_depth(curve) for _, curve in scene.curves(name)) or 1.0
        panel.set_ylim(-1.2 * depth, 2.0 * depth)
        panel.set_title(plain(name.replace("_", "–")))
    legend(figure, axes, scene.order)


def _depth(curve: Curve) -> float:
    """Give the depth of the deepest well, be there a hole behind the wall or not; 0 without any."""
    inner = curve.y[1:-1]
    wells = inner[(inner < curve.y[:-2]) & (inner <= curve.y[2:])]
    return max(0.0, -float(wells.min())) if len(wells) else 0.0
