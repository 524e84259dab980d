"""Neighbour lists under unusual boundary conditions."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list

from pescape.calculators.neighbors import neighbors


def listed(atoms: Atoms, cutoff: float) -> list[tuple[float, ...]]:
    found = neighbors(atoms, cutoff)
    i = np.repeat(np.arange(len(atoms)), np.diff(found.offsets))
    vectors = atoms.positions[found.indices] + found.shifts - atoms.positions[i]
    inside = np.linalg.norm(vectors, axis=1) < cutoff
    rows = np.column_stack([i, found.indices, vectors.round(6)])[inside]
    return sorted(map(tuple, rows.tolist()))


def expected(atoms: Atoms, cutoff: float) -> list[tuple[float, ...]]:
    i, j, vectors = neighbor_list("ijD", atoms, cutoff)
    return sorted(map(tuple, np.column_stack([i, j, vectors.round(6)]).tolist()))


@pytest.mark.parametrize("seed", range(20))
def test_pairs_of_oblique_cells_and_scattered_atoms_are_complete(seed):
    rng = np.random.default_rng(seed)
    cell = rng.normal(size=(3, 3)) + np.diag(rng.choice([-1, 1], 3) * rng.uniform(3, 7, 3))
    pbc = rng.random(3) < 0.5
    if seed % 3 == 0:
        cell[~pbc] = 0.0
    positions = rng.uniform(-5, 5, (12, 3))
    positions[6:] += rng.normal(scale=10 ** rng.uniform(0, 2.5), size=(6, 3))
    atoms = Atoms("Zr12", positions=positions, cell=cell, pbc=pbc)
    np.testing.assert_allclose(listed(atoms, 4.5), expected(atoms, 4.5), atol=2e-6)


@pytest.mark.parametrize("distance", [1e4, 1e6, 5e8])
@pytest.mark.parametrize("pbc", [(False, False, False), (True, True, False)])
def test_an_atom_that_flew_away_is_alone(distance, pbc):
    atoms = Atoms("Zr3", positions=[(0, 0, 0), (0, 0, 2), (0, 0, distance)], cell=[9, 9, 9])
    atoms.pbc = pbc
    assert [(i, j) for i, j, *_ in listed(atoms, 5.0)] == [(0, 1), (1, 0)]


@pytest.mark.parametrize("cell", [(1e7, 1e4, 30.0), (1e4, 1e4, 3.0), (3.0, 6e5, 3.0)])
def test_cells_of_extreme_shape_are_searched(cell):
    atoms = Atoms("Zr", cell=cell, pbc=True)
    assert len(listed(atoms, 5.0)) == {30.0: 0, 3.0: 2 if cell[0] > 3.0 else 8}[cell[2]]


def test_atoms_far_outside_their_cell_have_the_neighbours_of_their_images():
    atoms = Atoms("ZrO", positions=[(0, 0, 0), (1, 1, 1.5)], cell=[4, 4, 4], pbc=True)
    moved = atoms.copy()
    moved.positions[1] += 4e5
    np.testing.assert_allclose(listed(moved, 5.0), listed(atoms, 5.0), atol=1e-6)


@pytest.mark.parametrize(
    ("cell", "message"),
    [([1e-6, 3, 3], "has the cell collapsed"), ([[1, 0, 0], [1, 0, 0], [0, 0, 1]], "no volume")],
)
def test_collapsed_cells_are_refused(cell, message):
    with pytest.raises(ValueError, match=message):
        neighbors(Atoms("Zr", cell=cell, pbc=True), 5.0)


def test_positions_beyond_all_measure_are_refused():
    with pytest.raises(ValueError, match=r"atom 1 .* has the dynamics exploded"):
        neighbors(Atoms("Zr2", positions=[(0, 0, 0), (0, 1e12, 0)]), 5.0)
