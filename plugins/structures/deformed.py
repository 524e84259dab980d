"""Crystals strained and rattled at random, and crystals under systematic strains."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from ase import Atoms

from pescape.plugins.structures.crystals import (
    HEXAGONAL,
    BulkCrystal,
    crystal_builder,
    shortest_distance,
)
from pescape.plugins.structures.records import (
    builder,
    generator,
    note,
    structure_from_dict,
    structure_name,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_TRIES = 200


def rattled(
    atoms: Atoms,
    rng: np.random.Generator,
    *,
    rattle: float = 0.0,
    strain: float = 0.0,
    volume: float = 1.0,
) -> Atoms:
    """Copy a structure, strain its cell and displace its atoms at random.

    Parameters
    ----------
    atoms
        The structure to start from.
    rng
        Where chance comes from.
    rattle
        Standard deviation of each Cartesian displacement, Å.
    strain
        Standard deviation of the six components of a symmetric, traceless strain.
    volume
        Ratio of the new volume to the old one.

    Returns
    -------
    Atoms
        Without a calculator.
    """
    epsilon = rng.normal(scale=strain, size=(3, 3)) if strain else np.zeros((3, 3))
    epsilon = (epsilon + epsilon.T) / 2
    # The off-diagonal mean of two draws would have a smaller deviation than the diagonal.
    epsilon[~np.eye(3, dtype=bool)] *= 2**0.5
    epsilon -= np.trace(epsilon) / 3 * np.eye(3)
    deformation = np.eye(3) + epsilon
    deformation *= (volume / np.linalg.det(deformation)) ** (1 / 3)
    new = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    new.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
    if rattle:
        new.positions += rng.normal(scale=rattle, size=new.positions.shape)
    return new


@builder({"parent": structure_from_dict})
def rattled_crystal(
    parent: Atoms,
    *,
    seed: int | np.random.SeedSequence,
    rattle: tuple[float, float] = (0.0, 0.2),
    strain: float = 0.03,
    volume: tuple[float, float] = (0.9, 1.1),
    min_distance: float = 0.0,
) -> Atoms:
    """Derive one structure from a crystal by strain and random displacements.

    Parameters
    ----------
    parent
        The crystal.
    seed
        Equal seeds give equal structures.
    rattle
        Range the displacements' standard deviation is drawn from, Å.
    strain
        Standard deviation of the strain components.
    volume
        Range the ratio of volumes is drawn from.
    min_distance
        Structures with two atoms nearer than this (Å) are drawn again.

    Returns
    -------
    Atoms
        ``info["record"]`` tells how it was made, and `replay` makes it again;
        ``info["parent"]`` holds the parent's ``info["name"]``, or its formula.
    """
    rng = generator(seed)
    for attempt in range(1, _TRIES + 1):
        done = {"rattle": rng.uniform(*rattle), "volume": rng.uniform(*volume)}
        new = rattled(parent, rng, strain=strain, **done)
        if shortest_distance(new, max(min_distance, 0.1)) >= min_distance:
            done["attempts"] = attempt
            break
    else:
        raise ValueError(
            f"{_TRIES} draws from {structure_name(parent)} all had atoms nearer than "
            f"{min_distance} Å: lower rattle, strain or min_distance"
        )
    new.info["parent"] = structure_name(parent)
    return note(new, done)


class _Mode(NamedTuple):
    """Symmetric strain of unit magnitude, and what its use needs to know."""

    strain: np.ndarray
    signed: bool  # both signs give crystals of their own
    isochoric: bool = False


def _along(*direction: float) -> np.ndarray:
    unit = np.array(direction) / np.linalg.norm(direction)
    return np.outer(unit, unit)


def _shear(first: int, second: int) -> np.ndarray:
    strain = np.zeros((3, 3))
    strain[first, second] = strain[second, first] = 0.5
    return strain


#: Modes of deformation. Axes: x = a, z = c of hexagonal lattices, and the cubic axes. Uniaxial
#: and biaxial modes are named by what is stretched; shears by their plane, their magnitude is
#: the engineering strain.
_MODES = {
    "volumetric": _Mode(np.eye(3), signed=True),
    "uniaxial_x": _Mode(_along(1, 0, 0), signed=True),
    "uniaxial_y": _Mode(_along(0, 1, 0), signed=True),
    "uniaxial_z": _Mode(_along(0, 0, 1), signed=True),
    "uniaxial_110": _Mode(_along(1, 1, 0), signed=True),
    "uniaxial_111": _Mode(_along(1, 1, 1), signed=True),
    "biaxial_xy": _Mode(np.diag([1.0, 1.0, 0.0]), signed=True),
    "tetragonal": _Mode(np.diag([-0.5, -0.5, 1.0]), signed=True, isochoric=True),
    "orthorhombic": _Mode(np.diag([1.0, -1.0, 0.0]), signed=False, isochoric=True),
    "shear_yz": _Mode(_shear(1, 2), signed=False),
    "shear_xz": _Mode(_shear(0, 2), signed=False),
    "shear_xy": _Mode(_shear(0, 1), signed=False),
}

#: Names of all modes of deformation.
DEFORMATIONS = tuple(_MODES)

_HEXAGONAL_MODES = (
    "volumetric",
    "uniaxial_x",
    "uniaxial_y",
    "uniaxial_z",
    "biaxial_xy",
    "shear_yz",
    "shear_xz",
    "shear_xy",
)
_BCC_MODES = ("volumetric", "uniaxial_z", "biaxial_xy", "orthorhombic", "shear_xy")
_FCC_MODES = (
    "volumetric",
    "uniaxial_z",
    "uniaxial_110",
    "uniaxial_111",
    "biaxial_xy",
    "tetragonal",
    "orthorhombic",
    "shear_xy",
)
_HEXAGONAL_STRAINS = (0.02, 0.04, 0.06)
_BCC_STRAINS = (0.02, 0.04, 0.06, 0.08)
_FCC_STRAINS = (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07)


def deformation_grid(
    lattice: str,
    modes: Sequence[str] | None = None,
    magnitudes: Sequence[float] | None = None,
) -> list[tuple[str, float]]:
    """List modes of deformation and strains.

    Parameters
    ----------
    lattice
        Chooses what is not given: 39 deformations of hcp and omega (5 modes with 3 strains of
        either sign, 3 shears with 3 strains), 32 of bcc (3 modes with 4 strains of either sign,
        2 with 4) and 98 of fcc and the other cubic ones (6 with 7 of either sign, 2 with 7):
        the numbers in table 1 of Luo et al.
    modes
        Some of `DEFORMATIONS`.
    magnitudes
        Positive strains; both signs are taken where they give different crystals.

    Returns
    -------
    list of tuple
        Mode and signed strain.
    """
    if lattice in HEXAGONAL:
        usual: tuple[Sequence[str], Sequence[float]] = (_HEXAGONAL_MODES, _HEXAGONAL_STRAINS)
    else:
        usual = (_BCC_MODES, _BCC_STRAINS) if lattice == "bcc" else (_FCC_MODES, _FCC_STRAINS)
    chosen = usual[0] if modes is None else modes
    sizes = usual[1] if magnitudes is None else magnitudes
    wrong = [size for size in sizes if not 0.0 < size < 1.0]
    if wrong:
        raise ValueError(f"magnitude {wrong[0]} of a deformation is not between 0 and 1")
    return [
        (mode, sign * size)
        for mode in chosen
        for size in sizes
        for sign in ((-1.0, 1.0) if _mode(mode).signed else (1.0,))
    ]


@crystal_builder
def deformed(
    host: BulkCrystal,
    mode: str,
    strain: float,
    *,
    cubic: bool = True,
    repeat: Sequence[int] = (1, 1, 1),
) -> Atoms:
    """Build a crystal under homogeneous strain.

    Parameters
    ----------
    host
        The crystal without strain.
    mode
        One of `DEFORMATIONS`. ``tetragonal`` and ``orthorhombic`` keep the volume.
    strain
        Lagrange's linear strain; the engineering strain of shears.
    cubic, repeat
        As of `crystal`.

    Returns
    -------
    Atoms
        The periodic crystal.
    """
    known = _mode(mode)
    deformation = np.eye(3) + strain * known.strain
    volume = float(np.linalg.det(deformation))
    if not volume > 0.0:
        raise ValueError(f"strain {strain} of mode {mode} leaves no volume")
    if known.isochoric:
        deformation /= volume ** (1.0 / 3.0)
    atoms = host.atoms(cubic=cubic, repeat=repeat)
    atoms.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
    size = f"{mode} {100.0 * strain:+g} %"
    atoms.info["name"] = f"{host.lattice} {host.element}{len(atoms)}, {size}"
    return atoms


def _mode(name: str) -> _Mode:
    if name not in _MODES:
        raise ValueError(f"deformation {name!r} is not one of {', '.join(_MODES)}")
    return _MODES[name]
