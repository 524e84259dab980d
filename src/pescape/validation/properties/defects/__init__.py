"""Point defects: formation and binding energies against the size of the cell."""
