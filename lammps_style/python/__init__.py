"""``pair_style python``: potentials and their guard in any LAMMPS with the PYTHON package."""
