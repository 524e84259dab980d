"""What drops into ASE and works with any ASE calculator."""
