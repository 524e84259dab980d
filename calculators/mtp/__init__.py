"""Moment tensor potentials: the data, its files, its calculator, its fitting."""
