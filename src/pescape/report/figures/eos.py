"""Energy-volume curves of all phases, a panel for each potential."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from pescape.plotting import COLORS
from pescape.report.figures.base import Drawing, legend, panels, panels_size, plain, stem

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pescape.report.figures.base import Scene


def draw_eos(scene: Scene) -> list[Drawing]:
    """Draw what tells which phase is stable at which volume, as by everyone."""
    return [
        Drawing(
            stem(scene.title, "curves"),
            "Energy against volume of each phase, above the lowest of the first one, as found by "
            + ", ".join(one.name for one in scene.series),
            panels_size(len(scene.series)),
            functools.partial(_draw, scene=scene),
        )
    ]


def _draw(figure: Figure, scene: Scene) -> None:
    axes = panels(figure, len(scene.series))
    colors = {phase: COLORS[index % len(COLORS)] for index, phase in enumerate(scene.curve_names)}
    for panel, one in zip(axes, scene.series, strict=True):
        base = min(float(curve.y.min()) for curve in list(one.result.curves.values())[:1])
        for phase, curve in one.result.curves.items():
            panel.plot(
                curve.x,
                1000.0 * (curve.y - base),
                "o-",
                ms=2.5,
                lw=1.2,
                color=colors[phase],
                label=plain(phase),
            )
            panel.set_xlabel(plain(curve.x_label))
        panel.set_title(plain(one.name, 26))
        panel.set_ylabel("energy (meV/atom)")
    for panel in axes[1:]:
        panel.sharey(axes[0])
    axes[0].autoscale()
    legend(figure, axes)
