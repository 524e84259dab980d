"""pescape inside LAMMPS."""
