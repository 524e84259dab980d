"""What all ranks of one LAMMPS do together: sum, gather, and stop with one message.

An exception that leaves a Python function on one rank alone makes the other ranks wait for
ever. So failures are caught, agreed upon, told once, and then raised on every rank.
"""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING, NoReturn, Protocol, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from mpi4py.MPI import Comm
    from numpy.typing import NDArray

_T = TypeVar("_T")


class EmbeddingError(Exception):
    """Something about the running LAMMPS, or what it was told, that the user can mend."""


class Stopped(Exception):  # noqa: N818 - it is no news: the error was told before
    """Raised on all ranks at once after one of them has told the user why."""


class Communicator(Protocol):
    """All ranks of one LAMMPS."""

    rank: int
    size: int

    def sum(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum an array over the ranks."""

    def allgather(self, value: object) -> list:
        """Give every rank the values of all ranks."""

    def gather(self, value: object) -> list | None:
        """Give rank 0 the values of all ranks."""


class Alone:
    """A single rank, which needs no mpi4py."""

    rank = 0
    size = 1

    def sum(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the array."""
        return values

    def allgather(self, value: object) -> list:
        """Return the value, in a list."""
        return [value]

    def gather(self, value: object) -> list:
        """Return the value, in a list."""
        return [value]


class Ranks:
    """Several ranks, through an mpi4py communicator."""

    def __init__(self, comm: Comm) -> None:
        self.rank, self.size = comm.rank, comm.size
        self.allgather, self.gather = comm.allgather, comm.gather
        self._comm = comm

    def sum(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum an array over the ranks."""
        total = np.empty_like(values)
        self._comm.Allreduce(values, total)
        return total


def refuse(message: str) -> NoReturn:
    """Raise an error that the user can mend."""
    raise EmbeddingError(message)


def with_all(comm: Communicator, function: Callable[..., _T], *arguments: object) -> _T:
    """Call a function on every rank; if it fails on one, stop all of them."""
    result, failure = None, None
    try:
        result = function(*arguments)
    except BaseException as error:  # noqa: BLE001 - no rank may leave the others waiting
        failure = error
    if comm.sum(np.array([failure is not None], float))[0]:
        stop(comm, failure)
    return result  # type: ignore[return-value]


def stop(comm: Communicator, failure: BaseException | None) -> NoReturn:
    """Tell the first failure among the ranks once, then raise on all of them."""
    told = comm.allgather(None if failure is None else _describe(failure))
    rank, message = next((rank, text) for rank, text in enumerate(told) if text is not None)
    if comm.rank == 0:
        everywhere = all(text is not None for text in told)
        print(f"\nERROR: pescape{'' if everywhere else f', rank {rank}'}: {message}\n", flush=True)  # noqa: T201
    show_errors_briefly()
    raise Stopped(message) from failure


def tell(message: str) -> None:
    """Print a message of ours among LAMMPS' own."""
    print(f"\npescape: {message}\n", flush=True)  # noqa: T201


def _describe(failure: BaseException) -> str:
    """Say what happened: in one line where the user can mend it, with its place otherwise."""
    if isinstance(failure, (EmbeddingError, OSError, ValueError)):
        return str(failure)
    return "".join(traceback.format_exception(failure)).strip()


def show_errors_briefly() -> None:
    """Have Python print our errors in a line, and nothing of those that were told already.

    LAMMPS has Python print the exceptions that reach it, with their traceback, on every rank.
    """
    before = sys.excepthook
    if getattr(before, "of_pescape", False):
        return

    def hook(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, EmbeddingError):
            print(f"\nERROR: pescape: {value}\n", flush=True)  # noqa: T201
        elif not issubclass(kind, Stopped):
            before(kind, value, trace)

    hook.of_pescape = True  # type: ignore[attr-defined]
    sys.excepthook = hook
