"""Many contour explorations at once."""

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read

from pescape.plugins.dynamics.contour.targets import PerAtomAbove, Ramp
from pescape.plugins.dynamics.guards import Guards
from pescape.plugins.dynamics.replicas import explore_replicas


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


def cluster(calculator=None, seed=0):
    atoms = bulk("Cu", cubic=True) * 2
    del atoms[0]
    atoms.rattle(0.15, seed=seed)
    atoms.calc = calculator if calculator is not None else EMT()
    return atoms


def test_replicas_give_the_same_with_any_executor(tmp_path):
    starts = [cluster(seed=s) for s in range(3)]
    before = [atoms.get_positions() for atoms in starts]
    settings = {"steps": 6, "seed": 4, "calculator": lambda _: EMT()}
    serial = explore_replicas(starts, None, **settings, folder=tmp_path)
    with ThreadPoolExecutor(2) as pool:
        threads = explore_replicas(starts, None, **settings, executor=pool)
    for a, b, start, old in zip(serial, threads, starts, before, strict=True):
        assert a.reason
        assert np.array_equal(a.positions, b.positions)
        assert a.energies.shape == a.targets.shape == (7,)
        assert np.array_equal(start.get_positions(), old)
    assert len(read(tmp_path / "replica-0001.traj", ":")) == 7
    again = explore_replicas(starts, None, **settings | {"steps": 8}, folder=tmp_path)
    assert [r.force_calls for r in again] == [9, 9, 9]


def test_replicas_run_in_processes(tmp_path):
    """Everything that a replica needs, and gives back, passes through pickling."""
    starts = [cluster(seed=s) for s in range(3)]
    energies = [-0.1 + 0.02 * s for s in range(3)]
    targets = [PerAtomAbove(Ramp(e, e + 0.05, 5), 0.0, 31) for e in energies]
    settings = {"steps": 5, "seed": 4, "guards": Guards(max_force=50.0, caught=(RuntimeError,))}
    serial = explore_replicas(starts, targets, **settings)
    fresh = [cluster(seed=s) for s in range(3)]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        apart = explore_replicas(fresh, targets, **settings, executor=pool, folder=tmp_path)
    for index, (a, b) in enumerate(zip(serial, apart, strict=True)):
        assert a.index == b.index == index
        assert a.reason == b.reason
        assert (a.reason.kind, a.force_calls, b.force_calls) == ("steps", 6, 6)
        assert np.array_equal(a.positions, b.positions)
        assert np.array_equal(a.energies, b.energies)
        assert np.array_equal(b.targets, [targets[index](step) for step in range(6)])
        assert len(read(tmp_path / f"replica-{index:04d}.traj", ":")) == 6


def test_replica_that_fails_does_not_stop_the_others():
    starts = [cluster(Counting(failing=[4] if s == 1 else ()), seed=s) for s in range(3)]
    results = explore_replicas(starts, None, steps=6, seed=4)
    assert [bool(r.reason) for r in results] == [True, False, True]
    assert results[1].reason.kind == "calculator"
    assert "no convergence" in results[1].reason.message
    shared = EMT()
    for atoms in starts:
        atoms.calc = shared
    with pytest.raises(ValueError, match="share a calculator"):
        explore_replicas(starts, None, steps=1, seed=0)
    with pytest.raises(ValueError, match="one each"):
        explore_replicas(starts, [1.0], steps=1, seed=0)
