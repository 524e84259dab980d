"""Fitting Behler-Parrinello networks to energies, forces and stresses."""

from pescape.calculators.bpnn.fit.cache import CacheSettings
from pescape.calculators.bpnn.fit.fit import FitResult, Progress, fit_bpnn, fit_ensemble
from pescape.calculators.bpnn.fit.functions import default_functions
from pescape.calculators.bpnn.fit.settings import FitSettings, Stage, paper_settings
from pescape.calculators.fitting.errors import Errors, evaluate
from pescape.calculators.fitting.loss import Weights

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
    "paper_settings",
]
