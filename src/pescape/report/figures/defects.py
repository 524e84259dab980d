"""Formation energies of point defects: by site, and against the size of the cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pescape.report.figures.bars import draw_bars
from pescape.report.figures.curves import draw_curves

if TYPE_CHECKING:
    from pescape.report.figures.base import Drawing, Scene


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
