"""Fitting Behler-Parrinello networks to energies, forces and stresses."""

from pescape.calculators.bpnn.fit.features import CacheSettings
from pescape.calculators.bpnn.fit.fit import FitResult, Progress, fit_bpnn, fit_ensemble
from pescape.calculators.bpnn.fit.settings import FitSettings, Stage, waters_rondinelli_settings
from pescape.calculators.bpnn.symmetry import default_functions
from pescape.calculators.fit.errors import Errors, evaluate
from pescape.calculators.fit.loss import Weights

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
