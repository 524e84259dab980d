"""A data set cut into blocks that ranks share: the cuts depend on the data alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from pescape.calculators.fitting.data import configuration_weights, training_set
from pescape.calculators.fitting.ranks import agreed
from pescape.calculators.neighbors import neighbors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from pescape.calculators.fitting.data import TrainingSet
    from pescape.calculators.fitting.ranks import Communicator

    Floats = NDArray[np.float64]

# Rows (energies, force and virial components) of a block: matrix products of this height run at
# full speed, and there are enough blocks for some dozens of ranks.
_ROWS = 1000
# Small data sets are cut, too, so that a few ranks have something to do.
_FEWEST = 8
# Larger ones into a multiple of this, which 2, 3, 4 or 6 ranks can share evenly.
_EVEN = 12
# What an atom and a configuration cost besides their pairs, in pairs (measured).
_PAIRS_PER_ATOM = 1.0
_PAIRS_PER_CONFIGURATION = 60.0


@dataclass(frozen=True, eq=False)
class Share:
    """Blocks of a data set that one rank holds.

    Parameters
    ----------
    data
        The configurations of its blocks; None if it has none.
    blocks
        The number of each block and its part of the data.
    count, rows
        Blocks of all ranks, and rows of the least-squares problem in them.
    """

    data: TrainingSet | None
    blocks: tuple[tuple[int, TrainingSet], ...]
    count: int
    rows: int


def whole(data: TrainingSet) -> Share:
    """Take a data set as one block, for a process alone."""
    return Share(data, ((0, data),), 1, int(np.sum(3 * data.sizes + 7)))


def share(
    configurations: Sequence[Atoms], species: Sequence[str], cutoff: float, ranks: Communicator
) -> Share:
    """Put this rank's blocks into arrays; all ranks must have the same configurations.

    Configurations count as often as their ``info["fit_weight"]`` says. An error in any rank's
    configurations is raised on all ranks.
    """
    costs = _costs(configurations, cutoff, ranks)

    def part() -> Share:
        if not configurations:
            return whole(training_set(configurations, species, cutoff))  # says what is missing
        weights = configuration_weights(configurations)
        rows = np.array([3 * len(atoms) + 7 for atoms in configurations])
        edges, total = block_edges(rows), int(rows.sum())
        first, last = rank_edges(np.add.reduceat(costs, edges[:-1]), ranks.size)[ranks.rank :][:2]
        if first == last:
            return Share(None, (), len(edges) - 1, total)
        own = edges[first : last + 1]
        data = training_set(configurations, species, cutoff, chosen=range(own[0], own[-1]))
        data = replace(data, factors=data.factors * weights[own[0] : own[-1]])
        cuts = [int(edge - own[0]) for edge in own]
        blocks = [data.part(a, b) for a, b in pairwise(cuts)]
        return Share(data, tuple(enumerate(blocks, start=int(first))), len(edges) - 1, total)

    return agreed(ranks, part)


def block_edges(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Cut configurations, given their rows (C,), into blocks; edges of shape (blocks + 1,)."""
    wanted = max(int(rows.sum()) // _ROWS, _FEWEST)
    if wanted > _EVEN:
        wanted = -(-wanted // _EVEN) * _EVEN
    return _edges(rows.astype(float), min(wanted, len(rows)))


def rank_edges(costs: Floats, ranks: int) -> NDArray[np.int64]:
    """Give each rank a run of blocks of about equal cost; edges of shape (ranks + 1,)."""
    middle = np.cumsum(costs) - 0.5 * costs
    goals = costs.sum() * np.arange(1, ranks) / ranks
    return np.array([0, *np.searchsorted(middle, goals), len(costs)], dtype=np.int64)


def _edges(costs: Floats, count: int) -> NDArray[np.int64]:
    """Cut into `count` runs of about equal cost, none of them empty."""
    middle = np.cumsum(costs) - 0.5 * costs
    edges = np.searchsorted(middle, costs.sum() * np.arange(1, count) / count)
    edges = np.array([0, *edges, len(costs)], dtype=np.int64)
    for k in range(1, count):
        edges[k] = max(edges[k], edges[k - 1] + 1)
    for k in range(count - 1, 0, -1):
        edges[k] = min(edges[k], edges[k + 1] - 1)
    return edges


def _costs(configurations: Sequence[Atoms], cutoff: float, ranks: Communicator) -> Floats:
    """Work that each configuration makes (C,), in pairs; ranks take turns to look."""
    if ranks.size == 1:
        return np.ones(len(configurations))
    own = [_cost(atoms, cutoff) for atoms in configurations[ranks.rank :: ranks.size]]
    costs = np.empty(len(configurations))
    for rank, found in enumerate(ranks.allgather(own)):
        costs[rank :: ranks.size] = found
    return costs


def _cost(atoms: Atoms, cutoff: float) -> float:
    try:
        pairs = len(neighbors(atoms, cutoff).indices)
    except ValueError:  # the one who makes its rows says what is wrong, and with which
        return 1.0
    return pairs + _PAIRS_PER_ATOM * len(atoms) + _PAIRS_PER_CONFIGURATION
