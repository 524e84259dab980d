import json

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.neighborlist import neighbor_list

from pescape.plugins.structures import crystal, replay, solid_solution

COPPER = crystal("Cu", "fcc", 3.6, cubic=True)
CUBE = {"repeat": (3, 3, 3)}


def made(atoms):
    return atoms.info["record"]["done"]


def test_elements_take_the_nearest_whole_numbers_of_sites():
    atoms = solid_solution(COPPER, {"Cu": 0.5, "Ni": 0.3, "Al": 0.2}, seed=1, **CUBE)
    assert made(atoms)["counts"] == {"Cu": 54, "Ni": 32, "Al": 22}
    assert {e: int((atoms.symbols == e).sum()) for e in ("Cu", "Ni", "Al")} == made(atoms)["counts"]
    np.testing.assert_allclose(atoms.positions, COPPER.repeat((3, 3, 3)).positions, atol=1e-12)
    assert atoms.info["parent"] == "Cu4"


def test_equal_seeds_give_equal_structures_and_records_replay():
    options = {"swaps": 20, "rattle": 0.1, "strain": 0.02, "volume": (0.9, 1.1), **CUBE}
    one, same = (solid_solution(COPPER, {"Cu": 0.6, "Au": 0.4}, seed=4, **options) for _ in "ab")
    other = solid_solution(COPPER, {"Cu": 0.6, "Au": 0.4}, seed=5, **options)
    assert one == same
    assert (one.numbers != other.numbers).any()
    again = replay(json.loads(json.dumps(one.info["record"])))
    assert again == one
    ratio = one.get_volume() / COPPER.repeat((3, 3, 3)).get_volume()
    assert ratio == pytest.approx(made(one)["volume"])
    assert 0.9 <= ratio <= 1.1


def test_only_the_sublattice_is_taken_and_sites_may_stay_empty():
    zirconia = bulk("ZrO2", "fluorite", a=5.08, cubic=True).repeat((2, 2, 2))
    mixed = solid_solution(zirconia, {"Zr": 0.75, "Y": 0.25}, seed=2, sublattice="Zr")
    assert mixed.get_chemical_formula() == "O64Y8Zr24"
    assert (mixed.symbols[zirconia.symbols == "O"] == "O").all()
    holes = solid_solution(zirconia, {"O": 0.875, "X": 0.125}, seed=2, sublattice="O")
    assert holes.get_chemical_formula() == "O56Zr32"


def test_short_range_order_is_what_neighbors_say():
    atoms = solid_solution(COPPER, {"Cu": 0.5, "Au": 0.5}, seed=3, shells=1, **CUBE)
    first, second = neighbor_list("ij", atoms, 3.0)
    unlike = float(np.mean(atoms.numbers[first] != atoms.numbers[second]))
    assert made(atoms)["short_range_order"]["Cu-Au"] == pytest.approx([1.0 - unlike / 0.5])


def test_swaps_bring_neighbors_closer_to_an_ideal_solution():
    def order(swaps):
        atoms = solid_solution(
            crystal("Zr", "hcp", 3.2), {"Zr": 0.6, "Nb": 0.4}, seed=1, swaps=swaps, shells=3,
            repeat=(4, 4, 3),
        )  # fmt: skip
        return np.abs(made(atoms)["short_range_order"]["Zr-Nb"])

    assert order(0).max() > 0.02
    assert order(500).max() < 0.005


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"composition": {"Cu": 0.5, "Ni": 0.4}}, "not positive fractions that sum to 1"),
        ({"composition": {"Cu": 0.5, "Qq": 0.5}}, "'Qq' is no chemical symbol"),
        ({"composition": {"Cu": 0.99, "Ni": 0.01}}, "no atom of Ni: repeat the parent"),
        ({"sublattice": "O"}, "no sites of O"),
        ({"volume": (1.1, 0.9)}, "not a range"),
        ({"shells": 0}, "shells = 0"),
        ({"parent": molecule("H2O")}, "no crystal"),
    ],
)
def test_impossible_arguments_are_named(arguments, message):
    given = {"parent": COPPER, "composition": {"Cu": 0.5, "Ni": 0.5}, "seed": 1} | arguments
    with pytest.raises(ValueError, match=message):
        solid_solution(**given)
