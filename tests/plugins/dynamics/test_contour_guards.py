"""Limits that a contour exploration keeps, and what happens where it cannot."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.constraints import FixedLine
from ase.io import read

from pescape.plugins.dynamics import ContourExploration
from pescape.plugins.dynamics.guards import DistanceWatch, GuardKeeper, Guards


def crystal():
    atoms = bulk("Cu", cubic=True) * 2
    del atoms[0]
    atoms.rattle(0.1, seed=0)
    atoms.calc = EMT()
    return atoms


def far(atoms):
    """Return a target that presses atoms together."""
    return atoms.get_potential_energy() + 3.0 * len(atoms)


def shortest(atoms):
    return min(
        atoms.get_distances(i, [j for j in range(len(atoms)) if j != i], mic=True).min()
        for i in range(len(atoms))
    )


class Broken(EMT):
    """EMT with forces that are not numbers, or an exception, from some call on."""

    def __init__(self, since, what):
        super().__init__()
        self.calls, self.since, self.what = 0, since, what

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.calls += 1
        if self.calls >= self.since:
            if self.what == "raise":
                raise RuntimeError("no convergence")
            self.results[self.what] = self.results[self.what] * np.nan


class Alternating(EMT):
    """EMT that fails at every third call."""

    calls = 0

    def calculate(self, *args, **kwargs):
        self.calls += 1
        if self.calls % 3 == 0:
            raise ArithmeticError("bad luck")
        super().calculate(*args, **kwargs)


@pytest.mark.parametrize(
    ("guards", "kind"),
    [
        (Guards(max_force=8.0), "force"),
        (Guards(max_energy=0.4), "energy"),
        (Guards(max_deviation=2.5), "energy"),
        (Guards(min_distance=2.0), "distance"),
        (Guards(distance_ratio=0.75), "distance"),
        (Guards(max_displacement=0.3), "displacement"),
    ],
)
def test_limits_hold_in_every_frame_and_end_the_run_with_a_reason(tmp_path, guards, kind):
    atoms = crystal()
    start, energy = atoms.get_positions(), atoms.get_potential_energy()
    target = far(atoms) if guards.max_deviation is None else energy + 2.4 * len(atoms)
    if guards.max_deviation is not None:
        target = lambda step: energy + (0.1 if step < 3 else 9.0) * len(atoms)  # noqa: E731
    file = tmp_path / "walk.traj"
    walk = ContourExploration(atoms, target, guards=guards, seed=0, trajectory=str(file))
    reason = walk.run(100)
    assert not reason
    assert reason.kind == kind
    assert reason.limit is not None
    assert reason.step == walk.nsteps
    assert str(reason.step) in str(reason)
    frames = read(file, ":")
    assert len(frames) == walk.nsteps + 1
    assert np.array_equal(frames[-1].positions, atoms.positions)
    for frame in frames:
        if kind == "force":
            assert np.linalg.norm(frame.get_forces(), axis=1).max() <= 8.0
        elif kind == "distance":
            assert shortest(frame) >= (guards.min_distance or 0.75 * 2 * 1.32) - 1e-9
        elif kind == "displacement":
            assert np.linalg.norm(frame.positions - start, axis=1).max() <= 0.3
        elif guards.max_energy is not None:
            assert frame.get_potential_energy() <= energy + 0.4 * len(atoms)


def test_too_high_a_target_is_not_followed_silently():
    atoms = crystal()
    reason = ContourExploration(atoms, far(atoms), seed=0).run(200)
    assert reason.kind == "force"
    assert np.linalg.norm(atoms.get_forces(), axis=1).max() <= 30.0
    assert shortest(atoms) > 1.5


def test_target_below_every_minimum_is_called_unreachable():
    atoms = crystal()
    target = atoms.get_potential_energy() - 2.0 * len(atoms)
    walk = ContourExploration(atoms, target, seed=0)
    reason = walk.run(400)
    assert reason.kind == "unreachable"
    assert walk.nsteps < 300
    assert reason.step == walk.nsteps
    assert np.isfinite(atoms.get_positions()).all()


@pytest.mark.parametrize("what", ["forces", "energy"])
def test_results_that_are_no_numbers_are_taken_back(what):
    atoms = crystal()
    atoms.calc = Broken(5, what)
    if what == "energy":
        atoms.calc.implemented_properties = ["energy", "forces"]
    walk = ContourExploration(atoms, seed=0, force_consistent=False if what == "energy" else None)
    reason = walk.run(20)
    assert reason.kind == "not_finite"
    assert walk.nsteps == 3
    assert np.isfinite(atoms.get_positions()).all()
    assert np.array_equal(atoms.get_positions().ravel(), walk._walk.state.newest.x)


def test_exceptions_can_count_as_broken_limits():
    atoms = crystal()
    atoms.calc = Broken(5, "raise")
    walk = ContourExploration(atoms, seed=0, guards=Guards(caught=(RuntimeError,)))
    reason = walk.run(20)
    assert reason.kind == "calculator"
    assert "no convergence" in reason.message
    assert walk.nsteps == 3


def test_failed_step_is_tried_again_shorter():
    atoms = crystal()
    atoms.calc = Alternating()
    walk = ContourExploration(atoms, seed=0, guards=Guards(caught=(ArithmeticError,)))
    assert walk.run(10)
    assert walk.force_calls == atoms.calc.calls > 11


def test_start_that_breaks_a_limit_is_not_left():
    atoms = crystal()
    start = atoms.get_positions()
    walk = ContourExploration(atoms, seed=0, guards=Guards(max_force=0.01))
    for _ in range(2):
        reason = walk.run(5)
        assert (reason.kind, reason.step) == ("force", 0)
    assert walk.force_calls == 1
    assert np.array_equal(atoms.get_positions(), start)


def test_constraints_that_leave_no_contour_are_named():
    atoms = crystal()
    atoms.set_constraint(
        [FixedLine([0], [1, 0, 0])] + [FixedLine([i], [0, 0, 1]) for i in range(1, 31)]
    )
    assert ContourExploration(atoms, seed=0).run(3)

    class PairCurve(Calculator):
        implemented_properties = ("energy", "forces")

        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            x = atoms.positions
            self.results = {"energy": float((x * x).sum()), "forces": -2 * x}

    one = Atoms("Cu", [[1.0, 0, 0]], calculator=PairCurve(), constraint=FixedLine([0], [1, 0, 0]))
    assert ContourExploration(one, seed=0).run(3).kind == "no_direction"


def test_distances_are_found_through_boundaries_and_after_long_moves():
    atoms = Atoms("Cu3", [[0.1, 0, 0], [4.0, 0, 0], [2.0, 2.0, 0]], cell=[6, 6, 6], pbc=True)
    watch = DistanceWatch(Guards(min_distance=1.5), atoms)
    positions = atoms.get_positions()
    assert watch.closest(positions) is None
    for x in np.linspace(4.0, 4.5, 4):
        positions[1, 0] = x
        assert watch.closest(positions) is None
    positions[1, 0] = 5.2
    found = watch.closest(positions)
    assert (found.kind, found.limit) == ("distance", 1.5)
    assert found.value == pytest.approx(0.9)
    assert "atoms 0 and 1" in found.message or "atoms 1 and 0" in found.message


def test_keeper_without_limits_allows_everything_finite():
    atoms = crystal()
    keeper = GuardKeeper(Guards(max_force=None), atoms, atoms.positions, 0.0)
    assert keeper.check_results(1e6, np.full((31, 3), 1e4), 0.0) is None
    assert keeper.check_positions(atoms.positions * 0.1) is None
    assert keeper.check_results(np.nan, np.zeros((31, 3)), 0.0).kind == "not_finite"


@pytest.mark.parametrize(
    "settings",
    [{"max_force": 0}, {"min_distance": -1.0}, {"max_energy": float("nan")}, {"retries": -1}],
)
def test_limits_that_make_no_sense_are_named(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        Guards(**settings)
