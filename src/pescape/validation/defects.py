"""What the properties of point defects share: cells, the perfect crystal, energies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from pescape.validation.base import PropertyConfig, Relaxation
from pescape.validation.crystals import Crystal, Repeat, relaxed_crystal

if TYPE_CHECKING:
    from ase.calculators.calculator import BaseCalculator

    from pescape.plugins.structures.hosts import Host

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


class DefectConfig(PropertyConfig):
    """A defect in a supercell of the potential's own relaxed crystal."""

    crystal: Crystal
    relaxation: Relaxation = Relaxation()  # type: ignore[call-arg]


def repeats_of(crystal: Crystal, given: tuple[Repeat, ...] | None) -> tuple[Repeat, ...]:
    """Give the supercells to compute, in order of size."""
    chosen = _REPEATS[crystal.lattice] if given is None else given
    return tuple(sorted(chosen, key=crystal.count))


def repeat_of(crystal: Crystal, given: Repeat | None) -> Repeat:
    """Give the one supercell to compute."""
    return _REPEAT[crystal.lattice] if given is None else given


def relaxed_host(crystal: Crystal, calculator: BaseCalculator) -> tuple[Host, float]:
    """Relax the perfect crystal.

    Returns
    -------
    Host
        With the potential's own lattice parameters.
    float
        Energy per atom, eV.
    """
    atoms = relaxed_crystal(crystal, calculator)
    return crystal.host(atoms), float(atoms.get_potential_energy()) / len(atoms)
