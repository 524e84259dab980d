"""Fitting moment tensor potentials to energies, forces and stresses."""

from pescape.calculators.fit.data import TrainingSet, training_set
from pescape.calculators.fit.errors import Errors, evaluate
from pescape.calculators.fit.loss import Weights, loss
from pescape.calculators.mtp.fit.fit import fit_mtp, raised
from pescape.calculators.mtp.fit.problem import loss_and_gradient
from pescape.calculators.mtp.fit.settings import FitResult, FitSettings, MTPArchitecture, Progress
from pescape.calculators.mtp.fit.steps import solve_linear

__all__ = [
    "Errors",
    "FitResult",
    "FitSettings",
    "MTPArchitecture",
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
