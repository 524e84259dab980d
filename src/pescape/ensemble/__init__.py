"""Ensembles of potentials: one training set, several seeds, and how far they disagree."""
