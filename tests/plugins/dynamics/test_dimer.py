"""Saddle searches on surfaces with known saddles, and the optimizer contract."""

import importlib.util
import io
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc100
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixCartesian
from ase.io import read
from ase.io.trajectory import Trajectory

from pescape.plugins.dynamics import Dimer
from pescape.plugins.dynamics.checkpoint import CheckpointError
from pescape.plugins.dynamics.guards import Guards
from pescape.plugins.dynamics.modes import local_displacement
from pescape.plugins.dynamics.ritz import RitzSettings
from pescape.plugins.dynamics.slide import relax
from pescape.plugins.dynamics.translation import TranslationSettings
from pescape.plugins.dynamics.vtst import VtstSettings

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


def vacancy():
    atoms = bulk("Cu", cubic=True) * 2
    del atoms[0]
    atoms.calc = EMT()
    relax(atoms, 1e-4, 100)
    return atoms


VACANCY = vacancy()


def make_adatom():
    atoms = fcc100("Pt", (3, 3, 2), vacuum=6.0)
    add_adsorbate(atoms, "Pt", 1.9, "hollow")
    atoms.set_constraint(FixAtoms(mask=[atom.tag >= 2 for atom in atoms]))
    atoms.calc = EMT()
    relax(atoms, 1e-3, 100)
    return atoms


ADATOM = make_adatom()


def hop(seed=0):
    """Return the vacancy crystal, disturbed around the vacancy, and the disturbance."""
    atoms = VACANCY.copy()
    shift = local_displacement(atoms, (0.0, 0.0, 0.0), seed)
    atoms.positions += shift
    atoms.calc = EMT()
    return atoms, shift


def adatom():
    atoms = ADATOM.copy()
    atoms.calc = EMT()
    return atoms


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


def test_vacancy_hop():
    calls = []
    for seed in range(4):
        atoms, shift = hop(seed)
        dimer = Dimer(atoms, shift)
        assert dimer.run()
        barrier = dimer.history[-1].energy - VACANCY.get_potential_energy()
        assert barrier == pytest.approx(0.76, abs=0.01)
        assert dimer.curvature < 0
        calls.append(dimer.calls)
    assert np.median(calls) <= 100


def test_adatom_moves_to_the_next_hollow():
    bottom = ADATOM.get_potential_energy()
    atoms = ADATOM.copy()
    atoms.calc = EMT()
    atoms.positions[-1] += (0.8, 0.1, 0.1)
    dimer = Dimer(atoms, atoms.positions - ADATOM.positions)
    assert dimer.run(steps=200)
    assert dimer.history[-1].energy - bottom == pytest.approx(0.66, abs=0.02)
    across = atoms.positions[-1] - ADATOM.positions[-1]
    half = 0.5 * ADATOM.get_distance(9, 10)
    np.testing.assert_allclose(across[:2], (half, 0.0), atol=0.05)
    assert dimer.calls < 80


def test_start_without_forces_leaves_along_the_mode():
    atoms = ADATOM.copy()
    atoms.calc = EMT()
    mode = np.zeros((len(atoms), 3))
    mode[-1, 0] = 1.0
    dimer = Dimer(atoms, mode)
    assert dimer.run(steps=200)
    assert dimer.curvature < 0
    assert (atoms.positions - ADATOM.positions)[-1, 0] > 0.5


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


def test_never_converged_at_a_minimum():
    atoms = adatom()
    atoms.rattle(1e-5, seed=0)
    dimer = Dimer(atoms, seed=0)
    first = next(dimer.irun(fmax=0.05))
    assert first is False
    dimer = Dimer(adatom(), seed=0)
    dimer.run(fmax=0.5, steps=1)
    assert not dimer.converged()


def test_found_saddle_is_confirmed_without_moving():
    atoms, shift = hop()
    assert Dimer(atoms, shift).run()
    there = atoms.get_positions()
    again = Dimer(atoms, shift)
    assert again.run()
    assert np.array_equal(there, atoms.positions)
    assert again.curvature < 0


