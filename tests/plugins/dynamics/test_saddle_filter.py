"""Ordinary optimizers that are led to saddles."""

import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.io import read
from ase.optimize import BFGS, FIRE, LBFGS, MDMin

from pescape.plugins.dynamics import SaddleFilter


@pytest.mark.parametrize(
    "optimizer", [BFGS, *(pytest.param(o, marks=pytest.mark.slow) for o in (FIRE, LBFGS, MDMin))]
)
def test_ordinary_optimizers_find_the_vacancy_hop(optimizer, crystal, hop, tmp_path):
    atoms, shift = hop()
    kept = shift.copy()
    saddle = SaddleFilter(atoms, shift, images=tmp_path / "all.traj")
    search = optimizer(saddle, logfile=None, trajectory=tmp_path / "a.traj")
    assert search.run(fmax=0.01, steps=200)
    assert saddle.curvature < 0
    assert np.linalg.norm(atoms.get_forces(), axis=1).max() < 0.02
    barrier = saddle.get_potential_energy() - crystal.get_potential_energy()
    assert barrier == pytest.approx(0.76, abs=0.01)
    assert saddle.calls < 250
    assert np.array_equal(shift, kept)
    images = read(tmp_path / "all.traj", ":")
    assert len(images) == saddle.calls
    for frame in read(tmp_path / "a.traj", "::20"):
        check = frame.copy()
        check.calc = EMT()
        assert frame.get_potential_energy() == pytest.approx(check.get_potential_energy())
        np.testing.assert_allclose(frame.get_forces(), check.get_forces(), atol=1e-9)


def test_fixed_atoms_feel_nothing(on_hollow):
    atoms = on_hollow()
    saddle = SaddleFilter(atoms, seed=0)
    fixed = atoms.constraints[0].index
    assert not saddle.get_forces()[fixed].any()
    assert not saddle.mode[fixed].any()


def test_no_optimizer_converges_at_a_minimum(on_hollow):
    atoms = on_hollow()
    search = FIRE(SaddleFilter(atoms, seed=0), logfile=None)
    assert not search.run(fmax=0.25, steps=0)


def test_rotation_that_failed_is_made_anew(hop):
    atoms, shift = hop()
    saddle = SaddleFilter(atoms, shift)
    start, original, calls = atoms.get_positions(), atoms.calc.calculate, []

    def calculate(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("no memory left")
        original(*args, **kwargs)

    atoms.calc.calculate = calculate
    with pytest.raises(RuntimeError, match="no memory"):
        saddle.get_forces()
    assert np.array_equal(atoms.positions, start)
    forces = saddle.get_forces()
    assert saddle.curvature is not None
    assert np.array_equal(forces, saddle.get_forces())
