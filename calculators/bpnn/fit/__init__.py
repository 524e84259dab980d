"""Fitting Behler-Parrinello networks to energies, forces and stresses."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from pescape.calculators.bpnn.fit.settings import FitSettings, Stage, waters_rondinelli_settings
from pescape.calculators.bpnn.symmetry import default_functions
from pescape.calculators.fit.loss import Weights

if TYPE_CHECKING:
    from pescape.calculators.bpnn.fit.features import CacheSettings
    from pescape.calculators.bpnn.fit.fit import FitResult, Progress, fit_bpnn, fit_ensemble
    from pescape.calculators.fit.errors import Errors, evaluate

# What needs torch, or much else, is imported when it is first asked for.
_MODULES = {
    "CacheSettings": "pescape.calculators.bpnn.fit.features",
    "Errors": "pescape.calculators.fit.errors",
    "FitResult": "pescape.calculators.bpnn.fit.fit",
    "Progress": "pescape.calculators.bpnn.fit.fit",
    "evaluate": "pescape.calculators.fit.errors",
    "fit_bpnn": "pescape.calculators.bpnn.fit.fit",
    "fit_ensemble": "pescape.calculators.bpnn.fit.fit",
}

__all__ = [
    "CacheSettings",
    "Errors",
    "FitResult",
    "FitSettings",
    "Progress",
    "Stage",
    "Weights",
    "default_functions",
    "evaluate",
    "fit_bpnn",
    "fit_ensemble",
    "waters_rondinelli_settings",
]


def __getattr__(name: str) -> object:
    """Import parts when they are first asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
