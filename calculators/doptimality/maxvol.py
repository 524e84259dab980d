"""MaxVol: the rows of a tall matrix that span the largest volume, found by swaps.

Rows come in blocks. Within a block, the rows of the largest grades make a panel small enough for
the cache; swaps are chosen there one by one, with rank-1 updates of the panel alone. Then the
block and the inverse take all of them at once: Woodbury's formula, two matrix products.

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
#: What it holds for parameters that do not count: no row will ever win their slots, and what
#: rows say about them adds nothing to grades.
IGNORED = 1e30
#: Swaps stop when no row's grade exceeds this.
SWAP_THRESHOLD = 1.001
UNSET = -1

# Numbers in a block of rows: few enough for the cache, enough that one update serves many rows.
_BLOCK_NUMBERS = 500_000
# Rows of a panel, hence swaps between two updates of a block.
_PANEL_ROWS = 32
# Rows with a grade above this are remembered: a later swap may bring them above one.
_NEAR = 0.9
# How many of those, in units of the number of parameters.
_NEAR_ROWS = 4
# Grades in a ratio nearer to one than this are the same.
_SAME = 1.0 - 1e-9


def block_rows(size: int) -> int:
    """Return how many rows to hand to `MaxVol` at once.

    Parameters
    ----------
    size
        Number of parameters.
    """
    return max(_BLOCK_NUMBERS // max(size, 1), size, 64)


class MaxVol:
    """The rows of largest volume among all that it was updated with, block by block.

    Rows that ever held a slot are remembered, with some that nearly did: `converge` lets them
    compete again. After one pass over a source and `converge`, every row of the source has a
    grade of at most n · threshold² for n parameters: when its block was done it was a
    combination of the n selected rows with factors up to `threshold`, and each of those, being
    remembered, now has a grade up to `threshold`. (That leaves out what the ε of slots
    contributed that were unset then.) Further passes until none swaps bring it to `threshold`.

    Parameters
    ----------
    start
        Matrix (n, n), inverse (n, n) and what each slot holds (n,) to start from.
    threshold
        Where swaps stop, a little above 1.

    Attributes
    ----------
    matrix, inverse, selected
        The matrix A, A⁻¹, and the number of the row in each slot.
    remembered : dict of int to (n,) array
        Rows by number, in the order in which they came.
    """

    def __init__(self, start: tuple[Floats, Floats, Integers], threshold: float) -> None:
        if not threshold > 1.0:
            raise ValueError(f"maxvol: threshold {threshold} is not above 1; swaps would never end")
        matrix, inverse, selected = start
        self.matrix = matrix.copy()
        self.inverse = inverse.copy(order="C")
        self.selected = selected.copy()
        self.threshold = threshold
        self.remembered: dict[int, Floats] = {}
        self.swaps = 0
        self._near: set[int] = set()
        self._since_refresh = 0

    @classmethod
    def empty(
        cls, size: int, threshold: float = SWAP_THRESHOLD, counted: slice = slice(None)
    ) -> MaxVol:
        """Start with every slot unset: ε on the diagonal, a huge number where nothing counts.

        Parameters
        ----------
        size
            Number of parameters.
        threshold
            Where swaps stop.
        counted
            Which parameters count.
        """
        diagonal = np.full(size, IGNORED)
        diagonal[counted] = EMPTY
        unset = np.full(size, UNSET, dtype=np.int64)
        return cls((np.diag(diagonal), np.diag(1.0 / diagonal), unset), threshold)

    def update(self, rows: Floats, numbers: Integers) -> int:
        """Swap in rows (m, n), known by their numbers, until none has a grade above the threshold.

        Parameters
        ----------
        rows
            Shape (m, n).
        numbers
            By which the rows are known, shape (m,).

        Returns
        -------
        int
            How many swaps were made.
        """
        before = self.swaps
        b = rows @ self.inverse
        scratch = np.empty_like(b)
        # What a finite volume allows is far less; only rows that defy arithmetic reach it.
        limit = before + 1000 * len(self.matrix) + 10 * len(rows)
        while True:
            grades = np.abs(b, out=scratch).max(axis=1, initial=0.0)
            panel = _largest(grades, self.threshold, _PANEL_ROWS)
            if not len(panel):
                break
            if self.swaps >= limit:
                raise ValueError(
                    f"maxvol did not settle within {limit - before} swaps: the rows are too badly "
                    "scaled (is the potential's fit finished?)"
                )
            self._swap(rows, numbers, b, panel)
            if self._since_refresh >= max(len(self.matrix), 64):
                self.refresh()
                np.matmul(rows, self.inverse, out=b)
        self._remember_near(rows, numbers, grades)
        return self.swaps - before

    def converge(self) -> int:
        """Swap in remembered rows until none has a grade above the threshold."""
        before = self.swaps
        numbers = np.fromiter(self.remembered, dtype=np.int64)
        rows = list(self.remembered.values())
        step = block_rows(len(self.matrix))
        while numbers.size:
            swaps = sum(
                self.update(np.array(rows[first : first + step]), numbers[first : first + step])
                for first in range(0, len(rows), step)
            )
            if not swaps:
                break
        self.refresh()
        self._forget()
        return self.swaps - before

    def _forget(self) -> None:
        """Make room for other rows that nearly hold a slot: forget those that no longer do."""
        numbers = list(self._near)
        if numbers:
            rows = np.array([self.remembered[one] for one in numbers])
            far = np.abs(rows @ self.inverse).max(axis=1) < _NEAR
            for one in np.array(numbers)[far].tolist():
                self._near.remove(one)
                del self.remembered[one]

    def remember(self, rows: Floats, numbers: Integers) -> None:
        """Remember rows, which compete whenever `converge` is called.

        Parameters
        ----------
        rows
            Shape (m, n).
        numbers
            By which the rows are known, shape (m,).
        """
        for row, number in zip(rows, numbers, strict=True):
            self.remembered.setdefault(int(number), row.copy())

    def prefer_below(self, limit: int) -> None:
        """Give slots to remembered rows of numbers below a limit that do as well as those there.

        As well: the volume keeps all but a millionth.

        Parameters
        ----------
        limit
            Rows of lower numbers are preferred.
        """
        numbers = np.array([one for one in self.remembered if one < limit], dtype=np.int64)
        if not numbers.size:
            return
        rows = np.array([self.remembered[int(one)] for one in numbers])
        while (others := self.selected >= limit).any():
            b = rows @ self.inverse
            gain = np.abs(b) * others
            row, slot = divmod(int(gain.argmax()), b.shape[1])
            if gain[row, slot] < 1.0 - 1e-6:
                break
            change = b[row]
            pivot = change[slot]
            change[slot] -= 1.0
            self.inverse -= np.outer(self.inverse[:, slot] / pivot, change)
            self.matrix[slot], self.selected[slot] = rows[row], numbers[row]
            self._since_refresh += 1
        self.refresh()

    def refresh(self) -> None:
        """Replace the updated inverse, which gathers round-off, by a fresh one."""
        if self._since_refresh:
            self.inverse = _inverse(self.matrix)
            self._since_refresh = 0

    def _swap(self, rows: Floats, numbers: Integers, b: Floats, panel: Integers) -> None:
        """Put rows of a panel into slots; update the inverse and B A⁻¹ by all of them at once."""
        slots, winners, count = _panel_swaps(b[panel], self.threshold)
        taken = panel[winners]
        # Woodbury: A' = A + E (R - EᵀA) gives A'⁻¹ = A⁻¹ - A⁻¹E (R A⁻¹ E)⁻¹ (R A⁻¹ - Eᵀ).
        change = b[taken]
        pivots = change[:, slots]
        change[np.arange(len(slots)), slots] -= 1.0
        update = np.linalg.solve(pivots, change)
        b -= b[:, slots] @ update
        self.inverse -= self.inverse[:, slots] @ update
        self.matrix[slots] = rows[taken]
        self.selected[slots] = numbers[taken]
        for row in taken:
            self.remembered.setdefault(int(numbers[row]), rows[row].copy())
            self._near.discard(int(numbers[row]))
        self.swaps += count
        self._since_refresh += count

    def _remember_near(self, rows: Floats, numbers: Integers, grades: Floats) -> None:
        for row in _largest(grades, _NEAR, _PANEL_ROWS):
            number = int(numbers[row])
            if len(self._near) < _NEAR_ROWS * len(self.matrix) and number not in self.remembered:
                self.remembered[number] = rows[row].copy()
                self._near.add(number)


def _largest(grades: Floats, threshold: float, count: int) -> Integers:
    """Find the largest grades above a threshold: indices, ascending; of equals, the first."""
    over = np.flatnonzero(grades > threshold)
    if len(over) > count:
        over = np.sort(over[np.argsort(-grades[over], kind="stable")[:count]])
    return over


def _panel_swaps(panel: Floats, threshold: float) -> tuple[Integers, Integers, int]:
    """Swap rows of a panel B A⁻¹ in, the largest grade first, as often as it has rows.

    Returns
    -------
    tuple
        The slots that changed, the panel's row each one holds in the end, the number of swaps.
    """
    scratch = np.empty_like(panel)
    winners: dict[int, int] = {}
    count = 0
    while count < len(panel):
        np.abs(panel, out=scratch)
        row, slot = divmod(int(scratch.argmax()), panel.shape[1])
        if not scratch[row, slot] > threshold:
            break
        # Copies differ by round-off only: the first of them is taken.
        row = int(np.argmax(scratch[:, slot] >= _SAME * scratch[row, slot]))
        direction = panel[row].copy()
        pivot = direction[slot]
        direction[slot] -= 1.0
        # dger works in place on Fortran order: the transposed view of a C-ordered matrix.
        dger(-1.0, direction, panel[:, slot] / pivot, a=panel.T, overwrite_a=1)
        winners[slot] = row
        count += 1
    slots = np.fromiter(winners, dtype=np.int64)
    return slots, np.fromiter(winners.values(), dtype=np.int64), count


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

    A row with a grade above `threshold` replaces the slot in which it has it, which multiplies
    the volume by that grade, the largest grades first, until none is left. The volume then is
    a local maximum: no single swap enlarges it by more than a factor `threshold`.

    Parameters
    ----------
    rows
        Candidates B, shape (m, n).
    start
        Matrix, inverse and selected row of each slot to start from, as this function returns
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
    size = rows.shape[1]
    volume = MaxVol.empty(size, threshold) if start is None else MaxVol(start, threshold)
    numbers = np.arange(len(rows))
    step = block_rows(size)
    while True:
        swaps = 0
        for first in range(0, len(rows), step):
            block = slice(first, first + step)
            swaps += volume.update(rows[block], numbers[block])
            if progress is not None:
                progress(volume.swaps)
        if not swaps:
            volume.refresh()
            return volume.matrix, volume.inverse, volume.selected
        volume.converge()
