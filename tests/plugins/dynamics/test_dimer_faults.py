"""Saddle searches that are killed, fail or run into limits."""

import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.io import read

from pescape.plugins.dynamics import Dimer
from pescape.plugins.dynamics.guards import Guards
from pescape.plugins.dynamics.runs import CheckpointError
from pescape.plugins.dynamics.saddle.rotation import local_displacement

METHODS = ["ritz", "vtst"]


@pytest.mark.parametrize("method", METHODS)
def test_restart_is_bit_identical(cluster, tmp_path, method):
    atoms, shift = cluster()
    whole = Dimer(atoms, shift, method=method)
    whole.run(steps=15)
    parts, shift = cluster()
    file, frames = tmp_path / "dimer.npz", tmp_path / "a.traj"
    Dimer(parts, shift, method=method, restart=file, trajectory=frames).run(steps=6)
    fresh, _ = cluster(seed=99)  # positions come from the checkpoint
    resumed = Dimer(fresh, shift, method=method, restart=file, trajectory=frames)
    assert resumed.nsteps == 6
    resumed.run(steps=9)
    assert np.array_equal(atoms.positions, fresh.positions)
    assert resumed.calls == whole.calls
    assert resumed.history == whole.history
    assert [frame.info["step"] for frame in read(frames, ":")] == list(range(16))


class Killed(BaseException):
    """What no search can catch."""


def files(folder):
    return {
        "restart": folder / "dimer.npz",
        "trajectory": folder / "centres.traj",
        "images": folder / "images.extxyz",
    }


@pytest.mark.parametrize("method", ["ritz", pytest.param("vtst", marks=pytest.mark.slow)])
def test_killed_at_any_call_a_search_goes_on_bit_by_bit(tmp_path, method, cluster):
    atoms, shift = cluster()
    whole = Dimer(atoms, shift, method=method)
    whole.run(steps=5)
    for kill in range(1, whole.calls + 1, 2):
        folder = tmp_path / str(kill)
        folder.mkdir()
        killed, shift = cluster()
        failing(killed.calc, kill, Killed)
        with pytest.raises(Killed):
            Dimer(killed, shift, method=method, **files(folder)).run(steps=5)
        fresh, shift = cluster()
        resumed = Dimer(fresh, shift, method=method, **files(folder))
        resumed.run(steps=5 - resumed.nsteps)
        assert np.array_equal(fresh.positions, atoms.positions)
        assert resumed.history == whole.history
        assert np.array_equal(resumed.mode, whole.mode)
        centres = read(folder / "centres.traj", ":")
        assert [frame.info["step"] for frame in centres] == list(range(6))
        images = read(folder / "images.extxyz", ":")
        assert [frame.info["call"] for frame in images] == list(range(1, whole.calls + 1))


def test_killed_between_a_frame_and_its_checkpoint_a_search_repeats_no_frame(tmp_path, hop):
    atoms, shift = hop()
    dimer = Dimer(atoms, shift, **files(tmp_path))

    def kill():
        if dimer.nsteps == 4:
            raise Killed

    dimer.attach(kill)
    with pytest.raises(Killed):
        dimer.run(steps=6)
    with (tmp_path / "images.extxyz").open("a") as file:
        file.write("31\nProperties=species:S:1:pos:R:3 call=99\nCu 0.0 0")  # torn by the kill
    fresh, _ = hop()
    resumed = Dimer(fresh, shift, **files(tmp_path))
    assert resumed.nsteps == 3
    resumed.run(steps=3)
    centres = read(tmp_path / "centres.traj", ":")
    assert [frame.info["step"] for frame in centres] == list(range(7))
    calls = [frame.info["call"] for frame in read(tmp_path / "images.extxyz", ":")]
    assert calls == list(range(1, resumed.calls + 1))


def test_append_trajectory_keeps_what_was_there(tmp_path, hop):
    for append, frames in ((True, 3), (True, 6), (False, 3)):
        atoms, shift = hop()
        dimer = Dimer(
            atoms,
            shift,
            trajectory=tmp_path / "a.traj",
            images=tmp_path / "i.xyz",
            append_trajectory=append,
        )
        dimer.run(steps=2)
        assert len(read(tmp_path / "a.traj", ":")) == frames
        assert len(read(tmp_path / "i.xyz", ":")) == dimer.calls * frames // 3


