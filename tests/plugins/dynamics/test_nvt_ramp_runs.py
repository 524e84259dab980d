"""How molecular dynamics on a ramp runs, ends, fails and is taken up again."""

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.io import read
from ase.optimize.optimize import Dynamics

from pescape.plugins.dynamics import NVTRamp
from pescape.plugins.dynamics.guards import Guards
from pescape.plugins.dynamics.runs import CheckpointError

THERMOSTATS = ("nose-hoover", "langevin")


class Springs(Calculator):
    """Springs to the first positions, and between all atoms; fails at given calls."""

    implemented_properties = ("energy", "free_energy", "forces")

    def __init__(self, start, failing=(), broken=()):
        super().__init__()
        self.start, self.calls, self.failing, self.broken = start, 0, set(failing), set(broken)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        if self.calls in self.failing:
            raise RuntimeError("no convergence")
        d = atoms.positions - self.start
        d -= d.mean(axis=0)  # no net force
        k = 2.0 + np.arange(d.size).reshape(d.shape) % 7  # many frequencies
        energy = float((0.5 * k * d**2 + 0.5 * d**4).sum())
        forces = -k * d - 2.0 * d**3
        forces -= forces.mean(axis=0)
        if self.calls in self.broken:
            forces = forces * np.nan
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}


class Unstored(Springs):
    """Springs that forget their results at once."""

    def get_property(self, name, atoms=None, allow_calculation=True):
        if allow_calculation:
            self.calculate(atoms, [name])
        return self.results[name]


def crystal(cells=2, **kwargs):
    atoms = bulk("Cu", cubic=True) * cells
    atoms.calc = Springs(atoms.get_positions(), **kwargs)
    return atoms


def ramp(atoms, temperatures=(300, 600), **kwargs):
    settings = {"steps": 20, "timestep": 2.0, "seed": 5}
    return NVTRamp(atoms, temperatures, **(settings | kwargs))


def path(md, steps):
    return np.array([md.atoms.get_positions() for _ in md.irun(steps)])


def test_run_returns_why_it_ended_and_ends_with_the_ramp():
    md = ramp(crystal())
    assert isinstance(md, Dynamics)
    reason = md.run(5)
    assert reason is md.reason
    assert (reason.kind, reason.step, md.nsteps) == ("steps", 5, 5)
    assert reason
    assert md.converged()
    assert md.run().step == 20
    assert md.run(3).step == 23
    assert md.temperature_target == 600
    assert md.get_time() == pytest.approx(46 * units.fs)


def test_irun_yields_once_per_step_and_attached_functions_are_called():
    md = ramp(crystal())
    seen = []
    md.attach(lambda: seen.append(md.nsteps), interval=2)
    assert list(md.irun(5)) == [False] * 5 + [True]
    assert seen == [0, 2, 4]


def test_stop_function_ends_the_run_with_its_words():
    md = ramp(crystal(), stop=lambda m: "hot enough" if m.nsteps == 4 else None)
    reason = md.run()
    assert (reason.kind, reason.message, reason.step) == ("asked", "hot enough", 4)


@pytest.mark.parametrize("thermostat", THERMOSTATS)
@pytest.mark.parametrize("calculator", [Springs, Unstored])
def test_one_force_call_is_made_per_step(thermostat, calculator):
    atoms = crystal()
    atoms.calc = calculator(atoms.get_positions())
    md = ramp(atoms, thermostat=thermostat)
    md.run(6)
    md.run(4)
    assert atoms.calc.calls == md.force_calls == 11


@pytest.mark.parametrize("thermostat", THERMOSTATS)
def test_every_frame_holds_energy_forces_and_momenta(thermostat, tmp_path):
    atoms, file = crystal(), tmp_path / "md.traj"
    md = ramp(atoms, thermostat=thermostat, trajectory=file)
    seen = [(md.energy, md.kinetic_energy) for _ in md.irun(7)]
    frames = read(file, ":")
    assert len(frames) == 8
    assert atoms.calc.calls == 8
    for frame, (potential, kinetic) in zip(frames, seen, strict=True):
        exact = Springs(atoms.calc.start)
        exact.calculate(frame)
        assert frame.get_potential_energy() == potential == exact.results["energy"]
        assert np.array_equal(frame.get_forces(), exact.results["forces"])
        assert frame.get_kinetic_energy() == pytest.approx(kinetic)


