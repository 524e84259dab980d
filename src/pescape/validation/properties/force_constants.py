"""Force constants of a crystal by finite displacements in a supercell (phonopy)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from ase import Atoms
from ase.geometry import minkowski_reduce
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms

from pescape.validation.result import PropertyError

if TYPE_CHECKING:
    from ase.calculators.calculator import BaseCalculator
    from numpy.typing import NDArray

    from pescape.validation.crystals import Repeat

    Floats = NDArray[np.float64]

#: A `phonopy.Phonopy`, whose annotations let all of its results be None.
Phonons: TypeAlias = Any

# Å; a relaxed cell is less symmetric than its crystal by what the relaxation leaves.
_SYMMETRIC = 1e-4


@dataclass(frozen=True, eq=False)
class ForceConstants:
    """Second derivatives of the energy of a crystal, and where they come from.

    Parameters
    ----------
    phonons
        What phonopy makes of them.
    cells
        Supercells that forces were computed in.
    images
        Least distance of an atom from its images in the supercell, Å.
    sum_rule
        Largest sum of force constants over all neighbours of an atom, before it was made to
        vanish, eV/Å².
    distances, norms
        Shape (n,): of all pairs of an atom of the primitive cell and one of the supercell, how far
        they are from each other at the least, Å, and the Frobenius norm of their force constants,
        eV/Å².
    """

    phonons: Phonons
    cells: int
    images: float
    sum_rule: float
    distances: Floats
    norms: Floats


def repeat_of(primitive: Atoms, length: float) -> Repeat:
    """Repeat a primitive cell, evenly, until its vectors have a length, Å.

    Waves with half a reciprocal vector then fit into the supercell: frequencies at most points on
    the zone's boundary are exact rather than interpolated.
    """
    first, second, third = (
        2 * int(np.ceil(length / edge / 2)) for edge in primitive.cell.lengths()
    )
    return first, second, third


def force_constants(
    primitive: Atoms, calculator: BaseCalculator, *, repeat: Repeat, displacement: float
) -> ForceConstants:
    """Compute force constants by displacing one atom at a time.

    Displacements that symmetry does not make equal to others are made; with both signs where
    symmetry does not turn one into the other, so that all differences are central ones.

    Parameters
    ----------
    primitive
        The relaxed primitive cell.
    calculator
        With forces.
    repeat
        Of the primitive cell in the supercell.
    displacement
        How far atoms are displaced, Å.
    """
    phonons: Phonons = Phonopy(
        PhonopyAtoms(
            symbols=primitive.get_chemical_symbols(),
            cell=primitive.cell.array,
            scaled_positions=primitive.get_scaled_positions(),
            masses=primitive.get_masses(),
        ),
        supercell_matrix=np.diag(repeat),
        primitive_matrix=np.eye(3),
        symprec=_SYMMETRIC,
    )
    phonons.generate_displacements(distance=displacement, is_plusminus="auto")
    cells = [cell for cell in phonons.supercells_with_displacements if cell is not None]
    phonons.forces = np.array([_forces(cell, calculator) for cell in cells])
    phonons.produce_force_constants(calculate_full_force_constants=False, show_drift=False)
    sum_rule = float(np.abs(phonons.force_constants.sum(axis=1)).max())
    phonons.symmetrize_force_constants(show_drift=False)
    images = float(np.linalg.norm(minkowski_reduce(phonons.supercell.cell)[0], axis=1).min())
    return ForceConstants(phonons, len(cells), images, sum_rule, *_decay(phonons))


def _atoms(cell: PhonopyAtoms) -> Atoms:
    return Atoms(cell.symbols, scaled_positions=cell.scaled_positions, cell=cell.cell, pbc=True)


def _forces(cell: PhonopyAtoms, calculator: BaseCalculator) -> Floats:
    atoms = _atoms(cell)
    atoms.calc = calculator
    forces = np.array(atoms.get_forces())
    if not np.isfinite(forces).all():
        raise PropertyError("forces on displaced atoms are not finite")
    return forces


def _decay(phonons: Phonons) -> tuple[Floats, Floats]:
    """Give distances (Å) and norms (eV/Å²) of all force constants."""
    atoms = _atoms(phonons.supercell)
    every = range(len(atoms))
    distances = [atoms.get_distances(one, every, mic=True) for one in phonons.primitive.p2s_map]
    norms = np.linalg.norm(phonons.force_constants, axis=(2, 3))
    return np.array(distances).ravel(), norms.ravel()
