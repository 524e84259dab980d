"""Rigid rotations, which cost no energy, and what is left of a displacement without them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase.constraints import FixAtoms

if TYPE_CHECKING:
    from ase import Atoms

_DEPENDENT = 1e-8


def rigid_rotations(atoms: Atoms) -> np.ndarray:
    """Return the rotations that leave the energy as it is.

    There are three for a molecule, two for one in a line, one (about the wire) with one periodic
    direction or two fixed atoms, none in a slab, in a crystal, or under constraints other than
    `FixAtoms`, which may stand for a field that does not turn with the atoms.

    Parameters
    ----------
    atoms
        The atoms with their cell and constraints.

    Returns
    -------
    np.ndarray
        Orthonormal rows, (k, 3 natoms).
    """
    size = 3 * len(atoms)
    if sum(atoms.pbc) > 1 or not all(isinstance(c, FixAtoms) for c in atoms.constraints):
        return np.zeros((0, size))
    axes = np.eye(3)
    if any(atoms.pbc):
        along = atoms.cell.array[int(np.flatnonzero(atoms.pbc)[0])]
        axes = along[None] / np.linalg.norm(along)
    arms = atoms.positions - atoms.positions.mean(axis=0)
    motions = np.array([np.cross(axis, arms) for axis in axes])
    fixed = np.unique(np.concatenate([np.zeros(0, int), *(c.index for c in atoms.constraints)]))
    if len(fixed):  # of all rigid motions, those that leave the fixed atoms where they are
        shifts = np.repeat(np.eye(3)[:, None, :], len(atoms), axis=1)
        motions = _without_motion_of(fixed, np.concatenate([motions, shifts]))
    return _orthonormal_rows(motions.reshape(len(motions), size))


def _without_motion_of(fixed: np.ndarray, motions: np.ndarray) -> np.ndarray:
    """Return the combinations of motions, (m, natoms, 3), that leave some atoms at rest."""
    left, sizes, _ = np.linalg.svd(motions[:, fixed].reshape(len(motions), -1))
    moving = int(np.sum(sizes > 1e-6))
    return np.tensordot(left[:, moving:].T, motions, axes=1)


def _orthonormal_rows(rows: np.ndarray) -> np.ndarray:
    if not len(rows):
        return rows
    _, sizes, basis = np.linalg.svd(rows, full_matrices=False)
    return basis[sizes > _DEPENDENT * max(1.0, float(sizes[0]))]


def turned_onto(positions: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return positions, (natoms, 3), shifted and turned onto a reference as well as can be.

    The rotation is the proper one of least squares (Kabsch, Acta Cryst. A 32 (1976) 922).
    """
    middle, centre = positions.mean(axis=0), reference.mean(axis=0)
    left, _, right = np.linalg.svd((positions - middle).T @ (reference - centre))
    sign = np.sign(np.linalg.det(left @ right))
    rotation = (left * [1.0, 1.0, sign]) @ right
    return (positions - middle) @ rotation + centre
