"""The running LAMMPS and its ranks, reached from the Python interpreter that it embeds.

LAMMPS' C library is called through ctypes in the process that is already there, so that any
version and any MPI will do; the Python module ``lammps`` fits only its own version.

An exception that leaves a Python function on one rank alone makes the other ranks wait for
ever. So failures are caught, agreed upon, printed once, and then raised on every rank.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, Protocol, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from mpi4py.MPI import Comm
    from numpy.typing import NDArray


_Address = ctypes.c_void_p
_Text = ctypes.c_char_p
_Int = ctypes.c_int

#: name -> result and arguments after the handle (the types of LAMMPS' library.h)
_FUNCTIONS: dict[str, tuple[type | None, list[type]]] = {
    "lammps_command": (_Text, [_Text]),
    "lammps_extract_setting": (_Int, [_Text]),
    "lammps_extract_global": (_Address, [_Text]),
    "lammps_extract_atom": (_Address, [_Text]),
    "lammps_extract_box": (None, [_Address] * 7),
    "lammps_get_mpi_comm": (_Int, []),
    "lammps_get_natoms": (ctypes.c_double, []),
    "lammps_has_id": (_Int, [_Text, _Text]),
    "lammps_has_error": (_Int, []),
    "lammps_get_last_error_message": (_Int, [_Text, _Int]),
    "lammps_force_timeout": (None, []),
    "lammps_set_fix_external_callback": (None, [_Text, _Address, _Address]),
    "lammps_fix_external_set_energy_global": (None, [_Text, ctypes.c_double]),
    "lammps_fix_external_set_energy_peratom": (None, [_Text, _Address]),
    "lammps_fix_external_set_virial_global": (None, [_Text, _Address]),
    "lammps_fix_external_set_virial_peratom": (None, [_Text, _Address]),
    "lammps_fix_external_set_vector_length": (None, [_Text, _Int]),
    "lammps_fix_external_set_vector": (None, [_Text, _Int, ctypes.c_double]),
}


@dataclass(frozen=True)
class AtomArrays:
    """Views of LAMMPS' own memory, valid until LAMMPS moves on.

    Attributes
    ----------
    local : int
        Number of atoms that this rank owns; they come first, its ghosts follow.
    positions, forces : (n, 3) float arrays
        Å and eV/Å, of owned and ghost atoms.
    types : (n,) int array
        LAMMPS' atom types, from 1.
    tags : (n,) int array
        Atom identities, equal for an atom and its ghosts.
    """

    local: int
    positions: NDArray[np.float64]
    forces: NDArray[np.float64]
    types: NDArray[np.int32]
    tags: NDArray[np.int64] | NDArray[np.int32]


@dataclass(frozen=True)
class Box:
    """The simulation box: origin (Å), rows of cell vectors (Å), periodicity."""

    origin: NDArray[np.float64]
    cell: NDArray[np.float64]
    periodic: tuple[bool, bool, bool]


class Lammps:
    """One LAMMPS in this process.

    Parameters
    ----------
    handle
        The capsule that LAMMPS passes to a Python function for ``SELF``.
    """

    def __init__(self, handle: object) -> None:
        unpack = ctypes.pythonapi.PyCapsule_GetPointer
        unpack.restype, unpack.argtypes = _Address, [ctypes.py_object, _Text]
        try:
            self.address = int(unpack(handle, None) or 0)
        except (TypeError, ValueError) as error:
            raise EmbeddingError(
                f"the first argument must be SELF with format 'p', not {handle!r}: "
                "write  python pescape input 2 SELF zr.almtp format ps here ..."
            ) from error

    def __getattr__(self, name: str) -> Callable:
        function = _bound(name)
        bound = functools.partial(function, self.address)
        setattr(self, name, bound)
        return bound

    def setting(self, name: str) -> int:
        """Read an integer property of the run, -1 when this LAMMPS does not know it.

        Parameters
        ----------
        name
            As ``lammps_extract_setting`` has it.
        """
        return int(self.lammps_extract_setting(name.encode()))

    def command(self, line: str) -> None:
        """Run one input line, on all ranks at the same time; never during a run.

        Parameters
        ----------
        line
            The line.
        """
        self.lammps_command(line.encode())
        if self.lammps_has_error():
            message = ctypes.create_string_buffer(1024)
            self.lammps_get_last_error_message(message, len(message))
            raise EmbeddingError(f"{line}: {message.value.decode(errors='replace').strip()}")

    def has(self, category: str, name: str) -> bool:
        """Return whether a fix, compute, ... exists.

        Parameters
        ----------
        category
            "fix", "compute", ...
        name
            Its identity.
        """
        return bool(self.lammps_has_id(category.encode(), name.encode()))

    @property
    def units(self) -> str:
        """The unit style in use."""
        address = self.lammps_extract_global(b"units")
        return (ctypes.string_at(address) if address else b"").decode()

    @property
    def step(self) -> int:
        """The current time step."""
        return int(ctypes.c_int64.from_address(self.lammps_extract_global(b"ntimestep")).value)

    @property
    def time(self) -> float:
        """The simulated time (ps)."""
        start, length = (
            ctypes.c_double.from_address(self.lammps_extract_global(name)).value
            for name in (b"atime", b"dt")
        )
        since = ctypes.c_int64.from_address(self.lammps_extract_global(b"atimestep")).value
        return start + (self.step - since) * length

    @property
    def atom_count(self) -> int:
        """Number of atoms of all ranks, as LAMMPS last counted them."""
        return round(self.lammps_get_natoms())

    def communicator(self) -> Communicator:
        """Return the communicator of all ranks of this LAMMPS."""
        size = self.setting("world_size")
        if size <= 1:
            return SerialComm()
        try:
            from mpi4py import MPI
        except ImportError as error:
            raise EmbeddingError(
                f"LAMMPS runs on {size} ranks, which needs the Python package mpi4py: {error}"
            ) from error
        world = MPI.Comm.f2py(self.lammps_get_mpi_comm())
        if world.size != size:
            raise EmbeddingError(
                f"LAMMPS runs on {size} ranks but mpi4py ({MPI.Get_library_version().split(',')[0]}"
                f") sees {world.size}: install an mpi4py that uses the MPI of this LAMMPS"
            )
        return MPIComm(world)

    def atoms(self) -> AtomArrays:
        """Return the atoms of this rank and their ghosts, without copying."""
        local, count = self.setting("nlocal"), self.setting("nlocal") + self.setting("nghost")
        integer = np.int64 if self.setting("tagint") == 8 else np.int32
        return AtomArrays(
            local=local,
            positions=self._rows("x", count),
            forces=self._rows("f", count),
            types=self._vector("type", count, np.int32),
            tags=self._vector("id", count, integer),
        )

    def velocities(self) -> NDArray[np.float64]:
        """Return the velocities (Å/ps) of the atoms that this rank owns."""
        return self._rows("v", self.setting("nlocal"))

    def masses(self, types: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return the masses (g/mol) of the atoms that this rank owns.

        Parameters
        ----------
        types
            Their types, (n,).
        """
        if self.lammps_extract_atom(b"rmass"):
            return self._vector("rmass", len(types), np.float64)
        return self._vector("mass", self.setting("ntypes") + 1, np.float64)[types]

    def box(self) -> Box:
        """Return the box as it is now."""
        low, high, tilt = np.zeros(3), np.zeros(3), np.zeros(3)
        periodic, changing = np.zeros(3, np.int32), np.zeros(3, np.int32)
        numbers = (low, high, tilt[0:], tilt[1:], tilt[2:], periodic, changing)
        self.lammps_extract_box(*(array.ctypes.data for array in numbers))
        cell = np.diag(high - low)
        cell[1, 0], cell[2, 1], cell[2, 0] = tilt
        along_x, along_y, along_z = (bool(p) for p in periodic)
        return Box(low, cell, (along_x, along_y, along_z))

    def _rows(self, name: str, count: int) -> NDArray[np.float64]:
        """View a per-atom array of three columns, which LAMMPS holds in one block."""
        table = self.lammps_extract_atom(name.encode())
        if not count or not table:
            return np.zeros((0, 3))
        first = ctypes.c_void_p.from_address(table).value or 0
        memory = (ctypes.c_double * (3 * count)).from_address(first)
        return np.frombuffer(memoryview(memory)).reshape(count, 3)

    def _vector(self, name: str, count: int, kind: type[np.generic]) -> NDArray:
        """View a per-atom array of one column."""
        address = self.lammps_extract_atom(name.encode())
        if not count or not address:
            return np.zeros(0, kind)
        memory = (ctypes.c_char * (count * np.dtype(kind).itemsize)).from_address(address)
        return np.frombuffer(memoryview(memory), kind)


