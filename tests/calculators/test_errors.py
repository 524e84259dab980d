"""Standard errors of errors, comparisons on the same configurations, and how both are written."""

import numpy as np
import pytest

from pescape.calculators.fit import errors
from pescape.calculators.fit.errors import (
    Differences,
    best_of,
    errors_from,
    standard_errors,
    stated,
    with_error,
)


def differences(rng, count=200, size=4, stressed=None, scale=1.0, share=0.0):
    """Errors of known distribution; `share` of the forces' is common to a configuration."""
    sizes = np.full(count, size)
    has_stress = np.ones(count, dtype=bool) if stressed is None else np.arange(count) < stressed
    own, common = rng.normal(size=(count * size, 3)), rng.normal(size=(count, 1))
    forces = share * np.repeat(common, size, axis=0) + (1.0 - share) * own
    return Differences(
        energies=np.zeros(count),
        sizes=sizes,
        has_stress=has_stress,
        energy_errors=scale * rng.normal(size=count),
        forces=np.ones((count * size, 3)),
        force_errors=scale * forces,
        angles=np.abs(rng.normal(10.0, 1.0, size=count * size)),
        stress_errors=scale * rng.normal(size=(int(has_stress.sum()), 6)),
        energy_kind="energy",
    )


def test_standard_errors_are_those_of_a_mean():
    found = differences(np.random.default_rng(1))
    sizes = np.abs(found.energy_errors)
    analytic = sizes.std(ddof=1) / np.sqrt(len(sizes))
    # The standard deviation of 1000 resamples is known to 1 / √2000 = 2 %.
    assert errors_from(found).energy_mae_error == pytest.approx(analytic, rel=0.1)
    squares = found.energy_errors**2
    by_delta_method = squares.std(ddof=1) / np.sqrt(len(sizes)) / 2 / errors_from(found).energy_rmse
    assert errors_from(found).energy_rmse_error == pytest.approx(by_delta_method, rel=0.1)


def test_few_configurations_are_not_taken_to_be_more_certain():
    rng = np.random.default_rng(2)
    many = [differences(rng, count=5) for _ in range(100)]
    spread = np.std([errors_from(one).energy_mae for one in many])
    variance = np.mean([standard_errors(one)["energy_mae"] ** 2 for one in many])
    assert np.sqrt(variance) == pytest.approx(spread, rel=0.15)


def test_atoms_of_one_configuration_are_not_independent():
    apart = differences(np.random.default_rng(3), count=100, size=50)
    alike = differences(np.random.default_rng(3), count=100, size=50, share=1.0)
    assert standard_errors(apart)["force_mae"] < 0.02
    by_frame = np.abs(alike.force_errors[::50, 0])
    analytic = by_frame.std(ddof=1) / 10.0
    assert standard_errors(alike)["force_mae"] == pytest.approx(analytic, rel=0.1)


def test_resamples_are_the_same_every_time(monkeypatch):
    found = differences(np.random.default_rng(4))
    assert errors_from(found) == errors_from(found)
    monkeypatch.setattr(errors, "_MAX_DRAWS", 60 * 200)
    in_pieces = standard_errors(found)
    monkeypatch.undo()
    assert in_pieces == pytest.approx(standard_errors(found), rel=0.15)


def test_one_configuration_has_no_standard_error():
    found = differences(np.random.default_rng(5), count=1)
    assert set(standard_errors(found).values()) == {None}
    assert stated(errors_from(found), "energy_mae").endswith(" ± –")
    one_stress = differences(np.random.default_rng(5), count=9, stressed=1)
    assert standard_errors(one_stress)["stress_mae"] is None
    assert standard_errors(one_stress)["energy_mae"] is not None
    two = differences(np.random.default_rng(5), count=9, stressed=2)
    assert standard_errors(two)["stress_mae"] > 0.0
    none = errors_from(differences(np.random.default_rng(5), stressed=0))
    assert (none.stress_mae, none.stress_mae_error) == (None, None)
    assert stated(none, "stress_mae") == "–"


def test_a_part_holds_what_belongs_to_its_configurations():
    found = differences(np.random.default_rng(6), count=6, stressed=4)
    chosen = np.array([False, True, False, True, True, False])
    part = found.part(chosen)
    assert part.energy_errors == pytest.approx(found.energy_errors[chosen])
    assert part.force_errors == pytest.approx(found.force_errors[np.repeat(chosen, 4)])
    assert part.stress_errors == pytest.approx(found.stress_errors[[1, 3]])
    whole = Differences.joined([found.part(chosen), found.part(~chosen)])
    assert errors_from(whole).stress_rmse == pytest.approx(errors_from(found).stress_rmse)


def test_equal_potentials_do_not_differ():
    found = differences(np.random.default_rng(7))
    assert best_of([found, found, found], "force_mae") == frozenset()
    assert best_of([found], "force_mae") == frozenset()
    other = differences(np.random.default_rng(8))
    assert best_of([found, other], "energy_mae") == frozenset()
    one = differences(np.random.default_rng(7), count=1)
    worse = differences(np.random.default_rng(7), count=1, scale=2.0)
    assert best_of([one, worse], "energy_mae") == frozenset()


@pytest.mark.parametrize("count", [2, 4, 25])
def test_equally_good_potentials_seldom_seem_to_differ(count):
    rng = np.random.default_rng(11)
    pairs = [[differences(rng, count=count) for _ in range(2)] for _ in range(100)]
    assert sum(bool(best_of(pair, "energy_mae")) for pair in pairs) <= 10


def test_small_differences_on_the_same_configurations_are_told_apart():
    found, slightly = (differences(np.random.default_rng(9), scale=s) for s in (1.0, 1.03))
    errors_of = standard_errors(found)["energy_mae"]
    assert errors_from(slightly).energy_mae - errors_from(found).energy_mae < errors_of
    assert best_of([slightly, found], "energy_mae") == {1}
    assert best_of([found, slightly, found], "energy_mae") == {0, 2}
    unlike = differences(np.random.default_rng(10), scale=1.03)
    assert best_of([found, unlike], "energy_mae") == frozenset()


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (2.2789, 0.3123, "2.28 ± 0.31"),
        (0.11078, 0.0041, "0.1108 ± 0.0041"),
        (2.2789, 0.0996, "2.28 ± 0.10"),
        (0.3, 1.26, "0.3 ± 1.3"),
        (1234.6, 123.4, "1230 ± 120"),
        (123.46, 12.6, "123 ± 13"),
        (3.21e-9, 4.4e-10, "(3.21 ± 0.44)e-09"),
        (3.21e8, 4.4e7, "(3.21 ± 0.44)e+08"),
        (2.0, 0.0, "2 ± 0"),
        (2.0, 1e-16, "2 ± 0"),
        (2.2789, None, "2.28 ± –"),
        (np.inf, np.nan, "inf ± –"),
        (None, None, "–"),
        (0.0, 0.0, "0 ± 0"),
    ],
)
def test_values_are_written_with_two_digits_of_their_error(value, error, text):
    assert with_error(value, error) == text