def test_log_and_trajectory_follow_the_interval(tmp_path):
    log, file = tmp_path / "md.log", tmp_path / "md.traj"
    ramp(crystal(), logfile=str(log), trajectory=str(file), loginterval=5).run(10)
    lines = log.read_text().splitlines()
    assert lines[0].startswith("# Step")
    assert [int(line.split()[0]) for line in lines[1:]] == [0, 5, 10]
    assert [float(line.split()[2]) for line in lines[1:]] == [300, 375, 450]
    assert len(read(file, ":")) == 3


@pytest.mark.parametrize("thermostat", THERMOSTATS)
def test_seed_decides_the_path_and_numpys_generator_is_left_alone(thermostat):
    np.random.seed(7)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = path(ramp(crystal(), thermostat=thermostat), 10)
    second = path(ramp(crystal(), thermostat=thermostat), 10)
    other = path(ramp(crystal(), thermostat=thermostat, seed=6), 10)
    assert np.array_equal(first, second)
    assert not np.allclose(first[-1], other[-1], atol=1e-3)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("thermostat", THERMOSTATS)
def test_two_runs_side_by_side_share_nothing(thermostat):
    alone = path(ramp(crystal(), thermostat=thermostat), 8)
    one = ramp(crystal(), thermostat=thermostat)
    two = ramp(crystal(), (900, 100), thermostat=thermostat, seed=9, timestep=1.0)
    together = [one.atoms.get_positions() for _ in zip(one.irun(8), two.irun(8), strict=True)]
    assert np.array_equal(alone, np.array(together))


def test_numbers_of_numpy_and_whole_numbers_serve_as_settings(tmp_path):
    plain = ramp(crystal(), (300.0, 600.0), damping=150.0)
    odd = ramp(
        crystal(), (np.float32(300), np.int64(600)), steps=np.int64(20), timestep=2,
        damping=np.float64(150), seed=np.int64(5), restart=tmp_path / "a.npz",
    )  # fmt: skip
    assert np.array_equal(path(plain, 6), path(odd, np.int64(6)))


@pytest.mark.parametrize("thermostat", THERMOSTATS)
@pytest.mark.parametrize("restart_at", [1, 7])
def test_restart_continues_bit_for_bit(tmp_path, thermostat, restart_at):
    def begun(name):
        return ramp(
            crystal(), thermostat=thermostat, restart=tmp_path / f"{name}.npz",
            trajectory=tmp_path / f"{name}.traj",
        )  # fmt: skip

    whole = begun("whole")
    whole.run(15)
    assert begun("parts").run(restart_at)
    parts = begun("parts")
    assert parts.nsteps == restart_at
    assert parts.run(15 - restart_at)
    assert np.array_equal(whole.atoms.get_positions(), parts.atoms.get_positions())
    assert np.array_equal(whole.atoms.get_momenta(), parts.atoms.get_momenta())
    assert whole.energy == parts.energy
    assert whole.force_calls == parts.force_calls == 16
    assert parts.atoms.calc.calls == 15 - restart_at
    for one, two in zip(
        read(tmp_path / "whole.traj", ":"), read(tmp_path / "parts.traj", ":"), strict=True
    ):
        assert np.array_equal(one.positions, two.positions)
        assert one.get_potential_energy() == two.get_potential_energy()


@pytest.mark.parametrize("thermostat", THERMOSTATS)
def test_frames_after_the_last_checkpoint_are_written_once(tmp_path, thermostat):
    def begun():
        return ramp(
            crystal(), thermostat=thermostat, restart=tmp_path / "md.npz", restart_interval=4,
            trajectory=tmp_path / "md.traj",
        )  # fmt: skip

    expected = path(ramp(crystal(), thermostat=thermostat), 9)
    run = begun().irun(9)
    for _ in range(7):  # killed after step 6, two steps after the checkpoint
        next(run)
    del run
    assert len(read(tmp_path / "md.traj", ":")) == 7
    again = begun()
    assert again.nsteps == 4
    assert len(read(tmp_path / "md.traj", ":")) == 5
    again.run(5)
    frames = read(tmp_path / "md.traj", ":")
    assert np.array_equal([frame.positions for frame in frames], expected)
    assert all(frame.get_forces().shape == (32, 3) for frame in frames)


