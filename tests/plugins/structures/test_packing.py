import json

import numpy as np
import pytest
from ase.cell import Cell
from ase.neighborlist import neighbor_list

from pescape.plugins.structures import PackingError, packing, random_packing, replay
from pescape.plugins.structures.packing import _draw_composition
from pescape.plugins.structures.spheres import insert

#: Half the equilibrium distances of the pairs in vacuum, Å.
RADII = {"O": 0.613, "Zr": 1.123}
SKEWED = Cell.fromcellpar([7.0, 8.0, 9.0, 60, 75, 110]).array


def pairs_too_near(atoms, hard):
    """Pairs below the sum of their hard radii, by ASE's own search."""
    reach = np.array([hard[symbol] for symbol in atoms.symbols])
    return len(neighbor_list("i", atoms, reach))


def filled(atoms, radii):
    spheres = sum(4 / 3 * np.pi * radii[symbol] ** 3 for symbol in atoms.symbols)
    return spheres / atoms.get_volume()


@pytest.mark.parametrize("cell", [8.0, (6.0, 7.0, 11.0), SKEWED])
@pytest.mark.parametrize("fraction", [0.05, 0.3, 0.5])
def test_packings_have_the_fractions_asked_for_and_no_overlaps(cell, fraction):
    hard = {element: 0.9 * radius for element, radius in RADII.items()}
    for seed in range(4):
        atoms = random_packing(
            cell,
            {"Zr": (0.0, 1.0), "O": (0.0, 0.7)},
            seed=seed,
            volume_fraction=fraction,
            radii=RADII,
        )
        assert pairs_too_near(atoms, hard) == 0
        assert (atoms.numbers == 8).mean() <= 0.7
        largest = 4 / 3 * np.pi * RADII["Zr"] ** 3 / atoms.get_volume()
        assert filled(atoms, RADII) == pytest.approx(fraction, abs=largest)


def test_dense_boxes_are_filled_and_told_how_many_atoms_were_pushed():
    atoms = random_packing(13.0, {"Zr": 0.3, "O": 0.7}, seed=1, volume_fraction=0.5, radii=RADII)
    assert len(atoms) > 400
    assert filled(atoms, RADII) == pytest.approx(0.5, abs=0.002)
    assert pairs_too_near(atoms, {"Zr": 0.9 * 1.123, "O": 0.9 * 0.613}) == 0
    assert 0 < atoms.info["record"]["done"]["crowded"] < 50


def test_without_making_room_dense_mixtures_fail_clearly():
    with pytest.raises(PackingError, match=r"only \d+ of 103 atoms found room in the best of 2"):
        random_packing(
            8.0,
            {"Zr": 0.3, "O": 0.7},
            seed=1,
            volume_fraction=0.5,
            radii=RADII,
            make_room=False,
            tries=2,
        )


def test_the_hard_ratio_is_kept_as_given():
    nearest = {}
    for ratio in (0.6, 1.0):
        atoms = random_packing(
            10.0, {"Zr": 1.0}, seed=3, volume_fraction=0.35, radii=RADII, hard_ratio=ratio
        )
        nearest[ratio] = neighbor_list("d", atoms, 3.0).min() / (2 * RADII["Zr"])
    assert 0.6 <= nearest[0.6] < 0.7
    assert 1.0 <= nearest[1.0] < 1.1


def test_hard_radii_can_be_given_for_each_element():
    hard = {"Zr": 1.4, "O": 0.3}
    atoms = random_packing(
        9.0, {"Zr": 0.4, "O": 0.6}, seed=0, volume_fraction=0.2, radii=RADII, hard_radii=hard
    )
    assert pairs_too_near(atoms, hard) == 0


def test_atoms_keep_away_from_their_own_images():
    with pytest.raises(PackingError, match=r"Zr with hard radius 1.011 Å overlaps its own period"):
        random_packing((2.0, 9.0, 9.0), {"Zr": 1.0}, seed=0, volume_fraction=0.1, radii=RADII)
    # The edges are long enough; a diagonal of the sheared cell is not.
    sheared = [[6.0, 0.0, 0.0], [5.9, 1.5, 0.0], [0.0, 0.0, 9.0]]
    with pytest.raises(PackingError, match="overlaps its own periodic images"):
        random_packing(sheared, {"Zr": 1.0}, seed=0, volume_fraction=0.1, radii=RADII)
    flat = random_packing((2.1, 2.1, 20.0), {"Zr": 1.0}, seed=0, volume_fraction=0.4, radii=RADII)
    assert len(flat) > 3
    assert pairs_too_near(flat, {"Zr": 0.9 * 1.123}) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"volume_fraction": 0.95}, "would fill 0.693 of the cell, more than 0.6"),
        ({"volume_fraction": 0.0}, "less than half an atom"),
        ({"volume_fraction": (0.5, 0.2)}, r"volume_fraction: \[0.5, 0.2\] is no range"),
        ({"composition": {"Zr": (0.0, 0.4), "O": 0.5}}, "the highest to 0.9; 1 has to lie between"),
        ({"composition": {"Zz": 1.0}}, "'Zz' is no chemical symbol"),
        ({"composition": {"Ti": 1.0}}, "no radius for Ti; there are radii for O, Zr"),
        ({"cell": (1.0, 2.0)}, "an edge, three edges or three vectors"),
        ({"cell": 0.0}, "has no volume"),
    ],
)
def test_impossible_packings_are_refused_at_once(changes, message):
    arguments = {"cell": 8.0, "composition": {"Zr": 1.0}, "volume_fraction": 0.3, **changes}
    cell, composition = arguments.pop("cell"), arguments.pop("composition")
    with pytest.raises(ValueError, match=message):
        random_packing(cell, composition, seed=0, radii=RADII, **arguments)


