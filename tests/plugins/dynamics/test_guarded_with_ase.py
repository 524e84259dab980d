"""Walks and molecular dynamics in the hands of users of ASE."""

import threading

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.socketio import SocketClient, SocketIOCalculator
from ase.io import Trajectory, read

from pescape.plugins.dynamics import ContourExploration, NVTRamp
from pescape.plugins.dynamics.runs import count_frames, generator, keep_frames


def crystal(calculator):
    atoms = bulk("Cu", cubic=True) * 2
    del atoms[0]
    atoms.rattle(0.1, seed=0)
    atoms.calc = calculator
    return atoms


def walk(atoms, **kwargs):
    return ContourExploration(atoms, seed=0, **kwargs)


def heat(atoms, **kwargs):
    return NVTRamp(atoms, (300, 900), steps=8, timestep=2.0, seed=0, **kwargs)


both = pytest.mark.parametrize("make", [walk, heat])


@both
def test_open_trajectory_and_context_manager_serve(tmp_path, make):
    file = tmp_path / "run.traj"
    with Trajectory(file, "w") as trajectory, make(crystal(EMT()), trajectory=trajectory) as run:
        assert run.run(4)
    frames = read(file, ":")
    assert len(frames) == 5
    assert all(np.isfinite(frame.get_forces()).all() for frame in frames)


@both
def test_attached_trajectory_follows_its_own_interval(tmp_path, make):
    atoms, file = crystal(EMT()), tmp_path / "run.traj"
    with Trajectory(file, "w", atoms) as trajectory:
        run = make(atoms)
        run.attach(trajectory, interval=3)
        run.run(7)
    assert len(read(file, ":")) == 3


@both
def test_trajectory_says_how_it_was_made(tmp_path, make):
    file = tmp_path / "run.traj"
    run = make(crystal(EMT()), trajectory=file)
    run.run(1)
    with Trajectory(file) as frames:
        assert frames.description | run.todict() == frames.description


@both
def test_persistent_calculator_behind_a_socket_gives_the_same(tmp_path, make):
    """One process holds the calculator for the whole run and is sent positions only."""
    expected = make(crystal(EMT()))
    expected.run(6)
    name = f"pescape-{tmp_path.name}"
    with SocketIOCalculator(unixsocket=name, timeout=30) as calculator:
        client = threading.Thread(target=serve, args=(name,), daemon=True)
        client.start()
        run = make(crystal(calculator), trajectory=tmp_path / "run.traj")
        assert run.run(6)
        assert run.force_calls == 7
        assert np.abs(run.atoms.positions - expected.atoms.positions).max() < 1e-7
    client.join(timeout=10)
    assert [frame.get_potential_energy() for frame in read(tmp_path / "run.traj", ":")][
        -1
    ] == pytest.approx(expected.energy, abs=1e-6)


def serve(name):
    client = SocketClient(unixsocket=name, timeout=30)
    atoms = crystal(EMT())
    client.run(atoms, use_stress=False)


def test_ranks_that_run_together_draw_the_same_numbers():
    class Rank:
        size, sent = 2, np.array([7])

        def broadcast(self, values, root):
            assert root == 0
            values[:] = self.sent

    drawn = generator(None, Rank()).random(3)
    assert np.array_equal(drawn, generator(7).random(3))
    assert not np.array_equal(generator(None).random(3), generator(None).random(3))


def test_frames_beyond_a_number_are_dropped_with_the_rest_unchanged(tmp_path):
    file = tmp_path / "run.traj"
    heat(crystal(EMT()), trajectory=file).run(5)
    before = read(file, ":")
    keep_frames(file, 9)
    assert count_frames(file) == 6
    keep_frames(file, 4)
    kept = read(file, ":")
    assert len(kept) == 4
    for one, two in zip(before, kept, strict=False):
        assert one == two
        assert np.array_equal(one.get_momenta(), two.get_momenta())
        assert np.array_equal(one.get_forces(), two.get_forces())
        assert one.get_potential_energy() == two.get_potential_energy()
    assert count_frames(tmp_path / "none.traj") == 0
