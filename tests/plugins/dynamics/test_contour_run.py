"""How a contour exploration behaves as one of ASE's dynamics."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixBondLength, FixCartesian, FixedPlane, Hookean
from ase.io import read
from ase.optimize.optimize import Dynamics

from pescape.plugins.dynamics import ContourExploration
from pescape.plugins.dynamics.runs import CheckpointError, write_checkpoint


class Counting(EMT):
    """EMT that counts its calculations and raises at given ones."""

    def __init__(self, failing=()):
        super().__init__()
        self.calls, self.failing = 0, set(failing)

    def calculate(self, *args, **kwargs):
        self.calls += 1
        if self.calls in self.failing:
            raise RuntimeError("no convergence")
        super().calculate(*args, **kwargs)


class Springs(Calculator):
    """Anharmonic springs to the first positions and between all atoms; it remembers nothing."""

    implemented_properties = ("energy", "forces")

    def __init__(self, start):
        super().__init__()
        self.start = start

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        d = atoms.positions - self.start
        pull = d - d.mean(axis=0)
        energy = float((2 * d**2 + d**4).sum() + (pull**2).sum() + 0.5 * (d**3).sum())
        self.results = {
            "energy": energy,
            "forces": -(4 * d + 4 * d**3 + 2 * pull + 1.5 * d**2),
        }


class EnergyOnly(Calculator):
    """A calculator that knows no free energy."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = {
            "energy": float((atoms.positions**2).sum()),
            "forces": -2 * atoms.positions,
        }


class Smeared(EnergyOnly):
    """A calculator whose free energy differs from its energy."""

    implemented_properties = ("energy", "free_energy", "forces")

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.results["free_energy"] = self.results["energy"] - 1.0


def cluster(calculator=None, seed=0):
    atoms = bulk("Cu", cubic=True) * 2
    del atoms[0]
    atoms.rattle(0.15, seed=seed)
    atoms.calc = calculator if calculator is not None else EMT()
    return atoms


def path(walk, steps):
    return np.array([walk.atoms.get_positions() for _ in walk.irun(steps)])


def test_run_returns_why_it_ended():
    walk = ContourExploration(cluster(), seed=0)
    assert isinstance(walk, Dynamics)
    reason = walk.run(5)
    assert reason is walk.reason
    assert reason
    assert (reason.kind, reason.step, walk.nsteps) == ("steps", 5, 5)
    assert walk.converged()
    assert walk.run(3).step == 8


def test_irun_yields_once_per_step_and_attached_functions_are_called():
    walk = ContourExploration(cluster(), seed=0)
    seen = []
    walk.attach(lambda: seen.append(walk.nsteps), interval=2)
    assert list(walk.irun(5)) == [False] * 5 + [True]
    assert seen == [0, 2, 4]


def test_stop_function_ends_the_run_with_its_words():
    walk = ContourExploration(
        cluster(), seed=0, stop=lambda w: "far enough" if w.nsteps == 4 else None
    )
    reason = walk.run(50)
    assert (reason.kind, reason.message, reason.step) == ("asked", "far enough", 4)


def test_every_frame_holds_energy_and_forces_and_no_call_is_spent_on_it(tmp_path):
    calculator = Counting()
    file = tmp_path / "walk.traj"
    walk = ContourExploration(cluster(calculator), seed=0, trajectory=str(file))
    walk.run(6)
    walk.run(4)
    frames = read(file, ":")
    assert len(frames) == 11
    assert calculator.calls == walk.force_calls == 11
    for frame in frames:
        assert frame.get_potential_energy() == pytest.approx(walk.energy_target, abs=0.1)
        assert frame.get_forces().shape == (31, 3)


def test_log_and_trajectory_follow_the_interval(tmp_path):
    log, file = tmp_path / "walk.log", tmp_path / "walk.traj"
    walk = ContourExploration(
        cluster(), seed=0, logfile=str(log), trajectory=str(file), loginterval=5
    )
    walk.run(10)
    lines = log.read_text().splitlines()
    assert lines[0].startswith("# Step")
    assert [int(line.split()[0]) for line in lines[1:]] == [0, 5, 10]
    assert len(read(file, ":")) == 3


def test_energy_is_followed_where_there_is_no_free_energy():
    atoms = Atoms("Cu2", [[1, 0, 0], [0, 1, 1]], calculator=EnergyOnly())
    walk = ContourExploration(atoms, seed=0, remove_translation=False)
    assert walk.run(20)
    assert walk.energy == pytest.approx(3.0, rel=0.01)


@pytest.mark.parametrize(("consistent", "energy"), [(None, 2.0), (True, 2.0), (False, 3.0)])
def test_force_consistent_chooses_the_energy(consistent, energy):
    atoms = Atoms("Cu2", [[1, 0, 0], [0, 1, 1]], calculator=Smeared())
    walk = ContourExploration(atoms, seed=0, remove_translation=False, force_consistent=consistent)
    walk.run(10)
    assert walk.energy == pytest.approx(energy, abs=0.02)


