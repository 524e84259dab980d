"""Saddle searches that are killed, fail or run into limits."""

import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.io import read

from pescape.plugins.dynamics import Dimer
from pescape.plugins.dynamics.checkpoint import CheckpointError
from pescape.plugins.dynamics.guards import Guards
from pescape.plugins.dynamics.modes import local_displacement

METHODS = ["ritz", "vtst"]


@pytest.mark.parametrize("method", METHODS)
def test_restart_is_bit_identical(hop, tmp_path, method):
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


def test_checkpoints_of_other_runs_are_refused(hop, tmp_path):
    atoms, shift = hop()
    Dimer(atoms, shift, restart=tmp_path / "r.npz").run(steps=1)
    with pytest.raises(CheckpointError, match="another restart file"):
        Dimer(atoms, shift, method="vtst", restart=tmp_path / "r.npz")
    (tmp_path / "bad.npz").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match=r"bad\.npz"):
        Dimer(atoms, shift, restart=tmp_path / "bad.npz")


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
def test_calculator_that_raises_leaves_the_search_where_it_was(hop, number):
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
