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

Repeats = Annotated[tuple[Repeat, ...], Field(min_length=1)]

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


class DefectConfig(PropertyConfig):
    """A defect in a supercell of the potential's own relaxed crystal."""

    crystal: Crystal
    relaxation: Relaxation = Relaxation()


def repeats_of(crystal: Crystal, given: tuple[Repeat, ...] | None) -> tuple[Repeat, ...]:
    """Give the supercells to compute, in order of size."""
    chosen = _REPEATS[crystal.lattice] if given is None else given
    return tuple(sorted(chosen, key=crystal.count))


def repeat_of(crystal: Crystal, given: Repeat | None) -> Repeat:
    """Give the one supercell to compute."""
    return _REPEAT[crystal.lattice] if given is None else given


def relaxed_host(crystal: Crystal, calculator: BaseCalculator) -> tuple[BulkCrystal, float]:
    """Relax the perfect crystal.

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
    """Relax the atoms of a cell that holds a defect, in place; give it with its results."""
    atoms.calc = calculator
    minimised(atoms, **relaxation.model_dump(), what=name)
    return snapshot(atoms, name)


def freed_defect(
    relaxed: Atoms,
    calculator: BaseCalculator,
    relaxation: Relaxation,
    name: str,
    *,
    rattle: float,
    seed: int,
) -> tuple[Atoms | None, tuple[str, ...]]:
    """Move the atoms of a relaxed structure by chance and relax it again.

    Parameters
    ----------
    relaxed
        It may be held on a saddle by its symmetry.
    rattle
        Of each coordinate, Å.

    Returns
    -------
    Atoms
        Relaxed again; None if that does not converge.
    tuple of str
        Says that it was no minimum, or that it does not converge.
    """
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
    """Energy (eV) of a structure above as many atoms of the crystal, of `energy` eV each."""
    return float(defective.get_potential_energy()) - len(defective) * energy


def size_curve(energies: Mapping[int, float], label: str) -> Curve:
    """Draw energies (eV) by lattice sites of the cell against these."""
    sizes = np.array(sorted(energies))
    return Curve(sizes, np.array([energies[n] for n in sizes]), "lattice sites", f"{label} (eV)")


def extrapolated(energies: Mapping[int, float]) -> float:
    """Give the formation energy (eV) in a cell without end, from the two largest cells.

    In cells of fixed shape and size a defect and its images interact elastically, which falls as
    the cell's volume grows (Varvenne et al., Phys. Rev. B 88, 134102 (2013)).
    """
    (small, above), (large, nearer) = sorted(energies.items())[-2:]
    return nearer - (above - nearer) * small / (large - small)
