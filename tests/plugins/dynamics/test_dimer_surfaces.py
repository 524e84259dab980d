"""Saddle searches on surfaces with known saddles."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.constraints import FixCartesian
from ase.vibrations import Vibrations

from pescape.plugins.dynamics import Dimer
from pescape.plugins.dynamics.saddle.hessian import TranslationSettings
from pescape.plugins.dynamics.saddle.mode_follower import RitzSettings, VtstSettings
from pescape.plugins.dynamics.saddle.relax import relax
from pescape.plugins.dynamics.saddle.rotation import local_displacement, softest_mode

METHODS = ["ritz", "vtst"]


class Surface(Calculator):
    """Energy of the flat coordinates, with derivatives by complex steps."""

    implemented_properties = ("energy", "forces")

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.count = 0

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.count += 1
        x = self.atoms.positions.ravel()
        gradient = [
            self.function(x + 1e-30j * unit).imag / 1e-30 for unit in np.eye(len(x)).astype(complex)
        ]
        self.results["energy"] = float(np.real(self.function(x.astype(complex))))
        self.results["forces"] = -np.reshape(gradient, (-1, 3))


def mueller_brown(x):
    total = 0.0
    for a, b, c, d, x0, y0 in [
        (-200, -1, 0, -10, 1, 0),
        (-100, -1, 0, -10, 0, 0.5),
        (-170, -6.5, 11, -6.5, -0.5, 1.5),
        (15, 0.7, 0.6, 0.7, -1, 1),
    ]:
        u, v = x[0] - x0, x[1] - y0
        total = total + a * np.exp(b * u * u + c * u * v + d * v * v)
    return 0.01 * total


def leps(x):
    """Collinear atom exchange coupled to an oscillator."""
    ab, bc, shift = x[0], 3.742 - x[0], x[1]

    def coulomb(r, depth):
        return depth / 2 * (1.5 * np.exp(-3.884 * (r - 0.742)) - np.exp(-1.942 * (r - 0.742)))

    def exchange(r, depth):
        return depth / 4 * (np.exp(-3.884 * (r - 0.742)) - 6 * np.exp(-1.942 * (r - 0.742)))

    terms = [(ab, 4.746, 1.05), (bc, 4.746, 1.80), (ab + bc, 3.445, 1.05)]
    q = sum(coulomb(r, depth) / scale for r, depth, scale in terms)
    j = [exchange(r, depth) / scale for r, depth, scale in terms]
    mixed = j[0] * j[1] + j[1] * j[2] + j[0] * j[2]
    root = np.sqrt(j[0] ** 2 + j[1] ** 2 + j[2] ** 2 - mixed)
    return q - root + 2 * 0.2025 * (ab - (3.742 / 2 - shift / 1.154)) ** 2


def on(function, x, y):
    atoms = Atoms("H", [[x, y, 0.0]])
    atoms.set_constraint(FixCartesian(0, mask=(False, False, True)))
    atoms.calc = Surface(function)
    return atoms


def plane_curvatures(atoms, step=1e-4):
    rows = []
    for axis in range(2):
        sides = []
        for sign in (1, -1):
            image = atoms.copy()
            image.calc = Surface(atoms.calc.function)
            image.positions[0, axis] += sign * step
            sides.append(image.get_forces(apply_constraint=False)[0, :2])
        rows.append((sides[1] - sides[0]) / (2 * step))
    return np.linalg.eigvalsh(np.array(rows))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("natoms", [1, 3, 30, 167])
def test_quadratic_saddles(natoms, method):
    rng = np.random.default_rng(natoms)
    size = 3 * natoms
    vectors = np.linalg.qr(rng.normal(size=(size, size)))[0]
    values = np.linspace(1.0, 10.0, size)
    values[0] = -1.0
    matrix = (vectors * values) @ vectors.T
    atoms = Atoms(["H"] * natoms, rng.normal(0, 0.05, (natoms, 3)))
    atoms.set_constraint(FixCartesian(0, mask=(False, False, False)))  # lets all translate
    atoms.calc = Surface(lambda x: 0.5 * x @ matrix @ x)
    atoms.calc.calculate = _quadratic(atoms.calc, matrix)
    dimer = Dimer(atoms, seed=1, method=method, displacement=0.0)
    assert dimer.run(fmax=1e-4, steps=400)
    assert np.abs(atoms.positions).max() < 1e-3
    assert dimer.curvature == pytest.approx(-1.0, abs=0.3)
    mode = dimer.mode.ravel()
    assert dimer.curvature >= -1.0 - 1e-6
    assert mode @ matrix @ mode < 0


def _quadratic(calculator, matrix):
    def calculate(atoms=None, properties=("energy",), system_changes=all_changes):
        Calculator.calculate(calculator, atoms, properties, system_changes)
        x = atoms.positions.ravel()
        forces = -(matrix @ x).reshape(-1, 3)
        calculator.results = {"energy": 0.5 * x @ matrix @ x, "forces": forces}

    return calculate


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("start", "saddle", "energy"),
    [((-0.7, 0.7), (-0.822, 0.624), -0.4066), ((0.3, 0.2), (0.2125, 0.293), -0.7225)],
)
def test_mueller_brown(start, saddle, energy, method):
    atoms = on(mueller_brown, *start)
    dimer = Dimer(atoms, seed=3, method=method, displacement=0.0)
    assert dimer.run(fmax=1e-3, steps=300)
    np.testing.assert_allclose(atoms.positions[0, :2], saddle, atol=2e-3)
    assert dimer.history[-1].energy == pytest.approx(energy, abs=1e-3)
    assert atoms.positions[0, 2] == 0.0


@pytest.mark.parametrize("start", [(1.1, 0.8), (1.2, 0.3), (1.0, -0.5)])
def test_leps(start):
    atoms = on(leps, *start)
    dimer = Dimer(atoms, np.array([[1.0, -0.5, 0.0]]))
    assert dimer.run(fmax=1e-3, steps=200)
    low, high = plane_curvatures(atoms)
    assert low < 0 < high
    assert dimer.curvature == pytest.approx(low, rel=0.05)
    np.testing.assert_allclose(atoms.positions[0, :2], (2.0208, -0.1729), atol=1e-3)
    assert dimer.calls < 120


def test_vacancy_hop(hop, crystal):
    calls = []
    for seed in range(4):
        atoms, shift = hop(seed)
        dimer = Dimer(atoms, shift)
        assert dimer.run()
        barrier = dimer.history[-1].energy - crystal.get_potential_energy()
        assert barrier == pytest.approx(0.76, abs=0.01)
        assert dimer.curvature < 0
        calls.append(dimer.calls)
    assert np.median(calls) <= 100


def test_adatom_moves_to_the_next_hollow(hollow):
    bottom = hollow.get_potential_energy()
    atoms = hollow.copy()
    atoms.calc = EMT()
    atoms.positions[-1] += (0.8, 0.1, 0.1)
    dimer = Dimer(atoms, atoms.positions - hollow.positions)
    assert dimer.run(steps=200)
    assert dimer.history[-1].energy - bottom == pytest.approx(0.66, abs=0.02)
    across = atoms.positions[-1] - hollow.positions[-1]
    half = 0.5 * hollow.get_distance(9, 10)
    np.testing.assert_allclose(across[:2], (half, 0.0), atol=0.05)
    assert dimer.calls < 80


def test_start_without_forces_leaves_along_the_mode(hollow):
    atoms = hollow.copy()
    atoms.calc = EMT()
    mode = np.zeros((len(atoms), 3))
    mode[-1, 0] = 1.0
    dimer = Dimer(atoms, mode)
    assert dimer.run(steps=200)
    assert dimer.curvature < 0
    assert (atoms.positions - hollow.positions)[-1, 0] > 0.5


@pytest.mark.parametrize("source", ["partial Hessian", "vibrations"])
def test_search_along_the_softest_mode_of_the_adatom(hollow, on_hollow, source, tmp_path):
    if source == "vibrations":
        vibrations = Vibrations(on_hollow(), indices=[18], name=str(tmp_path / "vibrations"))
        vibrations.run()
        mode = vibrations.get_mode(0)
    else:
        mode = softest_mode(on_hollow(), [18])
    assert abs(mode[18, 2]) < 0.1 * np.linalg.norm(mode)  # it slides, it does not leave
    atoms = on_hollow()
    dimer = Dimer(atoms, mode, displacement=0.4)
    assert dimer.run(steps=200)
    assert dimer.curvature < 0
    barrier = dimer.history[-1].energy - hollow.get_potential_energy()
    assert barrier == pytest.approx(0.66, abs=0.01)
    assert dimer.calls < 100


@pytest.mark.slow
def test_heptamer_saddles():
    path = Path(__file__).resolve().parents[3] / "benchmarks/heptamer.py"
    spec = importlib.util.spec_from_file_location("heptamer", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    minimum = module.heptamer()
    minimum.calc = module.MorsePt()
    relax(minimum, 1e-3, 300)
    bottom = minimum.get_potential_energy()
    energies = []
    for seed in (1, 31, 54):
        atoms = minimum.copy()
        shift = local_displacement(atoms, len(atoms) - 1 - seed % 6, seed)
        atoms.positions += shift
        atoms.calc = module.MorsePt()
        climb = RitzSettings(translation=TranslationSettings(relax_force=np.inf))
        dimer = Dimer(atoms, shift, settings=climb)
        assert dimer.run(fmax=0.005, steps=300)
        assert dimer.calls < 250
        energies.append(dimer.history[-1].energy - bottom)
    for known in (0.60, 1.19, 1.51):
        assert np.abs(np.array(energies) - known).min() < 0.015


def test_never_converged_at_a_minimum(on_hollow):
    atoms = on_hollow()
    atoms.rattle(1e-5, seed=0)
    dimer = Dimer(atoms, seed=0)
    first = next(dimer.irun(fmax=0.05))
    assert first is False
    dimer = Dimer(on_hollow(), seed=0)
    dimer.run(fmax=0.5, steps=1)
    assert not dimer.converged()


def test_found_saddle_is_confirmed_without_moving(hop):
    atoms, shift = hop()
    assert Dimer(atoms, shift).run()
    there = atoms.get_positions()
    again = Dimer(atoms, shift)
    assert again.run()
    assert np.array_equal(there, atoms.positions)
    assert again.curvature < 0


def test_vtst_follows_the_settings_of_the_paper(crystal):
    settings = VtstSettings()
    assert (settings.damping, settings.max_step, settings.separation) == (4.0, 0.3, 0.01)
    atoms = crystal.copy()
    atoms.calc = EMT()
    before = atoms.get_positions()
    dimer = Dimer(atoms, seed=0, method="vtst")
    mode = dimer.mode
    positions = [atoms.get_positions() for _ in dimer.irun(steps=5)]
    first = positions[0] - before
    assert np.linalg.norm(first) == pytest.approx(1.2)
    np.testing.assert_allclose(first / 1.2, mode, atol=1e-9)
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=(1, 2))
    assert steps.max() <= 0.3 + 1e-9


def test_vtst_finds_the_vacancy_hop(hop):
    atoms, shift = hop()
    dimer = Dimer(atoms, shift, method="vtst")
    assert dimer.run(steps=500)
    assert dimer.curvature < 0
    assert dimer.calls < 250


def test_calculators_with_and_without_free_energy_are_called_once_an_image():
    atoms = on(mueller_brown, -0.7, 0.7)
    dimer = Dimer(atoms, seed=0)
    dimer.run(fmax=1e-3, steps=50)
    assert atoms.calc.count == dimer.calls
