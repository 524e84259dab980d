import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from pescape.calculators import BPNN
from pescape.calculators.bpnn import BPNNPotential, Scaling, waters_rondinelli_functions
from pescape.calculators.bpnn.fit import (
    CacheSettings,
    FitSettings,
    Stage,
    Weights,
    default_functions,
    evaluate,
    fit_bpnn,
    fit_ensemble,
    waters_rondinelli_settings,
)
from pescape.calculators.bpnn.fit.features import features
from pescape.calculators.bpnn.fit.least_squares import LeastSquares, residual_rows
from pescape.calculators.bpnn.fit.model import Model, all_predictions, batches
from pescape.calculators.bpnn.fit.prepare import row_factors
from pescape.calculators.doptimality.active_set import build_active_set, grades, gradient_rows
from pescape.calculators.fit.data import training_set
from pescape.calculators.fit.loss import loss

WEIGHTS = Weights(1.0, 0.02, 0.003)
METHODS = ("levenberg", "bfgs", "lbfgs", "adam")


def network(hidden=(4, 3), activation="tanh", output="linear"):
    """A potential of two elements with different functions, all of it at random."""
    functions = default_functions(["Zr", "O"], 4.5, radial=4, angular=4)
    given = {"Zr": functions, "O": functions[:9]}
    potential = BPNNPotential.untrained(
        ["Zr", "O"], given, hidden=hidden, activation=activation, output_activation=output
    )
    rng = np.random.default_rng(1)
    scaling = {
        name: Scaling("sigma", 0.0, 1.0, mean=rng.normal(size=n), sigma=rng.uniform(0.5, 2, size=n))
        for name, n in (("Zr", len(given["Zr"])), ("O", 9))
    }
    slopes = {"Zr": 1.3, "O": 0.7}
    return potential.with_scaling(scaling).with_output(slopes, slopes, {"O": -1.1}).randomized(2)


def problem(potential, frames, settings=None, batch=None, penalty=0.0, precision="double"):
    data = training_set(frames, potential.species, potential.cutoff)
    found = features(potential, data, CacheSettings(precision=precision))
    model = Model.of(potential)
    scales = row_factors(data, settings or FitSettings(weights=WEIGHTS))
    parts = batches(data, found, configurations=batch)
    return LeastSquares(model, parts, scales, penalty * model.penalized()), data


def small():
    return BPNNPotential.untrained(
        ["Cu"], default_functions(["Cu"], 4.5, radial=6, angular=4), hidden=(5,)
    )


@pytest.mark.parametrize("batch", [None, 2])
def test_predictions_are_those_of_the_kernel(made_up, batch):
    potential = network()
    least, data = problem(potential, made_up, batch=batch)
    energies, forces, virials = all_predictions(least.model, least.model.theta(), least.batches)
    first = data.first[:-1]
    sites, kernel_forces, kernel_virials = potential.kernel().evaluate(*data.geometry)
    np.testing.assert_allclose(energies, np.add.reduceat(sites, first), atol=1e-11)
    np.testing.assert_allclose(forces, kernel_forces, atol=1e-11)
    np.testing.assert_allclose(virials, np.add.reduceat(kernel_virials, first), atol=1e-11)


def test_single_precision_moves_forces_little(made_up):
    potential = network()
    least, _ = problem(potential, made_up, precision="single")
    exact, _ = problem(potential, made_up)
    theta = least.model.theta()
    _, forces, _ = all_predictions(least.model, theta, least.batches)
    _, exact_forces, _ = all_predictions(least.model, theta, exact.batches)
    np.testing.assert_allclose(forces, exact_forces, atol=1e-5)


def test_loss_is_that_of_all_potentials(made_up):
    potential = network()
    least, data = problem(potential, made_up)
    theta = least.model.theta()
    assert least.value(theta) == pytest.approx(loss(potential, data, WEIGHTS), rel=1e-12)


