"""Formation energies of point defects: by site, and against the size of the cell.

Surface energies by plane, and how they depend on the slab.

Functions of two variables as maps: all potentials side by side, in the same colours.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

import numpy as np

from pescape.figures.bars import draw_bars
from pescape.figures.base import Drawing, panels, panels_size, plain, stem
from pescape.figures.curves import draw_curves

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pescape.figures.base import Scene


def draw_formation(scene: Scene) -> list[Drawing]:
    """Draw energies of the largest cell as bars, and the way there as curves."""
    return draw_sites(scene) + draw_curves(scene)


def draw_sites(scene: Scene) -> list[Drawing]:
    """Draw formation energies by site, and against the size of the cell if there are several."""
    drawings = []
    for part, what in (("", "formation energy"), ("binding", "binding energy")):
        shown = [n for n in _energies(scene) if n.endswith("binding") is bool(part)]
        labels = {name: _label(name) for name in shown}
        # A single number stands in the table.
        if len(shown) > 1:
            drawings += draw_bars(scene, labels, what=f"{what} (eV)", name=what.replace(" ", "-"))
    return drawings


def _energies(scene: Scene) -> list[str]:
    """Name the energies of the largest cell, without the lowest, which is one of them."""
    found = [name for name, unit in scene.units.items() if unit == "eV"]
    return [
        name
        for name in found
        if name != "lowest" and not name.endswith("_freed") and not _in_cell(name)
    ]


def _in_cell(name: str) -> bool:
    """Whether a value is that of a cell of a certain size."""
    return name.rsplit("_", 1)[-1].isdigit()


def _label(name: str) -> str:
    return name.removesuffix(".formation").removesuffix(".binding").replace("_", " ")


def draw_surfaces(scene: Scene) -> list[Drawing]:
    """Draw energies as bars, with their spread over sizes, and against the thickness."""
    planes = [name.removesuffix(".energy") for name in scene.units if name.endswith(".energy")]
    labels = {f"{plane}.energy": plane_label(plane) for plane in planes}
    spreads = {f"{plane}.energy": f"{plane}.spread" for plane in planes}
    bars = draw_bars(scene, labels, what="surface energy (J/m²)", name="energy", spreads=spreads)
    return bars + draw_curves(scene, label=plane_label)


def plane_label(title: str) -> str:
    """Write a plane as people do: (10-10) for ``10m10``."""
    return f"({title.replace('m', '-')})" if re.fullmatch(r"[m\d]+", title) else title


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