def test_seed_decides_the_path_and_numpys_generator_is_left_alone():
    np.random.seed(7)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = path(ContourExploration(cluster(), seed=5), 10)
    second = path(ContourExploration(cluster(), seed=5), 10)
    other = path(ContourExploration(cluster(), seed=6), 10)
    assert np.array_equal(first, second)
    assert not np.allclose(first[-1], other[-1], atol=1e-3)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_two_walks_side_by_side_share_nothing():
    alone = path(ContourExploration(cluster(), seed=5), 8)
    one = ContourExploration(cluster(), seed=5)
    two = ContourExploration(cluster(seed=3), angle_limit=5, seed=9)
    together = [one.atoms.get_positions() for _ in zip(one.irun(8), two.irun(8), strict=True)]
    assert np.array_equal(alone, np.array(together))


def test_velocities_give_the_first_direction_and_are_not_changed():
    atoms = cluster()
    atoms.set_velocities(np.random.default_rng(0).normal(size=(31, 3)))
    velocities, start = atoms.get_velocities(), atoms.get_positions()
    walk = ContourExploration(atoms, seed=0, drift=0)
    walk.run(1)
    assert np.array_equal(atoms.get_velocities(), velocities)
    step = (atoms.get_positions() - start).ravel()
    cosine = step @ velocities.ravel() / np.linalg.norm(step) / np.linalg.norm(velocities)
    assert cosine > 0.9


@pytest.mark.parametrize("restart_at", [1, 2, 7])
def test_restart_continues_bit_for_bit(tmp_path, restart_at):
    def begun(file, **kwargs):
        atoms = cluster(Springs(np.array(bulk("Cu", cubic=True).repeat(2).positions[1:])))
        return ContourExploration(atoms, seed=3, restart=file, **kwargs)

    whole = begun(tmp_path / "whole.npz")
    whole.run(15)
    traj = tmp_path / "parts.traj"
    assert begun(tmp_path / "parts.npz", trajectory=traj).run(restart_at)
    parts = begun(tmp_path / "parts.npz", trajectory=traj)
    assert parts.nsteps == restart_at
    parts.run(15 - restart_at)
    assert np.array_equal(whole.atoms.get_positions(), parts.atoms.get_positions())
    assert whole.energy == parts.energy
    assert whole.force_calls == parts.force_calls == 16
    assert len(read(traj, ":")) == 16


@pytest.mark.parametrize("interval", [1, 2])
def test_frames_after_the_last_checkpoint_are_written_once(tmp_path, interval):
    def begun():
        atoms = cluster(Springs(np.array(bulk("Cu", cubic=True).repeat(2).positions[1:])))
        return ContourExploration(
            atoms,
            seed=3,
            restart=tmp_path / "walk.npz",
            restart_interval=4,
            trajectory=tmp_path / "walk.traj",
            loginterval=interval,
        )

    start = cluster(Springs(np.array(bulk("Cu", cubic=True).repeat(2).positions[1:])))
    expected = path(ContourExploration(start, seed=3), 10)[::interval]
    run = begun().irun(10)
    for _ in range(8):  # killed after step 7, three steps after the checkpoint
        next(run)
    del run
    assert len(read(tmp_path / "walk.traj", ":")) == 7 // interval + 1
    again = begun()
    assert again.nsteps == 4
    assert len(read(tmp_path / "walk.traj", ":")) == 4 // interval + 1
    again.run(6)
    frames = read(tmp_path / "walk.traj", ":")
    assert np.array_equal([frame.positions for frame in frames], expected)
    assert all(np.isfinite(frame.get_forces()).all() for frame in frames)
    assert all(np.isfinite(frame.get_potential_energy()) for frame in frames)
    assert not list(tmp_path.glob("*.part"))


def test_frames_of_an_earlier_run_stay_in_a_trajectory_that_is_appended_to(tmp_path):
    file = tmp_path / "walk.traj"
    ContourExploration(cluster(seed=1), seed=0, trajectory=file).run(3)
    settings = {"trajectory": file, "append_trajectory": True, "restart": tmp_path / "walk.npz"}
    ContourExploration(cluster(), seed=0, **settings, restart_interval=2).run(3)
    assert len(read(file, ":")) == 7
    ContourExploration(cluster(), seed=0, **settings).run(2)
    assert len(read(file, ":")) == 9


def test_checkpoint_of_another_system_or_kind_is_refused(tmp_path):
    file = tmp_path / "walk.npz"
    ContourExploration(cluster(), seed=0, restart=file).run(2)
    smaller = cluster()
    del smaller[0]
    with pytest.raises(CheckpointError, match="31 atoms"):
        ContourExploration(smaller, restart=file)
    stretched = cluster()
    stretched.set_cell(stretched.cell * 1.01)
    with pytest.raises(CheckpointError, match="cell"):
        ContourExploration(stretched, restart=file)
    write_checkpoint(file, "Dimer", {}, {})
    with pytest.raises(CheckpointError, match="Dimer"):
        ContourExploration(cluster(), restart=file)
    file.write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        ContourExploration(cluster(), restart=file)