def test_loss_of_the_paper_is_amps(made_up):
    potential = network(hidden=(3,))
    least, _ = problem(potential, made_up, waters_rondinelli_settings(), penalty=0.05)
    expected = 0.0
    for atoms in made_up:
        data = training_set([atoms], potential.species, potential.cutoff)
        sites, forces, _ = potential.kernel().evaluate(*data.geometry)
        n = len(atoms)
        expected += ((sites.sum() - atoms.get_potential_energy()) / n) ** 2
        expected += 0.1 * np.sum((forces - atoms.get_forces()) ** 2) / (3 * n)
    weights = [layer.weights for element in potential.elements for layer in element.layers]
    expected += 0.05 * sum(np.sum(table**2) for table in weights)
    assert least.value(least.model.theta()) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("hidden", "activation", "output"),
    [
        ((3,), "sigmoid", "tanh"),
        pytest.param((4, 3), "tanh", "linear", marks=pytest.mark.slow),
        pytest.param((3, 2, 2), "softplus", "linear", marks=pytest.mark.slow),
    ],
)
def test_gradient_of_the_loss_agrees_with_differences(made_up, hidden, activation, output):
    least, _ = problem(network(hidden, activation, output), made_up, penalty=0.01, batch=2)
    theta = least.model.theta()
    value, gradient = least.value_and_gradient(theta)
    assert value == pytest.approx(least.value(theta), rel=1e-12)
    step = 1e-5
    for k in range(len(theta)):
        change = step * np.eye(len(theta))[k]
        difference = (least.value(theta + change) - least.value(theta - change)) / (2 * step)
        assert gradient[k] == pytest.approx(difference, rel=1e-6, abs=1e-7 * abs(gradient).max())


@pytest.mark.parametrize(
    ("hidden", "activation", "output"),
    [
        ((3,), "sigmoid", "tanh"),
        pytest.param((4, 3), "tanh", "linear", marks=pytest.mark.slow),
        pytest.param((3, 2, 2), "gaussian", "linear", marks=pytest.mark.slow),
    ],
)
def test_rows_of_the_residuals_agree_with_differences(made_up, hidden, activation, output):
    least, _ = problem(network(hidden, activation, output), made_up)
    theta = torch.tensor(least.model.theta())
    (batch,) = least.batches
    scales = [torch.tensor(np.ones(s)) for s in (5, 15, (5, 6))]
    rows, _ = residual_rows(least.model, theta, batch, *scales)
    step = 1e-5
    for k in range(len(theta)):
        found = []
        for sign in (1, -1):
            moved = theta.clone()
            moved[k] += sign * step
            found.append(residual_rows(least.model, moved, batch, *scales)[1])
        difference = (found[0] - found[1]) / (2 * step)
        scale = float(rows[:, k].abs().max()) + 1e-3
        np.testing.assert_allclose(rows[:, k], difference, atol=1e-7 * max(scale, 1.0))


def test_gauss_newton_and_autograd_agree_on_the_gradient(made_up, monkeypatch):
    least, _ = problem(network(), made_up, penalty=0.01)
    theta = least.model.theta()
    value, gradient = least.value_and_gradient(theta)
    loss_, slope, matrix = least.gauss_newton(theta)
    assert loss_ == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(2 * slope, gradient, atol=1e-10 * abs(gradient).max())
    # Large configurations are worked on in parts.
    monkeypatch.setattr("pescape.calculators.bpnn.fit.least_squares._DENSE_NUMBERS", 1)
    np.testing.assert_allclose(least.gauss_newton(theta)[2], matrix, atol=1e-10 * matrix.max())


@pytest.mark.parametrize("method", METHODS)
def test_every_method_lowers_the_loss(morse, method):
    settings = FitSettings(stages=(Stage(method, 8, batch=3, learning_rate=0.02),), validation=0.0)
    result = fit_bpnn(small(), morse(8, seed=0), settings)
    losses = [one["loss"] for one in result.history]
    assert losses[-1] < 0.5 * losses[0]
    if method != "adam":
        assert losses == sorted(losses, reverse=True)