def test_optimizer_contract(tmp_path):
    atoms, shift = hop()
    seen, log = [], io.StringIO()
    dimer = Dimer(atoms, shift, trajectory=tmp_path / "a.traj", logfile=log)
    dimer.attach(lambda: seen.append(dimer.nsteps), interval=2)
    flags = list(dimer.irun(fmax=0.001, steps=5))
    assert flags == [False] * 6
    assert dimer.nsteps == 5
    assert dimer.reason.kind == "steps"
    assert dimer.run(fmax=0.001) is True
    assert dimer.reason.kind == "converged"
    assert dimer.converged()
    assert dimer.converged(atoms.get_forces())
    assert not dimer.converged(np.ones((31, 3)))
    assert seen == list(range(0, dimer.nsteps + 1, 2))
    lines = log.getvalue().splitlines()
    assert "Curvature" in lines[0]
    assert len(lines) == dimer.nsteps + 2
    assert dimer.todict()["optimizer"] == "Dimer"
    with Trajectory(tmp_path / "a.traj") as frames:
        assert len(frames) == dimer.nsteps + 1


def test_every_frame_and_every_image_carries_its_own_energy_and_forces(tmp_path):
    atoms, shift = hop()
    dimer = Dimer(atoms, shift, trajectory=tmp_path / "a.traj", images=tmp_path / "all.extxyz")
    dimer.run(steps=6)
    frames = read(tmp_path / "a.traj", ":")
    images = read(tmp_path / "all.extxyz", ":")
    assert len(frames) == 7
    assert len(images) == dimer.calls
    assert {image.info["dimer"] for image in images} == {"centre", "rotation"}
    assert [image.info["dimer"] for image in images].count("centre") == 7
    for image in [*frames[1:], *images[::3]]:
        check = image.copy()
        check.calc = EMT()
        assert image.get_potential_energy() == pytest.approx(check.get_potential_energy())
        np.testing.assert_allclose(image.get_forces(), check.get_forces(), atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_calculator_is_left_at_the_saddle(method):
    atoms, shift = hop()
    dimer = Dimer(atoms, shift, method=method)
    assert dimer.run()
    assert not atoms.calc.calculation_required(atoms, ["energy", "forces"])
    assert atoms.get_potential_energy() == dimer.history[-1].energy


def test_loginterval_thins_the_trajectory(tmp_path):
    atoms, shift = hop()
    Dimer(atoms, shift, trajectory=tmp_path / "a.traj", loginterval=4).run(steps=8)
    assert [frame.info["step"] for frame in read(tmp_path / "a.traj", ":")] == [0, 4, 8]


def test_history_holds_curvatures_and_calls():
    atoms, shift = hop()
    dimer = Dimer(atoms, shift)
    dimer.run(steps=4)
    assert [entry.step for entry in dimer.history] == [0, 1, 2, 3, 4]
    assert dimer.history[0].curvature is None
    assert all(isinstance(entry.curvature, float) for entry in dimer.history[1:])
    assert dimer.history[-1].calls == dimer.calls


@pytest.mark.parametrize("method", METHODS)
def test_restart_is_bit_identical(tmp_path, method):
    atoms, shift = hop()
    whole = Dimer(atoms, shift, method=method)
    whole.run(steps=15)
    parts, shift = hop()
    file, frames = tmp_path / "dimer.npz", tmp_path / "a.traj"
    Dimer(parts, shift, method=method, restart=file, trajectory=frames).run(steps=6)
    fresh, _ = hop(seed=99)  # positions come from the checkpoint
    resumed = Dimer(fresh, shift, method=method, restart=file, trajectory=frames)
    assert resumed.nsteps == 6
    resumed.run(steps=9)
    assert np.array_equal(atoms.positions, fresh.positions)
    assert resumed.calls == whole.calls
    assert resumed.history == whole.history
    assert [frame.info["step"] for frame in read(frames, ":")] == list(range(16))


def test_checkpoints_of_other_runs_are_refused(tmp_path):
    atoms, shift = hop()
    Dimer(atoms, shift, restart=tmp_path / "r.npz").run(steps=1)
    with pytest.raises(CheckpointError, match="another restart file"):
        Dimer(atoms, shift, method="vtst", restart=tmp_path / "r.npz")
    (tmp_path / "bad.npz").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match=r"bad\.npz"):
        Dimer(atoms, shift, restart=tmp_path / "bad.npz")


