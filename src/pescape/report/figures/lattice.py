"""Phases against the first one, and what holds them together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pescape.report.figures.bars import draw_bars

if TYPE_CHECKING:
    from pescape.report.figures.base import Drawing, Scene

_SHOWN = {
    "relative": "energy above the first phase (meV/atom)",
    "cohesive": "cohesive energy (eV/atom)",
}


def draw_lattice(scene: Scene) -> list[Drawing]:
    """Draw relative and cohesive energies of the phases."""
    drawings = []
    for name, what in _SHOWN.items():
        labels = {
            full: full.removesuffix(f".{name}") for full in scene.units if full.endswith(f".{name}")
        }
        # The first phase's energy above itself says nothing.
        shown = list(labels.items())[1 if name == "relative" else 0 :]
        drawings += draw_bars(scene, dict(shown), what=what, name=name)
    return drawings
