"""Elastic constants beside those of the references."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pescape.report.figures.bars import draw_bars

if TYPE_CHECKING:
    from pescape.report.figures.base import Drawing, Scene

_MODULI = {"bulk_modulus": "bulk", "shear_modulus": "shear"}


def draw_elastic(scene: Scene) -> list[Drawing]:
    """Draw the constants and the moduli of a polycrystal."""
    labels = {name: name for name in scene.units if re.fullmatch(r"C\d\d", name)}
    return draw_bars(scene, labels | _MODULI, what="elastic constant (GPa)", name="constants")
