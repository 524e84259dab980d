"""Crystals, strained and rattled: the simplest seeds of a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list

from pescape.plugins.structures.records import (
    attach_record,
    generator,
    structure_name,
    structure_to_dict,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Lattices that `crystal` builds.
LATTICES = ("bcc", "diamond", "fcc", "hcp", "omega", "sc")

_TRIES = 200


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


def shortest_distance(atoms: Atoms, within: float = 5.0) -> float:
    """Shortest distance between two atoms, periodic images included.

    Returns
    -------
    float
        Å; infinity when no two atoms are nearer than `within`.
    """
    if not len(atoms):
        return np.inf
    distances = neighbor_list("d", atoms, within)
    return float(distances.min()) if len(distances) else np.inf


def strained_and_rattled(
    parents: Sequence[Atoms],
    count: int,
    *,
    rattle: tuple[float, float] = (0.0, 0.2),
    strain: float = 0.03,
    volume: tuple[float, float] = (0.9, 1.1),
    min_distance: float = 0.0,
    seed: int | np.random.SeedSequence = 0,
) -> list[Atoms]:
    """Derive structures from crystals, turn by turn, each with chance of its own.

    Parameters
    ----------
    parents
        The crystals; the k-th structure derives from parent k modulo their number.
    count
        How many structures to build.
    rattle
        Range the displacements' standard deviation is drawn from, Å.
    strain
        Standard deviation of the strain components.
    volume
        Range the ratio of volumes is drawn from.
    min_distance
        Structures with two atoms nearer than this (Å) are drawn again.
    seed
        The k-th structure depends on the seed and on k only.

    Returns
    -------
    list of Atoms
        Each as `rattled_crystal` makes it.
    """
    if not parents:
        raise ValueError("no crystals to derive structures from")
    sequence = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    return [
        rattled_crystal(
            parents[index % len(parents)],
            seed=child,
            rattle=rattle,
            strain=strain,
            volume=volume,
            min_distance=min_distance,
        )
        for index, child in enumerate(sequence.spawn(count))
    ]


def rattled_crystal(
    parent: Atoms,
    *,
    seed: int | np.random.SeedSequence,
    rattle: tuple[float, float] = (0.0, 0.2),
    strain: float = 0.03,
    volume: tuple[float, float] = (0.9, 1.1),
    min_distance: float = 0.0,
) -> Atoms:
    """Derive one structure from a crystal.

    Parameters are those of `strained_and_rattled`; equal seeds give equal structures.

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
    arguments = {
        "parent": structure_to_dict(parent),
        "rattle": list(rattle),
        "strain": strain,
        "volume": list(volume),
        "min_distance": min_distance,
    }
    attach_record(new, "rattled_crystal", seed, arguments, done)
    return new
