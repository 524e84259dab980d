import numpy as np
import pytest

from pescape.plugins.structures import (
    LOW_INDEX_PLANES,
    BulkCrystal,
    cuts,
    replay,
    shortest_distance,
    stack_for,
    surface,
)

A, C = 3.234, 3.234 * 1.598
ZR = BulkCrystal("Zr", "hcp", 3.234, 1.598)


def spacing(host, plane):
    """Distance of lattice planes from the textbooks' formulas, and volume per primitive cell."""
    if host.lattice == "hcp":
        h, k, _, l = plane  # noqa: E741
        inverse = 4 / 3 * (h * h + h * k + k * k) / A**2 + l * l / C**2
        return inverse**-0.5, 3**0.5 / 2 * A * A * C
    odd = sum(plane) % 2 if host.lattice == "bcc" else len({index % 2 for index in plane}) > 1
    cell = host.a**3 / (2 if host.lattice == "bcc" else 4)
    return host.a / np.linalg.norm(plane) / (2 if odd else 1), cell


ALL = [
    (host, plane)
    for host in (ZR, BulkCrystal("Zr", "bcc", 3.58), BulkCrystal("Al", "fcc", 4.05))
    for plane in LOW_INDEX_PLANES[host.lattice]
]


@pytest.mark.parametrize(("host", "plane"), ALL)
def test_slabs_have_the_area_and_spacing_of_their_plane(host, plane):
    distance, volume = spacing(host, plane)
    for termination in range(len(cuts(host, plane))):
        atoms = surface(host, plane, layers=6, vacuum=10.0, termination=termination)
        first, second, third = atoms.cell.array
        assert np.linalg.norm(np.cross(first, second)) == pytest.approx(volume / distance)
        assert atoms.pbc.all()
        np.testing.assert_allclose(third[:2], 0.0, atol=1e-12)
        np.testing.assert_allclose(atoms.cell.array[:2, 2], 0.0, atol=1e-9)
        heights = np.sort(atoms.positions[:, 2])
        assert third[2] - np.ptp(heights) == pytest.approx(10.0)
        assert heights[0] == pytest.approx(5.0)
        each = len(atoms) // 6
        assert heights[each:] - heights[:-each] == pytest.approx([distance] * (len(atoms) - each))
        assert shortest_distance(atoms) == pytest.approx(host.nearest)


@pytest.mark.parametrize(
    ("plane", "gaps"),
    [
        ((0, 0, 0, 1), [C / 2]),
        ((1, 0, -1, 0), [3**0.5 * A / 3, 3**0.5 * A / 6]),
        ((1, 1, -2, 0), [A / 2]),
    ],
)
def test_terminations_are_the_different_gaps_widest_first(plane, gaps):
    assert [cut.gap for cut in cuts(ZR, plane)] == pytest.approx(gaps)


def test_there_are_eight_hcp_surfaces():
    assert sum(len(cuts(ZR, plane)) for plane in LOW_INDEX_PLANES["hcp"]) == 8


def test_terminations_of_prismatic_slabs_leave_different_neighbors():
    wide, narrow = (
        surface(ZR, (1, 0, -1, 0), layers=4, termination=termination) for termination in (0, 1)
    )
    tops = [np.sort(np.unique(slab.positions[:, 2].round(4)))[-2:] for slab in (wide, narrow)]
    assert np.ptp(tops[0]) == pytest.approx(3**0.5 * A / 6, abs=1e-3)
    assert np.ptp(tops[1]) == pytest.approx(3**0.5 * A / 3, abs=1e-3)


def test_four_and_three_indices_mean_the_same_plane():
    four, three = (surface(ZR, plane, layers=3) for plane in ((1, 1, -2, 2), (1, 1, 2)))
    np.testing.assert_array_equal(four.positions, three.positions)


@pytest.mark.parametrize("size", [12, 16, 20, 24, 28, 32])
def test_stacks_of_a_number_of_atoms_hold_it(size):
    for plane in LOW_INDEX_PLANES["hcp"]:
        within, layers = stack_for(ZR, plane, size)
        atoms = surface(ZR, plane, layers=layers, in_plane=within)
        assert len(atoms) == size
        assert replay(atoms.info["record"]) == atoms


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cuts(ZR, (1, 0, 0, 0)), r"plane \[1, 0, 0, 0\]: .* do not sum to 0"),
        (lambda: cuts(ZR, (0, 0, 0)), r"plane \[0, 0, 0\]: give three Miller indices"),
        (
            lambda: cuts(BulkCrystal("Al", "fcc", 4), (1, 0, -1, 0)),
            "four indices belong to hcp and omega",
        ),
        (lambda: cuts(ZR, (97, 89, 1)), r"plane \(97, 89, 1\) is not spanned by .* lower indices"),
        (lambda: surface(ZR, (0, 0, 1), layers=2, termination=1), "termination 1 of hcp .* are 1"),
        (lambda: surface(ZR, (0, 0, 1), layers=0), "layers = 0, .* have to be above 0"),
        (lambda: surface(ZR, (0, 0, 1), layers=2, vacuum=0.0), r"vacuum = 0.0 Å is not above 0"),
        (lambda: stack_for(ZR, (0, 0, 1), 13), r"\(001\) has 13 atoms: a layer .* has 2"),
    ],
)
def test_planes_and_stacks_that_cannot_be_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
