import dataclasses

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.morse import MorsePotential
from ase.calculators.singlepoint import SinglePointCalculator

from pescape.calculators.fit.shards import DataShard, SerialComm
from pescape.calculators.mtp import MTPotential
from pescape.calculators.mtp.fit import (
    FitSettings,
    Weights,
    fit_mtp,
    loss,
    loss_and_gradient,
    raised,
    solve_linear,
    training_set,
)
from pescape.calculators.mtp.fit.fit import level_of, level_schedule
from pescape.calculators.mtp.fit.problem import Problem, linear_columns, radial_columns, rows
from pescape.calculators.mtp.fit.steps import projection_cycle

WEIGHTS = Weights(1.0, 0.02, 0.003)
QUICK = FitSettings(iterations=20, cycle=10, rung_iterations=10, starts=1, start_iterations=2)


def morse(count, seed, rattle=0.1, size=1):
    """Rattled copper with the labels of a pair potential."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        atoms = bulk("Cu", "fcc", a=3.6 * rng.uniform(0.96, 1.05), cubic=True) * (size, 1, 1)
        atoms.positions += rattle * rng.normal(size=atoms.positions.shape)
        atoms.calc = MorsePotential(epsilon=0.5, r0=2.6, rho0=4.0, rcut1=3.5, rcut2=4.5)
        results = {
            "energy": atoms.get_potential_energy(),
            "forces": atoms.get_forces(),
            "stress": atoms.get_stress(),
        }
        atoms.calc = SinglePointCalculator(atoms, **results)
        made.append(atoms)
    return made


def blank(level=6, species=("Cu",), basis=4):
    return MTPotential.untrained(level, species, 4.5, 2.0, basis)


def copper(count=6, seed=1, **options):
    potential = blank().randomized(seed=seed)
    frames = morse(count, seed=0, **options)
    return potential, frames, training_set(frames, potential.species, potential.cutoff)


def test_jacobian_of_the_rows_agrees_with_differences():
    potential, _, data = copper(3)
    jacobian = np.column_stack(
        (radial_columns(potential, data, WEIGHTS), linear_columns(potential, data, WEIGHTS))
    )
    theta, step = potential.parameters, 1e-5
    for k in range(len(theta)):
        moved = [theta + sign * step * np.eye(len(theta))[k] for sign in (1, -1)]
        ends = [rows(potential.with_parameters(one), data, WEIGHTS) for one in moved]
        column = (ends[0] - ends[1]) / (2.0 * step)
        scale = max(np.abs(column).max(), 1e-8)
        np.testing.assert_allclose(jacobian[:, k], column, rtol=0, atol=1e-4 * scale)


@pytest.mark.parametrize("weighting", ["vibrations", "molecules", "structures"])
def test_rows_are_the_square_roots_of_the_loss_in_every_weighting(weighting):
    potential, frames, _ = copper(2)
    data = training_set([*frames, *morse(2, seed=1, size=2)], potential.species, potential.cutoff)
    weights = Weights(1.0, 0.02, 0.003, weighting)
    value, gradient = loss_and_gradient(potential, data, weights)
    found = rows(potential, data, weights)
    assert found @ found == pytest.approx(value, rel=1e-12)
    jacobian = linear_columns(potential, data, weights)
    linear = gradient[potential.radial_coeffs.size :]
    np.testing.assert_allclose(2.0 * jacobian.T @ found, linear, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    ("weighting", "energy", "force"),
    [("vibrations", 1, 0), ("molecules", 0, 0), ("structures", 2, 1)],
)
def test_weightings_divide_by_powers_of_the_number_of_atoms(weighting, energy, force):
    potential, _, data = copper(1, size=2)
    n = len(data.positions)
    for kind, power in ((0, energy), (1, force), (2, energy)):
        numbers = [0.0, 0.0, 0.0]
        numbers[kind] = 1.0
        molecules = loss(potential, data, Weights(*numbers, "molecules"))
        assert loss(potential, data, Weights(*numbers, weighting)) == pytest.approx(
            molecules / n**power, rel=1e-12
        )


def test_a_weight_of_two_counts_as_two_copies():
    potential, frames, _ = copper(3)
    frames[1].info["fit_weight"] = 2.0
    start = potential.randomized(seed=2)
    settings = QUICK.replace(iterations=1, cycle=1, pulay=False)
    doubled = [frames[0], frames[1].copy(), frames[1], frames[2]]
    doubled[1].calc = frames[1].calc
    weighted = fit_mtp(start, frames, settings).history[0]
    for atoms in doubled:
        atoms.info.pop("fit_weight", None)
    assert 3.0 * weighted == pytest.approx(4.0 * fit_mtp(start, doubled, settings).history[0])


def test_a_senseless_weight_of_a_configuration_is_refused():
    potential, frames, _ = copper(3)
    frames[1].info["fit_weight"] = -1.0
    with pytest.raises(ValueError, match="configuration 1: its weight -1"):
        fit_mtp(potential, frames, QUICK)


def test_weightings_have_names():
    with pytest.raises(ValueError, match="weighting 'atoms' is none of vibrations"):
        Weights(weighting="atoms")
    with pytest.raises(ValueError, match="'auto', 'bfgs' or 'projection'"):
        FitSettings(method="adam")


def test_variable_projection_ends_where_no_gradient_is_left():
    potential, _, data = copper(10)
    problem = Problem(potential, DataShard.whole(data), WEIGHTS)
    solved = solve_linear(potential, data, WEIGHTS)
    before, first = loss_and_gradient(solved, data, WEIGHTS)
    theta, after = projection_cycle(problem, solved.parameters, before, 40, 1e-6, lambda _: None)
    assert after < 0.1 * before
    assert problem.value(theta) == pytest.approx(after, rel=1e-12)
    assert np.abs(problem.value_and_gradient(theta)[1]).max() < 0.02 * np.abs(first).max()


@pytest.mark.parametrize("method", ["auto", "bfgs", "projection"])
def test_every_method_learns(method):
    train = morse(12, seed=0)
    settings = FitSettings(method=method, iterations=40, cycle=20, starts=1)
    result = fit_mtp(blank(8), train, settings, wall=False)
    assert result.errors.force_rmse < 0.1
    assert list(result.history) == sorted(result.history, reverse=True)


def test_a_thinned_problem_stands_for_the_whole(monkeypatch):
    monkeypatch.setattr("pescape.calculators.mtp.fit.problem._FEWEST_BLOCKS", 2)
    monkeypatch.setattr("pescape.calculators.mtp.fit.problem._ROWS_PER_PARAMETER", 1)
    potential, frames, _ = copper(24)
    part = DataShard.of(frames, potential.species, potential.cutoff, SerialComm())
    problem = Problem(potential, part, WEIGHTS)
    few = problem.thinned()
    assert (few.stride, problem.stride) == (4, 1)
    theta = potential.parameters
    chosen = [data for index, data in part.blocks if index % 4 == 0]
    expected = 4.0 * sum(loss(potential, data, WEIGHTS) for data in chosen)
    assert few.value(theta) == pytest.approx(expected, rel=1e-12)


def test_a_ladder_leads_to_the_potential_through_lower_levels():
    potential = blank(20)
    assert [level_of(one) for one in level_schedule(potential)] == [12, 16, 20]
    assert level_schedule(potential)[-1] is potential
    assert level_schedule(blank(8))[0].parameter_count == blank(8).parameter_count
    other = dataclasses.replace(blank(14), scalar_moments=blank(14).scalar_moments[:-1])
    assert level_of(other) is None
    assert level_schedule(other) == (other,)


def test_a_fit_up_a_ladder_can_be_stopped_on_any_rung(tmp_path):
    train = morse(5, seed=0)
    start = blank(14)
    settings = QUICK.replace(tolerance=0.0)
    told = []
    whole = fit_mtp(start, train, settings, on_progress=told.append)
    assert {one.stage for one in told} == {"start 1 of 1", "level 12", "fit"}
    assert list(whole.history) == sorted(whole.history, reverse=True)
    for stage, iteration in (("level 12", 3), ("fit", 2), ("fit", 13)):

        def stop(now, stage=stage, iteration=iteration):
            if (now.stage, now.iteration) == (stage, iteration):
                raise KeyboardInterrupt

        checkpoint = tmp_path / f"{stage}{iteration}.npz"
        with pytest.raises(KeyboardInterrupt):
            fit_mtp(start, train, settings, checkpoint=checkpoint, on_progress=stop)
        resumed = fit_mtp(start, train, settings, checkpoint=checkpoint)
        np.testing.assert_array_equal(whole.potential.parameters, resumed.potential.parameters)
        assert resumed.history == whole.history


def test_raising_keeps_what_was_learned_within_a_fit():
    train = morse(8, seed=0)
    lower = fit_mtp(blank(6), train, QUICK)
    higher = fit_mtp(raised(lower.potential, 8), train, QUICK)
    assert higher.loss <= lower.loss


def same_frames():
    return [one for frame in morse(1, seed=0) for one in (frame, frame.copy(), frame.copy())]


def perfect_crystals():
    return morse(4, seed=0, rattle=0.0)


def lone_atoms():
    atoms = bulk("Cu", "fcc", a=30.0)
    atoms.calc = SinglePointCalculator(atoms, energy=-0.2, forces=np.zeros((1, 3)))
    return [atoms]


@pytest.mark.parametrize("make", [same_frames, perfect_crystals, lone_atoms])
@pytest.mark.parametrize("species", [("Cu",), ("Cu", "Zr")])
def test_data_that_decides_little_gives_a_fit_nevertheless(make, species):
    frames = make()
    for atoms in frames:
        atoms.calc = frames[0].calc if atoms.calc is None else atoms.calc
    result = fit_mtp(blank(8, species), frames, QUICK)
    assert np.isfinite(result.potential.parameters).all()
    assert np.abs(result.potential.parameters).max() < 1e4
    assert result.errors.energy_mae < 5.0


def test_an_empty_data_set_is_refused():
    with pytest.raises(ValueError, match="holds no configurations"):
        fit_mtp(blank(), [], QUICK)
