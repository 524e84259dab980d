"""The optimizer contract of saddle searches: runs, files, seeds, arguments."""

import io

import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.io import read
from ase.io.trajectory import Trajectory

from pescape.plugins.dynamics import Dimer
from pescape.plugins.dynamics.saddle.mode_follower import RitzSettings, VtstSettings

METHODS = ["ritz", "vtst"]


def test_optimizer_contract(hop, tmp_path):
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


def test_every_frame_and_every_image_carries_its_own_energy_and_forces(hop, tmp_path):
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
@pytest.mark.parametrize("separation", [0.003, 0.02])
def test_rotated_images_are_as_far_as_was_asked_for(hop, tmp_path, method, separation):
    atoms, shift = hop()
    images = tmp_path / "all.traj"
    dimer = Dimer(atoms, shift, method=method, separation=separation, images=images)
    dimer.run(steps=3)
    centre = None
    for image in read(images, ":"):
        if image.info["dimer"] == "centre":
            centre = image.positions
        else:
            assert np.linalg.norm(image.positions - centre) == pytest.approx(separation)
    assert dimer.todict()["separation"] == separation


def test_atoms_that_the_caller_moves_are_looked_at_anew(hop):
    atoms, shift = hop()
    dimer = Dimer(atoms, shift)
    assert dimer.run()
    there = atoms.get_positions()
    atoms.rattle(0.03, seed=0)
    assert not dimer.converged(atoms.get_forces())
    assert dimer.run()
    assert dimer.history[-1].fmax < 0.001
    assert np.abs(atoms.positions - atoms.positions.mean(0) - there + there.mean(0)).max() < 0.02


def test_a_search_that_has_not_begun_says_so(hop):
    atoms, shift = hop()
    with pytest.raises(RuntimeError, match="not begun"):
        Dimer(atoms, shift).converged()


@pytest.mark.parametrize("method", METHODS)
def test_calculator_is_left_at_the_saddle(hop, method):
    atoms, shift = hop()
    dimer = Dimer(atoms, shift, method=method)
    assert dimer.run()
    assert not atoms.calc.calculation_required(atoms, ["energy", "forces"])
    assert atoms.get_potential_energy() == dimer.history[-1].energy


def test_open_trajectories_and_named_log_files_are_written_to(hop, tmp_path):
    atoms, shift = hop()
    with Trajectory(tmp_path / "a.traj", "w") as frames:
        Dimer(atoms, shift, trajectory=frames, logfile=tmp_path / "log").run(steps=2)
    assert [frame.info["step"] for frame in read(tmp_path / "a.traj", ":")] == [0, 1, 2]
    assert len((tmp_path / "log").read_text().splitlines()) == 4


def test_loginterval_thins_the_trajectory(hop, tmp_path):
    atoms, shift = hop()
    Dimer(atoms, shift, trajectory=tmp_path / "a.traj", loginterval=4).run(steps=8)
    assert [frame.info["step"] for frame in read(tmp_path / "a.traj", ":")] == [0, 4, 8]


def test_history_holds_curvatures_and_calls(hop):
    atoms, shift = hop()
    dimer = Dimer(atoms, shift)
    dimer.run(steps=4)
    assert [entry.step for entry in dimer.history] == [0, 1, 2, 3, 4]
    assert dimer.history[0].curvature is None
    assert all(isinstance(entry.curvature, float) for entry in dimer.history[1:])
    assert dimer.history[-1].calls == dimer.calls


@pytest.mark.parametrize("method", METHODS)
def test_seeds_decide_and_nothing_else_does(hop, method):
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


def test_two_searches_share_nothing(hop):
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
def test_fixed_atoms_stay_and_the_given_mode_is_unchanged(on_hollow, method):
    atoms = on_hollow()
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


def test_no_net_translation_without_constraints(hop):
    atoms, _ = hop()
    before = atoms.positions.mean(axis=0)
    dimer = Dimer(atoms, seed=0)
    dimer.run(steps=15)
    np.testing.assert_allclose(atoms.positions.mean(axis=0), before, atol=1e-9)
    assert np.abs(dimer.mode.sum(axis=0)).max() < 1e-9


def test_steps_keep_the_cap_of_each_atom(hop):
    atoms, shift = hop()
    dimer = Dimer(atoms, shift)
    last = atoms.get_positions()
    for _ in dimer.irun(steps=30):
        assert np.linalg.norm(atoms.positions - last, axis=1).max() <= 0.2 + 1e-9
        last = atoms.get_positions()


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"method": "newton"}, ValueError, "expected one of ritz, vtst"),
        ({"separation": 0.0}, ValueError, "positive length"),
        ({"settings": VtstSettings()}, TypeError, "RitzSettings"),
        ({"mode": np.ones(4)}, ValueError, r"\(31, 3\)"),
    ],
)
def test_wrong_arguments_are_named(hop, arguments, error, match):
    with pytest.raises(error, match=match):
        Dimer(hop()[0], **arguments)


def test_a_search_needs_something_to_move(crystal):
    atoms = crystal.copy()
    atoms.set_constraint(FixAtoms(range(31)))
    with pytest.raises(ValueError, match="all atoms are fixed"):
        Dimer(atoms)
