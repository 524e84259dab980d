"""Atoms without a neighbour list, such as the ghosts of a domain, act as neighbours only."""

from __future__ import annotations

import numpy as np
import pytest

from pescape.calculators.mtp import MTPotential


@pytest.mark.parametrize("threads", [1, 2])
def test_ghosts_feel_forces_but_have_no_energy(threads):
    potential = MTPotential.untrained(8, ["Cu", "Ag"], cutoff=5.0, min_dist=1.5)
    kernel = potential.randomized(seed=1).kernel()
    rng = np.random.default_rng(2)
    positions = rng.uniform(0, 8, size=(40, 3))
    species = rng.integers(0, 2, 40).astype(np.int32)
    first, second = np.nonzero(~np.eye(40, dtype=bool))
    own = first < 11
    indices, shifts = second[own].astype(np.int32), np.zeros((own.sum(), 3))
    offsets = 39 * np.arange(12)
    padded = np.append(offsets, np.full(29, offsets[-1]))
    short = positions, species, offsets, indices, shifts, threads
    energies, forces, virials = kernel.evaluate(*short)
    all_energies, *others = kernel.evaluate(positions, species, padded, indices, shifts, threads)
    assert np.array_equal(energies, all_energies[:11])
    assert forces == pytest.approx(others[0], rel=1e-13, abs=1e-13)
    assert virials == pytest.approx(others[1], rel=1e-13, abs=1e-13)
    rows = kernel.site_gradients(*short)
    assert rows.shape == (11, kernel.parameter_count)
    everything = kernel.site_gradients(positions, species, padded, indices, shifts, threads)
    assert np.array_equal(rows, everything[:11])
    with pytest.raises(ValueError, match="offsets must hold"):
        kernel.evaluate(positions[:5], species[:5], offsets, indices, shifts)
