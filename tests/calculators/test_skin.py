import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from pescape.calculators import calculator as module
from pescape.calculators.calculator import SkinnedNeighbors


@pytest.fixture
def built(monkeypatch):
    """Counts how often a list is built."""
    counts = []
    original = module.neighbors

    def counting(atoms, cutoff):
        counts.append(cutoff)
        return original(atoms, cutoff)

    monkeypatch.setattr(module, "neighbors", counting)
    return counts


def pairs(atoms, lists, cutoff):
    """All (i, j, vector) within the cut-off, in a canonical order."""
    i = np.repeat(np.arange(len(atoms)), np.diff(lists.offsets))
    vectors = atoms.positions[lists.indices] + lists.shifts - atoms.positions[i]
    rows = np.column_stack([i, lists.indices, vectors])
    rows = rows[np.linalg.norm(vectors, axis=1) < cutoff]
    return rows[np.lexsort(rows.round(6).T[::-1])]


def crystal():
    atoms = bulk("Zr") * (2, 2, 1)
    atoms.rattle(0.1, seed=1)
    return atoms


def test_small_moves_keep_the_list(built):
    atoms, lists = crystal(), SkinnedNeighbors(4.0, 0.5)
    lists.update(atoms)
    for _ in range(5):
        atoms.positions[0, 0] += 0.04
        lists.update(atoms)
    assert built == [4.5]
    atoms.positions[0, 0] += 0.1
    lists.update(atoms)
    assert len(built) == 2


def test_a_small_strain_keeps_the_list_and_moves_its_images(built):
    atoms, lists = crystal(), SkinnedNeighbors(4.0, 0.5)
    lists.update(atoms)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) * 1.02), scale_atoms=True)
    fresh = pairs(atoms, SkinnedNeighbors(4.0, 0.0).update(atoms), 4.0)
    builds = len(built)
    np.testing.assert_allclose(pairs(atoms, lists.update(atoms), 4.0), fresh, atol=1e-12)
    assert len(built) == builds
    atoms.set_cell(atoms.cell.array * 0.8, scale_atoms=True)
    lists.update(atoms)
    assert len(built) == builds + 1


@pytest.mark.parametrize("change", ["pbc", "count", "wrapped"])
def test_other_changes_build_the_list_anew(built, change):
    atoms, lists = crystal(), SkinnedNeighbors(4.0, 0.5)
    lists.update(atoms)
    if change == "pbc":
        atoms.pbc[2] = False
    elif change == "count":
        del atoms[0]
    else:
        atoms.positions[0] += atoms.cell[0]
    lists.update(atoms)
    assert len(built) == 2


@pytest.mark.parametrize("pbc", [True, [True, False, True], False])
@pytest.mark.parametrize("cell", ["triclinic", "missing"])
def test_no_pair_is_ever_missed(built, pbc, cell):
    rng = np.random.default_rng(5)
    box = np.diag([4.0, 5.0, 6.0]) + rng.uniform(-0.5, 0.5, size=(3, 3))
    atoms = Atoms("Zr6", positions=rng.uniform(0, 5, size=(6, 3)), cell=box, pbc=pbc)
    if cell == "missing":
        atoms.cell[1] = 0.0
        atoms.pbc[1] = False
    lists = SkinnedNeighbors(3.5, 0.6)
    for step in range(150):
        atoms.positions += rng.normal(scale=0.02, size=(6, 3))
        if step % 3 == 0:
            strain = np.eye(3) + rng.normal(scale=0.004, size=(3, 3))
            atoms.set_cell(atoms.cell.array @ strain, scale_atoms=bool(step % 2))
        kept = pairs(atoms, lists.update(atoms), 3.5)
        fresh = pairs(atoms, SkinnedNeighbors(3.5, 0.0).update(atoms), 3.5)
        np.testing.assert_allclose(kept, fresh, atol=1e-10)
    assert built.count(4.1) < 120


def test_without_a_skin_every_move_builds_the_list(built):
    atoms, lists = crystal(), SkinnedNeighbors(4.0, 0.0)
    lists.update(atoms)
    lists.update(atoms)
    atoms.positions[0, 0] += 1e-6
    lists.update(atoms)
    assert len(built) == 2


@pytest.mark.parametrize("skin", [-0.1, float("nan"), float("inf")])
def test_impossible_skins_are_refused(skin):
    with pytest.raises(ValueError, match="skin must be 0 Å or more"):
        SkinnedNeighbors(4.0, skin)
