"""Which figures a property has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pescape.figures.bars import draw_values
from pescape.figures.crystals import draw_elastic, draw_eos, draw_lattice, draw_phonons
from pescape.figures.curves import draw_curves, draw_pairs
from pescape.figures.heat import draw_checks, draw_cost, draw_melting
from pescape.figures.planes import draw_formation, draw_maps, draw_surfaces

if TYPE_CHECKING:
    from collections.abc import Callable

    from pescape.figures.base import Drawing, Scene

    Drawer = Callable[[Scene], list[Drawing]]

#: What draws properties, by kind. Kinds that are not here have their curves and maps drawn, or,
#: without any, their values as bars; so have those whose drawer finds nothing to draw.
DRAWERS: dict[str, Drawer] = {
    "lattice": draw_lattice,
    "eos": draw_eos,
    "elastic": draw_elastic,
    "vacancy": draw_formation,
    "cost": draw_cost,
    "divacancy": draw_formation,
    "interstitial": draw_formation,
    "melting": draw_melting,
    "pair_curve": draw_pairs,
    "phonons": draw_phonons,
    "physicality": draw_checks,
    "surface": draw_surfaces,
}


def drawings_of(scene: Scene) -> list[Drawing]:
    """Give the figures of a property."""
    own = DRAWERS.get(scene.kind)
    found = own(scene) if own is not None else []
    return found or draw_curves(scene) + draw_maps(scene) or draw_values(scene)
