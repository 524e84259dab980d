"""Processes that share the work of a fit: MPI ranks, or this process alone.

Rank 0 decides and the others help it. Sums over blocks of the data are made in an order that the
data alone fixes, so that they do not depend on how many ranks there are, to the last bit.

A data set cut into blocks that ranks share: the cuts depend on the data alone.
"""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from pescape.calculators.fit.data import configuration_weights, training_set
from pescape.calculators.neighbors import neighbors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from pescape.calculators.fit.data import TrainingSet

    Floats = NDArray[np.float64]
    Node = tuple[int, int]


Result = TypeVar("Result")

_INTERRUPTED = 130

# What launchers (MPICH's and Intel's, Open MPI's, SLURM's) tell the processes they start.
_LAUNCHED = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK")


class Communicator(Protocol):
    """What is used of ``mpi4py.MPI.Comm``: it and `Alone` are interchangeable."""

    @property
    def rank(self) -> int:
        """Number of this process."""

    @property
    def size(self) -> int:
        """How many processes there are."""

    def bcast(self, value: Any, root: int = 0) -> Any:  # noqa: ANN401 (any object)
        """Give all ranks the root's value."""

    def gather(self, value: Any, root: int = 0) -> list[Any] | None:  # noqa: ANN401
        """Give the root the values of all ranks, in their order."""

    def allgather(self, value: Any) -> list[Any]:  # noqa: ANN401
        """Give all ranks the values of all."""

    def Abort(self, errorcode: int = 0) -> Any:  # noqa: ANN401, N802 (MPI's name)
        """End all ranks now."""


class Alone:
    """A communicator of one process, for which MPI need not be there."""

    rank = 0
    size = 1

    def bcast(self, value: Any, root: int = 0) -> Any:  # noqa: ANN401, ARG002
        """Return the value."""
        return value

    def gather(self, value: Any, root: int = 0) -> list[Any]:  # noqa: ANN401, ARG002
        """Return the value in a list."""
        return [value]

    def allgather(self, value: Any) -> list[Any]:  # noqa: ANN401
        """Return the value in a list."""
        return [value]

    def Abort(self, errorcode: int = 0) -> Any:  # noqa: ANN401, N802
        """End this process."""
        raise SystemExit(errorcode)


def world() -> Communicator:
    """All ranks if an MPI launcher started this process; otherwise this process alone."""
    if not any(name in os.environ for name in _LAUNCHED):
        return Alone()
    from mpi4py import MPI

    found: Communicator = MPI.COMM_WORLD if MPI.COMM_WORLD.size > 1 else Alone()
    return found


class SharedError(ValueError):
    """An error on another rank, or on all of them."""


_KNOWN = "known_to_all_ranks"


def now_known(error: BaseException) -> None:
    """Note that all ranks raise an error because of this one."""
    setattr(error, _KNOWN, True)


@contextlib.contextmanager
def ending_together(ranks: Communicator) -> Iterator[None]:
    """Let an error on one rank end all of them, and be told once.

    Errors that all ranks know of leave this block on rank 0 and end the others silently. With
    any other error the rank that has it tells it and ends all at once: nobody waits for it.
    """
    try:
        yield
    except BaseException as error:
        if ranks.size == 1 or (ranks.rank == 0 and _is_known(error)):
            raise
        if not _is_known(error):
            interrupted = isinstance(error, KeyboardInterrupt)
            if ranks.rank == 0 or not interrupted:
                text = "stopped" if interrupted else str(error) or type(error).__name__
                sys.stderr.write(f"Error: rank {ranks.rank}: {text}\n")
                sys.stderr.flush()
            ranks.Abort(_INTERRUPTED if interrupted else 1)
        raise SystemExit(1) from None


def _is_known(error: BaseException) -> bool:
    return isinstance(error, SharedError) or hasattr(error, _KNOWN)


def agreed(ranks: Communicator, work: Callable[[], Result]) -> Result:
    """Do the same kind of work on all ranks; an error on any of them is raised on all."""
    if ranks.size == 1:
        return work()
    result, failure = None, None
    try:
        result = work()
    except Exception as error:  # noqa: BLE001 (the others must not wait for ever)
        failure = error
    messages = ranks.allgather(failure and (str(failure) or type(failure).__name__))
    first = next((rank for rank, one in enumerate(messages) if one is not None), None)
    if first == ranks.rank and failure is not None:
        now_known(failure)
        raise failure
    if first is not None:
        raise SharedError(messages[first])
    return result  # type: ignore[return-value]


@dataclass(eq=False)
class OrderedSum:
    """A sum over numbered blocks along a fixed binary tree.

    Block sums are the leaves; nodes are added up as soon as both are there. Whoever holds some
    of the nodes, the sum is the same to the last bit.

    Parameters
    ----------
    count
        Blocks in all.
    """

    count: int
    nodes: dict[Node, Floats] = field(default_factory=dict)

    def add(self, level: int, index: int, value: Floats) -> None:
        """Add a node; blocks are nodes of level 0."""
        width = -(-self.count // (1 << level))
        while width > 1:
            if index == width - 1 and index % 2 == 0:  # without a sibling
                pass
            elif (sibling := self.nodes.pop((level, index ^ 1), None)) is not None:
                value = value + sibling
            else:
                break
            level, index, width = level + 1, index // 2, -(-width // 2)
        self.nodes[level, index] = value

    def total(self) -> Floats:
        """Give the sum; all blocks must have been added."""
        (value,) = self.nodes.values()
        return value


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
