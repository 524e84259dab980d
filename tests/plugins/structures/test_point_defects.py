import numpy as np
import pytest
from ase.neighborlist import neighbor_list

from pescape.plugins.structures import (
    BulkCrystal,
    divacancy,
    divacancy_pairs,
    interstitial,
    interstitial_sites,
    repeat_for,
    replay,
    shortest_distance,
    vacancy,
)

A = 3.2
IDEAL = BulkCrystal("Mg", "hcp", A)
ZR = BulkCrystal("Zr", "hcp", 3.234, 1.598)
SHELL = 1e-6


def shell(atoms, index=-1, within=1.01 * A):
    """Distance of the nearest neighbors of an atom, and how many they are."""
    first, distance = neighbor_list("id", atoms, within)
    own = distance[first == index % len(atoms)]
    return own.min(), int((own < own.min() + SHELL).sum())


def test_a_vacancy_takes_one_neighbor_from_twelve_atoms():
    atoms = vacancy(IDEAL, (4, 2, 2))
    assert len(atoms) == 4 * 16 - 1
    counts = np.bincount(neighbor_list("i", atoms, 1.01 * A), minlength=len(atoms))
    assert sorted(counts)[:12] == [11] * 12
    assert set(counts) == {11, 12}
    assert replay(atoms.info["record"]) == atoms


def test_a_cell_of_one_atom_has_no_room_for_a_vacancy():
    with pytest.raises(ValueError, match="no room for a vacancy: repeat it"):
        vacancy(BulkCrystal("Po", "sc", 3.3), (1, 1, 1))


def test_nearest_pairs_of_hcp_lie_within_and_across_basal_planes():
    basal, across = divacancy_pairs(IDEAL)
    assert (basal.kind, across.kind) == ("basal", "out_of_basal")
    assert basal.distance == pytest.approx(A)
    assert across.distance == pytest.approx(A)
    assert basal.vector[2] == pytest.approx(0.0)
    assert abs(across.vector[2]) == pytest.approx((2 / 3) ** 0.5 * A)
    assert [pair.kind for pair in divacancy_pairs(ZR)] == ["out_of_basal", "basal"]


@pytest.mark.parametrize(
    ("lattice", "distances"),
    [
        ("fcc", [0.5**0.5, 1.0, 1.5**0.5, 2**0.5]),
        ("bcc", [0.75**0.5, 1.0, 2**0.5, 2.75**0.5, 3**0.5]),
        ("hcp", [1.0, 1.0, 2**0.5, (8 / 3) ** 0.5, 3**0.5, 3**0.5]),
    ],
)
def test_inequivalent_pairs_are_one_per_shell_but_for_kinds_of_hcp(lattice, distances):
    pairs = divacancy_pairs(BulkCrystal("Mg", lattice, A), A * distances[-1] + 1e-3)
    assert [pair.distance / A for pair in pairs] == pytest.approx(distances)


@pytest.mark.parametrize("size", [8, 16, 32, 64, 128, 256])
@pytest.mark.parametrize("kind", ["basal", "out_of_basal"])
def test_divacancies_take_two_neighboring_atoms(size, kind):
    atoms = divacancy(ZR, repeat_for(ZR, size), kind)
    assert len(atoms) == size - 2
    perfect = ZR.atoms(repeat=repeat_for(ZR, size))
    gone = [
        place
        for place in perfect.positions
        if np.linalg.norm(atoms.positions - place, axis=1).min() > 0.1
    ]
    assert len(gone) == 2
    fill = atoms[:0]
    fill.extend(perfect[:2])
    fill.positions = gone
    expected = 3.234 if kind == "basal" else ZR.nearest
    assert fill.get_distance(0, 1, mic=True) == pytest.approx(expected)
    assert replay(atoms.info["record"]) == atoms


def test_divacancies_without_room_or_name_are_refused():
    with pytest.raises(
        ValueError, match=r"\[1, 1, 1\] of hcp has no room for .* out_of_basal_3: take"
    ):
        divacancy(ZR, (1, 1, 1), "out_of_basal_3")
    with pytest.raises(ValueError, match="divacancy 'second' of hcp is not one of out_of_basal, "):
        divacancy(ZR, (2, 2, 2), "second")


@pytest.mark.parametrize(
    ("site", "distance", "count"),
    [
        ("O", 0.5**0.5, 6),
        ("BO", 3**-0.5, 3),
        ("T", 0.375**0.5, 4),
        ("BT", 3**-0.5, 3),
        ("C", 0.5, 2),
        ("BC", 0.5, 2),
        ("S", (1 / 3 + (6**-0.5 * 2 - 0.375) ** 2) ** 0.5, 3),
        ("BS", 0.625, 1),
    ],
)
def test_sites_of_hcp_have_their_neighbors(site, distance, count):
    atoms = interstitial(IDEAL, (4, 2, 2), site)
    assert len(atoms) == 4 * 16 + 1
    found, number = shell(atoms)
    assert found == pytest.approx(distance * A)
    assert number == count


