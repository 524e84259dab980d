from itertools import combinations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from pescape.calculators import MTP
from pescape.calculators.bpnn import BPNNPotential
from pescape.calculators.doptimality.active_set import (
    ActiveSet,
    build_active_set,
    grades,
    gradient_rows,
    select,
)
from pescape.calculators.doptimality.maxvol import EMPTY, MaxVol, maxvol
from pescape.calculators.mtp import MTPotential


def active(matrix, inverse):
    return ActiveSet(matrix=matrix, inverse=inverse)


def volume(matrix):
    return abs(np.linalg.det(matrix))


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture(scope="module")
def potential():
    made = MTPotential.untrained(8, ["Zr"], cutoff=5.0, min_dist=2.0, radial_basis_size=4)
    return made.randomized(seed=2)


def crystals(count, seed, rattle=0.2):
    rng = np.random.default_rng(seed)
    made = []
    for k in range(count):
        atoms = bulk("Zr", ("hcp", "bcc", "fcc")[k % 3], a=(3.2, 3.6, 4.5)[k % 3]) * (2, 1, 1)
        atoms.set_cell(atoms.cell.array * rng.uniform(0.95, 1.05), scale_atoms=True)
        atoms.positions += rng.normal(scale=rattle, size=atoms.positions.shape)
        made.append(atoms)
    return made


@pytest.mark.parametrize("seed", range(20))
def test_volume_is_near_the_largest_of_all_subsets(seed):
    rows = np.random.default_rng(seed).normal(size=(12, 3))
    matrix, _, held = maxvol(rows)
    best = max(volume(rows[list(chosen)]) for chosen in combinations(range(12), 3))
    np.testing.assert_array_equal(matrix, rows[held])
    # No swap helps, which for n rows guarantees a factor of n^(n/2); in practice it is near 1.
    assert volume(matrix) > 0.6 * best
    for slot in range(3):
        for row in rows:
            swapped = matrix.copy()
            swapped[slot] = row
            assert volume(swapped) <= 1.002 * volume(matrix)


@pytest.mark.parametrize("seed", range(30))
def test_no_row_it_has_seen_extrapolates(seed):
    rng = np.random.default_rng(seed)
    width, count = rng.integers(1, 30), rng.integers(1, 400)
    scales = np.exp(3.0 * rng.normal(size=width))
    rows = rng.normal(size=(count, width)) * scales * np.exp(rng.normal(size=(count, 1)))
    matrix, inverse, held = maxvol(rows)
    assert grades(rows, active(matrix, inverse)).max() < 1.0011
    assert (held >= 0).sum() == min(width, count)


def test_the_inverse_is_that_of_the_matrix(rng):
    rows = rng.normal(size=(4000, 60)) @ (np.eye(60) + 0.3 * rng.normal(size=(60, 60)))
    matrix, inverse, _ = maxvol(rows)
    np.testing.assert_allclose(matrix @ inverse, np.eye(60), atol=1e-9)


def test_duplicates_of_rows_take_one_slot(rng):
    rows = rng.normal(size=(6, 6))
    _, _, held = maxvol(np.concatenate([rows] * 5))
    assert sorted(held % 6) == list(range(6))


def test_data_of_low_rank_leaves_slots_unset(rng):
    rows = rng.normal(size=(300, 7)) @ rng.normal(size=(7, 20))
    matrix, inverse, held = maxvol(rows)
    assert (held >= 0).sum() == 7
    unset = held < 0
    np.testing.assert_array_equal(matrix[unset].sum(axis=1), EMPTY)
    values = grades(rows, active(matrix, inverse))
    assert values.max() < 1.01
    outside = rows[0] + 1e-3 * rng.normal(size=20)
    assert grades(outside[None], active(matrix, inverse))[0] > 100.0


def test_no_rows_and_zero_rows_leave_all_slots_unset():
    for rows in (np.empty((0, 4)), np.zeros((3, 4))):
        _, inverse, held = maxvol(rows)
        assert (held == -1).all()
        np.testing.assert_allclose(inverse, np.eye(4) / EMPTY)


