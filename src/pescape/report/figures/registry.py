"""Which figures a property has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pescape.report.figures.bars import draw_values
from pescape.report.figures.checks import draw_checks
from pescape.report.figures.cost import draw_cost
from pescape.report.figures.curves import draw_curves
from pescape.report.figures.defects import draw_formation
from pescape.report.figures.elastic import draw_elastic
from pescape.report.figures.eos import draw_eos
from pescape.report.figures.lattice import draw_lattice
from pescape.report.figures.maps import draw_maps
from pescape.report.figures.melting import draw_melting
from pescape.report.figures.pairs import draw_pairs
from pescape.report.figures.phonons import draw_phonons
from pescape.report.figures.surfaces import draw_surfaces

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
