import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from pescape.calculators.bpnn import BPNNPotential
from pescape.calculators.doptimality.active_set import build_active_set, grades, gradient_rows
from pescape.calculators.doptimality.explain import explain
from pescape.calculators.mtp import MTPotential


def crystal(seed, rattle=0.05, repeat=2):
    atoms = bulk("Zr", "hcp", a=3.23) * (repeat, repeat, repeat)
    atoms.rattle(rattle, seed=seed)
    return atoms


@pytest.fixture(scope="module")
def plain():
    return MTPotential.untrained(8, ["Zr"], 5.0, 2.0, 4).randomized(seed=2)


def graded(plain, mode):
    training = [crystal(seed) for seed in range(8)]
    return plain.with_active_set(build_active_set(plain, training, mode))


def test_the_atom_out_of_place_is_named_with_its_neighbours(plain):
    potential = graded(plain, "neighborhood")
    atoms = crystal(99, repeat=3)
    atoms.positions[5] += [0.0, 0.0, 1.0]
    found = explain(potential, atoms)
    # It or one that it came near to.
    assert atoms.get_distance(5, found[0].atom, mic=True) < 3.0
    assert [one.grade for one in found] == sorted((one.grade for one in found), reverse=True)
    values = grades(gradient_rows(potential, [atoms])[0], potential.active_set)
    assert [one.atom for one in found] == sorted(
        np.flatnonzero(values > 1.0), key=lambda atom: -values[atom]
    )
    for one in found[:5]:
        apart = np.sort(atoms.get_distances(one.atom, range(len(atoms)), mic=True))[1:]
        assert one.species == "Zr"
        assert one.grade == pytest.approx(values[one.atom])
        assert one.nearest == pytest.approx(apart[0])
        assert max(one.distances) <= 5.0
        row = gradient_rows(potential, [atoms])[0][one.atom]
        terms = row * potential.active_set.inverse[:, one.slot]
        assert abs(terms.sum()) == pytest.approx(one.grade, rel=1e-6)
        assert np.abs(terms).argmax() == one.parameter
        assert one.row == tuple(potential.active_set.origins[one.slot])
    assert explain(potential, atoms, most=2) == found[:2]
    assert explain(potential, atoms, threshold=1e9) == ()


def test_of_a_configuration_the_atom_that_adds_most_is_named(plain):
    potential = graded(plain, "configuration")
    atoms = crystal(99)
    atoms.positions[5] += [0.0, 0.0, 1.0]
    (one,) = explain(potential, atoms)
    value = grades(gradient_rows(potential, [atoms], "configuration")[0], potential.active_set)
    assert one.grade == pytest.approx(value[0])
    sites, _ = gradient_rows(potential, [atoms])
    assert np.abs(sites @ potential.active_set.inverse[:, one.slot]).argmax() == one.atom


def test_a_lone_atom_has_no_neighbours(plain):
    found = explain(graded(plain, "neighborhood"), Atoms("Zr"))
    for one in found:
        assert one.neighbors == 0
        assert one.nearest == np.inf
    assert [one.summary()["distances"] for one in found] == [[] for _ in found]


def test_parameters_have_names():
    potential = MTPotential.untrained(6, ["Zr", "O"], 5.0, 2.0, 4).randomized(seed=2)
    names = [potential.parameter_name(k) for k in range(potential.parameter_count)]
    assert len(set(names)) == len(names)
    assert names[0] == "radial Zr-Zr, function 0, polynomial 0"
    assert "energy of O" in names
    assert names[-1] == f"basis function {len(potential.scalar_moments) - 1}"

    network = BPNNPotential.untrained(["Zr", "O"], hidden=(3,)).randomized(seed=1)
    network = network.with_active_set(None, "output")
    assert [network.parameter_name(k) for k in (0, 3, 4)] == [
        "Zr layer 2, weight 0 -> 0",
        "Zr layer 2, bias 0",
        "O layer 2, weight 0 -> 0",
    ]
    with pytest.raises(ValueError, match="no parameter 8"):
        network.parameter_name(8)


def test_nothing_is_explained_without_an_active_set(plain):
    with pytest.raises(ValueError, match="no active set to explain with"):
        explain(plain, crystal(1))
