"""How closely a walk keeps to the energies that it is given."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.morse import MorsePotential
from ase.constraints import FixCartesian

from pescape.plugins.dynamics import ContourExploration
from pescape.plugins.dynamics.contour.walk import PerAtomAbove, Ramp, Schedule

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


class Bowl(Calculator):
    """E = ½ Σ k x² about the origin; a hill where k is negative."""

    implemented_properties = ("energy", "free_energy", "forces")

    def __init__(self, *k):
        super().__init__()
        self.k = np.array(k)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        x = atoms.positions
        energy = 0.5 * float((self.k * x * x).sum())
        self.results = {"energy": energy, "free_energy": energy, "forces": -self.k * x}


class Wells(Calculator):
    """Anharmonic wells of different strengths for the atoms of a crystal."""

    implemented_properties = ("energy", "free_energy", "forces")

    def __init__(self, start, k):
        super().__init__()
        self.start, self.k = start, k

    def energy(self, d):
        return float((0.5 * self.k * d**2 - 0.6 * d**3 + 0.8 * d**4).sum())

    def displacements(self, energy, seed):
        """Return random displacements that have an energy."""
        direction = np.random.default_rng(seed).normal(size=self.start.shape)
        low, high = 0.0, 1.0
        for _ in range(40):
            middle = 0.5 * (low + high)
            low, high = (
                (low, middle) if self.energy(middle * direction) > energy else (middle, high)
            )
        return low * direction

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        d = atoms.positions - self.start
        energy = self.energy(d)
        forces = -(self.k * d - 1.8 * d**2 + 3.2 * d**3)
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}


def crystal(cells=2, vacancy=True):
    atoms = bulk("Cu", cubic=True) * cells
    if vacancy:
        del atoms[0]
    atoms.calc = EMT()
    return atoms


def displaced(per_atom, seed, cells=2):
    """Return a crystal that random displacements have brought to an energy, and its energy."""
    atoms = crystal(cells)
    reference = atoms.get_potential_energy()
    start, direction = (
        atoms.get_positions(),
        np.random.default_rng(seed).normal(size=(len(atoms), 3)),
    )
    low, high = 0.0, 0.6
    for _ in range(15):
        middle = 0.5 * (low + high)
        atoms.set_positions(start + middle * direction)
        if atoms.get_potential_energy() > reference + per_atom * len(atoms):
            high = middle
        else:
            low = middle
    return atoms, reference


def errors(walk, steps, skip=15):
    """Return the energy's distances from the target, eV/atom, less those of the first steps."""
    found = [(walk.energy - walk.energy_target) / len(walk.atoms) for _ in walk.irun(steps)]
    return np.array(found[skip:])


@pytest.mark.parametrize(("angle", "rms", "bias"), [(20, 0.005, 0.001), (10, 0.001, 0.0002)])
@pytest.mark.parametrize("per_atom", [0.05, pytest.param(0.5, marks=pytest.mark.slow)])
def test_energy_stays_at_the_target_with_one_call_per_step(angle, rms, bias, per_atom):
    found, turns = [], []
    for seed in (0, 1):
        atoms, reference = displaced(per_atom, seed)
        target = reference + per_atom * len(atoms)
        walk = ContourExploration(atoms, target, angle_limit=angle, maxstep=1.0, seed=seed)
        found.extend(errors(walk, 120) / per_atom)
        turns.append(np.degrees(walk.curvature * walk.step_size))
        assert walk.force_calls == 121
        assert walk.phase == "contour"
    assert np.sqrt(np.mean(np.square(found))) < rms
    assert abs(np.mean(found)) < bias
    assert all(0.6 * angle < turn < 1.5 * angle for turn in turns)  # the steps are not just short


def test_ramp_is_followed_without_bias():
    atoms = crystal()
    atoms.rattle(0.03, seed=3)
    reference, n = atoms.get_potential_energy(), len(atoms)
    ramp = PerAtomAbove(Ramp(0.001, 1.0, 200), reference, n)
    walk = ContourExploration(atoms, ramp, seed=3)
    found = errors(walk, 200, skip=0)
    assert abs(found.mean()) < 1e-3
    assert np.sqrt((found**2).mean()) < 5e-3
    assert walk.force_calls == 201


def in_wells(cells, per_atom):
    """Return a crystal of wells at an energy per atom."""
    atoms = bulk("Cu", cubic=True) * cells
    strengths = np.random.default_rng(1).uniform(2, 8, (len(atoms), 3))
    atoms.calc = Wells(atoms.get_positions(), strengths)
    atoms.positions += atoms.calc.displacements(per_atom * len(atoms), seed=2)
    return atoms


@pytest.mark.parametrize("cells", [1, 3, 6])
@pytest.mark.parametrize("per_atom", [0.05, 0.5])
def test_targets_are_kept_from_4_to_864_atoms(cells, per_atom):
    atoms = in_wells(cells, per_atom)
    walk = ContourExploration(
        atoms, per_atom * len(atoms), maxstep=1.0, seed=0, remove_translation=False
    )
    found = errors(walk, 150) / per_atom
    assert np.sqrt((found**2).mean()) < 0.005
    assert abs(found.mean()) < 0.001


