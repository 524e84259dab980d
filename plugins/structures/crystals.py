"""Elemental crystals: perfect ones, which hold defects, and supercells of a number of atoms."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers
from ase.neighborlist import neighbor_list

from pescape.plugins.structures.records import builder, generator
from pescape.plugins.structures.spheres import pairs_within, push_apart

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


#: Lattices that `crystal` builds.
LATTICES = ("bcc", "diamond", "fcc", "hcp", "omega", "sc")

#: Lattices with a hexagonal axis along z.
HEXAGONAL = ("hcp", "omega")

# Scaled displacements that free an atom whose neighbors push it from opposite sides alike.
_NUDGE = 0.01


def crystal(
    element: str,
    lattice: str,
    a: float,
    *,
    c_over_a: float | None = None,
    cubic: bool = False,
    repeat: Sequence[int] = (1, 1, 1),
) -> Atoms:
    """Build an elemental crystal.

    Parameters
    ----------
    element
        Chemical symbol.
    lattice
        One of `LATTICES`. ``omega`` is the three-atom hexagonal structure of Zr and Ti.
    a
        Lattice parameter, Å.
    c_over_a
        Of hcp (ideal 1.633 by default) and omega (0.62 by default).
    cubic
        The conventional cell (cubic; orthorhombic for hcp) instead of the primitive one.
    repeat
        Repetitions along the three cell vectors.

    Returns
    -------
    Atoms
        The periodic crystal, without a calculator.
    """
    if lattice not in LATTICES:
        raise ValueError(f"lattice {lattice!r} is not one of {', '.join(LATTICES)}")
    if lattice == "omega":
        ratio = 0.62 if c_over_a is None else c_over_a
        atoms = Atoms(
            [element] * 3,
            cell=[a, a, ratio * a, 90, 90, 120],
            scaled_positions=[[0, 0, 0], [1 / 3, 2 / 3, 0.5], [2 / 3, 1 / 3, 0.5]],
            pbc=True,
        )
    elif lattice == "hcp":
        ratio = (8 / 3) ** 0.5 if c_over_a is None else c_over_a
        atoms = bulk(element, "hcp", a=a, c=ratio * a, orthorhombic=cubic)
    else:
        atoms = bulk(element, lattice, a=a, cubic=cubic)
    return atoms.repeat(tuple(repeat))


def shortest_distance(atoms: Atoms, within: float = 5.0) -> float:
    """Find the shortest distance between two atoms, periodic images included.

    Parameters
    ----------
    atoms
        Any structure.
    within
        How far to look, Å.

    Returns
    -------
    float
        Å; infinity when no two atoms are nearer than `within`.
    """
    if not len(atoms):
        return np.inf
    distances = neighbor_list("d", atoms, within)
    return float(distances.min()) if len(distances) else np.inf


@dataclass(frozen=True)
class BulkCrystal:
    """The perfect crystal that holds a defect.

    Parameters
    ----------
    element
        Chemical symbol.
    lattice
        One of `LATTICES`.
    a
        Lattice parameter, Å.
    c_over_a
        Of hcp (ideal 1.633 by default) and omega (0.62 by default).
    """

    element: str
    lattice: str
    a: float
    c_over_a: float | None = None

    def __post_init__(self) -> None:
        if self.element not in atomic_numbers:
            raise ValueError(f"{self.element!r} is no chemical symbol")
        if self.lattice not in LATTICES:
            raise ValueError(f"lattice {self.lattice!r} is not one of {', '.join(LATTICES)}")
        if not 0.0 < self.a < math.inf:
            raise ValueError(f"a = {self.a} Å is not a positive number")
        if self.c_over_a is not None and self.lattice not in HEXAGONAL:
            raise ValueError(f"c_over_a belongs to hcp and omega, not to {self.lattice}")
        if self.c_over_a is not None and not 0.0 < self.c_over_a < math.inf:
            raise ValueError(f"c_over_a = {self.c_over_a} is not a positive number")

    def scaled(self, volume: float) -> BulkCrystal:
        """Scale the volume; c/a stays.

        Parameters
        ----------
        volume
            Ratio of the new volume to the old one.
        """
        return replace(self, a=self.a * volume ** (1.0 / 3.0))

    def atoms(self, *, cubic: bool = True, repeat: Sequence[int] = (1, 1, 1)) -> Atoms:
        """Build the crystal.

        Parameters
        ----------
        cubic
            From the conventional cell, orthorhombic for hcp, instead of the primitive one.
        repeat
            Repetitions along the three cell vectors.
        """
        return _unit_cell(self, cubic).repeat(tuple(repeat))

    @property
    def nearest(self) -> float:
        """Distance of nearest neighbors, Å."""
        return _nearest(self)


def repeat_for(host: BulkCrystal, size: int, *, cubic: bool = True) -> tuple[int, int, int]:
    """Find the most compact supercell of a number of atoms.

    Parameters
    ----------
    host
        The crystal.
    size
        Number of atoms of the perfect supercell.
    cubic
        Repeat the conventional instead of the primitive cell.

    Returns
    -------
    tuple
        The repetitions that make the shortest height of the supercell as long as can be, then
        the second shortest.
    """
    unit = _unit_cell(host, cubic)
    cells, rest = divmod(size, len(unit))
    if rest or not cells:
        near = [len(unit) * n for n in (cells, cells + 1) if n]
        raise ValueError(
            f"no supercell of {host.lattice} has {size} atoms: the cell has {len(unit)}; "
            f"possible are {' and '.join(map(str, near))}"
        )
    heights = 1.0 / np.linalg.norm(np.linalg.inv(unit.cell.array), axis=0)
    return most_compact(cells, heights)


def most_compact(cells: int, lengths: Sequence[float] | np.ndarray) -> tuple[int, int, int]:
    """Factorize a number of cells so that the shortest edge is as long as can be.

    Parameters
    ----------
    cells
        Number of unit cells of the supercell.
    lengths
        Of the unit cell's three edges, Å.

    Returns
    -------
    tuple
        Repetitions along each edge.
    """

    def edges(repeat: tuple[int, int, int]) -> list[float]:
        # Rounded: equal lengths must not be told apart by their last bits.
        return sorted(round(n * length, 6) for n, length in zip(repeat, lengths, strict=True))

    return max(_factorizations(cells), key=edges)


def enforce_min_distance(atoms: Atoms, min_distance: float) -> Atoms:
    """Push atoms that are too near away from each other.

    Parameters
    ----------
    atoms
        The structure, changed in place.
    min_distance
        Of any two atoms, Å.

    Returns
    -------
    Atoms
        The same object.

    Raises
    ------
    ValueError
        An atom is too near to its own periodic images, or there is no room.
    """
    radii = np.full(len(atoms), min_distance / 2.0)
    first, second, away = pairs_within(atoms, radii)
    if not len(first):
        return atoms
    if (first != second).all():
        placed = atoms.get_scaled_positions(wrap=False)
        nudge = _NUDGE * generator(0).normal(size=placed.shape)
        starts = [placed + nudge]
        if not _balanced(first, away, min_distance):
            starts.insert(0, placed)
        for start in starts:
            pushed = push_apart(atoms.cell.array, start, radii)
            if pushed is not None:
                atoms.set_scaled_positions(pushed)
                return atoms
    raise ValueError(
        f"{atoms.get_chemical_formula()} in {atoms.get_volume():.1f} Å³ has no room for atoms "
        f"that are {min_distance:g} Å apart: lower min_distance or take a larger cell"
    )


def _bulk_crystal(content: Mapping[str, Any]) -> BulkCrystal:
    return BulkCrystal(**content)


#: Decorator of builders that start from a `BulkCrystal`, their argument ``host``.
crystal_builder = builder({"host": _bulk_crystal})


def _balanced(first: np.ndarray, away: np.ndarray, min_distance: float) -> bool:
    """Whether the neighbors of every atom push it from opposite sides alike."""
    distances = np.linalg.norm(away, axis=1, keepdims=True)
    pushes = np.zeros((first.max() + 1, 3))
    np.add.at(pushes, first, away * (min_distance / np.maximum(distances, 1e-9) - 1.0))
    return bool(np.abs(pushes).max() < 1e-6)


@functools.lru_cache(maxsize=256)
def _unit_cell(host: BulkCrystal, cubic: bool) -> Atoms:
    return crystal(host.element, host.lattice, host.a, c_over_a=host.c_over_a, cubic=cubic)


@functools.lru_cache(maxsize=256)
def _nearest(host: BulkCrystal) -> float:
    return shortest_distance(_unit_cell(host, cubic=False), 2.0 * host.a)


def _factorizations(number: int) -> Iterator[tuple[int, int, int]]:
    for first in range(1, number + 1):
        if number % first == 0:
            rest = number // first
            yield from ((first, n, rest // n) for n in range(1, rest + 1) if rest % n == 0)
