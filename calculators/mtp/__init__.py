"""Moment tensor potentials: the data, its files, its calculator, its fitting."""

from pescape.calculators.mtp.potential import MTPotential

__all__ = ["MTPotential"]
