"""Fits of potentials as tasks, for active learning, ensembles and learning curves."""