def test_a_fit_learns_a_pair_potential_and_the_calculator_gives_it(morse):
    train, test = morse(24, seed=0), morse(12, seed=1)
    result = fit_bpnn(small(), train, FitSettings(stages=(Stage("levenberg", 60),)))
    errors = evaluate(result.potential, test)
    spread = np.std([atoms.get_potential_energy() / len(atoms) for atoms in test])
    assert errors.energy_rmse < 0.05 * 1000.0 * spread
    assert errors.force_rmse < 0.1
    atoms = test[0].copy()
    atoms.calc = BPNN(result.potential)
    assert result.errors.configurations == 22
    assert result.validation_errors.configurations == 2
    assert len(result.validation) == 2
    found = [evaluate(result.potential, [train[k]]).energy_mae for k in result.validation]
    assert np.mean(found) == pytest.approx(result.validation_errors.energy_mae, rel=1e-9)
    last = result.history[-1]
    assert result.errors.energy_rmse <= 1.5 * last["energy_rmse"]
    step = 1e-4
    for k in range(3):
        values = []
        for sign in (1, -1):
            atoms.positions[0, k] += sign * step
            values.append(atoms.get_potential_energy())
            atoms.positions[0, k] -= sign * step
        assert atoms.get_forces()[0, k] == pytest.approx(
            -(values[0] - values[1]) / (2 * step), abs=1e-6
        )


def test_the_papers_preset_runs_its_two_stages(morse):
    settings = waters_rondinelli_settings()
    assert [(s.method, s.iterations, s.penalty) for s in settings.stages] == [
        ("bfgs", 200, 0.05),
        ("bfgs", 1500, 0.001),
    ]
    start = BPNNPotential.untrained(
        ["Cu"], waters_rondinelli_functions(["Cu"], 4.0)[::4], hidden=(8,), output_activation="tanh"
    )
    stages = tuple(Stage("bfgs", 6, penalty=stage.penalty) for stage in settings.stages)
    result = fit_bpnn(start, morse(5, seed=0), waters_rondinelli_settings(stages=stages))
    assert [one["stage"] for one in result.history] == [0.0] * 6 + [1.0] * 6
    element = result.potential.elements[0]
    assert element.scaling.kind == "range"
    assert element.layers[-1].activation == "tanh"
    assert element.slope != pytest.approx(1.0)
    assert result.validation_errors is None


def test_equal_seeds_give_equal_fits_and_others_do_not(morse):
    settings = FitSettings(stages=(Stage("adam", 2, batch=2), Stage("levenberg", 3)), seed=7)
    frames = morse(6, seed=0)
    first, second = (fit_bpnn(small(), frames, settings).potential for _ in range(2))
    np.testing.assert_array_equal(first.parameters, second.parameters)
    other = fit_bpnn(small(), frames, FitSettings(stages=settings.stages, seed=8)).potential
    assert not np.allclose(other.parameters, first.parameters)


def test_members_of_an_ensemble_differ_and_the_first_is_the_single_fit(morse):
    settings = FitSettings(stages=(Stage("levenberg", 3),))
    frames = morse(6, seed=0)
    members = fit_ensemble(small(), frames, settings, members=2)
    alone = fit_bpnn(small(), frames, settings)
    np.testing.assert_array_equal(members[0].potential.parameters, alone.potential.parameters)
    assert not np.allclose(members[0].potential.parameters, members[1].potential.parameters)


def test_a_trained_potential_is_where_a_fit_starts(morse):
    frames = morse(6, seed=0)
    settings = FitSettings(stages=(Stage("levenberg", 5),), validation=0.0)
    first = fit_bpnn(small(), frames, settings)
    more = fit_bpnn(first.potential, frames, settings)
    assert more.history[0]["loss"] <= first.history[-1]["loss"]
    assert more.potential.elements[0].scaling is first.potential.elements[0].scaling


