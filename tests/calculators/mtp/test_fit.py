import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.morse import MorsePotential
from ase.calculators.singlepoint import SinglePointCalculator

from pescape.calculators.fit.bfgs import minimize
from pescape.calculators.mtp import MTPotential
from pescape.calculators.mtp.fit import (
    FitSettings,
    Weights,
    evaluate,
    fit_mtp,
    loss,
    loss_and_gradient,
    raised,
    solve_linear,
    training_set,
)
from pescape.calculators.mtp.fit.problem import gauss_newton
from pescape.calculators.mtp.fit.steps import damped_inverse

WEIGHTS = Weights(1.0, 0.02, 0.003)


def untrained(level=8, species=("Zr", "O"), basis=4):
    return MTPotential.untrained(level, species, 5.0, 1.5, basis)


def labelled(atoms, **results):
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def configurations(count=6, seed=0, symbols=("Zr", "O")):
    """Small rattled cells with made-up labels, periodic or not."""
    rng = np.random.default_rng(seed)
    made = []
    for k in range(count):
        atoms = bulk("Zr", "fcc", a=4.6) * (2, 1, 1)
        atoms.symbols = rng.choice(symbols, len(atoms))
        atoms.positions += 0.2 * rng.normal(size=atoms.positions.shape)
        results = {"energy": rng.normal(), "forces": rng.normal(size=(len(atoms), 3))}
        if k % 3 == 2:
            atoms.pbc = False
        elif k % 3 == 1:
            results["stress"] = 0.01 * rng.normal(size=6)
        made.append(labelled(atoms, **results))
    return made


