"""The potential-energy surface of an Atoms object, along the directions that it is free to move in.

Constraints and rigid motions, which cost no energy, leave fewer directions than there are
coordinates: vectors are projected on these, and points of the surface carry their gradient there.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
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
    """Return positions shifted and turned onto a reference as well as can be.

    The rotation is the proper one of least squares (Kabsch, Acta Cryst. A 32 (1976) 922).

    Parameters
    ----------
    positions, reference
        Positions, (natoms, 3), Å.
    """
    middle, center = positions.mean(axis=0), reference.mean(axis=0)
    left, _, right = np.linalg.svd((positions - middle).T @ (reference - center))
    sign = np.sign(np.linalg.det(left @ right))
    rotation = (left * [1.0, 1.0, sign]) @ right
    return (positions - middle) @ rotation + center


class FreeSpace:
    """Projects vectors on the directions in which the atoms may move.

    ASE's constraints project forces; the same projection serves any vector. Constraints that add
    an energy of their own (springs, external forces) restrict nothing and are left out.

    Parameters
    ----------
    atoms
        The atoms, with their constraints; looked at anew in every call.
    remove_translation
        Leave out rigid translations too. None: where there are two atoms or more and no
        constraint.
    """

    def __init__(self, atoms: Atoms, *, remove_translation: bool | None = None) -> None:
        self.atoms = atoms
        self._remove_translation = remove_translation
        self._mean = np.full(len(atoms), 1.0 / max(1, len(atoms)))

    @property
    def remove_translation(self) -> bool:
        """Whether rigid translations are left out."""
        if self._remove_translation is None:
            return len(self.atoms) > 1 and not self.atoms.constraints
        return self._remove_translation

    def project(self, vectors: np.ndarray) -> np.ndarray:
        """Return the free part.

        Parameters
        ----------
        vectors
            One vector per atom, (natoms, 3), or the same flattened.

        Returns
        -------
        np.ndarray
            The projection, a new array of the same shape.
        """
        free = np.array(vectors, dtype=float).reshape(-1, 3)
        for constraint in self.atoms.constraints:
            if not hasattr(constraint, "adjust_potential_energy"):
                constraint.adjust_forces(self.atoms, free)
        if self.remove_translation:
            free -= self._mean @ free  # several times faster than mean(axis=0)
        return free.reshape(np.shape(vectors))


def without(vector: np.ndarray, *directions: np.ndarray | None) -> np.ndarray:
    """Return a flat vector less its parts along orthonormal directions.

    Parameters
    ----------
    vector, *directions
        Flat vectors, (n,); a direction that is None counts for nothing.
    """
    for direction in directions:
        if direction is not None:
            vector = vector - (vector @ direction) * direction
    return vector


def unit(vector: np.ndarray, *, floor: float = 1e-10) -> np.ndarray | None:
    """Return a flat vector scaled to length one, or None where it has no direction.

    Parameters
    ----------
    vector
        The vector, (n,).
    floor
        Length up to which it has none.
    """
    length = sqrt(vector @ vector)
    return vector / length if length > floor else None


def free_components(atoms: Atoms) -> tuple[np.ndarray, np.ndarray]:
    """Return the flat Cartesian components that can change, and the atom of each, both (n,).

    Parameters
    ----------
    atoms
        The atoms with their constraints.
    """
    generic = np.random.default_rng(0).normal(size=(len(atoms), 3))
    free = np.flatnonzero(FreeSpace(atoms).project(generic).ravel())
    if not len(free):
        raise ValueError("all atoms are fixed; a search needs some that may move")
    return free, free // 3


@dataclass(frozen=True, eq=False)
class Sample:
    """One point of the surface.

    Attributes
    ----------
    x
        Flat positions, (n,), Å.
    energy
        Potential energy, eV.
    gradient
        Flat gradient in the free directions, (n,), eV/Å.
    """

    x: np.ndarray
    energy: float
    gradient: np.ndarray


class Surface:
    """Evaluates points, one force call each.

    Parameters
    ----------
    atoms
        Atoms with a calculator.
    free
        The directions in which they may move.
    force_consistent
        Energy to report: True, the free energy; False, the energy extrapolated to zero
        broadening; None, the free energy where the calculator has it.

    Attributes
    ----------
    calls
        Number of points evaluated.
    """

    def __init__(
        self, atoms: Atoms, free: FreeSpace, *, force_consistent: bool | None = None
    ) -> None:
        self.atoms = atoms
        self.free = free
        self.calls = 0
        self._force_consistent = force_consistent
        self._cell = atoms.cell.array.copy()

    def sample(self) -> tuple[Sample, np.ndarray]:
        """Evaluate the atoms where they are.

        Returns
        -------
        tuple
            The point, and the forces, (natoms, 3), eV/Å, as the constraints leave them.
        """
        self.calls += 1
        self._cell = self.atoms.cell.array.copy()
        forces = self.atoms.get_forces()
        gradient = self.free.project(-forces).ravel()
        return Sample(self.atoms.get_positions().ravel(), self._energy(), gradient), forces

    def move(self, x: np.ndarray) -> tuple[Sample, np.ndarray]:
        """Move the atoms, as far as constraints let them, and evaluate them as `sample` does.

        Parameters
        ----------
        x
            Flat positions, (n,), Å.
        """
        self.atoms.set_positions(x.reshape(-1, 3))
        return self.sample()

    def put_back(self, sample: Sample) -> None:
        """Put the atoms where a sample was taken, exactly.

        Parameters
        ----------
        sample
            The point.
        """
        self.atoms.set_positions(sample.x.reshape(-1, 3), apply_constraint=False)

    def is_at(self, sample: Sample) -> bool:
        """Return whether the atoms still are where a sample was taken, in the same cell.

        Parameters
        ----------
        sample
            The point.
        """
        same = self.atoms.positions.ravel() == sample.x
        return bool(same.all()) and bool((self.atoms.cell.array == self._cell).all())

    def _energy(self) -> float:
        results = getattr(self.atoms.calc, "results", None)
        name = "energy" if self._force_consistent is False else "free_energy"
        added = any(hasattr(c, "adjust_potential_energy") for c in self.atoms.constraints)
        if isinstance(results, dict) and results.get(name) is not None and not added:
            return float(results[name])  # what the force call left: spares ASE's second look
        if self._force_consistent is None:
            try:
                energy = self.atoms.get_potential_energy(force_consistent=True)
            except NotImplementedError:  # as ASE's PropertyNotImplementedError is
                self._force_consistent = False
            else:
                return float(energy)
        return float(self.atoms.get_potential_energy(force_consistent=self._force_consistent))


def consistent_energy(atoms: Atoms) -> float:
    """Return the energy that belongs to the forces, eV: `free_energy` where there is one.

    Parameters
    ----------
    atoms
        Atoms with a calculator.
    """
    try:
        return float(atoms.get_potential_energy(force_consistent=True))
    except NotImplementedError:  # as ASE's PropertyNotImplementedError is
        return float(atoms.get_potential_energy())
