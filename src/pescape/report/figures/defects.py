"""Formation energies of point defects: by site, and against the size of the cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pescape.report.figures.bars import draw_bars
from pescape.report.figures.curves import draw_curves

if TYPE_CHECKING:
    from pescape.report.figures.base import Drawing, Scene


def draw_formation(scene: Scene) -> list[Drawing]:
    """Draw every formation energy of the largest cell as a bar, and the way there as curves."""
    return draw_sites(scene) + draw_curves(scene)


def draw_sites(scene: Scene) -> list[Drawing]:
    """Draw formation energies by site, without the lowest of them, which is one of them."""
    energies = [name for name, unit in scene.units.items() if unit == "eV"]
    shown = [n for n in energies if n != "lowest" and not n.rsplit("_", 1)[-1].isdigit()]
    # A single number stands in the table.
    labels = {name: name.replace("_", " ") for name in shown}
    return draw_bars(scene, labels, what="formation energy (eV)") if len(shown) > 1 else []
