"""Which figures a property has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pescape.report.figures.bars import draw_values
from pescape.report.figures.curves import draw_curves
from pescape.report.figures.defects import draw_formation, draw_sites
from pescape.report.figures.elastic import draw_elastic
from pescape.report.figures.eos import draw_eos
from pescape.report.figures.lattice import draw_lattice
from pescape.report.figures.maps import draw_maps

if TYPE_CHECKING:
    from collections.abc import Callable

    from pescape.report.figures.base import Drawing, Scene

    Drawer = Callable[[Scene], list[Drawing]]

#: What draws properties, by kind. Kinds that are not here have their curves and maps drawn, or,
#: without any, their values as bars; so have those whose drawer finds nothing to draw.
DRAWERS: dict[str, Drawer] = {
    "lattice": draw_lattice,
    "eos": draw_eos,
    "elastic": draw_elastic,
    "vacancy": draw_formation,
    "interstitial": draw_sites,
}


def drawings_of(scene: Scene) -> list[Drawing]:
    """Give the figures of a property."""
    own = DRAWERS.get(scene.kind)
    found = own(scene) if own is not None else []
    return found or draw_curves(scene) + draw_maps(scene) or draw_values(scene)
