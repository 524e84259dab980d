"""Ways to move on a potential-energy surface, for any ASE calculator."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pescape.plugins.dynamics.contour.exploration import ContourExploration
    from pescape.plugins.dynamics.nvt_ramp import NVTRamp
    from pescape.plugins.dynamics.saddle.dimer import Dimer
    from pescape.plugins.dynamics.saddle.rotation import SaddleFilter

_MODULES = {
    "ContourExploration": "contour.exploration",
    "Dimer": "saddle.dimer",
    "NVTRamp": "nvt_ramp",
    "SaddleFilter": "saddle.rotation",
}

__all__ = ["ContourExploration", "Dimer", "NVTRamp", "SaddleFilter"]


def __getattr__(name: str) -> object:
    """Import a class when it is first asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
