import numpy as np
import pytest

from pescape.calculators.activeset import build_active_set
from pescape.calculators.mtp import MTPotential
from pescape.learning.selection import choose, graded
from pescape.plugins.structures import crystal, strained_and_rattled

PARENTS = [crystal("Zr", "hcp", 3.23, c_over_a=1.6), crystal("Zr", "bcc", 3.58, repeat=(2, 1, 1))]
TRAINING = strained_and_rattled(PARENTS, 40, rattle=(0.0, 0.05), strain=0.01, seed=1)
NEW = strained_and_rattled(PARENTS, 8, rattle=(0.3, 0.4), strain=0.05, min_distance=2.0, seed=2)


@pytest.fixture(scope="module")
def potential():
    made = MTPotential.untrained(6, ["Zr"], 5.0, 2.0, 4).randomized(seed=2)
    return made.with_active_set(build_active_set(made, TRAINING))


def test_what_is_new_is_chosen_the_largest_grade_first(potential):
    choice = choose(potential, [*TRAINING[:4], *NEW], training=TRAINING)
    assert choice.indices
    assert min(choice.indices) >= 4
    chosen = choice.grades[list(choice.indices)]
    assert list(chosen) == sorted(chosen, reverse=True)
    assert len(choice.indices) + choice.redundant + choice.similar == 12


def test_unphysical_configurations_are_left_out(potential):
    squeezed = NEW[0].copy()
    squeezed.positions[1] = squeezed.positions[0] + [1.0, 0.0, 0.0]
    choice = choose(potential, [squeezed, *NEW], min_distance=1.8)
    assert 0 not in choice.indices
    assert choice.unphysical == 1
    assert np.isnan(choice.grades[0])
    assert choice.grades[1] > 1.0


def test_a_turned_and_renumbered_copy_is_similar(potential):
    turned = NEW[0].copy()
    turned.rotate(40.0, (1.0, 2.0, 3.0), rotate_cell=True)
    turned = turned[::-1]
    alone = choose(potential, [NEW[0]], similarity=0.0)
    both = choose(potential, [NEW[0], turned * (2, 1, 1)], similarity=1e-3)
    assert len(alone.indices) == len(both.indices) == 1
    assert both.grades[0] == pytest.approx(both.grades[1], rel=1e-6)


def test_a_larger_similarity_leaves_fewer(potential):
    few = choose(potential, NEW, similarity=1e9)
    many = choose(potential, NEW, similarity=0.0)
    assert len(few.indices) == 1
    assert few.similar == len(many.indices) - 1


def test_grades_are_written_beside_the_results(potential):
    frames = graded(potential, NEW)
    for atoms, original in zip(frames, NEW, strict=True):
        values = atoms.get_array("extrapolation_grades")
        assert values.shape == (len(original),)
        assert atoms.info["extrapolation_grade"] == values.max()
        assert "extrapolation_grade" not in original.info


def test_nothing_is_chosen_without_an_active_set(potential):
    with pytest.raises(ValueError, match="no active set"):
        choose(potential.with_active_set(None), NEW)
    with pytest.raises(ValueError, match="no active set"):
        graded(potential.with_active_set(None), NEW)