def test_it_starts_from_what_it_is_given(rng):
    rows = rng.normal(size=(50, 8))
    first = maxvol(rows)
    again = maxvol(rows, start=first)
    for old, new in zip(first, again, strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("size", [1, 7, 64, 90])
def test_the_volume_never_falls_and_the_inverse_keeps_up(rng, size):
    volume = MaxVol.empty(size)
    logarithm = -np.inf
    for first in range(0, 2000, 100):
        rows = rng.normal(size=(100, size)) * np.exp(rng.normal(size=(100, 1)))
        volume.update(rows, np.arange(first, first + 100))
        grown = np.linalg.slogdet(volume.matrix)[1]
        assert grown >= logarithm - 1e-9
        logarithm = grown
        assert np.abs(rows @ volume.inverse).max() <= 1.001
        np.testing.assert_allclose(volume.matrix @ volume.inverse, np.eye(size), atol=1e-8)


def test_settled_after_one_pass_no_row_exceeds_the_stated_bound(rng):
    rows = rng.normal(size=(3000, 12)) * np.exp(rng.normal(size=(3000, 1)))
    volume = MaxVol.empty(12)
    for first in range(0, 3000, 50):
        volume.update(rows[first : first + 50], np.arange(first, first + 50))
    volume.converge()
    assert np.abs(rows @ volume.inverse).max() <= 12 * 1.001**2
    remembered = np.array(list(volume.remembered.values()))
    assert np.abs(remembered @ volume.inverse).max() <= 1.001
    assert len(remembered) < len(rows) / 3


def test_what_does_as_well_and_is_known_is_preferred(rng):
    rows = rng.normal(size=(40, 5))
    volume = MaxVol.empty(5)
    volume.update(rows, np.arange(100, 140))
    holders = volume.selected.copy()
    volume.remember(rows, np.arange(40))
    before = np.linalg.slogdet(volume.matrix)[1]
    volume.prefer_below(100)
    np.testing.assert_array_equal(np.sort(volume.selected), np.sort(holders - 100))
    assert np.linalg.slogdet(volume.matrix)[1] == pytest.approx(before)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_rows_that_are_not_finite_are_refused(rng, bad):
    rows = rng.normal(size=(5, 3))
    rows[3, 1] = bad
    with pytest.raises(ValueError, match="row 3 holds numbers that are not finite"):
        maxvol(rows)


def test_a_threshold_of_one_is_refused():
    with pytest.raises(ValueError, match=r"threshold 1\.0 is not above 1"):
        maxvol(np.eye(2), threshold=1.0)


def test_rows_of_another_length_get_no_grades(rng):
    matrix, inverse, _ = maxvol(rng.normal(size=(9, 3)))
    with pytest.raises(ValueError, match="3 parameters"):
        grades(np.zeros((2, 4)), active(matrix, inverse))


@pytest.mark.parametrize("mode", ["neighborhood", "configuration"])
def test_an_active_set_knows_where_its_rows_come_from(potential, mode):
    training = crystals(40, seed=1)
    made = build_active_set(potential, training, mode)
    assert made.mode == mode
    assert made.filled > 10
    for row, (configuration, atom) in zip(made.matrix, made.origins, strict=True):
        if configuration < 0:
            continue
        atoms = made.configurations[configuration]
        rows, _ = gradient_rows(potential, [atoms], mode)
        np.testing.assert_allclose(rows[atom], row, rtol=1e-12)
    rows, _ = gradient_rows(potential, training, mode)
    assert grades(rows, made).max() < 1.01


def test_a_configuration_row_is_the_mean_of_its_atoms_rows(potential):
    atoms = crystals(1, seed=3)[0]
    sites, _ = gradient_rows(potential, [atoms], "neighborhood")
    one, origins = gradient_rows(potential, [atoms], "configuration")
    np.testing.assert_allclose(one[0], sites.mean(axis=0))
    assert origins.tolist() == [[0, 0]]


def test_selection_takes_what_is_new_and_no_copies(potential):
    training = crystals(60, seed=1, rattle=0.05)
    made = build_active_set(potential, training)
    new = crystals(6, seed=9, rattle=0.4)
    candidates = [*training[:5], *new, *[atoms.copy() for atoms in new]]
    selection = select(potential, made, candidates, training=training)
    assert set(selection.indices) <= set(range(5, 17))
    assert selection.indices
    assert not {i for i in selection.indices if i + 6 in selection.indices}
    assert selection.grades[:5].max() < 1.01
    assert selection.grades[5:].max() > 2.1
    np.testing.assert_array_equal(selection.grades[5:11], selection.grades[11:])


def test_after_learning_the_selected_none_of_the_candidates_extrapolates(potential):
    training, candidates = crystals(60, 1, rattle=0.05), crystals(30, 9, rattle=0.4)
    made = build_active_set(potential, training)
    selection = select(potential, made, candidates, training=training)
    grown = build_active_set(potential, training + [candidates[i] for i in selection.indices])
    rows, _ = gradient_rows(potential, candidates)
    assert grades(rows, grown).max() < 2.1


def test_nothing_is_selected_from_nothing(potential):
    made = build_active_set(potential, crystals(5, seed=1))
    assert select(potential, made, []).indices == ()


def test_iterators_and_lists_give_the_same_within_what_one_pass_can_guarantee(potential):
    training = crystals(40, seed=1)
    once = build_active_set(potential, iter(training))
    again = build_active_set(potential, training)
    rows, _ = gradient_rows(potential, training)
    assert grades(rows, again).max() <= 1.001
    assert grades(rows, once).max() <= once.size * 1.001**2
    assert once.filled == again.filled


@pytest.mark.parametrize("mode", ["neighborhood", "configuration"])
def test_sets_about_linear_parameters_look_at_nothing_else(potential, mode, tmp_path):
    training = crystals(40, seed=1)
    made = build_active_set(potential, training, mode, parameters="linear")
    radial = potential.radial_coeffs.size
    assert made.size == potential.parameter_count
    np.testing.assert_array_equal(made.counted, np.arange(made.size) >= radial)
    assert (made.origins[:radial] == -1).all()
    rows, _ = gradient_rows(potential, crystals(9, seed=3, rattle=0.4), mode)
    inverse = np.linalg.inv(made.matrix[radial:, radial:])
    expected = np.abs(rows[:, radial:] @ inverse).max(axis=1)
    np.testing.assert_allclose(grades(rows, made), expected, rtol=1e-6)
    # It is an ordinary active set to all that reads it.
    potential.with_active_set(made).write(tmp_path / "linear.almtp")
    atoms = crystals(1, seed=3, rattle=0.4)[0]
    read = MTP(tmp_path / "linear.almtp")
    assert not read.potential.active_set.counted.all()
    assert read.get_property("extrapolation_grade", atoms) == pytest.approx(
        grades(gradient_rows(potential, [atoms], mode)[0], made).max()
    )


def test_selection_with_a_linear_set_stays_linear(potential):
    training, new = crystals(60, 1, rattle=0.05), crystals(8, 9, rattle=0.4)
    made = build_active_set(potential, training, parameters="linear")
    selection = select(potential, made, new, training=training)
    assert selection.indices
    chosen = [new[index] for index in selection.indices]
    grown = build_active_set(potential, training + chosen, parameters="linear")
    assert grades(gradient_rows(potential, new)[0], grown).max() < 2.1


def test_networks_have_sets_about_their_output_layers_or_all():
    network = BPNNPotential.untrained(["Zr"], hidden=(3,)).randomized(seed=1)
    training = crystals(6, seed=1)
    linear = build_active_set(network, training, parameters="linear")
    assert linear.size == 4
    assert build_active_set(network, training).size == network.active_size("inputs")
    whole = build_active_set(network, training, parameters="all")
    assert whole.size == network.parameter_count
    network.with_active_set(whole, "all")


def test_unknown_kinds_of_parameters_are_refused(potential):
    with pytest.raises(ValueError, match="'all' or 'linear', not 'radial'"):
        build_active_set(potential, crystals(3, seed=1), parameters="radial")


def test_an_active_set_needs_an_atom(potential):
    for nothing in ([], [Atoms()]):
        with pytest.raises(ValueError, match="at least one with an atom"):
            build_active_set(potential, nothing)


def test_single_atoms_without_neighbours_are_graded(potential):
    made = build_active_set(potential, [Atoms("Zr"), *crystals(5, seed=1)])
    assert made.filled > 1
    rows, _ = gradient_rows(potential, [Atoms("Zr")])
    assert grades(rows, made)[0] <= 1.001


def test_positions_that_are_not_finite_are_named(potential):
    bad = crystals(3, seed=1)
    bad[1].positions[1, 2] = np.nan
    with pytest.raises(ValueError, match="configuration 1: the position of atom 1 is not finite"):
        build_active_set(potential, bad)


def test_an_element_the_potential_does_not_know_is_named(potential):
    with pytest.raises(ValueError, match="O is unknown to the potential, which names Zr"):
        gradient_rows(potential, [bulk("O", "fcc", a=4.0)])


def test_active_sets_check_their_shapes():
    with pytest.raises(ValueError, match="inverse has shape"):
        ActiveSet(matrix=np.eye(3), inverse=np.eye(2))
    with pytest.raises(ValueError, match="not finite"):
        ActiveSet(matrix=np.eye(2) * np.nan, inverse=np.eye(2))
    with pytest.raises(ValueError, match="mode 'atoms'"):
        ActiveSet(matrix=np.eye(2), inverse=np.eye(2), mode="atoms")
