import json

import numpy as np
import pytest
from ase.neighborlist import neighbor_list

from pescape.plugins.structures import (
    LATTICES,
    crystal,
    rattled,
    replay,
    shortest_distance,
)
from tests.conftest import strained_and_rattled


def neighbors(atoms, within):
    return np.bincount(neighbor_list("i", atoms, within), minlength=len(atoms))


@pytest.mark.parametrize(
    ("lattice", "a", "distance", "count"),
    [
        ("fcc", 4.5, 4.5 / 2**0.5, 12),
        ("bcc", 3.6, 3.6 * 0.75**0.5, 8),
        ("hcp", 3.2, 3.2, 12),
        ("sc", 3.0, 3.0, 6),
        ("diamond", 5.4, 5.4 * 3**0.5 / 4, 4),
    ],
)
@pytest.mark.parametrize("cubic", [False, True])
def test_crystals_have_the_neighbors_of_their_lattice(lattice, a, distance, count, cubic):
    atoms = crystal("Zr", lattice, a, cubic=cubic)
    assert shortest_distance(atoms) == pytest.approx(distance)
    assert (neighbors(atoms, 1.01 * distance) == count).all()


def test_omega_has_three_atoms_of_two_kinds():
    atoms = crystal("Zr", "omega", 5.05, c_over_a=0.62)
    assert len(atoms) == 3
    assert atoms.get_volume() / 3 == pytest.approx(0.62 * 5.05**3 * 3**0.5 / 2 / 3)
    assert shortest_distance(atoms) > 2.9


def test_repeating_multiplies_atoms_and_volume():
    one, six = crystal("Zr", "hcp", 3.2), crystal("Zr", "hcp", 3.2, repeat=(3, 1, 2))
    assert len(six) == 6 * len(one)
    assert six.get_volume() == pytest.approx(6 * one.get_volume())


def test_unknown_lattices_are_refused_with_what_there_is():
    with pytest.raises(ValueError, match=rf"lattice 'hpc' is not one of {', '.join(LATTICES)}"):
        crystal("Zr", "hpc", 3.2)


def test_strain_has_the_volume_and_deviation_asked_for():
    atoms, rng = crystal("Zr", "sc", 3.0), np.random.default_rng(0)
    strains = []
    for _ in range(3000):
        new = rattled(atoms, rng, strain=0.02, volume=1.1)
        assert new.get_volume() == pytest.approx(1.1 * 27.0)
        strains.append(new.cell.array / 3.0 / 1.1 ** (1 / 3) - np.eye(3))
    strains = np.array(strains)
    np.testing.assert_allclose(strains.mean(axis=0), 0.0, atol=0.002)
    np.testing.assert_allclose(strains, strains.transpose(0, 2, 1), atol=1e-12)
    assert strains[:, 0, 1].std() == pytest.approx(0.02, rel=0.05)
    assert strains[:, 0, 0].std() == pytest.approx(0.02 * (2 / 3) ** 0.5, rel=0.05)


def test_rattling_has_the_deviation_asked_for_and_leaves_the_parent_alone():
    atoms = crystal("Zr", "bcc", 3.6, repeat=(8, 8, 8))
    before = atoms.positions.copy()
    new = rattled(atoms, np.random.default_rng(0), rattle=0.1)
    np.testing.assert_array_equal(atoms.positions, before)
    assert (new.positions - before).std() == pytest.approx(0.1, rel=0.05)


def test_equal_seeds_give_equal_structures_however_many_are_built():
    parents = [crystal("Zr", "hcp", 3.2), crystal("Zr", "bcc", 3.6)]
    few, many = (strained_and_rattled(parents, count, seed=4) for count in (3, 9))
    for a, b in zip(few, many[:3], strict=True):
        np.testing.assert_array_equal(a.positions, b.positions)
        np.testing.assert_array_equal(a.cell.array, b.cell.array)
    other = strained_and_rattled(parents, 1, seed=5)[0]
    assert not np.array_equal(other.positions, few[0].positions)


def test_structures_name_their_parents():
    parent = crystal("Zr", "hcp", 3.2)
    parent.info["name"] = "hcp Zr2"
    made = strained_and_rattled([parent, crystal("Zr", "bcc", 3.6)], 3)
    assert [atoms.info["parent"] for atoms in made] == ["hcp Zr2", "Zr", "hcp Zr2"]


def test_structures_are_replayed_from_json_bit_by_bit():
    for atoms in strained_and_rattled([crystal("Zr", "hcp", 3.2)], 3, min_distance=2.9, seed=8):
        again = replay(json.loads(json.dumps(atoms.info["record"])))
        assert again == atoms
        assert again.info == atoms.info


def test_no_structure_has_atoms_nearer_than_allowed():
    made = strained_and_rattled(
        [crystal("Zr", "hcp", 3.2)], 40, rattle=(0.2, 0.3), min_distance=2.6, seed=1
    )
    assert min(shortest_distance(atoms) for atoms in made) >= 2.6


def test_a_distance_that_cannot_be_kept_is_an_error():
    with pytest.raises(ValueError, match=r"all had atoms nearer than 3\.5 Å"):
        strained_and_rattled([crystal("Zr", "hcp", 3.2)], 1, min_distance=3.5)
