"""The parts of a saddle search: Hessian model, rotation, steps, modes, slides."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixCartesian

from pescape.plugins.dynamics.saddle.hessian import (
    SubspaceHessian,
    TranslationSettings,
    largest_atom,
    propose,
)
from pescape.plugins.dynamics.saddle.mode_follower import (
    follower_for,
    rotate_in_plane,
    settings_for,
)
from pescape.plugins.dynamics.saddle.relax import relax
from pescape.plugins.dynamics.saddle.rotation import (
    free_mode,
    local_displacement,
    partial_hessian,
    random_mode,
    rotate,
    softest_mode,
)


def symmetric(size, rng, lowest=-1.0):
    vectors = np.linalg.qr(rng.normal(size=(size, size)))[0]
    values = np.sort(rng.uniform(0.5, 20.0, size))
    values[0] = lowest
    return (vectors * values) @ vectors.T, vectors[:, 0]


@pytest.mark.parametrize("size", [2, 3, 30, 500])
@pytest.mark.parametrize("angle", [0.1, np.pi / 4, 1.0, 2.5, -0.7])
def test_one_rotation_in_a_plane_is_exact_at_any_trial_angle(size, angle):
    rng = np.random.default_rng(size)
    matrix, _ = symmetric(size, rng)
    basis = np.linalg.qr(rng.normal(size=(size, 2)))[0]
    mode, direction = basis.T
    trial = matrix @ (np.cos(angle) * mode + np.sin(angle) * direction)
    new, product, curvature = rotate_in_plane(mode, matrix @ mode, direction, angle, trial)
    exact = np.linalg.eigvalsh(basis.T @ matrix @ basis)[0]
    assert curvature == pytest.approx(exact, abs=1e-9)
    assert new @ matrix @ new == pytest.approx(curvature, abs=1e-9)
    np.testing.assert_allclose(product, matrix @ new, atol=1e-9)


@pytest.mark.parametrize("method", ["ritz", "vtst"])
def test_stored_curvature_is_that_of_the_stored_mode_on_random_quadratics(method):
    for number in range(200):
        rng = np.random.default_rng(number)
        size = int(rng.integers(2, 40))
        matrix, _ = symmetric(size, rng, lowest=rng.uniform(-5.0, 1.0))
        start = rng.normal(size=size)
        start /= np.linalg.norm(start)
        follower = follower_for(settings_for(method, None, 0.01), start, np.arange(size) // 3)
        follower.prepare(lambda vector, matrix=matrix: matrix @ vector)
        assert follower.mode @ follower.mode == pytest.approx(1.0)
        assert follower.curvature == pytest.approx(follower.mode @ matrix @ follower.mode, abs=1e-9)
        assert follower.curvature <= start @ matrix @ start + 1e-9


@pytest.mark.parametrize("size", [2, 10, 100, 500])
def test_rotation_finds_the_lowest_mode_of_a_quadratic(size):
    rng = np.random.default_rng(size)
    matrix, lowest = symmetric(size, rng)
    calls = []

    def product(vector):
        calls.append(vector)
        return matrix @ vector

    found = rotate(product, rng.normal(size=size), tolerance=1e-2, max_calls=80)
    assert found.curvature == pytest.approx(-1.0, abs=1e-3)
    assert abs(found.mode @ lowest) > 0.999
    assert found.mode @ matrix @ found.mode == pytest.approx(found.curvature, abs=1e-9)
    assert len(calls) == len(found.vectors) <= 80
    np.testing.assert_allclose(found.vectors @ found.vectors.T, np.eye(len(calls)), atol=1e-10)


def test_rotation_may_stop_at_the_first_negative_curvature():
    matrix = np.diag([-3.0, -1.0, 5.0, 7.0])
    start = np.array([0.0, 1.0, 0.1, 0.1])
    found = rotate(lambda v: matrix @ v, start, tolerance=1e-9, max_calls=9, negative_suffices=True)
    assert len(found.vectors) == 1
    assert found.curvature < 0


def test_rotation_keeps_off_given_directions():
    rng = np.random.default_rng(0)
    matrix, lowest = symmetric(20, rng)
    apart = lowest[None]
    start = rng.normal(size=20)
    found = rotate(lambda v: matrix @ v, start, tolerance=1e-6, max_calls=20, apart=apart)
    assert np.abs(found.vectors @ lowest).max() < 1e-9
    assert found.curvature == pytest.approx(np.linalg.eigvalsh(matrix)[1])
    assert found.residual < 1e-5 * found.curvature


def test_model_can_be_asked_for_its_lowest_mode_off_given_directions():
    model = SubspaceHessian(10, memory=10)
    model.update(np.eye(10), np.diag(np.arange(10.0)))
    assert model.lowest()[0] == pytest.approx(0.0, abs=1e-9)
    value, mode = model.lowest(np.eye(10)[:2])
    assert value == pytest.approx(2.0)
    assert abs(mode[2]) == pytest.approx(1.0)


def test_rotation_refuses_a_vanishing_start():
    with pytest.raises(ValueError, match="not zero"):
        rotate(lambda v: v, np.zeros(3), tolerance=0.1, max_calls=3)


def test_model_reproduces_a_block_of_products_and_keeps_curvatures_of_either_sign():
    rng = np.random.default_rng(0)
    matrix, lowest = symmetric(40, rng, lowest=-2.0)
    model = SubspaceHessian(40, stiffness=10.0, memory=40)
    steps = rng.normal(size=(7, 40))
    model.update(steps, steps @ matrix)
    for step in steps:
        np.testing.assert_allclose(model.product(step), matrix @ step, rtol=1e-8, atol=1e-8)
    model.update(lowest[None], (matrix @ lowest)[None])
    value, mode = model.lowest()
    assert value == pytest.approx(-2.0)
    assert abs(mode @ lowest) > 0.99


def test_model_is_the_stiffness_where_nothing_is_known():
    model = SubspaceHessian(12, stiffness=7.0)
    vector = np.arange(12.0)
    np.testing.assert_allclose(model.product(vector), 7.0 * vector)
    model.extend(vector)
    np.testing.assert_allclose(model.product(vector), 7.0 * vector)


def test_full_model_forgets_the_dullest_directions_and_keeps_the_soft_ones():
    rng = np.random.default_rng(1)
    model = SubspaceHessian(100, stiffness=10.0, memory=20)
    soft = np.eye(100)[3]
    model.update(soft[None], -0.5 * soft[None])
    for _ in range(60):
        model.extend(rng.normal(size=100))
        assert len(model.basis) <= 20
    np.testing.assert_allclose(model.basis @ model.basis.T, np.eye(len(model.basis)), atol=1e-8)
    assert model.lowest()[0] == pytest.approx(-0.5)
    assert abs(model.lowest()[1] @ soft) > 0.999


def test_model_state_survives_a_round_trip_bit_by_bit():
    rng = np.random.default_rng(2)
    model = SubspaceHessian(30, memory=20)
    model.update(*rng.normal(size=(2, 4, 30)))
    other = SubspaceHessian(30, memory=20)
    other.restore(model.state())
    vector = rng.normal(size=30)
    assert np.array_equal(model.product(vector), other.product(vector))


def test_step_climbs_the_lowest_mode_descends_the_rest_and_keeps_the_cap_of_each_atom():
    rng = np.random.default_rng(3)
    matrix, lowest = symmetric(30, rng)
    model = SubspaceHessian(30, memory=30)
    model.update(np.eye(30), matrix)
    atoms = np.arange(30) // 3
    gradient = matrix @ rng.normal(0, 0.03, 30)
    free = TranslationSettings(relax_force=np.inf, softest=1e-3)
    step = propose(model, gradient, atoms, 10.0, free).step
    np.testing.assert_allclose(gradient + matrix @ step, 0.0, atol=1e-9)
    for radius in (0.01, 0.1):
        capped = propose(model, 100 * gradient, atoms, radius, free).step
        assert largest_atom(capped, atoms) <= radius
        assert (capped @ lowest) * (gradient @ lowest) > 0
        across = gradient - (gradient @ lowest) * lowest
        assert capped @ across < 0


def test_far_from_the_ridge_a_step_relaxes_before_it_climbs():
    model = SubspaceHessian(6, memory=6)
    model.update(np.eye(6), np.diag([-1.0, 5.0, 5.0, 5.0, 5.0, 5.0]))
    gradient = np.array([1.0, 4.0, 0.0, 0.0, 0.0, 0.0])
    settings = TranslationSettings(relax_force=0.5, relax_climb=0.02)
    step = propose(model, gradient, np.arange(6) // 3, 1.0, settings).step
    assert 0 < step[0] <= 0.02
    assert step[1] < -0.5


def slab():
    atoms = bulk("Cu", cubic=True) * 2
    del atoms[0]
    return atoms


def test_modes_are_free_of_translation_and_of_fixed_atoms_and_leave_their_input():
    atoms = slab()
    assert np.abs(random_mode(atoms, 0).sum(axis=0)).max() < 1e-12
    given = np.ones((31, 3)) + np.eye(31)[:, :3]
    kept = given.copy()
    assert np.abs(free_mode(atoms, given).sum(axis=0)).max() < 1e-12
    assert np.array_equal(given, kept)
    atoms.set_constraint([FixAtoms([0, 1]), FixCartesian(5, mask=(True, False, False))])
    mode = random_mode(atoms, 0)
    assert not mode[:2].any()
    assert mode[5, 0] == 0 != mode[5, 1]
    assert np.linalg.norm(mode) == pytest.approx(1.0)


def test_random_modes_depend_on_their_seed_alone():
    atoms = slab()
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = random_mode(atoms, 7, indices=[3, 4]), random_mode(atoms, 7, indices=[3, 4])
    assert np.array_equal(first, second)
    assert not np.array_equal(first, random_mode(atoms, 8, indices=[3, 4]))
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("bad", [np.ones(5), np.ones((31, 3)), np.full((31, 3), np.nan)])
def test_useless_modes_are_refused(bad):
    with pytest.raises(ValueError, match="mode has"):
        free_mode(slab(), bad)


def test_local_displacements_stay_local():
    atoms = slab()
    atoms.set_constraint(FixAtoms([0]))
    shift = local_displacement(atoms, 10, 0, radius=2.8)
    near = atoms.get_distances(10, range(31), mic=True) < 2.8
    assert shift[near][1:].any(axis=1).all()
    assert not shift[~near].any()


def test_softest_mode_of_a_partial_hessian():
    atoms = Atoms("Cu2", [[0, 0, 0], [2.4, 0, 0]])
    atoms.calc = EMT()
    relax(atoms, 1e-4, 100)
    values = np.linalg.eigvalsh(partial_hessian(atoms, [0, 1]))
    assert values[-1] > 5
    assert np.abs(values[:5]).max() < 0.05
    atoms.set_constraint(FixCartesian(1, mask=(False, True, True)))
    assert abs(softest_mode(atoms, [1])[1, 0]) == pytest.approx(1.0)


def test_slides_only_go_down():
    atoms = slab()
    atoms.rattle(0.2, seed=0)
    atoms.calc = EMT()
    before = atoms.get_potential_energy()
    found = relax(atoms, 0.01, 100)
    assert found.converged
    assert found.calls < 50
    assert found.energy < before
    assert np.linalg.norm(atoms.get_forces(), axis=1).max() < 0.01
