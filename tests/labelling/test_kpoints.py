import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111

from pescape.labelling.recipes.common import kpoint_grid


@pytest.mark.parametrize("even", [False, True])
def test_the_density_is_reached_with_no_refinement_more_than_it_takes(even):
    rng = np.random.default_rng(0)
    step = 2 if even else 1
    for _ in range(200):
        edges = rng.uniform(2.0, 40.0, 3)
        density = np.exp(rng.uniform(2.0, 11.0))
        grid = np.array(kpoint_grid(Atoms("H", cell=edges, pbc=True), density, even=even))
        volume = edges.prod()
        assert grid.prod() * volume >= density * (1 - 1e-9)
        assert (grid % step == 0).all()
        if (grid > step).any():
            # The axis refined last is the one whose spacing was the finest before.
            before = np.where(grid > step, 1.0 / edges / np.maximum(grid - step, 1), np.inf)
            grid[before.argmin()] -= step
            assert grid.prod() * volume < density


def test_grids_are_as_symmetric_as_the_cell():
    for atoms in (bulk("Cu"), bulk("Cu", cubic=True), bulk("Fe"), bulk("Si")):
        assert len(set(kpoint_grid(atoms))) == 1
    grid = kpoint_grid(bulk("Zr", "hcp", a=3.23, c=5.17))
    assert grid[0] == grid[1] > grid[2]


def test_longer_axes_get_fewer_points():
    one, three = (kpoint_grid(bulk("Cu", cubic=True).repeat((n, 1, 1))) for n in (1, 3))
    assert three[0] < one[0]
    assert three[0] * 3 == pytest.approx(one[0], abs=3)


def test_axes_that_are_not_periodic_get_one_point():
    grid = kpoint_grid(fcc111("Cu", (1, 1, 3), vacuum=8.0))
    assert grid[2] == 1
    assert grid[0] == grid[1] > 1
    assert kpoint_grid(Atoms("H", cell=[5] * 3, pbc=False), even=True) == (1, 1, 1)


def test_what_has_no_density_is_refused():
    with pytest.raises(ValueError, match="needs a cell with a volume"):
        kpoint_grid(Atoms("H", pbc=False))
    with pytest.raises(ValueError, match="density = 0"):
        kpoint_grid(bulk("Cu"), 0.0)
