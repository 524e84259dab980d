"""The local model of the energy, targets and checkpoint files."""

import numpy as np
import pytest

from pescape.plugins.dynamics.contour.step import LocalModel, find_angle
from pescape.plugins.dynamics.contour.walk import (
    Constant,
    PerAtomAbove,
    Ramp,
    Schedule,
    as_target,
)
from pescape.plugins.dynamics.runs import read_checkpoint, write_checkpoint
from pescape.plugins.dynamics.surface import Sample


def surface(size, rng):
    """Return a smooth anharmonic function and its gradient."""
    matrix = rng.normal(size=(size, size)) / np.sqrt(size)
    matrix = matrix @ matrix.T + np.eye(size)

    def evaluate(x):
        return float(0.5 * x @ matrix @ x + 0.02 * (x**3).sum()), matrix @ x + 0.06 * x**2

    return evaluate


def sampled(size=12, step=0.1, seed=0):
    """Return samples along a curve that is level at its end, and the direction at this end."""
    rng = np.random.default_rng(seed)
    evaluate = surface(size, rng)
    end, tangent, bend = rng.normal(size=(3, size))
    uphill = evaluate(end)[1]
    tangent -= (tangent @ uphill) / (uphill @ uphill) * uphill
    tangent /= np.linalg.norm(tangent)
    times = step * np.arange(-3, 1)
    points = [end + t * tangent + 0.1 * t * t * bend for t in times]
    return evaluate, [Sample(x, *evaluate(x)) for x in points], tangent, uphill


@pytest.mark.parametrize(("count", "better"), [(2, 0.3), (3, 0.1), (4, 0.1)])
def test_model_predicts_the_next_energy_better_than_the_gradient(count, better):
    found, linear = np.zeros(2), np.zeros(2)
    for seed in range(6):
        for place, step in enumerate((0.2, 0.1)):
            evaluate, samples, tangent, _ = sampled(step=step, seed=seed)
            slope = np.linalg.norm(samples[-1].gradient)
            plane = LocalModel(samples[-count:], 4.0).plane(tangent, slope)
            exact = evaluate(samples[-1].x + step * tangent)[0] - samples[-1].energy
            found[place] += abs(plane.predict(step, 0.0)[0] - exact)
            linear[place] += abs(exact)
    assert (found < better * linear).all()
    assert found[1] < 0.27 * found[0]


def test_derivative_with_respect_to_the_angle_is_right():
    _, samples, tangent, _ = sampled()
    plane = LocalModel(samples, 4.0).plane(tangent, np.linalg.norm(samples[-1].gradient), 1.3)
    for angle in (-1.0, -0.2, 0.0, 0.5):
        step = 1e-5
        ends = [plane.predict(0.1, angle + side * step)[0] for side in (1, -1)]
        numeric = (ends[0] - ends[1]) / (2 * step)
        assert plane.predict(0.1, angle)[1] == pytest.approx(numeric, rel=1e-5)


def test_model_predicts_how_far_the_gradient_turns():
    evaluate, samples, tangent, _ = sampled(step=0.3)
    slope = np.linalg.norm(samples[-1].gradient)
    plane = LocalModel(samples, 4.0).plane(tangent, slope)
    old, new = samples[-1].gradient, evaluate(samples[-1].x + 0.3 * tangent)[1]
    exact = np.arccos(old @ new / np.linalg.norm(old) / np.linalg.norm(new))
    assert plane.turn(0.3, 0.0) == pytest.approx(exact, rel=0.35)
    assert plane.turn(0.0, 0.0) == pytest.approx(0.0, abs=1e-12)


def test_model_does_not_depend_on_the_orientation_of_space():
    _, samples, tangent, _ = sampled()
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(12, 12)))[0]
    turned = [Sample(rotation @ s.x, s.energy, rotation @ s.gradient) for s in samples]
    slope = np.linalg.norm(samples[-1].gradient)
    one = LocalModel(samples, 4.0).plane(tangent, slope).predict(0.1, 0.2)
    two = LocalModel(turned, 4.0).plane(rotation @ tangent, slope).predict(0.1, 0.2)
    assert one == pytest.approx(two, rel=1e-7)


@pytest.mark.parametrize("wanted", [0.0, 0.02, -0.05])
def test_angle_is_found_at_which_the_energy_is_as_wanted(wanted):
    _, samples, tangent, _ = sampled()
    plane = LocalModel(samples, 4.0).plane(tangent, np.linalg.norm(samples[-1].gradient))
    angle, energy, reached = find_angle(plane, 0.1, wanted)
    assert reached
    assert energy == pytest.approx(wanted, abs=1e-4 * plane.slope * 0.1)
    assert plane.predict(0.1, angle)[0] == energy
    assert not find_angle(plane, 0.1, 100.0)[2]
    assert not find_angle(plane, 0.1, -100.0)[2]


def test_samples_on_one_line_do_no_harm():
    evaluate = surface(5, np.random.default_rng(0))
    line = np.ones(5) / np.sqrt(5)
    samples = [Sample(t * line, *evaluate(t * line)) for t in (0.0, 0.1, 0.2, 0.3)]
    tangent = np.eye(5)[0] - samples[-1].gradient[0] * samples[-1].gradient / (
        samples[-1].gradient @ samples[-1].gradient
    )
    plane = LocalModel(samples, 4.0).plane(tangent / np.linalg.norm(tangent), 1.0)
    assert np.isfinite(plane.predict(0.1, 0.3)).all()


def test_ramps_and_schedules_give_the_energies_between_their_points():
    ramp = Ramp(1.0, 3.0, 4)
    assert [ramp(s) for s in (0, 1, 4, 9)] == [1.0, 1.5, 3.0, 3.0]
    jump = Schedule((2, 4, 4, 6), (1.0, 2.0, 5.0, 6.0))
    assert [jump(s) for s in (0, 2, 3, 4, 5, 6, 8)] == [1.0, 1.0, 1.5, 5.0, 5.5, 6.0, 6.0]
    assert PerAtomAbove(ramp, -10.0, 2)(1) == -7.0
    assert as_target(2) == Constant(2.0)
    assert as_target([(0, 1.0), (2, 2.0)])(1) == 1.5
    assert as_target(ramp) is ramp
    with pytest.raises(ValueError, match="increase"):
        Schedule((3, 1), (0.0, 1.0))
    with pytest.raises(ValueError, match="as many"):
        Schedule((3,), (0.0, 1.0))
    with pytest.raises(ValueError, match="at least one step"):
        Ramp(0.0, 1.0, 0)


def test_checkpoint_keeps_arrays_and_numbers_exactly_and_leaves_no_scraps(tmp_path):
    file = tmp_path / "a.npz"
    state = np.random.default_rng(3).bit_generator.state
    numbers = np.random.default_rng(4).normal(size=(3, 2))
    data = {"random": state, "value": 0.1 + 0.2, "far": float("inf")}
    write_checkpoint(file, "Walk", {"numbers": numbers}, {"old": 1})
    write_checkpoint(file, "Walk", {"numbers": numbers}, data)
    arrays, back = read_checkpoint(file, "Walk")
    assert np.array_equal(arrays["numbers"], numbers)
    assert back == data
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]
