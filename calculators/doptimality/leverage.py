"""Leverage: how far a row lies from all training rows, in the measure of their own spread.

The leverage of a row b is b C⁻¹ bᵀ with the second moments C = Σ b bᵀ / m of the m training rows
[1]_: of a linear model it is the variance of what is predicted, but for a factor. A grade by
leverage is the ratio to the largest of the training rows of the same kind (rows of atoms of
different elements have no entry in common). So it is at most 1 in the training data, too, and
grows with the square of the distance from it; unlike the largest entry of |b A⁻¹|, which only
asks where the extremes are, it tells the usual from the rare within.

References
----------
.. [1] D. C. Hoaglin and R. E. Welsch, Am. Stat. 32, 17 (1978).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import solve_triangular
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from pescape.calculators.doptimality.design_matrix import RowBlock

    Floats = NDArray[np.float64]

# Added to the diagonal of the entries' correlation matrix: what varies less, beside what the other
# entries say of it, is rounding.
_RIDGE = 1e-8


class SecondMoments:
    """Σ b bᵀ of rows that come in blocks."""

    def __init__(self) -> None:
        self.count = 0
        self._total: Floats | None = None

    def add(self, block: RowBlock) -> None:
        """Take in rows.

        Parameters
        ----------
        block
            Of training rows.
        """
        product = block.rows.T @ block.rows
        self._total = product if self._total is None else self._total + product
        self.count += len(block.rows)

    def leverage(self, blocks: Iterable[Floats]) -> Floats:
        """Return the matrix W of grades ‖b W‖², shape (n, n).

        Parameters
        ----------
        blocks
            The training rows again, (m, n) each: their largest grade becomes 1.
        """
        assert self._total is not None, "no rows were added"
        moments = self._total / self.count
        size = np.sqrt(np.diag(moments))
        idle = size == 0.0
        size[idle] = 1.0  # what never was anything but zero is measured as it is
        correlation = moments / np.outer(size, size)
        correlation[np.diag_indices_from(correlation)] += _RIDGE
        correlation[idle, idle] = 1.0
        lower = np.linalg.cholesky(correlation)
        whitening = solve_triangular(lower, np.diag(1.0 / size), lower=True).T
        # Entries of different elements' atoms are never nonzero together.
        count, kinds = connected_components(csr_array(moments != 0.0), directed=False)
        largest = np.zeros(count)
        for rows in blocks:
            found = np.linalg.norm(rows @ whitening, axis=1)
            np.maximum.at(largest, kinds[np.argmax(rows != 0.0, axis=1)], found)
        scales = np.where(largest > 0.0, largest, largest.max())[kinds]
        return np.ascontiguousarray(whitening / scales)
