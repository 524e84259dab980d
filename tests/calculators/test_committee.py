import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.morse import MorsePotential

from pescape.calculators import Committee


@pytest.fixture
def atoms():
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=0)
    return atoms


def members():
    return [LennardJones(sigma=s, epsilon=0.3, rc=5.0) for s in (2.2, 2.3, 2.4)]


def test_a_committee_gives_the_mean_and_the_spread(atoms):
    calculator = Committee(members())
    energies = np.array([m.get_potential_energy(atoms) for m in members()])
    forces = np.array([m.get_forces(atoms) for m in members()])
    stresses = np.array([m.get_stress(atoms) for m in members()])
    atoms.calc = calculator
    assert atoms.get_potential_energy() == pytest.approx(energies.mean())
    np.testing.assert_allclose(atoms.get_forces(), forces.mean(axis=0))
    np.testing.assert_allclose(atoms.get_stress(), stresses.mean(axis=0))
    assert calculator.get_property("energy_deviation", atoms) == pytest.approx(energies.std())
    deviations = calculator.get_property("force_deviations", atoms)
    expected = np.sqrt(forces.var(axis=0).sum(axis=1))
    np.testing.assert_allclose(deviations, expected)
    assert calculator.get_property("force_deviation", atoms) == pytest.approx(expected.max())


def test_equal_members_agree(atoms):
    calculator = Committee([EMT(), EMT()])
    assert calculator.get_property("force_deviation", atoms) == 0.0
    assert calculator.get_property("energy_deviation", atoms) == 0.0


def test_a_stress_that_a_member_lacks_is_missing(atoms):
    class NoStress(MorsePotential):
        implemented_properties = ("energy", "forces")

    calculator = Committee([NoStress(), EMT()])
    assert np.isfinite(calculator.get_property("energy", atoms))
    with pytest.raises(PropertyNotImplementedError):
        calculator.get_property("stress", atoms)


def test_one_calculator_is_no_committee():
    with pytest.raises(ValueError, match="two members or more, not 1"):
        Committee([EMT()])