@functools.cache
def _bound(name: str) -> Callable:
    """Find a function of LAMMPS' C library in this process."""
    if name not in _FUNCTIONS:
        raise AttributeError(name)
    try:
        function = getattr(ctypes.CDLL(None), name)
    except AttributeError as error:
        raise EmbeddingError(
            f"this LAMMPS does not offer {name}: a version of 29 September 2021 or newer is "
            "needed, built as a shared library"
        ) from error
    function.restype, arguments = _FUNCTIONS[name]
    function.argtypes = [_Address, *arguments]
    return function


_T = TypeVar("_T")


class EmbeddingError(Exception):
    """Something about the running LAMMPS, or what it was given, that the user can mend."""


class Stopped(Exception):  # noqa: N818 - it is no news: the error was printed before
    """Raised on all ranks at once after one of them has printed why."""


class Communicator(Protocol):
    """All ranks of one LAMMPS."""

    rank: int
    size: int

    def sum(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum an array over the ranks.

        Parameters
        ----------
        values
            The array of this rank.
        """

    def allgather(self, value: object) -> list:
        """Give every rank the values of all ranks.

        Parameters
        ----------
        value
            That of this rank.
        """

    def gather(self, value: object) -> list | None:
        """Give rank 0 the values of all ranks.

        Parameters
        ----------
        value
            That of this rank.
        """


class SerialComm:
    """A single rank, which needs no mpi4py."""

    rank = 0
    size = 1

    def sum(self, values: NDArray[np.float64]) -> NDArray[np.float64]:  # noqa: D102
        return values

    def allgather(self, value: object) -> list:  # noqa: D102
        return [value]

    gather = allgather


class MPIComm:
    """Several ranks, through an mpi4py communicator."""

    def __init__(self, comm: Comm) -> None:
        self.rank, self.size = comm.rank, comm.size
        self.allgather, self.gather = comm.allgather, comm.gather
        self._comm = comm

    def sum(self, values: NDArray[np.float64]) -> NDArray[np.float64]:  # noqa: D102
        total = np.empty_like(values)
        self._comm.Allreduce(values, total)
        return total


def refuse(message: str) -> NoReturn:
    """Raise an error that the user can mend.

    Parameters
    ----------
    message
        What is wrong, and how to mend it.
    """
    raise EmbeddingError(message)


def with_all(comm: Communicator, function: Callable[..., _T], *arguments: object) -> _T:
    """Call a function on every rank; if it fails on one, stop all of them.

    Parameters
    ----------
    comm
        The ranks.
    function, *arguments
        What to call.
    """
    result, failure = None, None
    try:
        result = function(*arguments)
    except BaseException as error:  # noqa: BLE001 - no rank may leave the others waiting
        failure = error
    if comm.sum(np.array([failure is not None], float))[0]:
        stop(comm, failure)
    return result  # type: ignore[return-value]


def stop(comm: Communicator, failure: BaseException | None) -> NoReturn:
    """Print the first failure among the ranks once, then raise on all of them.

    Parameters
    ----------
    comm
        The ranks.
    failure
        What went wrong on this one, if anything.
    """
    messages = comm.allgather(None if failure is None else _describe(failure))
    rank, message = next((rank, text) for rank, text in enumerate(messages) if text is not None)
    if comm.rank == 0:
        everywhere = all(text is not None for text in messages)
        print(f"\nERROR: pescape{'' if everywhere else f', rank {rank}'}: {message}\n", flush=True)  # noqa: T201
    show_errors_briefly()
    raise Stopped(message) from failure


def report(message: str) -> None:
    """Print a message of ours among LAMMPS' own.

    Parameters
    ----------
    message
        The message.
    """
    print(f"\npescape: {message}\n", flush=True)  # noqa: T201


def _describe(failure: BaseException) -> str:
    """Describe what happened: in one line where the user can mend it, with its place otherwise."""
    if isinstance(failure, (EmbeddingError, OSError, ValueError)):
        return str(failure)
    return "".join(traceback.format_exception(failure)).strip()


def show_errors_briefly() -> None:
    """Have Python print our errors in a line, and nothing of those that were printed already.

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
