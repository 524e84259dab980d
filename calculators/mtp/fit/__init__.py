"""Fitting moment tensor potentials to energies, forces and stresses."""
