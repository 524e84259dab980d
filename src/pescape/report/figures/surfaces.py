"""Surface energies by plane, and how they depend on the slab."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pescape.report.figures.bars import draw_bars
from pescape.report.figures.curves import draw_curves

if TYPE_CHECKING:
    from pescape.report.figures.base import Drawing, Scene


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
