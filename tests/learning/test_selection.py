import numpy as np
import pytest
from ase import Atoms

from pescape.calculators.doptimality.active_set import build_active_set
from pescape.calculators.doptimality.select import NoveltyFilter, graded, select_for_labelling
from pescape.calculators.mtp import MTPotential
from pescape.plugins.structures import crystal
from tests.conftest import strained_and_rattled

PARENTS = [crystal("Zr", "hcp", 3.23, c_over_a=1.6), crystal("Zr", "bcc", 3.58, repeat=(2, 1, 1))]
TRAINING = strained_and_rattled(PARENTS, 40, rattle=(0.0, 0.05), strain=0.01, seed=1)
NEW = strained_and_rattled(PARENTS, 8, rattle=(0.3, 0.4), strain=0.05, min_distance=2.0, seed=2)


@pytest.fixture(scope="module")
def potential():
    made = MTPotential.untrained(6, ["Zr"], 5.0, 2.0, 4).randomized(seed=2)
    return made.with_active_set(build_active_set(made, TRAINING))


def test_what_is_new_is_chosen_the_largest_grade_first(potential):
    choice = select_for_labelling(potential, [*TRAINING[:4], *NEW], training=TRAINING)
    assert choice.indices
    assert min(choice.indices) >= 4
    chosen = choice.grades[list(choice.indices)]
    assert list(chosen) == sorted(chosen, reverse=True)
    assert len(choice.indices) + choice.redundant + choice.similar == 12


def test_unphysical_configurations_are_left_out(potential):
    squeezed = NEW[0].copy()
    squeezed.positions[1] = squeezed.positions[0] + [1.0, 0.0, 0.0]
    choice = select_for_labelling(potential, [squeezed, *NEW], min_distance=1.8)
    assert 0 not in choice.indices
    assert choice.unphysical == 1
    assert np.isnan(choice.grades[0])
    assert choice.grades[1] > 1.0


def test_a_turned_and_renumbered_copy_is_similar(potential):
    turned = NEW[0].copy()
    turned.rotate(40.0, (1.0, 2.0, 3.0), rotate_cell=True)
    turned = turned[::-1]
    alone = select_for_labelling(potential, [NEW[0]], similarity=0.0)
    both = select_for_labelling(potential, [NEW[0], turned * (2, 1, 1)], similarity=1e-3)
    assert len(alone.indices) == len(both.indices) == 1
    assert both.grades[0] == pytest.approx(both.grades[1], rel=1e-6)


def test_a_larger_similarity_leaves_fewer(potential):
    few = select_for_labelling(potential, NEW, similarity=1e9)
    many = select_for_labelling(potential, NEW, similarity=0.0)
    assert len(few.indices) == 1
    assert few.similar == len(many.indices) - 1


@pytest.mark.parametrize("mode", ["neighborhood", "configuration"])
def test_what_was_labelled_since_is_known_turned_renumbered_and_repeated(mode):
    made = MTPotential.untrained(6, ["Zr"], 5.0, 2.0, 4).randomized(seed=2)
    made = made.with_active_set(build_active_set(made, TRAINING, mode))
    fresh = select_for_labelling(made, NEW, training=TRAINING)
    assert fresh.indices
    assert fresh.known == 0
    labelled = []
    for atoms in fresh.configurations:
        turned = atoms.copy()
        turned.rotate(70.0, (3.0, 1.0, 2.0), rotate_cell=True)
        labelled.append(turned[::-1] * (1, 2, 1))
    seen = NoveltyFilter.of(made, [*TRAINING, *labelled], 1e-3)
    again = select_for_labelling(made, NEW, training=TRAINING, seen=seen, similarity=1e-3)
    assert again.indices == ()
    assert again.known == len(fresh.indices)
    assert again.redundant + again.known + again.similar + again.unphysical == len(NEW)


def test_seen_neighbourhoods_are_those_that_a_full_comparison_finds(potential):
    rng = np.random.default_rng(3)
    active = potential.active_set
    points = rng.uniform(-2.0, 2.0, size=(300, active.size))
    queries = np.concatenate(
        (
            points[:20] + rng.uniform(-0.19, 0.19, size=(20, active.size)),
            points[:20] + rng.uniform(-0.4, 0.4, size=(20, active.size)),
        )
    )
    seen = NoveltyFilter(active, 0.2)
    for first in range(0, 300, 70):
        seen.add(points[first : first + 70])
    expected = np.abs(queries[:, None] - points).max(axis=2).min(axis=1) < 0.2
    assert expected[:20].all()
    assert not expected[20:].all()
    assert [seen.contains(one[None]) for one in queries] == expected.tolist()
    assert seen.contains(queries[:20])
    assert not seen.contains(queries)


def test_what_cannot_be_a_counterpart_is_not_kept(potential):
    every, few = (
        NoveltyFilter.of(potential, TRAINING, 1.0),
        NoveltyFilter.of(potential, TRAINING, 0.2),
    )
    assert 0 < len(few) < len(every) == sum(map(len, TRAINING))


def test_points_of_another_active_set_are_refused(potential):
    other = potential.with_active_set(build_active_set(potential, TRAINING[:20]))
    with pytest.raises(ValueError, match="another active set"):
        select_for_labelling(potential, NEW, seen=NoveltyFilter.of(other, TRAINING))
    with pytest.raises(ValueError, match="similarity -1"):
        select_for_labelling(potential, NEW, similarity=-1.0)


def test_candidates_without_atoms_or_at_no_place_are_unphysical(potential):
    lost = NEW[0].copy()
    lost.positions[0, 0] = np.nan
    choice = select_for_labelling(potential, [Atoms(), lost, *NEW])
    assert choice.unphysical == 2
    assert np.isnan(choice.grades[:2]).all()
    assert min(choice.indices) >= 2
    assert len(choice.indices) + choice.redundant + choice.similar + choice.known == len(NEW)


def test_nothing_is_chosen_from_nothing_or_from_what_is_known(potential):
    assert select_for_labelling(potential, []).indices == ()
    known = select_for_labelling(potential, TRAINING, training=TRAINING)
    assert known.indices == ()
    assert known.redundant == len(TRAINING)


def test_an_iterator_of_candidates_is_read_once(potential):
    once = select_for_labelling(potential, iter(NEW), training=TRAINING)
    assert once.indices
    for index, atoms in zip(once.indices, once.configurations, strict=True):
        assert atoms == NEW[index]
    with pytest.raises(TypeError, match="several times"):
        select_for_labelling(potential, NEW, training=iter(TRAINING))


def test_errors_name_the_configuration(potential):
    for function in (select_for_labelling, graded):
        with pytest.raises(ValueError, match="configuration 1: O is unknown to the potential"):
            function(potential, [NEW[0], Atoms("O")])
    with pytest.raises(ValueError, match="configuration 0: a configuration without atoms"):
        graded(potential, [Atoms()])


def test_grades_are_written_beside_the_results(potential):
    frames = graded(potential, NEW)
    for atoms, original in zip(frames, NEW, strict=True):
        values = atoms.get_array("extrapolation_grades")
        assert values.shape == (len(original),)
        assert atoms.info["extrapolation_grade"] == values.max()
        assert "extrapolation_grade" not in original.info


def test_nothing_is_chosen_without_an_active_set(potential):
    with pytest.raises(ValueError, match="no active set"):
        select_for_labelling(potential.with_active_set(None), NEW)
    with pytest.raises(ValueError, match="no active set"):
        graded(potential.with_active_set(None), NEW)
