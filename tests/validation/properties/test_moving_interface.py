import numpy as np
import pytest

from pescape.validation.properties.heat.melting import Motion, interface_motion, melting_point

LENGTH = 80.0  # Å
TIME = np.arange(0.0, 20.0, 0.1)  # ps


def fractions(velocity, start=0.5, noise=0.0, seed=0):
    """Solid fractions of a cell whose two interfaces move with a velocity (m/s)."""
    rng = np.random.default_rng(seed)
    return start + 2 * 0.01 * velocity * TIME / LENGTH + noise * rng.normal(size=len(TIME))


def test_a_velocity_is_that_of_each_of_the_two_interfaces():
    motion = interface_motion(TIME, fractions(40.0), LENGTH, 1000.0)
    assert motion.velocity == pytest.approx(40.0)
    assert motion.duration == pytest.approx(19.9)
    assert motion.ended == ""
    noisy = interface_motion(TIME, fractions(-30.0, noise=0.01), LENGTH, 1000.0)
    assert noisy.velocity == pytest.approx(-30.0, abs=2.0)


@pytest.mark.parametrize(("velocity", "ended"), [(120.0, "solid"), (-120.0, "liquid")])
def test_what_comes_after_one_phase_has_gone_does_not_count(velocity, ended):
    solid = np.clip(fractions(velocity), 0.0, 1.0)
    motion = interface_motion(TIME, solid, LENGTH, 1000.0)
    assert motion.velocity == pytest.approx(velocity)
    assert 0.0 < motion.duration < 15.0
    assert motion.ended == ended


def test_a_cell_that_is_of_one_phase_at_once_has_no_velocity():
    motion = interface_motion(TIME, np.full(len(TIME), 0.99), LENGTH, 1000.0)
    assert np.isnan(motion.velocity)
    assert motion.ended == "solid"


def test_the_melting_temperature_and_its_error_are_right_within_statistics():
    # Interfaces that drift and diffuse: the variance of a velocity is 2 D / t.
    rng = np.random.default_rng(1)
    true, slope, diffusion = 1300.0, -0.8, 300.0
    durations = np.array([4.0, 10.0, 20.0, 20.0, 20.0, 20.0, 10.0, 4.0])
    temperatures = true + np.linspace(-70.0, 90.0, len(durations))
    points = []
    for _ in range(400):
        velocities = rng.normal(slope * (temperatures - true), np.sqrt(2 * diffusion / durations))
        runs = zip(temperatures, velocities, durations, strict=True)
        points.append(melting_point([Motion(*run) for run in runs]))
    found = np.array([point.temperature for point in points])
    errors = np.array([point.uncertainty for point in points])
    assert found.mean() == pytest.approx(true, abs=4 * found.std() / 20)
    # Student's t of six degrees of freedom is within 1 of 0 in 64 of 100 cases.
    assert np.mean(abs(found - true) < errors) == pytest.approx(0.64, abs=0.08)
    assert np.mean([point.slope for point in points]) == pytest.approx(slope, rel=0.02)
    assert all(point.bracketed for point in points)


def test_temperatures_on_one_side_are_told_and_those_that_make_no_sense_refused():
    melting = [Motion(t, -0.5 * (t - 1000.0), 10.0) for t in (1050.0, 1100.0, 1200.0)]
    point = melting_point(melting)
    assert point.temperature == pytest.approx(1000.0)
    assert not point.bracketed
    assert point.velocity(np.array([1100.0])) == pytest.approx([-50.0])
    assert melting_point(melting[:2]) is None
    assert melting_point([*melting[:2], Motion(1200.0, np.nan, 0.0, "liquid")]) is None
    assert melting_point([Motion(m.temperature, -m.velocity, 10.0) for m in melting]) is None