def test_smallest_cell_of_a_metal_keeps_its_target():
    atoms = crystal(1, vacancy=False)
    reference, n = atoms.get_potential_energy(), len(atoms)
    walk = ContourExploration(atoms, reference + 0.2 * n, maxstep=1.0, seed=0)
    found = errors(walk, 60, skip=30) / 0.2
    assert np.sqrt((found**2).mean()) < 0.01
    assert abs(found.mean()) < 0.003


@pytest.mark.parametrize("cells", [1, 3, 6])
@pytest.mark.parametrize(("first", "last"), [(0.02, 0.6), (0.6, 0.1)])
def test_ramps_up_and_down_have_no_bias_from_4_to_864_atoms(cells, first, last):
    atoms = in_wells(cells, first)
    ramp = PerAtomAbove(Ramp(first, last, 200), 0.0, len(atoms))
    walk = ContourExploration(atoms, ramp, maxstep=1.0, seed=0, remove_translation=False)
    found = errors(walk, 200, skip=0)
    assert abs(found.mean()) < 1e-3
    assert np.sqrt((found**2).mean()) < 5e-3
    assert walk.force_calls == 201


@pytest.mark.parametrize("angle", [10, 20])
@pytest.mark.parametrize("k", [(3.0, 3.0, 3.0), (2.0, 6.0, 4.0), (-3.0, -3.0, -3.0)])
def test_curvature_has_the_right_sign_in_bowls_and_on_hills(k, angle):
    atoms = Atoms("Cu", [[1.0, 0.2, 0.0]], calculator=Bowl(*k))
    walk = ContourExploration(atoms, angle_limit=angle, maxstep=5.0, seed=0)
    found = errors(walk, 150) / abs(walk.energy)
    assert abs(found.mean()) < 2e-3
    assert np.abs(found).max() < 0.08 * (angle / 20) ** 2


def test_circle_is_walked_round_at_its_radius():
    atoms = Atoms("Cu", [[1.0, 0.0, 0.0]], calculator=Bowl(3.0, 3.0, 3.0))
    atoms.set_constraint(FixCartesian(0, [False, False, True]))
    walk = ContourExploration(atoms, maxstep=5.0, seed=0)
    radii, angles = [], []
    for _ in walk.irun(60):
        x, y, z = atoms.positions[0]
        radii.append(np.hypot(x, y))
        angles.append(np.arctan2(y, x))
        assert z == 0.0
    assert np.abs(np.array(radii) - 1.0).max() < 3e-3
    assert np.abs(np.array(radii[-20:]) - 1.0).max() < 2e-4
    turns = np.degrees(np.abs(np.diff(np.unwrap(angles))))[10:]
    assert turns == pytest.approx(20.0, rel=0.12)
    assert abs(np.unwrap(angles)[-1]) > 4 * np.pi


def test_pair_keeps_its_distance():
    atoms = Atoms("Cu2", [[0, 0, 0], [0, 0, 1.2]], calculator=MorsePotential())
    walk = ContourExploration(atoms, maxstep=0.5, seed=2)
    lengths = [atoms.get_distance(0, 1) for _ in walk.irun(80)]
    assert np.abs(np.array(lengths) - 1.2).max() < 8e-3
    assert np.abs(np.array(lengths) - 1.2).mean() < 3e-3


@pytest.mark.parametrize("seed", [0, 1])
def test_jump_is_climbed_and_then_kept(seed):
    atoms = crystal()
    atoms.rattle(0.03, seed=seed)
    reference, n = atoms.get_potential_energy(), len(atoms)
    jump = Schedule((0, 60, 60), (0.05, 0.05, 0.5))
    walk = ContourExploration(atoms, PerAtomAbove(jump, reference, n), seed=seed)
    phases, found = [], []
    for _ in walk.irun(120):
        phases.append(walk.phase)
        found.append((walk.energy - walk.energy_target) / n)
    assert "climb" in phases[60:70]
    assert set(phases[85:]) == {"contour"}
    assert np.sqrt(np.mean(np.square(found[85:]))) < 0.005 * 0.5
    assert np.sqrt(np.mean(np.square(found[30:60]))) < 0.005 * 0.05
    assert np.abs(atoms.get_forces()).max() < 20


def test_start_without_forces_climbs_in_a_random_direction():
    atoms = crystal(vacancy=False)
    assert np.abs(atoms.get_forces()).max() < 1e-10
    target = atoms.get_potential_energy() + 0.3 * len(atoms)
    walk = ContourExploration(atoms, target, seed=1)
    found = errors(walk, 60, skip=30)
    assert np.abs(found).max() < 0.02 * 0.3


def test_descent_follows_a_lower_target():
    atoms, reference = displaced(0.3, 0)
    walk = ContourExploration(atoms, reference + 0.15 * len(atoms), seed=0)
    found = errors(walk, 60, skip=40)
    assert np.abs(found).max() < 0.02 * 0.15


def test_tolerance_is_kept_with_corrector_calls():
    atoms, reference = displaced(0.5, 0)
    target = reference + 0.5 * len(atoms)
    walk = ContourExploration(atoms, target, maxstep=1.0, seed=0, tolerance=1e-4)
    found = errors(walk, 60)
    assert np.abs(found).max() <= 1e-4
    assert 61 < walk.force_calls < 150
