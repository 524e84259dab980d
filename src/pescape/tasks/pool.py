"""Worker processes: the death or the hanging of one costs its own call and nothing else.

Each worker is a pool of one process of pebble, and is thrown away when its process dies: what
the pools of several processes share, locks among them, may be left in any state by a death.
Processes start when they are needed, afresh (not forked, because threads and MPI do not survive
a fork), and they die with the process that started them.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from concurrent.futures import BrokenExecutor, Executor, Future
from dataclasses import dataclass, field
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pebble import ProcessExpired, ProcessPool

from pescape.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.process import BaseProcess

# Libraries that start threads of their own; one worker is one thread unless a task says more.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "RAYON_NUM_THREADS",  # of phonopy
)


class WorkerError(TaskError):
    """A worker process died during a call."""


@dataclass(eq=False)
class Call:
    """A call of a function that an executor was given.

    Parameters
    ----------
    function, arguments
        What is called.
    slots
        How much of the executor's room it takes.
    future
        What the caller waits for.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    slots: int = 1
    future: Future[Any] = field(default_factory=Future)


AnyCall = TypeVar("AnyCall", bound=Call)


class BoundedExecutor(Executor, Generic[AnyCall]):
    """An executor that launches calls in the order they come, while there is room for them.

    Parameters
    ----------
    slots
        The room.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._free = slots
        self._waiting: deque[AnyCall] = deque()
        self._running: dict[Future[Any], AnyCall] = {}
        self._changed = threading.Condition()
        self._closed = False

    def _launch(self, call: AnyCall) -> Future[Any]:
        """Start a call; the future is of whatever library runs it."""
        raise NotImplementedError

    def _ended(self, call: AnyCall, done: Future[Any] | None) -> BaseException | None:
        """Tidy up after a call and return its error; `done` is None if it was given up."""
        raise NotImplementedError

    def _close(self, *, wait: bool, cancel: bool) -> None:
        """Take no more calls; cancel those that have not begun, or wait for all."""
        with self._changed:
            self._closed = True
            while cancel and self._waiting:
                future = self._waiting.popleft().future
                future.cancel()
                future.set_running_or_notify_cancel()
            if wait:
                self._changed.wait_for(lambda: not self._waiting and not self._running)

    def _add(self, call: AnyCall) -> Future[Any]:
        with self._changed:
            if self._closed:
                raise RuntimeError("the executor was shut down")
            self._waiting.append(call)
            self._launch_waiting()
        return call.future

    def _launch_waiting(self) -> None:
        """Launch what there is room for."""
        with self._changed:
            while self._waiting and self._waiting[0].slots <= self._free:
                call = self._waiting.popleft()
                if not call.future.set_running_or_notify_cancel():
                    continue
                try:
                    launched = self._launch(call)
                except Exception as error:  # noqa: BLE001 (it is for who waits)
                    call.future.set_exception(error)
                    continue
                self._free -= call.slots
                self._running[call.future] = call
                launched.add_done_callback(functools.partial(self._finish, call))
            self._changed.notify_all()

    def _finish(self, call: AnyCall, done: Future[Any] | None) -> None:
        """Hand on what became of a call."""
        with self._changed:
            if self._running.pop(call.future, None) is None:
                return  # it was given up
            self._free += call.slots
            error = self._ended(call, done)
        if error is not None or done is None:
            call.future.set_exception(error)
        else:
            call.future.set_result(done.result())
        self._launch_waiting()


class WorkerPool(BoundedExecutor[Call]):
    """Worker processes of this machine.

    Parameters
    ----------
    workers
        How many.
    """

    def __init__(self, workers: int) -> None:
        if workers < 1:
            raise ValueError(f"workers has to be at least 1, not {workers}")
        super().__init__(workers)
        self._idle: list[_Worker] = []
        self._busy: dict[Call, _Worker] = {}
        self._ending: list[threading.Thread] = []

    def submit(
        self,
        function: Callable[..., Any],
        /,
        *arguments: Any,  # noqa: ANN401
        **named: Any,  # noqa: ANN401
    ) -> Future[Any]:
        """Call a function in one of the processes.

        Parameters
        ----------
        function
            It has to be importable there.
        *arguments, **named
            What it is given; they are pickled.
        """
        return self._add(Call(functools.partial(function, **named), arguments))

    def kill(self, future: Future[Any]) -> None:
        """Kill the process that works on a call; the call fails with `WorkerError`.

        Parameters
        ----------
        future
            Of the call. Nothing happens if it is not running.
        """
        with self._changed:
            call = self._running.get(future)
        if call is not None:
            self._finish(call, None)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the processes finish what was submitted, then end them.

        Parameters
        ----------
        wait
            Come back when they are gone.
        cancel_futures
            Drop the calls that wait.
        """
        self._close(wait=wait, cancel=cancel_futures)
        if wait:
            with self._changed:
                while self._idle:
                    self._discard(self._idle.pop())
            for thread in self._ending:
                thread.join()

    def end(self) -> None:
        """Kill the processes, with whatever they are doing."""
        self._close(wait=False, cancel=True)
        for future in list(self._running):
            self.kill(future)
        self.shutdown()

    def _launch(self, call: Call) -> Future[Any]:
        content = pickle.dumps((call.function, call.arguments))
        while self._idle and not self._idle[-1].pool.active:  # it died while it had no work
            self._discard(self._idle.pop())
        worker = self._idle.pop() if self._idle else _Worker()
        future = worker.pool.schedule(_call, [content])
        self._busy[call] = worker
        return future

    def _ended(self, call: Call, done: Future[Any] | None) -> BaseException | None:
        worker = self._busy.pop(call)
        error = WorkerError("a worker process was killed") if done is None else done.exception()
        if isinstance(error, (ProcessExpired, BrokenExecutor)):
            error = WorkerError(f"a worker process died ({worker.cause_of_death()})")
        if isinstance(error, WorkerError):
            self._discard(worker)
        else:
            self._idle.append(worker)
        return error

    def _discard(self, worker: _Worker) -> None:
        thread = threading.Thread(target=worker.end)
        self._ending.append(thread)
        thread.start()


