"""MaxVol: the rows of a tall matrix that span the largest volume, found by swaps.

References
----------
S. A. Goreinov et al., "How to find a good submatrix", in Matrix Methods: Theory, Algorithms,
Applications (World Scientific, 2010), p. 247.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg.blas import dger

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

#: What the diagonal of an empty active set holds; a slot that keeps it is unset.
EMPTY = 1e-6
#: Swaps stop when no row's grade exceeds this.
SWAP_THRESHOLD = 1.001
UNSET = -1

# Rows are worked on in blocks of about this many numbers, which stay in the cache.
_BLOCK_NUMBERS = 400_000


class _Volume:
    """The matrix A, its inverse and the row held by each slot, while rows are swapped in."""

    def __init__(self, matrix: Floats, inverse: Floats, held: Integers) -> None:
        self.matrix = matrix
        self.inverse = inverse
        self.held = held
        self._since_refresh = 0

    def take_in(self, rows: Floats, first: int, threshold: float, limit: int) -> int:
        """Swap in rows of one block until none has a grade above the threshold."""
        b = rows @ self.inverse
        scratch = np.empty_like(b)
        swaps = 0
        while swaps < limit:
            np.abs(b, out=scratch)
            row, slot = divmod(int(scratch.argmax()), b.shape[1])
            if not scratch[row, slot] > threshold:
                break
            self._swap(rows[row], first + row, slot, b, row)
            swaps += 1
            if self._since_refresh >= max(len(self.matrix), 64):
                self.refresh()
                b = rows @ self.inverse
        return swaps

    def _swap(self, new: Floats, held: int, slot: int, b: Floats, row: int) -> None:
        """Put a row into a slot: Sherman-Morrison for A⁻¹ and for B A⁻¹."""
        direction = b[row].copy()
        pivot = direction[slot]
        direction[slot] -= 1.0
        # dger works in place on Fortran order: the transposed view of a C-ordered matrix.
        dger(-1.0, direction, self.inverse[:, slot] / pivot, a=self.inverse.T, overwrite_a=1)
        dger(-1.0, direction, b[:, slot] / pivot, a=b.T, overwrite_a=1)
        self.matrix[slot] = new
        self.held[slot] = held
        self._since_refresh += 1

    def refresh(self) -> None:
        """Replace the updated inverse, which gathers round-off, by a fresh one."""
        if self._since_refresh:
            self.inverse = _inverse(self.matrix)
            self._since_refresh = 0


def _inverse(matrix: Floats) -> Floats:
    """Invert A, equilibrated: its columns may differ by many orders of magnitude."""
    scale = np.abs(matrix).max(axis=0)
    scale[scale == 0.0] = 1.0
    inverse = np.linalg.inv(matrix / scale)
    # One Newton step: X <- X (2 - A X).
    residual = (matrix / scale) @ inverse
    residual[np.diag_indices(len(matrix))] -= 1.0
    inverse -= inverse @ residual
    return np.ascontiguousarray(inverse / scale[:, None])


def maxvol(
    rows: Floats,
    *,
    start: tuple[Floats, Floats, Integers] | None = None,
    threshold: float = SWAP_THRESHOLD,
    progress: Callable[[int], None] | None = None,
) -> tuple[Floats, Floats, Integers]:
    """Find rows that span the largest volume, by swaps.

    The row with the largest grade replaces the slot in which it has it, which multiplies
    the volume by that grade, until no grade exceeds `threshold`. The volume then is a
    local maximum: no single swap enlarges it by more than a factor `threshold`.

    Parameters
    ----------
    rows
        Candidates B, shape (m, n).
    start
        Matrix, inverse and held row of each slot to start from, as this function returns
        them; by default every slot is unset, ε on the diagonal. Data that spans fewer
        than n directions leaves slots unset.
    threshold
        Where swaps stop, a little above 1.
    progress
        Called with the number of swaps made, after each block of rows.

    Returns
    -------
    tuple
        The matrix A (n, n), A⁻¹ (n, n), and for each slot the index of its row in `rows`,
        or what `start` held there (-1 when unset).
    """
    rows = np.ascontiguousarray(rows, dtype=float)
    if rows.ndim != 2:
        raise ValueError(f"maxvol: rows have shape {rows.shape}, not (rows, parameters)")
    if not np.isfinite(rows).all():
        bad = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        raise ValueError(f"maxvol: row {bad} holds numbers that are not finite")
    if not threshold > 1.0:
        raise ValueError(f"maxvol: threshold {threshold} is not above 1; swaps would never end")
    size = rows.shape[1]
    if start is None:
        start = np.eye(size) * EMPTY, np.eye(size) / EMPTY, np.full(size, UNSET, dtype=np.int64)
    matrix, inverse, held = start
    volume = _Volume(matrix.copy(), inverse.copy(order="C"), held.copy())
    block = max(64, _BLOCK_NUMBERS // max(size, 1))
    total, limit = 0, 1000 * size + 10 * len(rows)
    while True:
        swaps = 0
        for first in range(0, len(rows), block):
            part = rows[first : first + block]
            swaps += volume.take_in(part, first, threshold, limit - total - swaps)
            if progress is not None:
                progress(total + swaps)
        volume.refresh()
        total += swaps
        if swaps == 0:
            return volume.matrix, volume.inverse, volume.held
        if total >= limit:
            raise ValueError(
                f"maxvol did not settle within {limit} swaps: the rows are too badly scaled "
                "(is the potential's fit finished?)"
            )
