"""Behler-Parrinello networks: the data, its files, its calculator, its fitting."""

from pescape.calculators.bpnn.data import ElementModel, Layer, Scaling
from pescape.calculators.bpnn.potential import BPNNPotential
from pescape.calculators.bpnn.symmetry import Cutoff, SymmetryFunction, waters_rondinelli_functions

__all__ = [
    "BPNNPotential",
    "Cutoff",
    "ElementModel",
    "Layer",
    "Scaling",
    "SymmetryFunction",
    "waters_rondinelli_functions",
]
