"""Elastic constants by regression of the stresses of strained cells, with standard errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pescape.validation.properties.crystal.elastic import constant_entry, symmetric_part

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pescape.validation.property import Floats

# Directions that strains determine to less than this, over the best one, count as not determined.
_UNDETERMINED = 1e-4
# Share of a constant in such directions that makes it undetermined, too.
_LOST = 1e-3
# A symmetric part smaller than this, over the largest, is none.
_INDEPENDENT = 1e-6
# Digits in which rotations are compared.
_DIGITS = 8
_ROWS, _COLUMNS = np.array([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]).T
_ENGINEERING = np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])


@dataclass(frozen=True)
class Constant:
    """An elastic constant and its standard error, GPa; the latter is infinite if undetermined."""

    value: float
    error: float


@dataclass(frozen=True, eq=False)
class Stiffness:
    """What stresses of strained cells say about a crystal.

    Parameters
    ----------
    constants
        By name, as ``C11``.
    rmse
        What the fit leaves, GPa.
    """

    constants: Mapping[str, Constant]
    rmse: float


def fit_stiffness(
    strains: Floats, stresses: Sequence[Floats], rotations: Floats, names: Sequence[str]
) -> list[Stiffness]:
    """Fit second Piola-Kirchhoff stresses, linear in the Green-Lagrange strain, and a constant.

    Only what the crystal's symmetry leaves free is fitted; the constant takes up the stress of the
    unstrained cell, Pulay's as well as that of a cell that is not quite relaxed.

    Parameters
    ----------
    strains
        Shape (n, 3, 3).
    stresses
        One or several sets in the same frames, each of shape (n, 3, 3), GPa.
    rotations
        Of the crystal's symmetry, shape (m, 3, 3).
    names
        Of the constants to give.

    Returns
    -------
    list of Stiffness
        One for each set of stresses.
    """
    forms = _invariant_stiffness(rotations)
    constants = _invariant_stress(rotations)
    strain = strains[:, _ROWS, _COLUMNS] * _ENGINEERING
    design = np.concatenate(
        [
            np.einsum("kij,nj->nik", forms, strain).reshape(-1, len(forms)),
            np.tile(constants[:, _ROWS, _COLUMNS].T, (len(strain), 1)),
        ],
        axis=1,
    )
    left, sizes, right = np.linalg.svd(design, full_matrices=False)
    known = sizes > _UNDETERMINED * sizes.max()
    rows = {
        name: np.pad(forms[(slice(None), *constant_entry(name))], (0, len(constants)))
        for name in names
    }

    def fitted(stress: Floats) -> Stiffness:
        found = (right[known].T / sizes[known]) @ (left[:, known].T @ stress)
        residual = stress - design @ found
        freedom = max(len(stress) - int(known.sum()), 1)
        rmse = float(np.sqrt(residual @ residual / freedom))
        of_name = {}
        for name, row in rows.items():
            parts = right @ row
            error = rmse * float(np.sqrt(np.sum((parts[known] / sizes[known]) ** 2)))
            lost = np.linalg.norm(parts[~known]) > _LOST * np.linalg.norm(row)
            of_name[name] = Constant(float(found @ row), np.inf if lost else error)
        return Stiffness(of_name, rmse)

    return [fitted(one[:, _ROWS, _COLUMNS].ravel()) for one in stresses]


def _invariant_stiffness(rotations: Floats) -> Floats:
    """Orthonormal 6 × 6 matrices that have the symmetry, (k, 6, 6)."""
    # Inversion changes no elastic constants.
    proper = rotations * np.linalg.det(rotations)[:, None, None]
    rotations = np.unique(proper.round(_DIGITS), axis=0)
    parts = []
    for row in range(6):
        for column in range(row, 6):
            unit = np.zeros((6, 6))
            unit[row, column] = unit[column, row] = 1.0
            parts.append(symmetric_part(unit, rotations).ravel())
    return _span(np.array(parts)).reshape(-1, 6, 6)


def _invariant_stress(rotations: Floats) -> Floats:
    """Orthonormal symmetric tensors that have the symmetry, (k, 3, 3)."""
    parts = []
    for row, column in zip(_ROWS, _COLUMNS, strict=True):
        unit = np.zeros((3, 3))
        unit[row, column] = unit[column, row] = 1.0
        turned = np.swapaxes(rotations, 1, 2) @ unit @ rotations
        parts.append(turned.mean(axis=0).ravel())
    return _span(np.array(parts)).reshape(-1, 3, 3)


def _span(vectors: Floats) -> Floats:
    _, sizes, right = np.linalg.svd(vectors)
    rank = int((sizes > _INDEPENDENT * sizes.max()).sum())
    return np.asarray(right[:rank])