@pytest.mark.parametrize("method", METHODS)
def test_seeds_decide_and_nothing_else_does(method):
    def end(seed):
        atoms = hop()[0]
        dimer = Dimer(atoms, seed=seed, method=method)
        dimer.run(steps=3)
        return atoms.positions

    np.random.seed(1)  # noqa: NPY002
    first = end(5)
    np.random.seed(2)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    assert np.array_equal(first, end(5))
    assert not np.array_equal(first, end(6))
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_two_searches_share_nothing():
    one, shift = hop(0)
    alone = Dimer(one, shift)
    alone.run(steps=5)
    two, shift = hop(0)
    other, other_shift = hop(1)
    first = Dimer(two, shift)
    second = Dimer(other, other_shift, settings=RitzSettings(rotations=1), separation=0.02)
    runs = first.irun(steps=5), second.irun(steps=5)
    for _ in zip(*runs, strict=True):
        pass
    assert np.array_equal(one.positions, two.positions)
    assert first.settings == RitzSettings()
    assert first.separation == 0.01


@pytest.mark.parametrize("method", METHODS)
def test_fixed_atoms_stay_and_the_given_mode_is_unchanged(method):
    atoms = adatom()
    before = atoms.get_positions()
    mode = np.random.default_rng(0).normal(size=(len(atoms), 3))
    kept = mode.copy()
    dimer = Dimer(atoms, mode, method=method)
    dimer.run(steps=10)
    fixed = atoms.constraints[0].index
    assert np.array_equal(before[fixed], atoms.positions[fixed])
    assert not np.array_equal(before, atoms.positions)
    assert not dimer.mode[fixed].any()
    assert np.array_equal(mode, kept)


def test_no_net_translation_without_constraints():
    atoms, _ = hop()
    before = atoms.positions.mean(axis=0)
    dimer = Dimer(atoms, seed=0)
    dimer.run(steps=15)
    np.testing.assert_allclose(atoms.positions.mean(axis=0), before, atol=1e-9)
    assert np.abs(dimer.mode.sum(axis=0)).max() < 1e-9


def failing(calculator, number, fault):
    original, counter = calculator.calculate, [0]

    def calculate(*args, **kwargs):
        counter[0] += 1
        original(*args, **kwargs)
        if counter[0] == number:
            if fault == "raise":
                calculator.results.clear()
                raise RuntimeError("the code behind broke down")
            calculator.results["forces"] = np.full_like(calculator.results["forces"], np.nan)

    calculator.calculate = calculate


@pytest.mark.parametrize("number", [1, 4, 20, 23])
def test_calculator_that_raises_leaves_the_search_where_it_was(number):
    atoms, shift = hop()
    undisturbed = hop()[0]
    reference = Dimer(undisturbed, shift)
    reference.run(steps=10)
    failing(atoms.calc, number, "raise")
    dimer = Dimer(atoms, shift)
    before = atoms.get_positions()
    with pytest.raises(RuntimeError, match="broke down"):
        dimer.run(steps=10)
    if not dimer.history or dimer.nsteps == 0:
        assert np.array_equal(before, atoms.positions)
    dimer.run(steps=10 - dimer.nsteps)
    np.testing.assert_allclose(atoms.positions, undisturbed.positions, atol=1e-6)


