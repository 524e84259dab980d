import tracemalloc

import numpy as np
import pytest
from ase.build import bulk

from pescape.calculators.doptimality import design_matrix as siterows
from pescape.calculators.doptimality import maxvol
from pescape.calculators.doptimality.active_set import build_active_set, gradient_rows, select
from pescape.calculators.doptimality.design_matrix import (
    DesignRows,
    site_gradient_blocks,
    site_gradients,
)
from pescape.calculators.mtp import MTPotential


class Made:
    """Configurations that are made when they are asked for and never held."""

    def __init__(self, count, seed=1, rattle=0.2):
        self.count, self.seed, self.rattle = count, seed, rattle
        self.passes = 0

    def __iter__(self):
        self.passes += 1
        for index in range(self.count):
            atoms = bulk("Zr", ("hcp", "bcc", "fcc")[index % 3], a=(3.2, 3.6, 4.5)[index % 3])
            rng = np.random.default_rng([self.seed, index])
            atoms.positions += rng.normal(scale=self.rattle, size=atoms.positions.shape)
            atoms.set_cell(atoms.cell.array * rng.uniform(0.9, 1.1), scale_atoms=True)
            yield atoms


@pytest.fixture(scope="module")
def potential():
    made = MTPotential.untrained(6, ["Zr"], cutoff=5.0, min_dist=2.0, radial_basis_size=4)
    return made.randomized(seed=2)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(maxvol, "_BLOCK_NUMBERS", 1000)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("mode", ["neighborhood", "configuration"])
def test_streams_larger_than_memory_give_what_lists_give(potential, mode):
    kept = build_active_set(potential, list(Made(150)), mode)
    source = Made(150)
    remade = build_active_set(potential, source, mode, memory=0)
    assert source.passes > 2
    for name in ("matrix", "inverse", "origins"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(remade, name))
    assert list(kept.configurations) == list(remade.configurations)

    new = Made(90, seed=7, rattle=0.4)
    held = select(potential, kept, list(new), training=list(Made(150)))
    streamed = select(potential, kept, new, training=source, memory=0)
    assert held.indices == streamed.indices
    assert held.indices
    np.testing.assert_array_equal(held.grades, streamed.grades)
    assert list(held.configurations) == list(streamed.configurations)


@pytest.mark.usefixtures("small_blocks")
def test_rows_that_fit_memory_are_made_once(potential):
    source = Made(150)
    build_active_set(potential, source)
    assert source.passes == 1


@pytest.mark.slow
@pytest.mark.usefixtures("small_blocks")
def test_memory_does_not_grow_with_the_data(potential):
    def peak(count):
        tracemalloc.start()
        build_active_set(potential, Made(count), memory=0)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(5)  # what is imported and compiled on the way
    assert peak(320) < 1.5 * peak(80)


def test_parts_of_a_large_configuration_have_the_rows_of_the_whole(potential, monkeypatch):
    atoms = bulk("Zr", "hcp", a=3.2) * (3, 3, 2)
    atoms.rattle(0.2, seed=1)
    whole = site_gradients(potential, atoms)
    parts = list(site_gradient_blocks(potential, atoms, 7))
    assert [len(part) for part in parts] == [7] * 5 + [1]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-12, atol=1e-12)
    expected = gradient_rows(potential, [atoms])
    monkeypatch.setattr(siterows, "PART_ATOMS", 5)
    rows, origins = gradient_rows(potential, [atoms])
    np.testing.assert_allclose(rows, expected[0], rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(origins, expected[1])
    mean, _ = gradient_rows(potential, [atoms], "configuration")
    np.testing.assert_allclose(mean[0], whole.mean(axis=0), rtol=1e-10, atol=1e-12)


def test_iterators_are_gone_through_once(potential):
    stream = DesignRows(potential, iter(Made(5)), memory=0)
    assert sum(len(block.rows) for block in stream) == 5 + 2  # hcp has two atoms
    with pytest.raises(ValueError, match="only once"):
        list(stream)


def test_a_source_that_changes_between_passes_is_noticed(potential):
    source = Made(8)
    stream = DesignRows(potential, source, memory=0)
    list(stream)
    for count in (7, 9):
        source.count = count
        with pytest.raises(ValueError, match="did the file change"):
            list(stream)


def test_what_is_not_accepted_is_passed_over(potential):
    stream = DesignRows(potential, Made(6), accept=lambda atoms: len(atoms) == 1)
    origins = np.concatenate([block.origins for block in stream])
    assert origins[:, 0].tolist() == [1, 2, 4, 5]
    assert stream.accepted == [False, True, True] * 2
    assert set(stream.fetch([1, 4])) == {1, 4}
