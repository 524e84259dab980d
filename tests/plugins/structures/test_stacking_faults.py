import numpy as np
import pytest
from ase.calculators.lj import LennardJones
from ase.neighborlist import neighbor_list

from pescape.plugins.structures import (
    SLIP_PLANES,
    BulkCrystal,
    cut,
    displacement_grid,
    replay,
    shortest_distance,
    stacking_fault,
)

A = 3.2
HCP = BulkCrystal("Mg", "hcp", A)
BASAL, PRISMATIC = SLIP_PLANES["basal"], SLIP_PLANES["prismatic"]


def distances(atoms):
    return np.sort(neighbor_list("d", atoms, 6.0)).round(6)


def energy(atoms):
    atoms.calc = LennardJones(sigma=A / 2 ** (1 / 6), epsilon=0.1, rc=8.0, smooth=True)
    return atoms.get_potential_energy()


def fcc_like(atoms):
    """Atoms whose twelve neighbors lie opposite each other in pairs."""
    first, vectors = neighbor_list("iD", atoms, 1.1 * A)
    count = 0
    for index in range(len(atoms)):
        own = vectors[first == index]
        assert len(own) == 12
        opposite = np.linalg.norm(own[:, None] + own[None], axis=-1).min(axis=1) < 1e-6
        count += opposite.all()
    return count


@pytest.mark.parametrize("plane", SLIP_PLANES.values(), ids=SLIP_PLANES)
@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (0, 1), (2, -1)])
def test_whole_periods_give_the_perfect_crystal_again(plane, shift):
    atoms = stacking_fault(HCP, plane, shift, layers=4, in_plane=(1, 2))
    perfect = HCP.atoms(repeat=(2, 2, 1))
    assert len(atoms) == len(perfect) == 16
    assert atoms.get_volume() == pytest.approx(perfect.get_volume())
    np.testing.assert_allclose(distances(atoms), distances(perfect))
    assert energy(atoms) == pytest.approx(energy(perfect), rel=1e-6)


def test_the_intrinsic_fault_of_basal_planes_has_two_layers_stacked_as_in_fcc():
    perfect = stacking_fault(HCP, BASAL, (0, 0), layers=4)
    good, bad = (
        stacking_fault(HCP, BASAL, shift, layers=4) for shift in ((1 / 3, 1 / 3), (2 / 3, 2 / 3))
    )
    if shortest_distance(good) < shortest_distance(bad) - 1e-6:
        good, bad = bad, good
    assert shortest_distance(bad) == pytest.approx(A * (2 / 3) ** 0.5)  # atop each other
    assert fcc_like(perfect) == 0
    assert fcc_like(good) == 2
    assert energy(perfect) < energy(bad)
    assert abs(energy(good) - energy(perfect)) < 0.05 * (energy(bad) - energy(perfect))
    length = np.linalg.norm(good.cell.array[:2].sum(axis=0) / 3)
    assert length == pytest.approx(A / 3**0.5)  # of 1/3 <1-100>


@pytest.mark.parametrize("plane", [BASAL, PRISMATIC])
def test_energies_mirror_those_of_the_crystal(plane):
    energies = [
        energy(stacking_fault(HCP, plane, (0.0, part), layers=3)) for part in (0.0, 0.25, 0.5, 0.75)
    ]
    assert energies[0] < min(energies[1:])
    if plane == PRISMATIC:
        assert energies[1] == pytest.approx(energies[3])


def test_slabs_with_vacuum_shift_their_upper_half_alone():
    rigid, shifted = (
        stacking_fault(HCP, PRISMATIC, shift, layers=5, vacuum=9.0) for shift in ((0, 0), (0.5, 0))
    )
    moved = shifted.positions - rigid.positions
    low = rigid.positions[:, 2] < np.median(rigid.positions[:, 2]) - 1.0
    np.testing.assert_allclose(moved[low], 0.0, atol=1e-12)
    period = cut(HCP, PRISMATIC).layer.cell.array[0]
    lengths = np.linalg.norm(moved, axis=1)
    assert set(lengths.round(6)) == {0.0, round(np.linalg.norm(period) / 2, 6)}
    assert (lengths > 0).sum() == 6  # three of five layers
    np.testing.assert_array_equal(rigid.cell.array, shifted.cell.array)
    assert rigid.cell[2, 2] - np.ptp(rigid.positions[:, 2]) == pytest.approx(9.0)


def test_opening_and_distance_keep_atoms_from_each_other():
    over = {"layers": 4, "displacement": (0.0, 0.5)}
    plain = stacking_fault(HCP, PRISMATIC, **over)
    opened = stacking_fault(HCP, PRISMATIC, **over, opening=0.4)
    pushed = stacking_fault(HCP, PRISMATIC, **over, min_distance=2.3)
    assert shortest_distance(plain) < 2.0
    assert opened.get_volume() > plain.get_volume()
    assert shortest_distance(opened) > shortest_distance(plain) + 0.2
    assert shortest_distance(pushed) >= 2.3
    assert replay(pushed.info["record"]) == pushed


def test_grids_of_displacements_differ_and_hit_the_intrinsic_fault():
    grid = displacement_grid()
    assert grid.shape == (441, 2)
    assert len({tuple(np.round(point % 1.0, 9)) for point in grid}) == 441
    assert np.abs(grid - 1 / 3).max(axis=1).min() < 1e-12
    assert displacement_grid(ends=True).max() == 1.0


@pytest.mark.parametrize("count", [4, 10, 49, 200])
def test_thinned_grids_cover_the_plane_evenly(count):
    grid, chosen = displacement_grid(), displacement_grid(count=count)
    assert len(np.unique(chosen, axis=0)) == count
    away = grid[:, None] - chosen[None]
    away -= np.round(away)
    # No point of the plane is farther than the diagonal of the squares that there would be.
    assert np.linalg.norm(away, axis=-1).min(axis=1).max() < (2 / count) ** 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": 0}, "layers = 0: a fault needs 1 at least"),
        ({"layers": 1, "vacuum": 5.0}, "layers = 1: a fault needs 2 at least"),
        ({"layers": 2, "vacuum": -5.0}, r"vacuum = -5.0 Å is negative"),
        ({"layers": 2, "termination": 3}, "termination 3 of hcp"),
    ],
)
def test_faults_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        stacking_fault(HCP, PRISMATIC, (0, 0), **arguments)


def test_grids_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="a grid of 1 points is too small"):
        displacement_grid(1, ends=True)
    with pytest.raises(ValueError, match="count = 500, but there are 441 displacements"):
        displacement_grid(count=500)