@pytest.mark.parametrize("number", [1, 4])
def test_nan_forces_end_the_run_with_a_reason(number):
    atoms, shift = hop()
    before = atoms.get_positions()
    failing(atoms.calc, number, "nan")
    dimer = Dimer(atoms, shift)
    assert dimer.run(steps=10) is False
    assert dimer.reason.kind == "not_finite"
    assert not dimer.reason
    assert np.array_equal(before, atoms.positions)


def test_nan_after_a_step_is_tried_again_with_half_the_step(tmp_path):
    atoms, shift = hop()
    dimer = Dimer(atoms, shift, images=tmp_path / "all.traj")
    dimer.run(steps=2)
    before = atoms.get_positions()
    original, broken = atoms.calc.calculate, []

    def calculate(*args, **kwargs):
        original(*args, **kwargs)
        if len(broken) < 1:
            broken.append(1)
            atoms.calc.results["forces"] = np.full((31, 3), np.nan)

    dimer._engine.prepare = lambda _: None  # the next call is a step
    atoms.calc.calculate = calculate
    dimer.run(steps=1)
    assert dimer.reason.kind == "steps"
    assert not np.array_equal(before, atoms.positions)
    tags = [image.info["dimer"] for image in read(tmp_path / "all.traj", ":")]
    assert tags.count("refused") == 1


@pytest.mark.parametrize(
    ("kind", "guards"),
    [
        ("energy", Guards(max_force=None, max_energy=0.005)),
        ("displacement", Guards(max_force=None, max_displacement=0.3)),
        ("force", Guards(max_force=0.02)),
    ],
)
def test_ceilings_hold_and_say_so(kind, guards):
    atoms = VACANCY.copy()
    atoms.calc = EMT()
    start, bottom = atoms.get_positions(), VACANCY.get_potential_energy()
    mode = local_displacement(atoms, (0.0, 0.0, 0.0), 0)
    dimer = Dimer(atoms, mode, guards=guards)
    assert dimer.run(steps=100) is False
    assert dimer.reason.kind == kind
    assert dimer.reason.limit is not None
    assert max(entry.energy for entry in dimer.history) <= bottom + 0.005 * 31 or kind != "energy"
    assert np.linalg.norm(atoms.positions - start, axis=1).max() <= 0.3 or kind != "displacement"
    assert max(entry.fmax for entry in dimer.history) <= 0.02 or kind != "force"


def test_steps_keep_the_cap_of_each_atom():
    atoms, shift = hop()
    dimer = Dimer(atoms, shift)
    last = atoms.get_positions()
    for _ in dimer.irun(steps=30):
        assert np.linalg.norm(atoms.positions - last, axis=1).max() <= 0.2 + 1e-9
        last = atoms.get_positions()


def test_vtst_follows_the_settings_of_the_paper():
    settings = VtstSettings()
    assert (settings.damping, settings.max_step, settings.separation) == (4.0, 0.3, 0.01)
    atoms = VACANCY.copy()
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


def test_vtst_finds_the_vacancy_hop():
    atoms, shift = hop()
    dimer = Dimer(atoms, shift, method="vtst")
    assert dimer.run(steps=500)
    assert dimer.curvature < 0


def test_calculators_with_and_without_free_energy_are_called_once_an_image():
    atoms = on(mueller_brown, -0.7, 0.7)
    dimer = Dimer(atoms, seed=0)
    dimer.run(fmax=1e-3, steps=50)
    assert atoms.calc.count == dimer.calls


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"method": "newton"}, ValueError, "expected one of ritz, vtst"),
        ({"separation": 0.0}, ValueError, "positive length"),
        ({"settings": VtstSettings()}, TypeError, "RitzSettings"),
        ({"mode": np.ones(4)}, ValueError, r"\(31, 3\)"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, match):
    with pytest.raises(error, match=match):
        Dimer(hop()[0], **arguments)


def test_a_search_needs_something_to_move():
    atoms = VACANCY.copy()
    atoms.set_constraint(FixAtoms(range(31)))
    with pytest.raises(ValueError, match="all atoms are fixed"):
        Dimer(atoms)
