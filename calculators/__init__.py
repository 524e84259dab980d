"""Machine-learned potentials as ASE calculators."""
