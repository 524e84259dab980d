"""Saddle points: the dimer method, its parts, and searches with it."""
