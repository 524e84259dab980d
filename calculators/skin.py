"""Neighbour lists that are kept while atoms move a little."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pescape.calculators.neighbors import neighbors, repeating_cell

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from pescape.calculators.neighbors import Neighbors

    Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Built:
    """For what a list was built."""

    positions: Floats
    cell: Floats
    periodic: bytes


class SkinnedNeighbors:
    """Finds all pairs within a cut-off, with a list that reaches a skin further.

    The list is built anew only when an atom pair may have come within the cut-off unseen. To
    tell, the change since it was built is split into a homogeneous deformation F, of the cell,
    and what every atom moved besides, u: a pair that was further away than cutoff + skin still
    is at least at σ_min(F) (cutoff + skin) - 2 max|u|.

    Parameters
    ----------
    cutoff, skin
        Å.
    """

    def __init__(self, cutoff: float, skin: float) -> None:
        if not 0 <= skin < np.inf:
            raise ValueError(f"skin must be 0 Å or more, not {skin}")
        self.cutoff = cutoff
        self.skin = skin
        self._built: _Built | None = None
        self._cell = b""
        self._list: Neighbors | None = None

    def update(self, atoms: Atoms) -> Neighbors:
        """Return lists of all neighbours within the cut-off, and some beyond it."""
        cell = atoms.cell.array
        if self._cell != cell.tobytes() and not np.isfinite(cell).all():
            raise ValueError(f"the cell is not finite: {cell.tolist()}")
        if self._list is None or self._built is None or not self._still_holds(atoms, cell):
            self._list = neighbors(atoms, self.cutoff + self.skin)
            self._built = _Built(atoms.positions.copy(), cell.copy(), atoms.pbc.tobytes())
            self._cell = cell.tobytes()
        elif self._cell != cell.tobytes():
            self._list = self._list.in_cell(repeating_cell(atoms, cell))
            self._cell = cell.tobytes()
        return self._list

    def _still_holds(self, atoms: Atoms, cell: Floats) -> bool:
        built = self._built
        positions = atoms.positions
        if (
            built is None
            or positions.shape != built.positions.shape
            or atoms.pbc.tobytes() != built.periodic
        ):
            return False
        reference, shrink = built.positions, 1.0
        if cell.tobytes() != built.cell.tobytes():
            old, new = repeating_cell(atoms, built.cell), repeating_cell(atoms, cell)
            deformation = np.linalg.solve(old, new)
            reference = reference @ deformation
            shrink = np.linalg.svd(deformation, compute_uv=False)[-1]
        moved = positions - reference
        farthest = np.sqrt(np.einsum("ij,ij->i", moved, moved).max(initial=0.0))
        return bool(shrink * (self.cutoff + self.skin) - 2.0 * farthest >= self.cutoff)
