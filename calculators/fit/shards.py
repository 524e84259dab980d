"""A data set cut into blocks that MPI ranks share, and sums over them that depend on no rank.

The cuts, and the order in which sums over blocks are made, are fixed by the data alone: results
are the same to the last bit however many ranks there are.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
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
    """What is used of ``mpi4py.MPI.Comm``: it and `SerialComm` are interchangeable."""

    @property
    def rank(self) -> int:
        """Number of this process."""

    @property
    def size(self) -> int:
        """How many processes there are."""

    def bcast(self, value: Any, root: int = 0) -> Any:  # noqa: ANN401 (any object)
        """Return the root's value on all ranks.

        Parameters
        ----------
        value
            Anything; only the root's counts.
        root
            A rank.
        """

    def gather(self, value: Any, root: int = 0) -> list[Any] | None:  # noqa: ANN401
        """Return the values of all ranks, in their order, on the root.

        Parameters
        ----------
        value
            Of this rank.
        root
            A rank.
        """

    def allgather(self, value: Any) -> list[Any]:  # noqa: ANN401
        """Return the values of all ranks, in their order, on all of them.

        Parameters
        ----------
        value
            Of this rank.
        """

    def Abort(self, errorcode: int = 0) -> Any:  # noqa: ANN401, N802 (MPI's name)
        """End all ranks now.

        Parameters
        ----------
        errorcode
            With which they end.
        """


class SerialComm(Communicator):
    """The communicator of one process, for which MPI need not be there."""

    rank = 0
    size = 1

    def bcast(self, value: Any, root: int = 0) -> Any:  # noqa: ANN401, ARG002, D102
        return value

    def gather(self, value: Any, root: int = 0) -> list[Any]:  # noqa: ANN401, ARG002, D102
        return [value]

    def allgather(self, value: Any) -> list[Any]:  # noqa: ANN401, D102
        return [value]

    def Abort(self, errorcode: int = 0) -> Any:  # noqa: ANN401, N802, D102
        raise SystemExit(errorcode)


def world() -> Communicator:
    """Return all ranks if an MPI launcher started this process; otherwise this process alone."""
    if not any(name in os.environ for name in _LAUNCHED):
        return SerialComm()
    from mpi4py import MPI

    found: Communicator = MPI.COMM_WORLD if MPI.COMM_WORLD.size > 1 else SerialComm()
    return found


class SharedError(ValueError):
    """An error on another rank, or on all of them."""


_KNOWN = "known_to_all_ranks"


@contextlib.contextmanager
def ending_together(ranks: Communicator) -> Iterator[None]:
    """Context manager: an error on one rank ends all of them, and is told once.

    Errors that all ranks know of leave this block on rank 0 and end the others silently. With
    any other error the rank that has it tells it and ends all at once: nobody waits for it.
    Rank 0 alone listens to Ctrl-C.

    Parameters
    ----------
    ranks
        All of them enter the block.
    """
    try:
        with contextlib.nullcontext() if ranks.rank == 0 else _uninterrupted():
            yield
    except BaseException as error:
        known = isinstance(error, SharedError) or hasattr(error, _KNOWN)
        if ranks.size == 1 or (ranks.rank == 0 and known):
            raise
        if not known:
            interrupted = isinstance(error, KeyboardInterrupt)
            text = "stopped" if interrupted else str(error) or type(error).__name__
            sys.stderr.write(f"Error: rank {ranks.rank}: {text}\n")
            sys.stderr.flush()
            ranks.Abort(_INTERRUPTED if interrupted else 1)
        raise SystemExit(1) from None


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Context manager: Ctrl-C is ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def agreed(ranks: Communicator, work: Callable[[], Result]) -> Result:
    """Do the same kind of work on all ranks; an error on any of them is raised on all.

    Parameters
    ----------
    ranks
        All of them call this.
    work
        This rank's part.

    Returns
    -------
    Result
        What `work` gave on this rank.
    """
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
        setattr(failure, _KNOWN, True)
        raise failure
    if first is not None:
        raise SharedError(messages[first])
    return result  # type: ignore[return-value]  # without a failure, work gave a result


def from_first(ranks: Communicator, work: Callable[[], Result]) -> Result:
    """Do work on rank 0 alone, and return what it gave on all ranks.

    Parameters
    ----------
    ranks
        All of them call this.
    work
        What rank 0 does; an error in it is raised on all ranks.
    """
    found: Result = ranks.bcast(agreed(ranks, lambda: None if ranks.rank else work()))
    return found


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
        """Add a node to the sum.

        Parameters
        ----------
        level, index
            Its place in the tree; blocks are nodes of level 0.
        value
            Sum over the blocks below it.
        """
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
        """Return the sum; all blocks must have been added."""
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
class DataShard:
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

    @classmethod
    def whole(cls, data: TrainingSet) -> DataShard:
        """Take a data set as one block, for a process alone.

        Parameters
        ----------
        data
            All of it.
        """
        return cls(data, ((0, data),), 1, int(np.sum(3 * data.sizes + 7)))

    @classmethod
    def of(
        cls,
        configurations: Sequence[Atoms],
        species: Sequence[str],
        cutoff: float,
        ranks: Communicator,
    ) -> DataShard:
        """Put this rank's blocks into arrays.

        Configurations count as often as their ``info["fit_weight"]`` says.

        Parameters
        ----------
        configurations
            The whole data set, the same on all ranks.
        species, cutoff
            Of the potential; Å.
        ranks
            An error in any rank's configurations is raised on all of them.
        """
        costs = _costs(configurations, cutoff, ranks)

        def part() -> DataShard:
            if not configurations:
                return cls.whole(training_set(configurations, species, cutoff))  # which refuses
            weights = configuration_weights(configurations)
            rows = np.array([3 * len(atoms) + 7 for atoms in configurations])
            edges, total = block_edges(rows), int(rows.sum())
            shares = rank_edges(np.add.reduceat(costs, edges[:-1]), ranks.size)
            first, last = shares[ranks.rank :][:2]
            if first == last:
                return cls(None, (), len(edges) - 1, total)
            own = edges[first : last + 1]
            data = training_set(configurations, species, cutoff, chosen=range(own[0], own[-1]))
            data = replace(data, factors=data.factors * weights[own[0] : own[-1]])
            cuts = [int(edge - own[0]) for edge in own]
            blocks = [data.part(a, b) for a, b in pairwise(cuts)]
            return cls(data, tuple(enumerate(blocks, start=int(first))), len(edges) - 1, total)

        return agreed(ranks, part)

    def extent(self, species: int, cutoff: float, ranks: Communicator) -> tuple[Floats, Floats]:
        """Return how near and how densely packed atoms are at most in the data of all ranks.

        Parameters
        ----------
        species
            S, their number.
        cutoff
            Å, of the potential.
        ranks
            All of them call this.

        Returns
        -------
        tuple
            `TrainingSet.extent` of all of the data.
        """
        own = np.full((species, species), np.inf), np.zeros((species, species))
        if self.data is not None:
            own = self.data.extent(species, cutoff)
        nearest, densest = zip(*ranks.allgather(own), strict=True)
        return np.min(nearest, axis=0), np.max(densest, axis=0)


def block_edges(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Cut configurations into blocks.

    Parameters
    ----------
    rows
        Of each configuration, shape (C,).

    Returns
    -------
    ndarray
        Shape (blocks + 1,): block k holds configurations ``edges[k]`` to ``edges[k + 1]``.
    """
    wanted = max(int(rows.sum()) // _ROWS, _FEWEST)
    if wanted > _EVEN:
        wanted = -(-wanted // _EVEN) * _EVEN
    return _edges(rows.astype(float), min(wanted, len(rows)))


def rank_edges(costs: Floats, ranks: int) -> NDArray[np.int64]:
    """Cut blocks into runs of about equal cost, one for each rank.

    Parameters
    ----------
    costs
        Of each block, shape (blocks,).
    ranks
        Their number.

    Returns
    -------
    ndarray
        Shape (ranks + 1,): rank k holds blocks ``edges[k]`` to ``edges[k + 1]``.
    """
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
    """Estimate the work of each configuration (C,), in pairs; ranks take turns to look."""
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
