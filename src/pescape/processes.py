"""Worker processes that never outlive the process that started them."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import signal
import sys
from pathlib import Path
from socket import gethostname
from typing import IO, TYPE_CHECKING

from pescape.errors import TaskError
from pescape.workers import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PR_SET_PDEATHSIG = 1
# Libraries that start threads of their own; one worker is one thread unless a task says more.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "RAYON_NUM_THREADS",  # of phonopy
)
# What file systems that keep no locks answer (Lustre without `flock`, NFS without its daemon).
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


def die_with_parent() -> Callable[[], None]:
    """Give a function that, called in a new child, ties its life to its parent's.

    The kernel kills the child when its parent dies, even of SIGKILL. Elsewhere than on
    Linux the function does nothing.
    """
    parent = os.getpid()
    if not sys.platform.startswith("linux"):
        return lambda: None
    prctl = ctypes.CDLL(None).prctl

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    return tie


@contextlib.contextmanager
def one_thread_each() -> Iterator[None]:
    """Have the processes that start inside the block use one thread each for BLAS.

    So results do not depend on the machine's load, and workers do not get in each other's way.
    """
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def worker_pool(workers: int) -> Iterator[WorkerPool]:
    """Give processes for tasks; they are gone when the block ends, however it ends."""
    with one_thread_each():
        pool = WorkerPool(workers)
        try:
            yield pool
        except BaseException:
            pool.end()
            raise
        pool.shutdown()


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold a folder alone; the operating system releases it when the process ends.

    Where the file system keeps no locks, the name of the holder in the lock file has to do.

    Raises
    ------
    TaskError
        Another process holds it, on this machine or another.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".lock"
    with path.open("a+") as file:
        owner = _owner_of(file)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise TaskError(
                    f"{folder}: another pescape process ({_told(owner)}) works here; "
                    "wait for it or stop it"
                ) from error
            if _may_live(owner):
                raise TaskError(
                    f"{folder}: another pescape process ({_told(owner)}) works here, or was killed "
                    f"here; if it is gone, remove {path} (this file system keeps no locks)"
                ) from error
        file.seek(0)
        file.truncate()
        file.write(f"pid {os.getpid()} on {gethostname()}")
        file.flush()
        yield
        file.truncate(0)


def _owner_of(file: IO[str]) -> str:
    file.seek(0)
    return file.read().strip()


def _told(owner: str) -> str:
    """Say who holds a folder; the machine only if it is another one."""
    return owner.removesuffix(f" on {gethostname()}") or "unknown"


def _may_live(owner: str) -> bool:
    """Whether the holder of a folder may be alive, as far as one can tell from here."""
    told = _told(owner).split()
    if len(told) != 2 or not told[1].isdigit():  # nobody, or a process of another machine
        return bool(owner)
    return int(told[1]) != os.getpid() and process_lives(int(told[1]))


def process_lives(process: int) -> bool:
    """Whether a process of this machine is there and not dead already, waiting to be buried."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in {"Z", "X"}