@pytest.mark.parametrize("method", METHODS)
def test_a_fit_stopped_and_resumed_ends_as_if_never_stopped(morse, tmp_path, monkeypatch, method):
    monkeypatch.setattr("pescape.calculators.bpnn.fit.fit._CHECKPOINT_SECONDS", 0.0)
    frames = morse(6, seed=0)
    settings = FitSettings(stages=(Stage(method, 5, batch=2), Stage("levenberg", 2)))
    whole = fit_bpnn(small(), frames, settings)

    class StopError(Exception):
        pass

    def stop(progress):
        if progress.iteration == 4:
            raise StopError

    checkpoint = tmp_path / "fit.npz"
    with pytest.raises(StopError):
        fit_bpnn(small(), frames, settings, checkpoint=checkpoint, on_progress=stop)
    told = []
    resumed = fit_bpnn(small(), frames, settings, checkpoint=checkpoint, on_progress=told.append)
    assert told[0].iteration == 4
    np.testing.assert_array_equal(whole.potential.parameters, resumed.potential.parameters)
    np.testing.assert_array_equal(
        [list(one.values()) for one in whole.history],
        [list(one.values()) for one in resumed.history],
    )
    # Once more: all is done, and nothing is done again.
    told.clear()
    again = fit_bpnn(small(), frames, settings, checkpoint=checkpoint, on_progress=told.append)
    assert not told
    np.testing.assert_array_equal(again.potential.parameters, whole.potential.parameters)


KILLED = """
import sys
from ase.io import read
from pescape.calculators.bpnn import BPNNPotential
from pescape.calculators.bpnn.fit import FitSettings, Stage, default_functions, fit, fit_bpnn
fit._CHECKPOINT_SECONDS = 0.0
start = BPNNPotential.untrained(
    ["Cu"], default_functions(["Cu"], 4.5, radial=6, angular=4), hidden=(5,)
)
settings = FitSettings(stages=(Stage("bfgs", 60),), patience=1000)
fit_bpnn(start, read(sys.argv[1], ":"), settings, checkpoint=sys.argv[2])
"""


@pytest.mark.slow
def test_a_fit_survives_being_killed(morse, tmp_path):
    import ase.io

    frames = morse(6, seed=0)
    ase.io.write(tmp_path / "train.xyz", frames)
    frames = ase.io.read(tmp_path / "train.xyz", ":")
    checkpoint = tmp_path / "fit.npz"
    arguments = [sys.executable, "-c", KILLED, str(tmp_path / "train.xyz"), str(checkpoint)]
    process = subprocess.Popen(arguments)
    deadline = time.monotonic() + 60
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.kill()
    process.wait()
    settings = FitSettings(stages=(Stage("bfgs", 60),), patience=1000)
    resumed = fit_bpnn(small(), frames, settings, checkpoint=checkpoint)
    whole = fit_bpnn(small(), frames, settings)
    np.testing.assert_array_equal(whole.potential.parameters, resumed.potential.parameters)


def test_a_checkpoint_of_another_fit_is_refused(morse, tmp_path):
    settings = FitSettings(stages=(Stage("levenberg", 1),))
    frames = morse(4, seed=0)
    fit_bpnn(small(), frames, settings, checkpoint=tmp_path / "fit.npz")
    with pytest.raises(ValueError, match="belongs to another fit"):
        fit_bpnn(small(), frames[:-1], settings, checkpoint=tmp_path / "fit.npz")
    (tmp_path / "bad.npz").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="is no checkpoint of a fit"):
        fit_bpnn(small(), frames, settings, checkpoint=tmp_path / "bad.npz")


def test_validation_says_when_to_stop_and_with_which_parameters(morse):
    settings = FitSettings(
        stages=(Stage("levenberg", 200),), validation=0.3, patience=5, tolerance=0.05
    )
    frames = morse(5, seed=0)
    result = fit_bpnn(small(), frames, settings)
    assert result.iterations < 200
    values = [one["validation_energy_rmse"] for one in result.history]
    kept = [frames[k] for k in result.validation]
    assert evaluate(result.potential, kept).energy_rmse in [
        pytest.approx(value, rel=1e-6) for value in values
    ]