class _Worker(SpawnContext):
    """One process, and the pool of pebble that it is the only one of."""

    def __init__(self) -> None:
        self.process: SpawnProcess | None = None
        self.pool = ProcessPool(1, initializer=_die_with_parent, context=self)

    def Process(self, *arguments: Any, **named: Any) -> SpawnProcess:  # type: ignore[override]  # noqa: ANN401, N802 (an attribute of contexts)
        """Make a process, as pebble asks for it, and keep hold of it."""
        process = SpawnProcess(*arguments, **named)
        self.process = self.process or process  # pebble replaces one that has died
        return process

    def cause_of_death(self) -> str:
        """Say why the process has ended."""
        assert self.process is not None, "it has ended"
        self.process.join()
        code = self.process.exitcode or 0
        if code == -signal.SIGKILL:
            return "killed by SIGKILL: out of memory?"
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"it exited with code {code}"

    def end(self) -> None:
        """Kill the process, and wait for it and the threads of pebble."""
        self.pool.stop()
        if self.process is not None:
            self.process.kill()
        self.pool.join()


def _call(content: bytes) -> Any:  # noqa: ANN401 (whatever the function returns)
    """Make a call in a worker; here alone what was sent may fail to be read."""
    try:
        function, arguments = pickle.loads(content)  # noqa: S301 (from our parent)
        return function(*arguments)
    except BaseException as error:  # noqa: BLE001 (raised on)
        raise sendable(error)  # noqa: B904 (pebble sends the traceback)


def sendable(error: BaseException) -> BaseException:
    """Return an error, or one that says the same where it cannot go to another process.

    Parameters
    ----------
    error
        Any; some constructors take other arguments than they hand on.
    """
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 (our own)
    except Exception:  # noqa: BLE001 (constructors raise what they like)
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _die_with_parent() -> None:
    """Kill this worker when the process that started it dies, even of SIGKILL.

    The kernel could do so, but would tie the worker to one thread of that process.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None, "this is for workers only"

    def wait(other: BaseProcess) -> None:
        other.join()
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, args=(parent,), daemon=True).start()


@contextlib.contextmanager
def one_thread_each() -> Iterator[None]:
    """Context manager: processes that start inside use one thread each for BLAS.

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
    """Context manager: a pool of worker processes; killed if the block fails.

    Parameters
    ----------
    workers
        How many.
    """
    with one_thread_each():
        pool = WorkerPool(workers)
        try:
            yield pool
            pool.shutdown()
        except BaseException:
            pool.end()
            raise