def morse(count, seed):
    """Rattled copper with the labels of a pair potential."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        atoms = bulk("Cu", "fcc", a=3.6 * rng.uniform(0.96, 1.05), cubic=True)
        atoms.positions += 0.1 * rng.normal(size=atoms.positions.shape)
        atoms.calc = MorsePotential(epsilon=0.5, r0=2.6, rho0=4.0, rcut1=3.5, rcut2=4.5)
        results = {
            "energy": atoms.get_potential_energy(),
            "forces": atoms.get_forces(),
            "stress": atoms.get_stress(),
        }
        made.append(labelled(atoms, **results))
    return made


def test_loss_is_that_of_mlip3():
    potential = untrained().randomized(seed=3)
    frames = configurations()
    expected = 0.0
    for atoms in frames:
        data = training_set([atoms], potential.species, potential.cutoff)
        sites, forces, virials = potential.kernel().evaluate(*data.geometry)
        energy_error = sites.sum() - atoms.get_potential_energy()
        expected += WEIGHTS.energy * energy_error**2 / len(atoms)
        expected += WEIGHTS.force * np.sum((forces - atoms.get_forces()) ** 2)
        if "stress" in atoms.calc.results:
            xx, yy, zz, yz, xz, xy = virials.sum(axis=0) + atoms.get_stress() * atoms.get_volume()
            nine = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
            expected += WEIGHTS.stress * np.sum(nine**2) / len(atoms)
    data = training_set(frames, potential.species, potential.cutoff)
    assert loss(potential, data, WEIGHTS) == pytest.approx(expected / len(frames), rel=1e-12)


@pytest.mark.parametrize("threads", [1, 2])
def test_gradient_of_the_loss_agrees_with_differences(threads):
    potential = untrained().randomized(seed=3)
    data = training_set(configurations(), potential.species, potential.cutoff)
    theta = potential.parameters
    _, gradient = loss_and_gradient(potential, data, WEIGHTS, threads)
    step = 1e-5
    for k in range(len(theta)):
        values = []
        for change in (step, -step):
            moved = theta.copy()
            moved[k] += change
            values.append(loss(potential.with_parameters(moved), data, WEIGHTS))
        difference = (values[0] - values[1]) / (2 * step)
        assert gradient[k] == pytest.approx(difference, rel=1e-6, abs=1e-7 * abs(gradient).max())


def test_linear_solve_leaves_no_gradient_in_the_linear_coefficients():
    potential = untrained().randomized(seed=3)
    data = training_set(configurations(), potential.species, potential.cutoff)
    solved = solve_linear(potential, data, WEIGHTS)
    radial = potential.radial_coeffs.size
    np.testing.assert_array_equal(solved.parameters[:radial], potential.parameters[:radial])
    assert loss(solved, data, WEIGHTS) < loss(potential, data, WEIGHTS)
    _, before = loss_and_gradient(potential, data, WEIGHTS)
    _, after = loss_and_gradient(solved, data, WEIGHTS)
    assert np.abs(after[radial:]).max() < 1e-8 * np.abs(before[radial:]).max()


def test_linear_solve_finds_the_coefficients_that_made_the_data():
    truth = untrained(species=("Cu",)).randomized(seed=4)
    frames = []
    for atoms in morse(10, seed=1):
        data = training_set([atoms], truth.species, truth.cutoff)
        sites, forces, virials = truth.kernel().evaluate(*data.geometry)
        stress = -virials.sum(axis=0) / atoms.get_volume()
        frames.append(labelled(atoms, energy=sites.sum(), forces=forces, stress=stress))
    other = truth.with_parameters(
        np.concatenate((truth.radial_coeffs.ravel(), np.zeros(1 + len(truth.moment_coeffs))))
    )
    data = training_set(frames, truth.species, truth.cutoff)
    solved = solve_linear(other, data, WEIGHTS, ridge=1e-14)
    assert loss(solved, data, WEIGHTS) < 1e-16 * loss(other, data, WEIGHTS)


def test_gauss_newton_matrix_is_the_hessian_where_the_fit_is_perfect():
    potential = untrained(level=4, species=("Cu",)).randomized(seed=1)
    frames = []
    for atoms in morse(5, seed=1):
        data = training_set([atoms], potential.species, potential.cutoff)
        sites, forces, virials = potential.kernel().evaluate(*data.geometry)
        stress = -virials.sum(axis=0) / atoms.get_volume()
        frames.append(labelled(atoms, energy=sites.sum(), forces=forces, stress=stress))
    data = training_set(frames, potential.species, potential.cutoff)
    matrix = 2.0 * gauss_newton(potential, data, WEIGHTS)
    theta, step = potential.parameters, 1e-5
    for k in range(len(theta)):
        gradients = []
        for change in (step, -step):
            moved = theta.copy()
            moved[k] += change
            gradients.append(loss_and_gradient(potential.with_parameters(moved), data, WEIGHTS)[1])
        column = (gradients[0] - gradients[1]) / (2 * step)
        np.testing.assert_allclose(matrix[:, k], column, rtol=1e-4, atol=1e-5 * abs(matrix).max())


def test_damped_inverse_survives_redundant_parameters():
    rows = np.random.default_rng(0).normal(size=(50, 3)) @ np.eye(3, 5)
    hessian = rows.T @ rows
    inverse = damped_inverse(hessian)
    assert np.isfinite(inverse).all()
    assert (np.linalg.eigvalsh(inverse[:3, :3]) > 0.0).all()
    assert not inverse[3:].any()  # without effect


def test_bfgs_reaches_the_minimum_of_rosenbrocks_valley():
    def valley(x):
        value = np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)
        gradient = np.zeros_like(x)
        gradient[:-1] = -400.0 * x[:-1] * (x[1:] - x[:-1] ** 2) - 2.0 * (1.0 - x[:-1])
        gradient[1:] += 200.0 * (x[1:] - x[:-1] ** 2)
        return value, gradient

    found = minimize(valley, np.full(6, -1.0), 1e-3 * np.eye(6), 500)
    np.testing.assert_allclose(found.x, 1.0, atol=1e-6)


def test_bfgs_steps_back_from_where_the_function_is_not_a_number():
    def function(x):
        if x[0] <= 0.0:
            return np.nan, np.full(1, np.nan)
        return float(x[0] - np.log(x[0])), np.array([1.0 - 1.0 / x[0]])

    found = minimize(function, np.array([0.1]), 100.0 * np.eye(1), 100)
    assert found.x[0] == pytest.approx(1.0, abs=1e-6)


def test_a_fit_learns_a_pair_potential():
    train, test = morse(16, seed=0), morse(16, seed=1)
    start = MTPotential.untrained(8, ["Cu"], 4.5, 2.0, 8)
    told = []
    result = fit_mtp(start, train, FitSettings(iterations=150, starts=2), on_progress=told.append)
    errors = evaluate(result.potential, test)
    spread = np.std([atoms.get_potential_energy() / len(atoms) for atoms in test])
    assert errors.energy_rmse < 0.03 * 1000.0 * spread
    assert errors.force_rmse < 0.05
    assert errors.stress_rmse < 1.0
    assert result.errors == evaluate(result.potential, train)
    assert result.energy_kind == "energy"
    assert list(result.history) == sorted(result.history, reverse=True)
    assert {one.stage for one in told} == {"start 1 of 2", "start 2 of 2", "fit"}


def test_equal_seeds_give_equal_fits():
    settings = FitSettings(iterations=30, starts=2, start_iterations=10, seed=7)
    start = MTPotential.untrained(4, ["Cu"], 4.5, 2.0, 4)
    first, second = (fit_mtp(start, morse(5, seed=0), settings) for _ in range(2))
    np.testing.assert_array_equal(first.potential.parameters, second.potential.parameters)


def test_a_trained_potential_is_where_a_fit_starts():
    train = morse(8, seed=0)
    start = MTPotential.untrained(6, ["Cu"], 4.5, 2.0, 4)
    # A wall and an offset of stresses have losses of their own.
    plain = FitSettings(iterations=40, starts=1, pulay=False)
    first = fit_mtp(start, train, plain, wall=False)
    more = fit_mtp(first.potential, train, plain, wall=False)
    assert more.loss <= first.loss
    assert more.history[0] <= first.loss * (1 + 1e-9)


def test_a_fit_stopped_and_resumed_ends_as_if_never_stopped(tmp_path):
    train = morse(5, seed=0)
    start = MTPotential.untrained(6, ["Cu"], 4.5, 2.0, 4)
    settings = FitSettings(iterations=60, cycle=10, tolerance=0.0, starts=1)
    whole = fit_mtp(start, train, settings)

    class StopError(Exception):
        pass

    def stop(progress):
        if progress.stage == "fit" and progress.iteration == 35:
            raise StopError

    checkpoint = tmp_path / "fit.npz"
    with pytest.raises(StopError):
        fit_mtp(start, train, settings, checkpoint=checkpoint, on_progress=stop)
    resumed = fit_mtp(start, train, settings, checkpoint=checkpoint)
    np.testing.assert_array_equal(whole.potential.parameters, resumed.potential.parameters)
    assert resumed.history == whole.history


def test_a_checkpoint_of_another_fit_is_refused(tmp_path):
    train = morse(5, seed=0)
    start = MTPotential.untrained(4, ["Cu"], 4.5, 2.0, 4)
    settings = FitSettings(iterations=5, starts=1)
    fit_mtp(start, train, settings, checkpoint=tmp_path / "fit.npz")
    with pytest.raises(ValueError, match="belongs to another fit"):
        fit_mtp(start, train[:-1], settings, checkpoint=tmp_path / "fit.npz")
    (tmp_path / "bad.npz").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="is no checkpoint of a fit"):
        fit_mtp(start, train, settings, checkpoint=tmp_path / "bad.npz")


@pytest.mark.parametrize(("low", "high"), [(2, 4), (6, 8), (8, 16)])
def test_a_raised_potential_predicts_what_the_lower_one_did(low, high):
    potential = untrained(level=low).randomized(seed=1)
    higher = raised(potential, high, seed=2)
    data = training_set(configurations(), potential.species, potential.cutoff)
    for old, new in zip(
        potential.kernel().evaluate(*data.geometry),
        higher.kernel().evaluate(*data.geometry),
        strict=True,
    ):
        np.testing.assert_allclose(new, old, rtol=1e-10, atol=1e-10)
    fresh = MTPotential.untrained(high, ("Zr", "O"), 5.0, 1.5, 4)
    assert higher.parameter_count == fresh.parameter_count


def test_a_level_can_only_be_raised():
    with pytest.raises(ValueError, match="level 6 is not above"):
        raised(untrained(level=8).randomized(seed=1), 6)


@pytest.mark.parametrize(
    ("weights", "message"),
    [((-1.0, 0.0, 0.0), "energy weight -1.0"), ((0.0, 0.0, 0.0), "all weights of the loss are")],
)
def test_senseless_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        Weights(*weights)


def test_senseless_settings_are_refused():
    with pytest.raises(ValueError, match=r"(?s)starts.*greater than 0"):
        FitSettings(starts=0)
