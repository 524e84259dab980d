"""Functions of two variables as maps: all potentials side by side, in the same colours."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from pescape.report.figures.base import Drawing, panels, panels_size, plain, stem

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pescape.report.figures.base import Scene

_CONTOURS = 9
# Characters of a title that its panel is wide enough for.
_TITLE = 22


def draw_maps(scene: Scene) -> list[Drawing]:
    """Draw every map of a property, a figure for each name."""
    return [
        Drawing(
            stem(scene.title, "map", name),
            f"{name}: {scene.grids(name)[0][1].z_label}, in the same colours for all: "
            + ", ".join(one.name for one, _ in scene.grids(name)),
            panels_size(len(scene.grids(name)), height=2.9),
            functools.partial(_draw, scene=scene, name=name),
            raster=True,
        )
        for name in scene.grid_names
    ]


def _draw(figure: Figure, scene: Scene, name: str) -> None:
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
        panel.set_title(plain(one.name, _TITLE))
        panel.set_xlabel(plain(grid.x_label))
        panel.set_ylabel(plain(grid.y_label))
    if image is not None:
        figure.colorbar(image, ax=axes, label=plain(found[0][1].z_label), shrink=0.85)