def test_calculator_that_raises_leaves_everything_as_it_was(tmp_path):
    undisturbed = path(ContourExploration(cluster(Counting()), seed=1), 12)
    atoms = cluster(Counting(failing=[6]))
    walk = ContourExploration(atoms, seed=1, trajectory=tmp_path / "walk.traj")
    with pytest.raises(RuntimeError, match="no convergence"):
        walk.run(12)
    assert walk.nsteps == 4
    assert np.array_equal(atoms.get_positions(), undisturbed[4])
    frames = read(tmp_path / "walk.traj", ":")
    assert np.array_equal([frame.positions for frame in frames], undisturbed[:5])
    walk.run(12 - walk.nsteps)
    assert len(read(tmp_path / "walk.traj", ":")) == 13
    assert np.abs(atoms.get_positions() - undisturbed[-1]).max() < 1e-9


def test_atoms_moved_between_runs_begin_a_new_history():
    atoms = cluster()
    walk = ContourExploration(atoms, seed=0)
    walk.run(10)
    atoms.rattle(0.05, seed=4)
    walk.run(20)
    assert walk.energy == pytest.approx(walk.energy_target, abs=0.1)


def fixed():
    return FixAtoms([0, 1, 2, 3, 4, 5, 6, 7])


def cartesian():
    return FixCartesian([0, 1, 2], [True, False, True])


@pytest.mark.parametrize("make", [fixed, cartesian, lambda: FixedPlane([3, 4], [1, 1, 0])])
def test_constraints_are_kept_exactly_and_drift_stays_free_of_them(make):
    atoms = cluster()
    constraint = make()
    atoms.set_constraint(constraint)
    start = atoms.get_positions()
    walk = ContourExploration(atoms, seed=0, drift=0.5)
    found = [(walk.energy - walk.energy_target) / len(atoms) for _ in walk.irun(40)]
    moved = atoms.get_positions() - start
    free = moved.copy()
    constraint.adjust_forces(atoms, free)
    assert np.abs(free - moved).max() < 1e-12
    assert np.sqrt(np.mean(np.square(found))) < 4e-3
    drift = walk._walk._random(None).reshape(-1, 3)
    again = drift.copy()
    constraint.adjust_forces(atoms, again)
    assert np.abs(again - drift).max() < 1e-12
    assert np.linalg.norm(drift) == pytest.approx(1.0)


def test_bond_lengths_are_kept():
    atoms = cluster()
    atoms.set_constraint(FixBondLength(0, 1))
    length = atoms.get_distance(0, 1)
    ContourExploration(atoms, seed=0).run(20)
    assert atoms.get_distance(0, 1) == pytest.approx(length, abs=1e-6)


def test_springs_restrict_no_direction_and_their_energy_counts():
    atoms = cluster()
    plain = atoms.get_potential_energy()
    atoms.set_constraint(Hookean(0, 1, 5.0, rt=2.0))
    walk = ContourExploration(atoms, seed=0)
    walk.run(10)
    assert walk.energy_target > plain
    assert walk.energy == pytest.approx(atoms.get_potential_energy())
    assert walk.energy == pytest.approx(walk.energy_target, abs=0.05)


def test_directions_are_orthonormal_and_free_of_translation():
    walk = ContourExploration(cluster(), seed=0)
    walk.run(3)
    gradient = walk._walk.state.newest.gradient
    uphill = gradient / np.linalg.norm(gradient)
    tangent = walk._walk._tangent(walk._walk.state.tangent, uphill, 0.2)
    drift = walk._walk._random(uphill, tangent)
    assert abs(drift @ tangent) < 1e-9
    assert abs(drift @ uphill) < 1e-9
    assert abs(tangent @ uphill) < 1e-9
    assert np.abs(drift.reshape(-1, 3).sum(axis=0)).max() < 1e-8
    assert tangent @ tangent == pytest.approx(1.0)


def test_walk_does_not_drift_as_a_whole():
    atoms = cluster()
    centre = atoms.get_positions().mean(axis=0)
    ContourExploration(atoms, seed=0).run(50)
    assert np.abs(atoms.get_positions().mean(axis=0) - centre).max() < 1e-6


@pytest.mark.parametrize("cap", ["atom", "rms", "norm"])
def test_longest_step_is_capped_as_asked(cap):
    walk = ContourExploration(cluster(), seed=0, angle_limit=80, maxstep=0.05, step_cap=cap)
    steps = np.diff(path(walk, 25), axis=0)
    sizes = {
        "atom": np.linalg.norm(steps, axis=2).max(axis=1),
        "rms": np.linalg.norm(steps, axis=(1, 2)) / np.sqrt(31),
        "norm": np.linalg.norm(steps, axis=(1, 2)),
    }[cap]
    assert sizes.max() <= 0.05 * (1 + 1e-9)
    assert sizes.max() > 0.045


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"angle_limit": 0}, "angle_limit"),
        ({"maxstep": -1}, "maxstep"),
        ({"drift": 1.5}, "drift"),
        ({"tolerance": 0}, "tolerance"),
        ({"step_cap": "all"}, "step_cap"),
        ({"energy_target": float("nan")}, "energy_target"),
    ],
)
def test_settings_that_make_no_sense_are_named(settings, word):
    with pytest.raises(ValueError, match=word):
        ContourExploration(cluster(), **settings)
