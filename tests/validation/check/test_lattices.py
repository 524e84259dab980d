import numpy as np
import pytest
from ase.build import bulk
from ase.geometry import minkowski_reduce
from scipy.spatial.transform import Rotation

from pescape.validation.check.lattices import deformation_of

CRYSTALS = {
    "fcc": bulk("Cu", "fcc", a=3.6),
    "bcc": bulk("Mo", "bcc", a=3.17),
    "diamond": bulk("Si", "diamond", a=5.43),
    "hcp": bulk("Zr", "hcp", a=3.23, c=5.15),
    "fluorite": bulk("ZrO2", "fluorite", a=5.1),
}


def changed(crystal, strain, rng):
    """A strained cell, turned, in another basis, its atoms in another order and place."""
    atoms = crystal.copy()
    stretch = np.eye(3) + strain
    turn = Rotation.random(random_state=rng).as_matrix()
    atoms.set_cell(atoms.cell.array @ stretch @ turn.T, scale_atoms=True)
    basis = np.array([[1, 1, 0], [0, 1, 0], [0, -1, 1]])
    positions = atoms.positions + rng.uniform(-3.0, 3.0, 3)
    atoms.set_cell(minkowski_reduce(basis @ atoms.cell.array)[0])
    atoms.positions = positions
    atoms.wrap()
    return atoms[rng.permutation(len(atoms))], turn


@pytest.mark.parametrize("name", CRYSTALS)
def test_strain_of_a_changed_cell_is_found(name):
    crystal = CRYSTALS[name]
    rng = np.random.default_rng(3)
    strain = rng.normal(scale=0.02, size=(3, 3))
    strain = (strain + strain.T) / 2.0
    cell, _ = changed(crystal, strain, rng)
    found = deformation_of(crystal, cell)
    assert found is not None
    assert found.displacement < 1e-6
    assert found.volume == pytest.approx(np.linalg.det(np.eye(3) + strain))
    # Which of the equivalent bases was taken is up to symmetry, which changes no invariants.
    wanted = ((np.eye(3) + strain) @ (np.eye(3) + strain) - np.eye(3)) / 2.0
    np.testing.assert_allclose(
        np.linalg.eigvalsh(found.strain), np.linalg.eigvalsh(wanted), atol=1e-9
    )


def test_displaced_atoms_are_told_from_strain():
    crystal = CRYSTALS["diamond"]
    cell = crystal.copy()
    cell.positions[1] += [0.1, 0.0, 0.0]
    found = deformation_of(crystal, cell)
    assert found is not None
    assert found.displacement == pytest.approx(0.05, abs=1e-6)  # from their common center
    np.testing.assert_allclose(found.strain, 0.0, atol=1e-12)


def test_other_crystals_are_refused():
    assert deformation_of(CRYSTALS["fcc"], bulk("Cu", "bcc", a=2.87)) is None
    assert deformation_of(CRYSTALS["fcc"], bulk("Ni", "fcc", a=3.6)) is None
    assert deformation_of(CRYSTALS["fcc"], bulk("Cu", "fcc", a=4.2)) is None
    graphite = bulk("Si", "hcp", a=3.84, c=6.27)
    assert deformation_of(CRYSTALS["diamond"], graphite) is None


def test_pulled_back_stress_is_the_derivative_of_the_energy():
    # A solid whose energy is |E|² has the second Piola-Kirchhoff stress 2 E, however it is turned.
    crystal = CRYSTALS["fcc"]
    rng = np.random.default_rng(1)
    strain = np.diag([0.02, -0.01, 0.005])
    cell, _ = changed(crystal, strain, rng)
    found = deformation_of(crystal, cell)
    forward = found.matrix.T
    cauchy = forward @ (2.0 * found.strain) @ forward.T / found.volume
    np.testing.assert_allclose(found.pulled_back(cauchy), 2.0 * found.strain, atol=1e-12)
