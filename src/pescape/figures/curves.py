"""Curves of all potentials over each other, a panel for each name.

Energy of two atoms in vacuum against their distance: figure 4 of Luo et al.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from pescape.figures.base import (
    Drawing,
    legend,
    panels,
    panels_size,
    plain,
    readable,
    sentence,
    stem,
)
from pescape.figures.style import GREY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pescape.figures.base import Scene
    from pescape.validation.property import Curve


# Curves of more points than this are lines without markers.
_SPARSE = 40
# Panels of one figure.
_MOST = 12


def draw_curves(
    scene: Scene,
    names: Sequence[str] | None = None,
    *,
    name: str = "curves",
    label: Callable[[str], str] = readable,
    scale: str = "linear",
) -> list[Drawing]:
    """Draw curves of a property.

    Parameters
    ----------
    scene
        The property.
    names
        Of the curves; all if None.
    name
        Of the file, behind the property's title.
    label
        Makes the title of a panel of the name of its curve.
    scale
        Of the ordinates, as matplotlib calls it.
    """
    names = scene.curve_names if names is None else names
    parts = [names[start : start + _MOST] for start in range(0, len(names), _MOST)]
    return [
        Drawing(
            stem(scene.title, name, *([] if len(parts) == 1 else [str(number)])),
            _caption(scene, part, label),
            panels_size(len(part)),
            functools.partial(_draw, scene=scene, names=part, label=label, scale=scale),
        )
        for number, part in enumerate(parts, 1)
    ]


def _caption(scene: Scene, names: Sequence[str], label: Callable[[str], str]) -> str:
    curve = scene.curves(names[0])[0][1]
    what = f"{curve.y_label} against {curve.x_label}".strip()
    return f"{sentence(what)}: {'; '.join(map(label, names))}"


def _draw(
    figure: Figure,
    scene: Scene,
    names: Sequence[str],
    label: Callable[[str], str],
    scale: str,
) -> None:
    axes = panels(figure, len(names))
    for panel, name in zip(axes, names, strict=True):
        draw_panel(panel, scene, name)
        panel.set_title(plain(label(name)))
        panel.set_yscale(scale)
    legend(figure, axes, scene.order)


def draw_panel(axes: Axes, scene: Scene, name: str) -> None:
    """Draw one curve by everyone who has it, and the known value of its name as a level."""
    for one, curve in scene.curves(name):
        marker = one.style.marker if len(curve.x) <= _SPARSE and not one.reference else ""
        axes.plot(
            curve.x,
            curve.y,
            color=one.style.color,
            marker=marker,
            ms=3.5,
            ls=one.style.line,
            lw=1.3,
            label=plain(one.name),
        )
        axes.set_xlabel(plain(curve.x_label))
        axes.set_ylabel(plain(curve.y_label))
    shared = scene.curves(name)[0][1]
    for x, label in shared.marks:
        axes.axvline(x, color=GREY, lw=0.6, zorder=0)
        axes.annotate(
            plain(label),
            (x, 1.0),
            xycoords=("data", "axes fraction"),
            va="bottom",
            ha="center",
            fontsize=7,
        )
    draw_levels(axes, scene, name)


def draw_levels(axes: Axes, scene: Scene, name: str) -> None:
    """Draw what references from files know under a name as horizontal lines."""
    for reference, values in scene.known.items():
        if name in values:
            style = scene.styles[reference]
            axes.axhline(
                values[name],
                color=style.color,
                ls=style.line,
                lw=1.2,
                label=plain(reference),
                zorder=1,
            )


def draw_pairs(scene: Scene) -> list[Drawing]:
    """Draw all pairs, each in a panel that shows the well rather than the wall."""
    names = scene.curve_names
    return [
        Drawing(
            stem(scene.title, "curves"),
            f"Energy of two atoms in vacuum against their distance: {', '.join(names)}",
            panels_size(len(names), height=3.0),
            functools.partial(_draw_pairs, scene=scene),
        )
    ]


def _draw_pairs(figure: Figure, scene: Scene) -> None:
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
