"""Processes that share the work of a fit: MPI ranks, or this process alone.

Rank 0 decides and the others help it. Sums over blocks of the data are made in an order that the
data alone fixes, so that they do not depend on how many ranks there are, to the last bit.
"""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

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
