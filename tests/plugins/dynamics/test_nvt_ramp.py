"""Molecular dynamics at a temperature that goes up or down."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixBondLength, FixCartesian, FixCom, FixedPlane, Hookean

from pescape.plugins.dynamics import NVTRamp

THERMOSTATS = ("nose-hoover", "langevin")


class Springs(Calculator):
    """Springs of many strengths to the first positions, which let the crystal move as a whole."""

    implemented_properties = ("energy", "free_energy", "forces")

    def __init__(self, start):
        super().__init__()
        self.start = start

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        d = atoms.positions - self.start
        d -= d.mean(axis=0)  # no net force
        k = 2.0 + np.arange(d.size).reshape(d.shape) % 7  # many frequencies
        energy = float((0.5 * k * d**2 + 0.5 * d**4).sum())
        forces = -k * d - 2.0 * d**3
        forces -= forces.mean(axis=0)
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}


def crystal(cells=2):
    atoms = bulk("Cu", cubic=True) * cells
    atoms.calc = Springs(atoms.get_positions())
    return atoms


def ramp(atoms, temperatures=(300, 600), **kwargs):
    settings = {"steps": 20, "timestep": 2.0, "seed": 5}
    return NVTRamp(atoms, temperatures, **(settings | kwargs))


@pytest.mark.slow
@pytest.mark.parametrize("thermostat", THERMOSTATS)
@pytest.mark.parametrize("fixed", [False, True])
def test_temperature_and_its_spread_are_those_of_the_canonical_ensemble(thermostat, fixed):
    atoms = crystal(3)
    if fixed:
        atoms.set_constraint(FixAtoms(range(54)))
    atoms.rattle(np.sqrt(units.kB * 500 / 5), seed=0)
    md = ramp(
        atoms,
        (500, 500),
        steps=3000,
        timestep=4.0,
        thermostat=thermostat,
        damping=80,
        friction=0.02,
    )
    assert md.degrees_of_freedom == (162 if fixed else 321)
    found = np.array([md.temperature for _ in md.irun(3000)])[600:]
    spread = 500 * np.sqrt(2 / md.degrees_of_freedom)
    assert found.mean() == pytest.approx(500, rel=0.03)
    assert found.std() == pytest.approx(spread, rel=0.3)


@pytest.mark.parametrize("thermostat", THERMOSTATS)
@pytest.mark.parametrize(
    ("first", "last"), [(200, 1200), pytest.param(1500, 300, marks=pytest.mark.slow)]
)
def test_kinetic_temperature_follows_the_ramp(thermostat, first, last):
    targets, found = [], []
    for seed in (0, 1):
        md = ramp(
            crystal(3), (first, last), steps=1500, timestep=4.0, seed=seed,
            thermostat=thermostat, damping=60, friction=0.03,
        )  # fmt: skip
        for _ in md.irun(1700):
            targets.append(md.temperature_target)
            found.append(md.temperature)
    targets, found = np.reshape(targets, (2, -1)), np.reshape(found, (2, -1))
    assert (targets[:, 0] == first).all()
    assert (targets[:, 1500:] == last).all()
    for part in range(300, 1700, 200):
        window = slice(part, part + 200)
        aim = targets[:, window].mean()
        assert found[:, window].mean() == pytest.approx(aim, rel=0.12)
    assert (found[:, 300:] / targets[:, 300:]).mean() == pytest.approx(1.0, abs=0.04)


def test_energy_of_atoms_and_chain_is_conserved_at_constant_temperature():
    drifts = []
    for timestep in (4.0, 2.0):
        md = ramp(crystal(), (600, 600), steps=400, timestep=timestep, damping=50)
        energies = np.array([md.conserved_energy for _ in md.irun(int(1200 / timestep))])
        exchanged = np.ptp([md.energy + md.kinetic_energy, energies[0]])
        drifts.append(np.ptp(energies) / len(md.atoms))
        assert exchanged > 10 * np.ptp(energies)  # the chain has done something
    assert drifts[1] < 2e-4
    assert drifts[1] < 0.4 * drifts[0]  # second order in the time step


def test_chain_follows_the_temperature_with_masses_and_momenta():
    md = ramp(crystal(), (300, 600), steps=10, damping=100.0)
    md.run(5)
    chain = md._thermostat._chain(450.0)
    tau, kt = 100.0 * units.fs, units.kB * 450.0
    assert chain._kT == pytest.approx(kt)
    assert np.allclose(chain._Q / (kt * tau**2), [93.0, 1.0, 1.0])
    warmer = md._thermostat._chain(900.0)
    assert np.allclose(warmer._Q, 2 * chain._Q)
    assert np.allclose(warmer._p_eta, 2 * chain._p_eta)  # the same rates
    assert np.array_equal(warmer._eta, chain._eta)


def test_first_momenta_have_the_first_temperature_and_no_translation():
    found = []
    for seed in range(20):
        atoms = crystal()
        md = ramp(atoms, (800, 100), seed=seed)
        md.run(0)
        found.append(md.temperature)
        assert np.abs(atoms.get_momenta().sum(axis=0)).max() < 1e-12
    assert np.mean(found) == pytest.approx(800, rel=0.06)
    assert np.std(found) > 30  # sampled, not scaled


def test_given_momenta_are_kept_less_their_translation():
    atoms = crystal()
    given = np.random.default_rng(0).normal(size=(32, 3))
    atoms.set_momenta(given + atoms.get_masses()[:, None] * [0.1, 0, 0.2])
    expected = given - given.mean(axis=0)
    ramp(atoms).run(0)
    assert np.abs(atoms.get_momenta() - expected).max() < 1e-12


@pytest.mark.parametrize("thermostat", THERMOSTATS)
def test_centre_of_mass_stays_with_different_masses(thermostat):
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    atoms.calc = Springs(atoms.get_positions())
    centre = atoms.get_center_of_mass()
    ramp(atoms, thermostat=thermostat, steps=100).run()
    assert np.abs(atoms.get_center_of_mass() - centre).max() < 1e-9
    assert np.abs(atoms.get_momenta().sum(axis=0)).max() < 1e-10


@pytest.mark.parametrize("thermostat", THERMOSTATS)
@pytest.mark.parametrize(
    ("constraint", "degrees"),
    [
        (FixAtoms([0, 1, 2, 3]), 84),
        (FixCartesian([0, 1, 2], [True, False, True]), 90),
        (FixedPlane([3, 4], [1, 1, 0]), 94),
    ],
)
def test_constraints_are_kept_exactly(thermostat, constraint, degrees):
    atoms = crystal()
    atoms.set_constraint(constraint)
    start = atoms.get_positions()
    md = ramp(atoms, thermostat=thermostat)
    assert md.degrees_of_freedom == degrees
    assert md.run()
    moved = atoms.get_positions() - start
    for vectors in (moved, atoms.get_momenta()):
        free = vectors.copy()
        constraint.adjust_forces(atoms, free)
        assert np.abs(free - vectors).max() < 1e-12
    if isinstance(constraint, FixAtoms):
        assert np.array_equal(atoms.get_positions()[:4], start[:4])
    assert np.abs(moved[4:]).max() > 0.01


def test_springs_restrict_no_motion_and_their_energy_counts():
    atoms = crystal()
    plain = atoms.get_potential_energy()
    atoms.set_constraint(Hookean(0, 1, 5.0, rt=2.0))
    md = ramp(atoms, (600, 600), remove_translation=True, steps=200)
    assert md.degrees_of_freedom == 93
    conserved = [md.conserved_energy for _ in md.irun(200)]
    assert md.energy == pytest.approx(atoms.get_potential_energy())
    assert conserved[0] > plain + 93 / 2 * units.kB * 300
    assert np.ptp(conserved) < 0.02


def test_fixed_centre_of_mass_is_no_loss_of_other_motions():
    atoms = crystal()
    atoms.set_constraint(FixCom())
    md = ramp(atoms)
    assert md.degrees_of_freedom == 93
    assert md.run()
    assert np.abs(atoms.get_momenta().sum(axis=0)).max() < 1e-10


def test_bond_lengths_are_kept_by_langevin_and_refused_by_nose_hoover():
    atoms = molecule("H2O", vacuum=3.0)
    atoms.calc = Springs(atoms.get_positions())
    atoms.set_constraint(FixBondLength(0, 1))
    length = atoms.get_distance(0, 1)
    md = ramp(atoms, thermostat="langevin", timestep=0.5)
    assert md.degrees_of_freedom == 8
    assert md.run()
    assert atoms.get_distance(0, 1) == pytest.approx(length, abs=1e-6)
    with pytest.raises(ValueError, match=r"FixBondLength.*langevin"):
        ramp(atoms)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"temperatures": (0, 300)}, "temperature"),
        ({"temperatures": (300, float("nan"))}, "temperature"),
        ({"temperatures": 300}, "first and the last"),
        ({"steps": 0}, "steps"),
        ({"timestep": -1}, "timestep"),
        ({"damping": 0}, "damping"),
        ({"thermostat": "langevin", "friction": 0}, "friction"),
        ({"thermostat": "berendsen"}, "berendsen"),
        ({"restart_interval": 0}, "restart_interval"),
        ({"loginterval": 0}, "loginterval"),
    ],
)
def test_settings_that_make_no_sense_are_named(settings, word):
    with pytest.raises(ValueError, match=word):
        ramp(crystal(), **settings)


def test_atoms_that_cannot_move_are_refused():
    atoms = crystal()
    atoms.set_constraint(FixAtoms(range(32)))
    with pytest.raises(ValueError, match="no motion"):
        ramp(atoms)
    with pytest.raises(ValueError, match="no mass"):
        ramp(Atoms("Cu2", masses=[63.5, 0.0], calculator=EMT()))
