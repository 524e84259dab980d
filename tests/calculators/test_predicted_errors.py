import dataclasses
import pickle

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator

from pescape.calculators import MTP, Committee
from pescape.calculators.committee.assess import assess
from pescape.calculators.committee.calibration import Bound, Calibration, fitted_bound
from pescape.calculators.committee.files import error_file, read_errors, write_errors
from pescape.calculators.committee.model import ErrorModel
from pescape.calculators.committee.sandwich import changes
from pescape.calculators.fit.loss import Weights
from pescape.calculators.mtp import MTPotential
from pescape.calculators.mtp.fit import solve_linear, training_set
from pescape.calculators.mtp.fit.committee import error_model

WEIGHTS = Weights(1.0, 0.01, 0.001)


def copper(count, seed):
    """Rattled copper, labeled with EMT."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        atoms = bulk("Cu", "fcc", a=3.6 * rng.uniform(0.97, 1.04)) * (2, 2, 1)
        atoms.rattle(rng.uniform(0.02, 0.3), rng=rng)
        calculator = EMT()
        results = {
            "energy": calculator.get_property("energy", atoms),
            "forces": calculator.get_property("forces", atoms),
            "stress": calculator.get_property("stress", atoms),
        }
        atoms.calc = SinglePointCalculator(atoms, **results)
        made.append(atoms)
    return made


@pytest.fixture(scope="module")
def fitted():
    """A potential with random radial functions that cannot describe the data, and its committee."""
    frames = copper(60, 0)
    potential = MTPotential.untrained(6, ["Cu"], 4.5, 1.8, 4).randomized(1)
    data = training_set(frames, ["Cu"], 4.5)
    potential = solve_linear(potential, data, WEIGHTS)
    model = error_model(potential, frames, WEIGHTS)
    assert model is not None
    return potential, model


def test_a_bound_covers_what_it_promises_of_errors_of_any_distribution():
    rng = np.random.default_rng(0)
    spread = rng.lognormal(size=8000)
    errors = (0.1 + spread) * rng.standard_t(3, size=8000) ** 2
    found = fitted_bound(errors[:4000], spread[:4000])
    assert np.mean(errors[4000:] <= found(spread[4000:])) == pytest.approx(0.9, abs=0.02)
    # It follows the spread: the same coverage where errors are small and where they are large.
    large = spread[4000:] > np.median(spread)
    covered = errors[4000:] <= found(spread[4000:])
    assert np.mean(covered[large]) == pytest.approx(0.9, abs=0.04)


def test_members_that_agree_leave_one_bound_for_all():
    found = fitted_bound(np.arange(1.0, 101.0), np.zeros(100))
    assert found(0.0) == pytest.approx(91.0)


def test_changes_are_those_of_fits_to_other_data():
    rng = np.random.default_rng(3)
    count, rows = 40, 5
    jacobian = rng.normal(size=(count, rows, 3)) * [1.0, 10.0, 0.1]
    noise = rng.normal(size=(count, rows)) * rng.uniform(0.1, 3.0, size=(count, 1))
    labels = jacobian @ [1.0, 2.0, 3.0] + noise
    best = np.linalg.lstsq(jacobian.reshape(-1, 3), labels.ravel(), rcond=None)[0]
    residuals = labels - jacobian @ best
    systems = [(j.T @ j, j.T @ r) for j, r in zip(jacobian, residuals, strict=True)]
    found = changes(systems, count, members=3, folds=4, damping=1e-13)
    for fold, change in enumerate(found.unseen):
        kept = found.folds != fold
        without = np.linalg.lstsq(jacobian[kept].reshape(-1, 3), labels[kept].ravel(), rcond=None)
        np.testing.assert_allclose(best + change, without[0], rtol=1e-8)
    # As many members as parameters hold the whole covariance, that of the bootstrap.
    inverse = np.linalg.inv(sum(matrix for matrix, _ in systems))
    slopes = np.array([slope for _, slope in systems])
    expected = inverse @ slopes.T @ slopes @ inverse
    np.testing.assert_allclose(found.members.T @ found.members / 3, expected, rtol=1e-6)


def test_bounds_cover_the_errors_on_other_data_and_follow_them(fitted):
    potential, model = fitted
    found = assess(potential, model, copper(80, 7))
    assert found.force_coverage == pytest.approx(0.9, abs=0.05)
    assert found.energy_coverage > 0.75
    assert found.rank_correlation > 0.6
    assert 0.0 < found.force_coverage_error < 0.05


def test_committees_of_a_file_give_the_same_errors(fitted, tmp_path):
    potential, model = fitted
    path = tmp_path / "cu.mtp"
    potential.write(path)
    write_errors(error_file(path), model)
    atoms = copper(1, 5)[0]
    expected = MTP(potential, errors=model)
    calculator = MTP(path)
    calculator.calculate(atoms)
    assert "force_errors" not in calculator.results  # nobody asked
    errors = calculator.get_property("force_errors", atoms)
    assert errors.shape == (len(atoms),)
    np.testing.assert_array_equal(errors, expected.get_property("force_errors", atoms))
    assert calculator.get_property("energy_error", atoms) == expected.get_property(
        "energy_error", atoms
    )
    again = pickle.loads(pickle.dumps(calculator))
    np.testing.assert_array_equal(again.get_property("force_errors", atoms), errors)
    atoms.rotate(40.0, (1, 2, 3), rotate_cell=True)
    np.testing.assert_allclose(calculator.get_property("force_errors", atoms), errors, rtol=1e-6)


def test_a_potential_without_committee_says_so(fitted):
    with pytest.raises(PropertyNotImplementedError, match="no committee to predict errors with"):
        MTP(fitted[0]).get_property("force_errors", copper(1, 5)[0])


def test_a_committee_of_another_potential_is_refused(fitted, tmp_path):
    potential, model = fitted
    path = tmp_path / "other.mtp"
    theta = potential.parameters.copy()
    theta[-1] += 1e-9
    potential.with_parameters(theta).write(path)
    write_errors(error_file(path), model)
    with pytest.raises(ValueError, match=r"other.mtp.errors belongs to another potential"):
        MTP(path).get_property("force_errors", copper(1, 5)[0])


def test_an_offset_of_the_stresses_changes_no_committee(fitted):
    potential, _ = fitted
    shifted = copper(60, 0)
    for atoms in shifted:
        atoms.calc.results["stress"] = atoms.get_stress() + 0.02 * np.array([1, 1, 1, 0, 0, 0])
    found = error_model(potential, shifted, WEIGHTS, stress_offset=0.02)
    np.testing.assert_allclose(found.members, fitted[1].members, rtol=1e-6, atol=1e-9)


def test_few_configurations_calibrate_nothing(fitted):
    assert error_model(fitted[0], copper(5, 0), WEIGHTS) is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("pescape-errors 1", "pescape-errors 7", "line 3: version '7' is not 1"),
        ("coverage 0.9", "coverage 1.5", "coverage 1.5 is not between 0 and 1"),
        ("force Cu", "force Zr", "expected the calibration of Cu, not of Zr"),
        ("energy ", "energy x", "line 8: expected numbers"),
        ("\nend", "", "expected 'end', not 'the end of the file'"),
        ("first ", "first -", "expected a whole number"),
        ("member ", "member nan ", "takes"),
        ("own ", "own inf ", "a number is not finite"),
    ],
)
def test_faults_of_files_are_told_with_their_line(fitted, tmp_path, old, new, message):
    path = tmp_path / "cu.mtp.errors"
    write_errors(path, fitted[1])
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=message) as error:
        read_errors(path)
    assert str(error.value).startswith(str(path))


def test_several_calculators_are_calibrated_on_held_out_data():
    members = [LennardJones(sigma=s, epsilon=0.25, rc=4.0, smooth=True) for s in (2.25, 2.3, 2.35)]
    atoms = copper(1, 9)[0]
    with pytest.raises(PropertyNotImplementedError, match="not calibrated"):
        Committee(members).get_property("force_errors", atoms)
    committee = Committee(members).calibrated(copper(60, 1))
    covered = [
        np.linalg.norm(committee.get_property("forces", one) - one.get_forces(), axis=1)
        <= committee.get_property("force_errors", one)
        for one in copper(40, 2)
    ]
    assert np.mean(covered) == pytest.approx(0.9, abs=0.06)
    assert committee.get_property("energy_error", atoms) > 0.0


def test_each_species_has_a_bound_of_its_own():
    calibration = Calibration(("Zr", "O"), (Bound(0.1, 2.0), Bound(0.3, 1.0)), Bound(0.01, 1.0), 9)
    bounds = calibration.force_errors(np.array([0.4, 0.4]), np.array([1, 0]))
    np.testing.assert_allclose(bounds, [0.7, 1.0])
    with pytest.raises(ValueError, match="1 bounds of forces for 2 species"):
        dataclasses.replace(calibration, forces=(Bound(0.1, 2.0),))
    with pytest.raises(ValueError, match="at least one member"):
        ErrorModel(0, np.zeros(3), np.zeros((0, 3)), calibration)
