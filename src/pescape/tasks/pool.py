"""A pool of processes in which the death of one costs the others nothing.

Worker processes that never outlive the process that started them.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import multiprocessing
import os
import queue
import signal
import sys
import threading
import traceback
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from socket import gethostname
from typing import IO, TYPE_CHECKING, Any, TypeVar

from pescape.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess


_PR_SET_PDEATHSIG = 1
_SPAWN = multiprocessing.get_context("spawn")
Result = TypeVar("Result")


class WorkerError(TaskError):
    """A worker process died during a call."""


class RemoteTraceback(Exception):  # noqa: N818 (the cause of an error, not one itself)
    """Where in another process an error was raised; its text is that traceback."""


@dataclass(eq=False)
class _Call:
    """What is to be called, and what its caller holds."""

    content: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
    future: Future[Any] = field(default_factory=Future)


class WorkerPool(Executor):
    """Processes that wait for work, each with a channel of its own.

    The pool of the standard library is broken, and kills what runs, once one of its
    processes dies. Here the call that was running fails with `WorkerError`, a new process
    takes the place of the dead one and the others never notice. Processes start when they
    are needed; they are started afresh (not forked), because threads and MPI do not survive
    a fork, and they die with the process that started them.

    Parameters
    ----------
    workers
        How many.
    """

    def __init__(self, workers: int) -> None:
        if workers < 1:
            raise ValueError(f"workers has to be at least 1, not {workers}")
        self.workers = workers
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = threading.Semaphore(0)
        self._busy: dict[Future[Any], _Worker] = {}
        self._lock = threading.Lock()
        self._closed = False

    def submit(
        self,
        function: Callable[..., Result],
        /,
        *arguments: Any,  # noqa: ANN401
        **named: Any,  # noqa: ANN401
    ) -> Future[Result]:
        """Call a function in one of the processes."""
        with self._lock:
            if self._closed:
                raise RuntimeError("the pool was shut down")
            call = _Call((function, arguments, named))
            self._calls.put(call)
            if not self._idle.acquire(blocking=False) and len(self._threads) < self.workers:
                # The kernel ties a process to the thread that started it: the thread stays.
                thread = threading.Thread(target=self._serve, daemon=True)
                self._threads.append(thread)
                thread.start()
        return call.future

    def kill(self, future: Future[Any]) -> None:
        """Kill the process that works on a call; the call fails with `WorkerError`."""
        with self._lock:
            worker = self._busy.get(future)
        if worker is not None:
            worker.process.kill()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the processes finish what was submitted, then end them."""
        with self._lock:
            if cancel_futures:
                self._cancel()
            if not self._closed:
                self._closed = True
                for _ in self._threads:
                    self._calls.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def end(self) -> None:
        """Kill the processes, with whatever they are doing."""
        self.shutdown(wait=False, cancel_futures=True)
        while any(thread.is_alive() for thread in self._threads):
            with self._lock:
                workers = list(self._busy.values())
            for worker in workers:
                worker.process.kill()
            for thread in self._threads:
                thread.join(0.05)

    def _cancel(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                call = self._calls.get_nowait()
                if call is not None:
                    call.future.cancel()
                    call.future.set_running_or_notify_cancel()

    def _serve(self) -> None:
        worker: _Worker | None = None
        while (call := self._calls.get()) is not None:
            try:
                if worker is None or not worker.process.is_alive():
                    worker = _Worker()
                if self._begin(call, worker):
                    answer = worker.ask(call.content)
                    self._forget(call)
                    call.future.set_result(answer)
            except BaseException as error:  # noqa: BLE001 (it is for who waits)
                self._forget(call)
                call.future.set_exception(error)
            del call
            self._idle.release()
        if worker is not None:
            worker.end()

    def _begin(self, call: _Call, worker: _Worker) -> bool:
        """Have a call known as running; False if it was cancelled."""
        with self._lock:
            begins = call.future.set_running_or_notify_cancel()
            if begins:
                self._busy[call.future] = worker
        return begins

    def _forget(self, call: _Call) -> None:
        with self._lock:
            self._busy.pop(call.future, None)


class _Worker:
    """One process and the channel to it."""

    _starting = threading.Lock()

    def __init__(self) -> None:
        self._channel, other = _SPAWN.Pipe()
        with self._starting:
            self.process: SpawnProcess = _SPAWN.Process(target=_work, args=(other, os.getpid()))
            self.process.start()
        other.close()

    def ask(self, content: Any) -> Any:  # noqa: ANN401 (whatever the function returns)
        """Have it make a call and give the answer, or raise what was raised there."""
        request = ForkingPickler.dumps(content)
        try:
            self._channel.send_bytes(request)
            result, error, trace = self._channel.recv()
        except (EOFError, OSError) as failure:
            self.process.join()
            raise WorkerError(f"a worker process died ({_cause(self.process)})") from failure
        if error is not None:
            raise error from RemoteTraceback(trace)
        return result

    def end(self) -> None:
        self._channel.close()
        self.process.join()


def _cause(process: SpawnProcess) -> str:
    code = process.exitcode or 0
    if code == -signal.SIGKILL:
        return "killed by SIGKILL: out of memory?"
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"it exited with code {code}"


def _work(channel: Connection, parent: int) -> None:
    """Make the calls that come through a channel, until it is closed."""
    # The terminal sends Ctrl-C to the whole group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
    while True:
        try:
            request = channel.recv_bytes()
        except (EOFError, OSError):
            return
        channel.send_bytes(_answer(request))


def _answer(request: bytes) -> Any:  # noqa: ANN401 (a buffer)
    try:
        function, arguments, named = ForkingPickler.loads(request)
        return ForkingPickler.dumps((function(*arguments, **named), None, ""))
    except BaseException as error:  # noqa: BLE001 (it is for who waits)
        return ForkingPickler.dumps((None, sendable(error), traceback.format_exc()))


def sendable(error: BaseException) -> BaseException:
    """Give the error, or one that says the same where it cannot go to another process."""
    try:
        ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:  # noqa: BLE001 (constructors raise what they like)
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


_PR_SET_PDEATHSIG_processes = 1
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
        prctl(_PR_SET_PDEATHSIG_processes, signal.SIGKILL, 0, 0, 0)
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
