"""Machine-learned potentials as ASE calculators."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pescape.calculators.calculator import BPNN, MTP, PotentialCalculator
    from pescape.calculators.committee.calculator import Committee
    from pescape.calculators.potential import load

_MODULES = {
    "BPNN": "calculator",
    "Committee": "committee.calculator",
    "MTP": "calculator",
    "PotentialCalculator": "calculator",
    "load": "potential",
}

__all__ = ["BPNN", "MTP", "Committee", "PotentialCalculator", "load"]


def __getattr__(name: str) -> object:
    """Import calculators when they are first asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