def test_checkpoints_of_other_runs_are_refused(hop, tmp_path):
    atoms, shift = hop()
    Dimer(atoms, shift, restart=tmp_path / "r.npz").run(steps=1)
    with pytest.raises(CheckpointError, match="another restart file"):
        Dimer(atoms, shift, method="vtst", restart=tmp_path / "r.npz")
    (tmp_path / "bad.npz").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match=r"bad\.npz"):
        Dimer(atoms, shift, restart=tmp_path / "bad.npz")
    atoms.set_constraint(FixAtoms([0]))
    with pytest.raises(CheckpointError, match="constraints that the search began with"):
        Dimer(atoms, shift, restart=tmp_path / "r.npz")
    atoms.set_constraint()
    atoms.set_cell(1.01 * atoms.cell)
    with pytest.raises(CheckpointError, match="cell"):
        Dimer(atoms, shift, restart=tmp_path / "r.npz")


def failing(calculator, number, fault):
    """Make the n-th calculation raise, or return forces that are not numbers."""
    original, counter = calculator.calculate, [0]

    def calculate(*args, **kwargs):
        counter[0] += 1
        original(*args, **kwargs)
        if counter[0] == number:
            if fault != "nan":
                calculator.results.clear()
                raise fault("the code behind broke down")
            calculator.results["forces"] = np.full_like(calculator.results["forces"], np.nan)

    calculator.calculate = calculate


@pytest.mark.parametrize("number", [1, 4, 20, 23])
def test_calculator_that_raises_leaves_the_search_where_it_was(hop, number):
    atoms, shift = hop()
    undisturbed = hop()[0]
    reference = Dimer(undisturbed, shift)
    reference.run(steps=10)
    failing(atoms.calc, number, RuntimeError)
    dimer = Dimer(atoms, shift)
    before = atoms.get_positions()
    with pytest.raises(RuntimeError, match="broke down"):
        dimer.run(steps=10)
    if not dimer.history or dimer.nsteps == 0:
        assert np.array_equal(before, atoms.positions)
    dimer.run(steps=10 - dimer.nsteps)
    np.testing.assert_allclose(atoms.positions, undisturbed.positions, atol=1e-6)


@pytest.mark.parametrize("number", [1, 4])
def test_nan_forces_end_the_run_with_a_reason(hop, number):
    atoms, shift = hop()
    before = atoms.get_positions()
    failing(atoms.calc, number, "nan")
    dimer = Dimer(atoms, shift)
    assert dimer.run(steps=10) is False
    assert dimer.reason.kind == "not_finite"
    assert not dimer.reason
    assert np.array_equal(before, atoms.positions)


def test_nan_after_a_step_is_tried_again_with_half_the_step(hop, tmp_path):
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

    dimer._follower.prepare = lambda _: None  # the next call is a step
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
        ("distance", Guards(max_force=None, min_distance=2.5)),
    ],
)
def test_ceilings_hold_and_say_so(crystal, kind, guards):
    atoms = crystal.copy()
    atoms.calc = EMT()
    start, bottom = atoms.get_positions(), crystal.get_potential_energy()
    mode = local_displacement(atoms, (0.0, 0.0, 0.0), 0)
    dimer = Dimer(atoms, mode, guards=guards)
    assert dimer.run(steps=100) is False
    assert dimer.reason.kind == kind
    assert dimer.reason.limit is not None
    assert max(entry.energy for entry in dimer.history) <= bottom + 0.005 * 31 or kind != "energy"
    assert np.linalg.norm(atoms.positions - start, axis=1).max() <= 0.3 or kind != "displacement"
    assert max(entry.fmax for entry in dimer.history) <= 0.02 or kind != "force"


@pytest.mark.parametrize("method", METHODS)
def test_start_above_the_ceiling_of_forces_comes_down(crystal, method):
    atoms = crystal.copy()
    atoms.calc = EMT()
    atoms.positions[3] += 0.45 * atoms.get_distance(3, 9, mic=True, vector=True)
    before = np.linalg.norm(atoms.get_forces(), axis=1).max()
    dimer = Dimer(atoms, seed=0, method=method, displacement=0.0, guards=Guards(max_force=5.0))
    assert before > 8.0
    dimer.run(steps=25)
    assert dimer.reason.kind != "force"
    largest = [entry.fmax for entry in dimer.history]
    below = next(n for n, force in enumerate(largest) if force < 5.0)
    assert np.all(np.diff(largest[: below + 1]) < 0)
    assert max(largest[below:]) <= 5.0
