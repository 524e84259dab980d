"""Minima at both sides of saddles that searches found."""

import numpy as np
import pytest
from ase.build import bulk
from ase.constraints import FixCartesian

from pescape.plugins.dynamics import Dimer
from pescape.plugins.dynamics.saddle.relax import connect_to_minima, largest_displacement
from pescape.plugins.dynamics.saddle.rotation import free_curvatures, local_displacement


def negative_curvatures(atoms, indices):
    values, _ = free_curvatures(atoms, indices)
    return np.sum(values < -1e-3 * max(1.0, np.abs(values).max()))


@pytest.mark.slow
def test_searches_find_saddles_that_lead_back_to_the_minimum(hollow, on_hollow):
    energies = []
    for seed in np.random.SeedSequence(1).spawn(4):
        atoms = on_hollow()
        shift = local_displacement(atoms, 18, seed)
        atoms.positions += shift
        dimer = Dimer(atoms, shift)
        assert dimer.run()
        mobile = np.argsort(-np.sum(dimer.mode**2, axis=1), kind="stable")[:4]
        assert negative_curvatures(atoms, np.sort(mobile)) == 1
        assert dimer.curvature < 0
        height = atoms.get_potential_energy() - hollow.get_potential_energy()
        assert height > 0.3
        ends = connect_to_minima(atoms, dimer.mode, model=dimer.hessian)
        for end in ends:
            assert end.converged
            assert end.energy < atoms.get_potential_energy()
        assert sum(end.calls for end in ends) < 150
        moved = hollow.copy()
        distances = []
        for end in ends:
            moved.set_positions(end.positions)
            distances.append(largest_displacement(moved, hollow))
        assert min(distances) < 0.3 < max(distances)
        assert np.array_equal(atoms.positions[:9], hollow.positions[:9])
        energies.append(height)
    assert min(energies) == pytest.approx(0.66, abs=0.01)


def test_index_counts_no_direction_that_is_fixed(on_hollow):
    atoms = on_hollow()
    half = 0.5 * atoms.get_distance(9, 10)
    atoms.positions[-1] += (half, 0.0, 0.3)
    assert negative_curvatures(atoms, [18]) == 1
    atoms.set_constraint([*atoms.constraints, FixCartesian(18, mask=(True, False, False))])
    assert negative_curvatures(atoms, [18]) == 0


def test_index_of_a_minimum_is_zero(hollow):
    assert negative_curvatures(hollow, [18]) == 0


def test_distances_between_configurations_use_the_nearest_image():
    atoms = bulk("Cu", cubic=True)
    moved = atoms.copy()
    moved.positions += 0.3
    moved.positions[1] += atoms.cell[0]
    assert largest_displacement(moved, atoms) == pytest.approx(0.0, abs=1e-9)
