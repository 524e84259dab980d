"""Grids of k-points by density."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms

#: Axes whose spacings differ by less than this, relatively, are refined together.
_EQUAL = 1e-6


def kpoint_grid(
    atoms: Atoms, density: float = 10_000.0, *, even: bool = False
) -> tuple[int, int, int]:
    """Find the most even grid of k-points that has at least a density.

    The axis with the largest spacing in reciprocal space is refined until the product of
    k-points and cell volume reaches the density; axes with equal spacing are refined together,
    so the grid is as symmetric as the cell.

    Parameters
    ----------
    atoms
        A structure whose cell has a volume; axes that are not periodic get one k-point.
    density
        k-points times volume, Å³. The paper's is 10 000.
    even
        Even numbers only, along periodic axes.

    Returns
    -------
    tuple of int
        Subdivisions along the three reciprocal vectors.
    """
    if not 0.0 < density < np.inf:
        raise ValueError(f"density = {density} Å³ is not a positive number")
    if atoms.cell.rank < 3:
        raise ValueError("a density of k-points needs a cell with a volume")
    periodic = np.asarray(atoms.pbc)
    volume = atoms.get_volume()
    step = 2 if even else 1
    lengths = np.linalg.norm(atoms.cell.reciprocal().array, axis=1)
    grid = np.where(periodic, step, 1)
    while periodic.any() and grid.prod() * volume < density * (1.0 - 1e-12):
        spacings = np.where(periodic, lengths / grid, 0.0)
        grid = grid + step * (spacings >= spacings.max() * (1.0 - _EQUAL))
    first, second, third = grid.tolist()
    return first, second, third
