"""Neighbour lists among owned and ghost atoms, without LAMMPS."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from pescape.calculators.neighbors import neighbors
from pescape.lammps_style.python.clib import AtomArrays
from pescape.lammps_style.python.ghosts import ghost_neighbors

CUTOFF = 4.0
SPECIES = np.array([-1, 0, 1], np.int32)


@pytest.fixture
def crystal():
    """A cell, and how LAMMPS would hold it: its atoms, then images within the cut-off."""
    atoms = bulk("Cu", cubic=True, a=3.6) * 2
    atoms.rattle(0.1, seed=1)
    images = [np.array([a, b, c]) for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1)]
    ghosts = [atoms.positions + image @ atoms.cell.array for image in images if image.any()]
    positions = np.concatenate([atoms.positions, *ghosts])
    tags = np.tile(np.arange(1, len(atoms) + 1), 27)
    types = np.ones(len(tags), np.int32)
    return atoms, AtomArrays(len(atoms), positions, np.zeros_like(positions), types, tags)


def distances(atoms: AtomArrays, lists, cutoff: float) -> list[np.ndarray]:
    found = []
    for i in range(atoms.local):
        near = lists.indices[lists.offsets[i] : lists.offsets[i + 1]]
        length = np.linalg.norm(atoms.positions[near] - atoms.positions[i], axis=1)
        found.append(np.sort(length[length < cutoff]))
    return found


def test_every_owned_atom_has_all_its_neighbors(crystal):
    cell, atoms = crystal
    lists = ghost_neighbors(atoms, SPECIES, CUTOFF, 0.5)
    wanted = neighbors(cell, CUTOFF)
    for i, length in enumerate(distances(atoms, lists, CUTOFF)):
        own = slice(wanted.offsets[i], wanted.offsets[i + 1])
        there = cell.positions[wanted.indices[own]] + wanted.shifts[own] - cell.positions[i]
        assert length == pytest.approx(np.sort(np.linalg.norm(there, axis=1)))


def test_the_list_serves_until_an_atom_moves_by_half_the_skin(crystal):
    _, atoms = crystal
    lists = ghost_neighbors(atoms, SPECIES, CUTOFF, 0.5)
    assert lists.serves(atoms)
    atoms.positions[100] += [0.0, 0.24, 0.0]
    assert lists.serves(atoms)
    atoms.positions[100] += [0.0, 0.02, 0.0]
    assert not lists.serves(atoms)
    atoms.positions[100] = np.nan
    assert not lists.serves(atoms)


def test_other_atoms_ghosts_or_types_need_another_list(crystal):
    _, atoms = crystal
    lists = ghost_neighbors(atoms, SPECIES, CUTOFF, 0.5)
    fields = vars(atoms)
    swapped = atoms.tags.copy()
    swapped[[-1, -2]] = swapped[[-2, -1]]
    assert not lists.serves(AtomArrays(**fields | {"tags": swapped}))
    assert not lists.serves(AtomArrays(**fields | {"local": atoms.local - 1}))
    assert not lists.serves(AtomArrays(**fields | {"types": 2 * atoms.types}))


def test_types_handled_elsewhere_are_not_there(crystal):
    _, atoms = crystal
    types = np.where(atoms.tags % 3 == 0, 2, 1).astype(np.int32)
    atoms = AtomArrays(**vars(atoms) | {"types": types})
    lists = ghost_neighbors(atoms, np.array([-1, 0, -1], np.int32), CUTOFF, 0.5)
    counts = np.diff(lists.offsets)[: atoms.local]
    assert np.all((counts == 0) == (types[: atoms.local] == 2))
    assert np.all(types[lists.indices] == 1)


def test_a_rank_may_own_nothing(crystal):
    _, atoms = crystal
    lists = ghost_neighbors(AtomArrays(**vars(atoms) | {"local": 0}), SPECIES, CUTOFF, 0.5)
    assert len(lists.indices) == 0


def test_a_block_takes_its_neighbors_along(crystal):
    _, atoms = crystal
    lists = ghost_neighbors(atoms, SPECIES, CUTOFF, 0.5)
    block = np.array([2, 3, 17, 30])
    members, offsets, indices = lists.around(block)
    assert np.array_equal(members[:4], block)
    assert len(set(members)) == len(members)
    for k, i in enumerate(block):
        near = members[indices[offsets[k] : offsets[k + 1]]]
        assert np.array_equal(near, lists.indices[lists.offsets[i] : lists.offsets[i + 1]])