def test_basal_sites_differ_by_what_lies_above_and_below():
    height = (2 / 3) ** 0.5 * A  # half of c
    for site, above in (("BT", 2), ("BO", 0)):
        atoms = interstitial(IDEAL, (4, 2, 2), site)
        first, vectors = neighbor_list("iD", atoms, 1.1 * A)
        own = vectors[first == len(atoms) - 1]
        in_line = np.abs(np.abs(own) - (0.0, 0.0, height)).max(axis=1) < SHELL
        assert in_line.sum() == above


@pytest.mark.parametrize(
    ("site", "axis"),
    [
        ("S", (0.0, 0.0, 0.75)),
        ("BS", (0.75, 0.0, 0.0)),
        ("BC", (0.5, 0.0, 0.0)),
        ("C", (0.0, 12**-0.5, 6**-0.5)),
    ],
)
def test_sites_that_are_named_by_a_direction_lie_along_it(site, axis):
    atoms = interstitial(IDEAL, (4, 2, 2), site)
    along = atoms.positions[-1] - atoms.positions[0]
    np.testing.assert_allclose(np.abs(along) / A, axis, atol=1e-9)
    rest = atoms.positions[1:-1]
    perfect = IDEAL.atoms(repeat=(4, 2, 2)).positions
    np.testing.assert_array_equal(rest, perfect[1:])


def test_tetrahedral_sites_are_equally_far_from_four_atoms_whatever_c_over_a():
    distance, count = shell(interstitial(ZR, (4, 2, 2), "T"), within=3.0)
    assert count == 4
    assert distance == pytest.approx(ZR.nearest**2 / ZR.atoms().cell[2, 2])


@pytest.mark.parametrize(
    ("lattice", "site", "distance", "count"),
    [
        ("bcc", "octahedral", 0.5, 2),
        ("bcc", "tetrahedral", 5**0.5 / 4, 4),
        ("bcc", "crowdion", 3**0.5 / 4, 2),
        ("fcc", "octahedral", 0.5, 6),
        ("fcc", "tetrahedral", 3**0.5 / 4, 4),
        ("fcc", "crowdion", 0.125**0.5, 2),
    ],
)
def test_cubic_sites_have_their_neighbors(lattice, site, distance, count):
    atoms = interstitial(BulkCrystal("Fe", lattice, A), (3, 3, 3), site)
    found, number = shell(atoms)
    assert found == pytest.approx(distance * A)
    assert number == count


@pytest.mark.parametrize("lattice", ["bcc", "fcc"])
@pytest.mark.parametrize("direction", [(1, 0, 0), (1, 1, 0), (1, 1, 1)])
def test_dumbbells_share_one_site_along_their_direction(lattice, direction):
    host = BulkCrystal("Fe", lattice, 2.87)
    atoms = interstitial(host, (3, 3, 3), "dumbbell_" + "".join(map(str, direction)))
    along = atoms.positions[-1] - atoms.positions[0]
    assert np.linalg.norm(along) == pytest.approx(0.75 * host.nearest)
    np.testing.assert_allclose(np.cross(along, direction), 0.0, atol=1e-9)
    np.testing.assert_allclose(atoms.positions[-1] + atoms.positions[0], 0.0, atol=1e-9)


@pytest.mark.parametrize("size", [4, 8, 16, 32, 64, 128])
def test_every_site_fits_every_size_and_keeps_its_distance(size):
    for site in interstitial_sites("hcp"):
        atoms = interstitial(ZR, repeat_for(ZR, size), site, min_distance=2.1)
        assert len(atoms) == size + 1
        assert shortest_distance(atoms) >= 2.1
        if size == 8:
            assert replay(atoms.info["record"]) == atoms


def test_other_elements_can_be_put_in():
    atoms = interstitial(ZR, (2, 2, 2), "O", extra_element="O")
    assert atoms.get_chemical_formula() == "OZr32"
    assert atoms.symbols[-1] == "O"
    assert atoms.info["name"] == "O interstitial O hcp OZr32"
    with pytest.raises(ValueError, match="extra_element 'Ox' is no chemical symbol"):
        interstitial(ZR, (2, 2, 2), "O", extra_element="Ox")


def test_unknown_sites_are_refused_with_what_there_is():
    with pytest.raises(ValueError, match="site 'X' of hcp is not one of O, BO, T, BT"):
        interstitial(ZR, (2, 2, 2), "X")
    with pytest.raises(ValueError, match="known in bcc, fcc and hcp, not in diamond"):
        interstitial(BulkCrystal("Si", "diamond", 5.43), (1, 1, 1), "T")