@pytest.mark.parametrize("thermostat", THERMOSTATS)
def test_calculator_that_raises_leaves_everything_as_it_was(tmp_path, thermostat):
    file = tmp_path / "md.traj"
    undisturbed = path(ramp(crystal(), thermostat=thermostat), 12)
    atoms = crystal(failing=[6])
    md = ramp(atoms, thermostat=thermostat, trajectory=file)
    with pytest.raises(RuntimeError, match="no convergence"):
        md.run(12)
    assert md.nsteps == 4
    assert np.array_equal(atoms.get_positions(), undisturbed[4])
    frames = read(file, ":")
    assert len(frames) == 5
    assert np.array_equal(frames[-1].positions, atoms.positions)
    assert np.allclose(frames[-1].get_momenta(), atoms.get_momenta(), atol=1e-14)
    md.run(12 - md.nsteps)
    assert np.array_equal(atoms.get_positions(), undisturbed[-1])


@pytest.mark.parametrize("thermostat", THERMOSTATS)
def test_forces_that_are_no_numbers_end_the_run_where_they_were_right(thermostat):
    atoms = crystal(broken=[5])
    md = ramp(atoms, thermostat=thermostat)
    reason = md.run(20)
    assert (reason.kind, reason.step, md.nsteps) == ("not_finite", 3, 3)
    assert np.isfinite(atoms.get_positions()).all()
    assert np.isfinite(atoms.get_momenta()).all()


def test_exceptions_can_count_as_broken_limits():
    md = ramp(crystal(failing=[5]), guards=Guards(caught=(RuntimeError,)))
    reason = md.run(20)
    assert reason.kind == "calculator"
    assert "no convergence" in reason.message
    assert md.nsteps == 3


@pytest.mark.parametrize("thermostat", THERMOSTATS)
@pytest.mark.parametrize(
    ("guards", "kind"),
    [
        (Guards(max_force=1.5), "force"),
        (Guards(max_energy=0.1), "energy"),
        (Guards(min_distance=2.1), "distance"),
        (Guards(max_displacement=0.3), "displacement"),
    ],
)
def test_limits_hold_in_every_frame_and_end_the_run_with_a_reason(
    tmp_path, thermostat, guards, kind
):
    atoms, file = crystal(), tmp_path / "md.traj"
    md = ramp(atoms, (2000, 2500), steps=300, thermostat=thermostat, guards=guards, trajectory=file)
    reason = md.run()
    assert not reason
    assert (reason.kind, reason.step) == (kind, md.nsteps)
    assert reason.limit is not None
    frames = read(file, ":")
    assert len(frames) == md.nsteps + 1
    assert np.array_equal(frames[-1].positions, atoms.positions)
    assert np.allclose(frames[-1].get_momenta(), atoms.get_momenta(), atol=1e-14)
    for frame in frames:
        if kind == "force":
            assert np.linalg.norm(frame.get_forces(), axis=1).max() <= 1.5
        elif kind == "energy":
            assert frame.get_potential_energy() <= 3.2
        elif kind == "distance":
            distances = frame.get_all_distances(mic=True)
            assert distances[np.triu_indices(32, 1)].min() >= 2.1
        else:
            assert np.linalg.norm(frame.positions - atoms.calc.start, axis=1).max() <= 0.3


def test_start_that_breaks_a_limit_is_not_left():
    atoms = crystal()
    atoms.rattle(0.3, seed=0)
    start = atoms.get_positions()
    md = ramp(atoms, guards=Guards(max_force=0.01))
    for _ in range(2):
        reason = md.run(5)
        assert (reason.kind, reason.step) == ("force", 0)
    assert np.array_equal(atoms.get_positions(), start)


def test_changes_between_runs_are_followed():
    atoms = crystal()
    md = ramp(atoms)
    md.run(5)
    atoms.set_momenta(2 * atoms.get_momenta())
    hot = md.temperature
    assert hot == pytest.approx(md._free.temperature(atoms.get_momenta()))
    atoms.rattle(0.1, seed=3)
    md.run(1)
    assert md.energy == pytest.approx(atoms.get_potential_energy())
    assert md.nsteps == 6


def test_checkpoint_of_another_thermostat_or_system_is_refused(tmp_path):
    file = tmp_path / "md.npz"
    ramp(crystal(), restart=file).run(2)
    with pytest.raises(CheckpointError, match="langevin"):
        ramp(crystal(), restart=file, thermostat="langevin")
    with pytest.raises(CheckpointError, match="32 atoms"):
        ramp(crystal(1), restart=file)
    stretched = crystal()
    stretched.set_cell(stretched.cell * 1.01)
    with pytest.raises(CheckpointError, match="cell"):
        ramp(stretched, restart=file)
