import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from pescape.calculators.doptimality.active_set import build_active_set, grades, gradient_rows
from pescape.calculators.doptimality.subsample import subsample
from pescape.calculators.mtp import MTPotential
from pescape.plugins.structures import crystal
from tests.conftest import strained_and_rattled

PARENTS = [crystal("Zr", "hcp", 3.23, c_over_a=1.6), crystal("Zr", "bcc", 3.58, repeat=(2, 1, 1))]


def labelled(count, seed, rattle=(0.0, 0.2)):
    made = strained_and_rattled(PARENTS, count, rattle=rattle, strain=0.02, seed=seed)
    for number, atoms in enumerate(made):
        atoms.calc = SinglePointCalculator(atoms, energy=float(number))
    return made


DATA = labelled(60, 1)


@pytest.fixture(scope="module")
def potential():
    return MTPotential.untrained(6, ["Zr"], 5.0, 2.0, 4).randomized(seed=2)


@pytest.mark.parametrize("mode", ["neighborhood", "configuration"])
@pytest.mark.parametrize("parameters", ["all", "linear"])
def test_a_subsample_spans_what_the_data_set_knows(potential, mode, parameters):
    found = subsample(potential, DATA, mode, parameters=parameters)
    assert len(found.indices) == len(set(found.indices)) < len(DATA)
    assert found.total == len(DATA)
    rows, _ = gradient_rows(potential, DATA, mode)
    spanned = build_active_set(potential, found.configurations, mode, parameters=parameters)
    assert grades(rows, spanned).max() < 1.01
    assert spanned.filled == found.rows


def test_labels_are_kept(potential):
    found = subsample(potential, DATA)
    energies = [atoms.get_potential_energy() for atoms in found.configurations]
    assert energies == [float(index) for index in found.indices]


def test_the_stranger_comes_first(potential):
    stranger = labelled(1, 5, rattle=(0.5, 0.5))[0]
    found = subsample(potential, [*DATA[:30], stranger, *DATA[30:]])
    assert found.indices[0] == 30
    assert min(found.gains) >= 0.0
    assert found.gains[0] > np.median(found.gains)


def test_a_few_span_more_than_as_many_at_random(potential):
    few = subsample(potential, DATA, "configuration", count=6)
    assert len(few.indices) == 6

    rows, _ = gradient_rows(potential, DATA, "configuration")
    points = rows @ build_active_set(potential, DATA, "configuration").inverse
    spread = points.T @ points + 1e-9 * np.eye(points.shape[1])

    def information(indices):
        some = points[list(indices)]
        return np.linalg.slogdet(some @ np.linalg.solve(spread, some.T))[1]

    rng = np.random.default_rng(1)
    others = [information(rng.choice(len(DATA), 6, replace=False)) for _ in range(50)]
    assert information(few.indices) > max(others)


def test_more_are_found_in_layers_and_fewer_are_the_first(potential):
    one = subsample(potential, DATA)
    more = subsample(potential, DATA, count=len(one.indices) + 5)
    few = subsample(potential, DATA, count=3)
    assert more.indices[: len(one.indices)] == one.indices
    assert more.layers == (1,) * len(one.indices) + (2,) * 5
    assert len(set(more.indices)) == len(more.indices)
    assert few.indices == one.indices[:3]


def test_all_there_is_is_found_at_most(potential):
    found = subsample(potential, DATA[:8], count=100)
    assert sorted(found.indices) == list(range(8))


def test_what_makes_no_sense_is_refused(potential):
    with pytest.raises(ValueError, match="at least 1, not 0"):
        subsample(potential, DATA, count=0)
    with pytest.raises(TypeError, match="several times"):
        subsample(potential, iter(DATA))
    with pytest.raises(ValueError, match="at least one with an atom"):
        subsample(potential, [])
