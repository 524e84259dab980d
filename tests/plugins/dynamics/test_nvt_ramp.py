"""Molecular dynamics at a temperature that goes up or down."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixBondLength, FixCartesian, FixCom, FixedPlane, Hookean
from ase.io import read
from ase.optimize.optimize import Dynamics

from pescape.plugins.dynamics import NVTRamp, thermostats
from pescape.plugins.dynamics.checkpoint import CheckpointError
from pescape.plugins.dynamics.guards import Guards

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


# -- physics ----------------------------------------------------------------------------------


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
@pytest.mark.parametrize(("first", "last"), [(200, 1200), (1500, 300)])
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
    assert np.abs(atoms.get_center_of_mass() - centre).max() < 0.02
    assert np.abs(atoms.get_momenta().sum(axis=0)).max() < 1e-10


# -- one of ASE's dynamics ----------------------------------------------------------------------


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


# -- restart and failures ----------------------------------------------------------------------


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


# -- constraints ---------------------------------------------------------------------------------


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


# -- wrong input -----------------------------------------------------------------------------------


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


def test_ase_without_the_chain_is_named(monkeypatch):
    monkeypatch.setattr(thermostats, "_Chain", None)
    with pytest.raises(ImportError, match=r"ASE 3\.25 or newer.*langevin"):
        ramp(crystal())
    assert ramp(crystal(), thermostat="langevin").run(2)


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
