"""Figures that any property can have: its curves, and its functions of two variables as maps."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from pescape.figures.bars import draw_values
from pescape.figures.style import (
    GRAY,
    Drawing,
    legend,
    panels,
    panels_size,
    plain,
    sentence,
    stem,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pescape.figures.scene import Scene

    Drawer = Callable[[Scene], list[Drawing]]

# Curves of more points are lines without markers.
_MAX_MARKERS = 40
# Panels of one figure of curves.
_MAX_PANELS = 12
# Lines of equal height in maps, and characters of a title that a map's panel is wide enough for.
_CONTOURS, _TITLE_LENGTH = 9, 22


def drawings_of(scene: Scene, own: Drawer | None = None) -> list[Drawing]:
    """Draw a property: by its own drawer; else its curves and maps; else its values as bars.

    Parameters
    ----------
    scene
        The property.
    own
        What draws this property, where it has something to draw.
    """
    found = [] if own is None else own(scene)
    return found or draw_curves(scene) + _draw_maps(scene) or draw_values(scene)


def _readable(name: str) -> str:
    """Name of a curve as words."""
    return name.replace("_", " ").replace(".", ", ")


def draw_curves(
    scene: Scene,
    names: Sequence[str] | None = None,
    *,
    name: str = "curves",
    label: Callable[[str], str] = _readable,
    scale: str = "linear",
) -> list[Drawing]:
    """Draw curves of a property by everyone over each other, a panel for each name.

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
    parts = [names[i : i + _MAX_PANELS] for i in range(0, len(names), _MAX_PANELS)]
    return [
        Drawing(
            stem(scene.title, name, *([] if len(parts) == 1 else [str(number)])),
            _caption(scene, part, label),
            panels_size(len(part)),
            functools.partial(_draw_curves, scene=scene, names=part, label=label, scale=scale),
        )
        for number, part in enumerate(parts, 1)
    ]


def _caption(scene: Scene, names: Sequence[str], label: Callable[[str], str]) -> str:
    curve = scene.curves(names[0])[0][1]
    what = f"{curve.y_label} against {curve.x_label}".strip()
    return f"{sentence(what)}: {'; '.join(map(label, names))}"


def _draw_curves(
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
    legend(figure, axes, scene.labels)


def draw_panel(axes: Axes, scene: Scene, name: str) -> None:
    """Draw one curve by everyone who has it, and what files know under its name as a level.

    Parameters
    ----------
    axes
        The panel.
    scene, name
        The property and the curve.
    """
    for one, curve in scene.curves(name):
        marker = one.style.marker if len(curve.x) <= _MAX_MARKERS and not one.reference else ""
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
        axes.axvline(x, color=GRAY, lw=0.6, zorder=0)
        axes.annotate(
            plain(label),
            (x, 1.0),
            xycoords=("data", "axes fraction"),
            va="bottom",
            ha="center",
            fontsize=7,
        )
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


def _draw_maps(scene: Scene) -> list[Drawing]:
    """Draw every map of a property, a figure for each name with a panel for each potential."""
    return [
        Drawing(
            stem(scene.title, "map", name),
            f"{name}: {scene.grids(name)[0][1].z_label}, in the same colours for all: "
            + ", ".join(one.name for one, _ in scene.grids(name)),
            panels_size(len(scene.grids(name)), height=2.9),
            functools.partial(_draw_map, scene=scene, name=name),
            raster=True,
        )
        for name in scene.grid_names
    ]


def _draw_map(figure: Figure, scene: Scene, name: str) -> None:
    found = scene.grids(name)
    finite = np.concatenate([grid.z[np.isfinite(grid.z)] for _, grid in found])
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    high = high if high > low else low + 1.0
    axes = panels(figure, len(found))
    image = None
    for panel, (one, grid) in zip(axes, found, strict=True):
        image = panel.pcolormesh(
            grid.x,
            grid.y,
            grid.z,
            cmap="viridis",
            vmin=low,
            vmax=high,
            shading="gouraud",
            rasterized=True,
        )
        levels = np.linspace(low, high, _CONTOURS + 2)[1:-1]
        panel.contour(grid.x, grid.y, grid.z, levels, colors="white", linewidths=0.5, alpha=0.6)
        panel.set_title(plain(one.name, _TITLE_LENGTH))
        panel.set_xlabel(plain(grid.x_label))
        panel.set_ylabel(plain(grid.y_label))
    if image is not None:
        figure.colorbar(image, ax=axes, label=plain(found[0][1].z_label), shrink=0.85)
