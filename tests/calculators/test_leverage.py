import numpy as np
import pytest
from ase.build import bulk

from pescape.calculators import BPNN
from pescape.calculators.bpnn import BPNNPotential
from pescape.calculators.bpnn.fit import default_functions
from pescape.calculators.doptimality.active_set import build_active_set, grades, gradient_rows


def crystals(count, amplitude=0.1, seed=0):
    made = []
    for k in range(count):
        atoms = bulk("Cu", cubic=True, a=3.65)
        atoms.symbols[k % 3] = "Ag"
        atoms.rattle(amplitude, seed=seed + k)
        made.append(atoms)
    return made


@pytest.fixture(scope="module")
def training():
    return crystals(60)


@pytest.fixture(scope="module")
def network(training):
    functions = default_functions(["Cu", "Ag"], 4.0, radial=4, angular=2)
    bare = BPNNPotential.untrained(["Cu", "Ag"], functions, hidden=(3, 2)).randomized(1)
    return bare.with_active_set(build_active_set(bare, training))


def test_the_largest_grade_of_each_elements_training_atoms_is_one(network, training):
    calculator = BPNN(network)
    found = np.concatenate([calculator.get_property("extrapolation_grades", a) for a in training])
    symbols = np.concatenate([atoms.get_chemical_symbols() for atoms in training])
    for name in ("Cu", "Ag"):
        assert found[symbols == name].max() == pytest.approx(1.0)
        assert found[symbols == name].min() < 0.8


def test_grades_are_the_leverage_but_for_a_factor(network, training):
    rows, _ = gradient_rows(network, training)
    symbols = np.concatenate([atoms.get_chemical_symbols() for atoms in training])
    new, _ = gradient_rows(network, crystals(9, 0.2, seed=100))
    assert network.active_set.leverage is not None
    for name in ("Cu", "Ag"):
        mine = rows[symbols == name]
        entries = np.flatnonzero(np.abs(mine).max(axis=0) > 0.0)
        size = np.sqrt((mine[:, entries] ** 2).mean(axis=0))
        scaled = mine[:, entries] / size
        inverse = np.linalg.inv(scaled.T @ scaled / len(scaled) + 1e-8 * np.eye(len(entries)))
        for some in (mine, new[np.abs(new[:, entries]).max(axis=1) > 0.0]):
            b = some[:, entries] / size
            leverage = np.einsum("mp,pq,mq->m", b, inverse, b)
            ratio = grades(some, network.active_set) / leverage
            np.testing.assert_allclose(ratio, ratio[0], rtol=1e-4)


def test_rows_are_inputs_and_derivatives_behind_the_first_weights(network):
    rows, _ = gradient_rows(network, crystals(1))
    every, _ = gradient_rows(network.with_active_set(None, "all"), crystals(1))
    place = whole = 0
    for element in network.elements:
        inputs, (first, *_) = len(element.functions), element.layers
        behind = element.parameter_count - first.inputs * first.outputs
        part = rows[:, place : place + inputs + behind]
        mine = np.abs(part).max(axis=1) > 0.0
        weights = every[:, whole + first.inputs * first.outputs : whole + element.parameter_count]
        np.testing.assert_array_equal(part[:, inputs:], weights)
        table = every[:, whole : whole + first.inputs * first.outputs]
        table = table.reshape(len(rows), first.inputs, first.outputs)
        delta = weights[:, : first.outputs]
        np.testing.assert_allclose(
            part[:, :inputs][mine, :, None] * delta[mine, None, :], table[mine], rtol=1e-10
        )
        place, whole = place + inputs + behind, whole + element.parameter_count
    assert place == network.active_size()
    names = [network.parameter_name(k) for k in range(place)]
    assert len(set(names)) == place
    assert names[0].startswith("Cu input 0: G2")
    assert names[-1] == "Ag layer 3, bias 0"


def test_grades_grow_as_atoms_come_near_each_other(network):
    calculator = BPNN(network)
    found = []
    for length in (1.0, 0.9, 0.8, 0.7):
        atoms = bulk("Cu", cubic=True, a=3.65 * length)
        found.append(calculator.get_property("extrapolation_grade", atoms))
    assert found == sorted(found)
    assert found[-1] > 10.0


def test_leverages_survive_their_file(network, tmp_path):
    network.write(tmp_path / "x.bpnn")
    again = BPNNPotential.read(tmp_path / "x.bpnn")
    assert again.active_parameters == "inputs"
    np.testing.assert_array_equal(again.active_set.leverage, network.active_set.leverage)
    atoms = crystals(1, 0.3, seed=9)[0]
    ours, theirs = (
        BPNN(one).get_property("extrapolation_grades", atoms) for one in (network, again)
    )
    np.testing.assert_array_equal(ours, theirs)


def test_an_iterator_is_read_once(network, training):
    bare = network.with_active_set(None)
    active = build_active_set(bare, iter(training))
    rows, _ = gradient_rows(bare, training)
    assert 0.9 < grades(rows, active).max() < 2.5


def test_grades_of_configurations_are_by_the_active_set(network, training):
    active = build_active_set(network.with_active_set(None), training, "configuration")
    assert active.leverage is None
