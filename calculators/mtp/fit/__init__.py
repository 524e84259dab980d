"""Fitting moment tensor potentials to energies, forces and stresses."""

from pescape.calculators.fitting.data import TrainingSet, training_set
from pescape.calculators.fitting.errors import Errors, evaluate
from pescape.calculators.fitting.loss import Weights, loss
from pescape.calculators.mtp.fit.fit import fit_mtp
from pescape.calculators.mtp.fit.gradient import loss_and_gradient
from pescape.calculators.mtp.fit.levels import raised
from pescape.calculators.mtp.fit.linear import solve_linear
from pescape.calculators.mtp.fit.settings import FitResult, FitSettings, Progress

__all__ = [
    "Errors",
    "FitResult",
    "FitSettings",
    "Progress",
    "TrainingSet",
    "Weights",
    "evaluate",
    "fit_mtp",
    "loss",
    "loss_and_gradient",
    "raised",
    "solve_linear",
    "training_set",
]
