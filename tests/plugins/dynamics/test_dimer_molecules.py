"""Saddle searches of clusters and molecules, which can turn at no cost."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms, FixCartesian

from pescape.plugins.dynamics import Dimer
from pescape.plugins.dynamics.saddle.relax import connect_to_minima, largest_displacement, relax
from pescape.plugins.dynamics.saddle.rotation import (
    free_curvatures,
    free_mode,
    local_displacement,
    partial_hessian,
)
from pescape.plugins.dynamics.surface import rigid_rotations, turned_onto


def lennard_jones():
    return LennardJones(sigma=2.5, epsilon=1.0, rc=40.0)


def bipyramid(symbol, length, calculator):
    angles = 2 * np.pi * np.arange(5) / 5
    ring = 0.85 * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    atoms = Atoms(f"{symbol}7", length * np.vstack([[[0, 0, 0.8], [0, 0, -0.8]], ring]))
    atoms.calc = calculator()
    relax(atoms, 1e-4, 500)
    return atoms


CLUSTERS = {
    "Cu7": bipyramid("Cu", 2.5, EMT),
    "Pt7": bipyramid("Pt", 2.6, EMT),
    "LJ7": bipyramid("Ar", 3.0, lennard_jones),
}


def turned(atoms, seed=0):
    """Return a copy with the atoms turned and shifted at random."""
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    copy = atoms.copy()
    copy.positions = atoms.positions @ rotation + [3.0, -1.0, 2.0]
    return copy


@pytest.mark.parametrize(
    "name", ["Cu7", *(pytest.param(name, marks=pytest.mark.slow) for name in ("Pt7", "LJ7"))]
)
def test_searches_of_clusters_end_at_saddles_and_never_at_a_minimum(name):
    minimum = CLUSTERS[name]
    calls = []
    for seed in range(6):
        atoms = minimum.copy()
        atoms.calc = minimum.calc.__class__(**minimum.calc.parameters)
        shift = local_displacement(atoms, seed % 7, seed, radius=4.0)
        atoms.positions += shift
        dimer = Dimer(atoms, shift)
        assert dimer.run(steps=300)
        values = np.linalg.eigvalsh(partial_hessian(atoms, range(7)))
        assert np.sum(values < -0.02) == 1
        assert dimer.curvature == pytest.approx(values[0], rel=0.4)
        assert np.abs(rigid_rotations(atoms) @ dimer.mode.ravel()).max() < 0.1
        calls.append(dimer.calls)
    assert np.median(calls) <= 80


def test_rotation_with_negative_curvature_is_no_saddle():
    atoms = Atoms("Cu2", [[0, 0, 0], [2.2, 0, 0]])
    atoms.calc = EMT()
    relax(atoms, 1e-6, 100)
    atoms.positions[1, 0] -= 1e-4  # pressed a little, so that to turn would be to relax
    turn = np.array([[0, -1.0, 0], [0, 1.0, 0]])
    assert np.linalg.norm(atoms.get_forces(), axis=1).max() < 0.005
    dimer = Dimer(atoms, seed=0)
    assert np.abs(dimer.mode.ravel() @ turn.ravel()) < 1e-9
    assert next(dimer.irun(fmax=0.005)) is False
    dimer.run(fmax=0.005, steps=3)
    assert not dimer.converged()
    with pytest.raises(ValueError, match="free to move"):
        Dimer(atoms, turn)


def test_separated_fragments_are_no_saddle():
    atoms = Atoms("Cu2", [[0, 0, 0], [12.0, 0, 0]])
    atoms.calc = EMT()
    dimer = Dimer(atoms, np.array([[-1.0, 0, 0], [1.0, 0, 0]]))
    assert not dimer.run(fmax=0.01, steps=3)


def test_slowly_ending_dissociation_is_no_saddle():
    atoms = Atoms("Ar2", [[0, 0, 0], [8.0, 0, 0]])  # beyond the inflection of the well
    atoms.calc = lennard_jones()
    dimer = Dimer(atoms, np.array([[-1.0, 0, 0], [1.0, 0, 0]]))
    assert not dimer.run(fmax=0.05, steps=2)
    assert dimer.curvature < 0
    assert dimer.history[-1].fmax < 0.05


def test_number_of_rotations_that_cost_nothing():
    atoms = CLUSTERS["Cu7"].copy()
    count = lambda: len(rigid_rotations(atoms))  # noqa: E731
    assert count() == 3
    rotations = rigid_rotations(atoms)
    np.testing.assert_allclose(rotations @ rotations.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(rotations.reshape(3, 7, 3).sum(axis=1), 0.0, atol=1e-12)
    for fixed, expected in (([3], 3), ([3, 4], 1), ([2, 3, 4], 0)):
        atoms.set_constraint(FixAtoms(fixed))
        assert count() == expected
        assert not np.abs(rigid_rotations(atoms).reshape(-1, 7, 3)[:, fixed]).max(initial=0) > 1e-9
    atoms.set_constraint(FixCartesian(0, mask=(True, False, False)))
    assert count() == 0
    atoms.set_constraint()
    atoms.set_cell([20.0, 20.0, 20.0])
    for pbc, expected in ((1, 0, 0), 1), ((1, 1, 0), 0), ((1, 1, 1), 0):
        atoms.pbc = pbc
        assert count() == expected
    line = Atoms("Cu3", [[0, 0, 0], [2.2, 0, 0], [4.4, 0, 0]])
    assert len(rigid_rotations(line)) == 2
    assert len(rigid_rotations(Atoms("Cu"))) == 0


def test_modes_of_molecules_are_free_of_rotation():
    atoms = CLUSTERS["Cu7"]
    mode = free_mode(atoms, np.random.default_rng(0).normal(size=(7, 3)))
    assert np.abs(mode.sum(axis=0)).max() < 1e-12
    assert (
        np.abs(np.cross(atoms.positions - atoms.positions.mean(axis=0), mode).sum(axis=0)).max()
        < 1e-10
    )


def test_index_counts_no_rotation():
    atoms = CLUSTERS["LJ7"]
    values, modes = free_curvatures(atoms, range(7))
    assert len(values) == 15
    assert values.min() > 1.0
    assert modes.shape == (15, 21)


def test_distances_ignore_how_a_molecule_is_turned():
    atoms = CLUSTERS["LJ7"]
    copy = turned(atoms)
    assert largest_displacement(copy, atoms) < 1e-9
    copy.positions[2] += (0.5, 0.0, 0.0)
    assert 0.25 < largest_displacement(copy, atoms) < 0.5
    mirrored = atoms.copy()
    mirrored.rattle(0.3, seed=0)
    other = mirrored.copy()
    other.positions[:, 0] *= -1
    assert largest_displacement(other, mirrored) > 0.3  # a mirror image is another molecule
    np.testing.assert_allclose(turned_onto(copy.positions, copy.positions), copy.positions)


def test_saddles_of_a_cluster_lead_to_its_known_neighbors():
    """Minima of LJ7 at -16.505, -15.935, -15.593 and -15.533 times the depth of the well."""
    minimum = CLUSTERS["LJ7"]
    lowest = minimum.get_potential_energy()
    assert lowest == pytest.approx(-16.5054, abs=1e-3)
    energies, ends, connected = [], set(), 0
    for seed in np.random.SeedSequence(0).spawn(6):
        atoms = minimum.copy()
        atoms.calc = lennard_jones()
        rng = np.random.default_rng(seed)
        shift = local_displacement(atoms, int(rng.integers(7)), rng)
        atoms.positions += shift
        dimer = Dimer(atoms, shift)
        assert dimer.run()
        values, _ = free_curvatures(atoms, range(7))
        assert np.sum(values < -1e-3 * np.abs(values).max()) == 1
        energies.append(atoms.get_potential_energy() - lowest)
        found = connect_to_minima(atoms, dimer.mode, model=dimer.hessian)
        ends |= {round(end.energy, 2) for end in found}
        connected += any(abs(end.energy - lowest) < 1e-3 for end in found)
    assert connected >= 4
    assert ends <= {-16.51, -15.94, -15.93, -15.59, -15.53}
    assert len(ends) >= 3
    assert min(energies) == pytest.approx(1.0607, abs=1e-3)