def test_weights_of_structures_count(morse):
    frames = morse(6, seed=0)
    settings = FitSettings(stages=(Stage("levenberg", 8),), validation=0.0)
    weights = np.ones(6)
    weights[2] = 1e4
    plain = fit_bpnn(small(), frames, settings)
    heavy = fit_bpnn(small(), frames, settings, structure_weights=weights)
    one = [frames[2]]
    assert evaluate(heavy.potential, one).force_rmse < evaluate(plain.potential, one).force_rmse
    frames[2].info["fit_weight"] = 1e4
    read = fit_bpnn(small(), frames, settings)
    np.testing.assert_array_equal(read.potential.parameters, heavy.potential.parameters)
    with pytest.raises(ValueError, match="configuration 1: its weight -1"):
        fit_bpnn(small(), frames, settings, structure_weights=[1, -1, 1, 1, 1, 1])


def test_configurations_beyond_limits_are_left_out(morse):
    frames = morse(6, seed=0)
    largest = [np.linalg.norm(atoms.get_forces(), axis=1).max() for atoms in frames]
    limit = sorted(largest)[3] + 1e-9
    settings = FitSettings(stages=(Stage("levenberg", 1),), validation=0.0, force_limit=limit)
    told = []
    result = fit_bpnn(small(), frames, settings, report=told.append)
    assert result.errors.configurations == 4
    assert told == ["2 configurations beyond the limits are left out"]
    with pytest.raises(ValueError, match="none of the 6 configurations keeps the limits"):
        fit_bpnn(small(), frames, FitSettings(force_limit=1e-6))
    with pytest.raises(ValueError, match="isolated atom of Cu"):
        fit_bpnn(small(), frames, FitSettings(energy_limit=1.0))


def test_labels_that_are_not_numbers_name_the_frame(morse):
    frames = morse(4, seed=0)
    frames[2].calc.results["forces"][0, 0] = np.nan
    with pytest.raises(ValueError, match="configuration 2: forces is not finite"):
        fit_bpnn(small(), frames)
    frames[2].info["source_frame"] = "train.xyz frame 2"
    with pytest.raises(ValueError, match=r"train\.xyz frame 2: forces is not finite"):
        fit_bpnn(small(), frames)


def test_divergence_is_told(morse):
    settings = FitSettings(stages=(Stage("adam", 5, learning_rate=1e200),))
    with pytest.raises(ValueError, match="the fit has diverged: the loss is"):
        fit_bpnn(small(), morse(4, seed=0), settings)


def test_an_element_that_the_data_lacks_is_an_error(morse):
    start = BPNNPotential.untrained(["Cu", "O"], default_functions(["Cu", "O"], 4.5))
    with pytest.raises(ValueError, match="the data holds no O"):
        fit_bpnn(start, morse(3, seed=0))


@pytest.mark.parametrize("which", ["inputs", "output", "all"])
def test_no_training_row_has_a_grade_above_one(morse, which):
    frames = morse(6, seed=0)
    settings = FitSettings(stages=(Stage("levenberg", 5),))
    fitted = fit_bpnn(small(), frames, settings).potential.with_active_set(None, which)
    active = build_active_set(fitted, frames)
    rows, _ = gradient_rows(fitted, frames)
    assert rows.shape[1] == fitted.active_size()
    assert grades(rows, active).max() <= 1.0011
    graded = fitted.with_active_set(active)
    far = frames[0].copy()
    far.set_cell(0.6 * far.cell.array, scale_atoms=True)
    assert BPNN(graded).get_property("extrapolation_grade", far) > 2.0


def test_large_problems_take_methods_without_a_matrix():
    settings = FitSettings()
    assert settings.stages_for(281, 30_000)[0].method == "levenberg"
    assert [s.method for s in settings.stages_for(5_000, 1_000_000)] == ["adam", "lbfgs"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"validation": 1.0}, "validation 1.0 is not in"),
        ({"threads": 0}, "threads 0 is not at least 1"),
        ({"stages": ()}, "there are no stages"),
        ({"loss": "huber"}, "loss 'huber' is none of"),
    ],
)
def test_senseless_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        FitSettings(**change)
    with pytest.raises(ValueError, match="unknown method 'newton'"):
        Stage("newton", 10)
