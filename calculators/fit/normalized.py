"""Normal equations on one scale, whatever the units of their columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Columns so short, relative to the longest, are zero.
_ROUND_OFF = 1e-11


def normalized(matrix: Floats) -> tuple[Floats, Floats]:
    """Give a positive semidefinite matrix a diagonal of ones.

    Parameters
    ----------
    matrix
        Shape (n, n).

    Returns
    -------
    tuple
        The matrix, and the lengths it was divided by. Those of columns that are round-off (a
        perfect crystal has many) are infinite, so that nothing comes of them.
    """
    lengths = column_lengths(matrix)
    scaled = matrix / np.outer(lengths, lengths)
    np.fill_diagonal(scaled, 1.0)
    return scaled, lengths


def column_lengths(matrix: Floats) -> Floats:
    """Return the lengths of the columns J of a matrix JᵀJ, infinite of those that are round-off.

    Parameters
    ----------
    matrix
        Shape (n, n).
    """
    lengths = np.sqrt(np.maximum(np.diag(matrix), 0.0))
    lengths[lengths <= _ROUND_OFF * lengths.max(initial=0.0)] = np.inf
    return lengths