@pytest.mark.slow
def test_packings_that_cannot_be_end_in_an_error():
    """Three spheres would fill 0.59 of the cube, but their images leave no place for a third."""
    with pytest.raises(
        PackingError, match=r"only 2 of 3 atoms found room .* made none for the oth"
    ):
        random_packing(2.8, {"Zr": 1.0}, seed=0, volume_fraction=0.81, radii=RADII, tries=2)
    jammed = random_packing(8.0, {"Zr": 1.0}, seed=0, volume_fraction=0.81, radii=RADII)
    assert pairs_too_near(jammed, {"Zr": 0.9 * RADII["Zr"]}) == 0


def test_stoichiometry_is_kept_where_whole_atoms_allow():
    for seed in range(5):
        atoms = random_packing(
            8.0, {"Zr": 1 / 3, "O": 2 / 3}, seed=seed, volume_fraction=(0.1, 0.4), radii=RADII
        )
        counts = np.bincount(atoms.numbers)
        assert counts[8] == 2 * counts[40]
        assert 0.1 <= filled(atoms, RADII) <= 0.4


def test_compositions_cover_their_range_evenly():
    rng = np.random.default_rng(0)
    drawn = np.array(
        [_draw_composition({"A": (0.1, 0.4), "B": (0.0, 1.0)}, rng) for _ in range(4000)]
    )
    shares = (drawn[:, 0] - 0.1) / 0.3
    assert np.histogram(shares, 10, (0, 1))[0].min() > 300
    free = dict.fromkeys("ABC", (0.0, 1.0))
    drawn = np.array([_draw_composition(free, rng) for _ in range(4000)])
    np.testing.assert_allclose(drawn.sum(axis=1), 1.0)
    # Uniform on the triangle: the mean is 1/3, the variance 1/18.
    np.testing.assert_allclose(drawn.mean(axis=0), 1 / 3, atol=0.01)
    np.testing.assert_allclose(drawn.var(axis=0), 1 / 18, rtol=0.08)


def test_elements_come_in_random_order(monkeypatch):
    """Small atoms that came last would all sit in the gaps between the large ones."""
    orders = []

    def spy(cell, hard, kinds, rng, *, crowd):
        orders.append(kinds)
        return insert(cell, hard, kinds, rng, crowd=crowd)

    monkeypatch.setattr(packing, "insert", spy)
    for seed in range(20):
        random_packing(8.0, {"Zr": 0.5, "O": 0.5}, seed=seed, volume_fraction=0.2, radii=RADII)
    assert len({tuple(kinds) for kinds in orders}) == 20
    early = np.mean([kinds[: len(kinds) // 2].mean() for kinds in orders])
    assert early == pytest.approx(0.5, abs=0.1)


def test_the_density_is_uniform():
    pooled = np.concatenate(
        [
            random_packing(8.0, {"O": 1.0}, seed=seed, volume_fraction=0.2, radii=RADII).positions
            for seed in range(40)
        ]
    )
    for axis in range(3):
        counts = np.histogram(pooled[:, axis], 8, (0.0, 8.0))[0]
        expected = len(pooled) / 8
        assert ((counts - expected) ** 2 / expected).sum() < 25.0  # χ², 7 degrees of freedom


def test_equal_seeds_give_equal_packings_and_the_global_generator_is_left_alone():
    np.random.seed(3)  # noqa: NPY002 (it is the global one that is looked at)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, second, other = (
        random_packing(8.0, {"Zr": 0.5, "O": 0.5}, seed=seed) for seed in (1, 1, 2)
    )
    assert first == second
    assert first != other
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_packings_are_replayed_from_json_bit_by_bit():
    for seed in (5, np.random.SeedSequence(9).spawn(3)[2]):
        atoms = random_packing(
            SKEWED, {"Zr": (0.2, 0.9), "O": (0.0, 0.7)}, seed=seed, volume_fraction=(0.4, 0.5)
        )
        again = replay(json.loads(json.dumps(atoms.info["record"])))
        np.testing.assert_array_equal(again.positions, atoms.positions)
        np.testing.assert_array_equal(again.numbers, atoms.numbers)
        np.testing.assert_array_equal(again.cell.array, atoms.cell.array)
        assert again.info == atoms.info
