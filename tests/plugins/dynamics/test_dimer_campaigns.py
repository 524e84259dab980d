"""Campaigns of saddle searches."""

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from ase.build import add_adsorbate, bulk, fcc100
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixCartesian

from pescape.plugins.dynamics.saddle.search import (
    CampaignSettings,
    distinct_saddles,
    fingerprint,
    largest_displacement,
    relax,
    saddle_index,
    saddle_table,
    search_saddles,
)


@pytest.fixture(scope="module")
def adatom():
    atoms = fcc100("Pt", (3, 3, 2), vacuum=6.0)
    add_adsorbate(atoms, "Pt", 1.9, "hollow")
    atoms.set_constraint(FixAtoms(mask=[atom.tag >= 2 for atom in atoms]))
    atoms.calc = EMT()
    relax(atoms, 1e-3, 100)
    return atoms


SETTINGS = CampaignSettings(centres=(18,), index_atoms=4)


@pytest.fixture(scope="module")
def found(adatom):
    return search_saddles(adatom, EMT, 4, seed=1, settings=SETTINGS)


def test_searches_find_saddles_that_lead_back_to_the_minimum(adatom, found):
    assert [saddle.number for saddle in found] == [0, 1, 2, 3]
    for saddle in found:
        assert saddle.converged
        assert saddle.index == 1
        assert saddle.connected
        assert saddle.curvature < 0
        assert saddle.barrier == saddle.energy > 0.3
        assert len(saddle.ends) == 2
        assert all(end.converged and end.energy < saddle.energy for end in saddle.ends)
        assert saddle.reverse_barrier > 0
        assert saddle.slide_calls < 150
        assert np.array_equal(saddle.positions[:9], adatom.positions[:9])
    assert min(saddle.energy for saddle in found) == pytest.approx(0.66, abs=0.01)


@pytest.mark.parametrize("executor", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_starts_depend_neither_on_their_number_nor_on_the_executor(adatom, found, executor):
    with executor(2) as pool:
        two = search_saddles(adatom, EMT, 2, seed=1, settings=SETTINGS, executor=pool)
    for one, other in zip(two, found[:2], strict=True):
        assert np.array_equal(one.positions, other.positions)
        assert one.calls == other.calls


def test_equal_saddles_are_merged_and_counted(found):
    kept = distinct_saddles([*found, *found])
    assert sum(saddle.multiplicity for saddle in kept) == 8
    assert len(kept) == len(distinct_saddles(found)) <= 4
    assert [s.energy for s in kept] == sorted(s.energy for s in kept)


def test_table_has_a_line_for_each_saddle(found):
    lines = saddle_table(found).splitlines()
    assert len(lines) == 5
    assert "barrier" in lines[0]
    assert "yes" in lines[1]


def test_searches_that_fail_are_reported_and_left_out(adatom):
    settings = CampaignSettings(centres=(18,), steps=2)
    (saddle,) = search_saddles(adatom, EMT, 1, seed=0, settings=settings)
    assert not saddle.converged
    assert "number of steps" in saddle.reason
    assert saddle.barrier is None
    assert saddle.reverse_barrier is None
    assert distinct_saddles([saddle]) == []


def test_fingerprints_ignore_symmetry_and_the_order_of_like_atoms():
    atoms = bulk("Cu", cubic=True) * 2
    atoms.rattle(0.1, seed=0)
    turned = atoms[np.random.default_rng(0).permutation(len(atoms))]
    turned.positions = turned.positions[:, [1, 0, 2]] + 0.3
    np.testing.assert_allclose(fingerprint(atoms), fingerprint(turned), atol=1e-9)
    turned.rattle(0.1, seed=1)
    assert np.abs(fingerprint(atoms) - fingerprint(turned)).max() > 0.02


def test_index_counts_no_direction_that_is_fixed(adatom):
    atoms = adatom.copy()
    atoms.calc = EMT()
    half = 0.5 * atoms.get_distance(9, 10)
    atoms.positions[-1] += (half, 0.0, 0.3)
    mode = np.zeros((19, 3))
    mode[-1] = 1.0
    assert saddle_index(atoms, mode, 1) == (1, 6)
    atoms.set_constraint([*atoms.constraints, FixCartesian(18, mask=(True, False, False))])
    assert saddle_index(atoms, mode, 1) == (0, 6)


def test_index_of_a_minimum_is_zero(adatom):
    mode = np.zeros((19, 3))
    mode[-1] = 1.0
    assert saddle_index(adatom, mode, 3) == (0, 6)


def test_distances_between_configurations_use_the_nearest_image():
    atoms = bulk("Cu", cubic=True)
    moved = atoms.copy()
    moved.positions += 0.3
    moved.positions[1] += atoms.cell[0]
    assert largest_displacement(moved, atoms) == pytest.approx(0.0, abs=1e-9)
