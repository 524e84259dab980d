"""What the properties of point defects share: cells, the perfect crystal, energies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from pescape.validation.crystals import Crystal, Repeat, minimised, relaxed_crystal
from pescape.validation.property import Curve, PropertyConfig, PropertyError, Relaxation, snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator

    from pescape.plugins.structures.crystals import BulkCrystal

#: Supercells of the conventional cell that are about as long in all directions.
_REPEATS: dict[str, tuple[Repeat, ...]] = {
    "bcc": ((3, 3, 3), (4, 4, 4)),
    "diamond": ((2, 2, 2), (3, 3, 3)),
    "fcc": ((2, 2, 2), (3, 3, 3), (4, 4, 4)),
    "hcp": ((3, 2, 2), (4, 2, 3), (5, 3, 3)),
    "omega": ((2, 2, 3), (3, 3, 5)),
    "sc": ((3, 3, 3), (4, 4, 4)),
}
_REPEAT: dict[str, Repeat] = {
    "bcc": (4, 4, 4),
    "diamond": (3, 3, 3),
    "fcc": (3, 3, 3),
    "hcp": (4, 2, 3),
    "omega": (3, 3, 5),
    "sc": (4, 4, 4),
}

#: Relaxed defects whose energies (eV) agree to this are the same.
SAME_ENERGY = 1e-3

Repeats = Annotated[tuple[Repeat, ...], Field(min_length=1)]
#: The fields `repeats` and `repeat` of configurations.
SeveralCells = Annotated[
    Repeats | None,
    Field(description="of the conventional cell, orthorhombic for hcp; some sizes if unset"),
]
OneCell = Annotated[
    Repeat | None,
    Field(description="of the conventional cell, orthorhombic for hcp; about 12 Å if unset"),
]


class DefectConfig(PropertyConfig):
    """A defect in a supercell of the potential's own relaxed crystal."""

    crystal: Crystal
    relaxation: Relaxation = Relaxation()


def cells_by_size(crystal: Crystal, repeats: tuple[Repeat, ...] | None) -> dict[int, Repeat]:
    """Give the supercells to compute by the number of their sites, the largest last.

    Parameters
    ----------
    crystal
        Of the supercells.
    repeats
        Of the conventional cell; those of a table if None.
    """
    chosen = _REPEATS[crystal.lattice] if repeats is None else repeats
    return {crystal.count(one): one for one in sorted(chosen, key=crystal.count)}


def cell_of(crystal: Crystal, repeat: Repeat | None) -> Repeat:
    """Give the one supercell to compute.

    Parameters
    ----------
    crystal
        Of the supercell.
    repeat
        Of the conventional cell; that of a table if None.
    """
    return _REPEAT[crystal.lattice] if repeat is None else repeat


def relaxed_host(crystal: Crystal, calculator: BaseCalculator) -> tuple[BulkCrystal, float]:
    """Relax the perfect crystal.

    Parameters
    ----------
    crystal
        As guessed.
    calculator
        With stress.

    Returns
    -------
    BulkCrystal
        With the potential's own lattice parameters.
    float
        Energy per atom, eV.
    """
    atoms = relaxed_crystal(crystal, calculator)
    return crystal.host(atoms), float(atoms.get_potential_energy()) / len(atoms)


def relaxed_defect(
    atoms: Atoms, calculator: BaseCalculator, relaxation: Relaxation, name: str
) -> Atoms:
    """Relax the atoms of a cell that holds a defect.

    Parameters
    ----------
    atoms
        Relaxed in place.
    calculator
        With forces.
    relaxation
        When it ends.
    name
        Of the structure, also in errors.

    Returns
    -------
    Atoms
        A copy with energy and forces.
    """
    atoms.calc = calculator
    minimised(atoms, **relaxation.model_dump(), what=name)
    return snapshot(atoms, name)


def freed_defect(
    relaxed: Atoms,
    calculator: BaseCalculator,
    relaxation: Relaxation,
    *,
    rattle: float,
    seed: int,
) -> tuple[Atoms | None, tuple[str, ...]]:
    """Move the atoms of a relaxed structure by chance and relax it again.

    Parameters
    ----------
    relaxed
        Of `relaxed_defect`; it may be held on a saddle by its symmetry.
    calculator
        With forces.
    relaxation
        When it ends.
    rattle
        Standard deviation of the move of each coordinate, Å.
    seed
        Of the moves.

    Returns
    -------
    Atoms
        Relaxed again; None if that does not converge.
    tuple of str
        Says that it was no minimum, or that it does not converge.
    """
    name = relaxed.info["name"]
    atoms = relaxed.copy()
    chance = np.random.default_rng(seed)
    atoms.positions += chance.normal(scale=rattle, size=atoms.positions.shape)
    try:
        freed = relaxed_defect(atoms, calculator, relaxation, f"{name}_freed")
    except PropertyError as error:
        return None, (str(error),)
    fallen = float(relaxed.get_potential_energy() - freed.get_potential_energy())
    if fallen < SAME_ENERGY:
        return freed, ()
    return freed, (f"{name} is no minimum: rattled, it falls by {fallen:.3f} eV",)


def formation_energy(defective: Atoms, energy: float) -> float:
    """Energy (eV) of a structure above as many atoms of the crystal.

    Parameters
    ----------
    defective
        With its energy.
    energy
        Of the crystal, eV/atom.
    """
    return float(defective.get_potential_energy()) - len(defective) * energy


def size_curve(energies: Mapping[int, float], label: str) -> Curve:
    """Draw energies against the size of the cell.

    Parameters
    ----------
    energies
        eV, by lattice sites of the cell.
    label
        What the energies are.
    """
    sizes = np.array(sorted(energies))
    return Curve(sizes, np.array([energies[n] for n in sizes]), "lattice sites", f"{label} (eV)")
