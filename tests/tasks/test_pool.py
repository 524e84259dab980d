import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from socket import gethostname

import pytest
from pebble.common.types import RemoteTraceback

from pescape.errors import TaskError
from pescape.tasks.pool import WorkerError, worker_pool
from pescape.tasks.store import exclusive


def double(number):
    return 2 * number


def divide(number):
    return 1 / number


def kill_myself():
    os.kill(os.getpid(), signal.SIGKILL)


def test_calls_are_made_in_other_processes():
    with worker_pool(2) as pool:
        assert list(pool.map(double, range(20))) == list(range(0, 40, 2))
        assert pool.submit(os.getpid).result() != os.getpid()
        assert pool.submit(os.getenv, "OMP_NUM_THREADS").result() == "1"


def test_an_error_comes_back_with_where_it_was_raised():
    with worker_pool(1) as pool:
        error = pool.submit(divide, 0).exception()
    assert isinstance(error, ZeroDivisionError)
    assert isinstance(error.__cause__, RemoteTraceback)
    assert "return 1 / number" in str(error.__cause__)


def test_the_death_of_a_process_is_the_end_of_its_call_only():
    with worker_pool(2) as pool:
        slow = pool.submit(time.sleep, 0.5)
        with pytest.raises(WorkerError, match="killed by SIGKILL"):
            pool.submit(kill_myself).result()
        assert pool.submit(double, 4).result() == 8
        assert slow.result() is None


def test_a_call_can_be_killed():
    with worker_pool(1) as pool:
        hangs, waits = pool.submit(time.sleep, 60.0), pool.submit(double, 1)
        while not hangs.running():
            time.sleep(0.01)
        pool.kill(hangs)
        with pytest.raises(WorkerError):
            hangs.result()
        assert waits.result() == 2


def test_when_the_block_fails_nothing_is_left_running():
    def leave(pool):
        pids.append(pool.submit(os.getpid).result())
        calls.extend(pool.submit(time.sleep, 60.0) for _ in range(3))
        raise KeyboardInterrupt

    pids, calls = [], []
    with pytest.raises(KeyboardInterrupt), worker_pool(1) as pool:
        leave(pool)
    assert not Path(f"/proc/{pids[0]}").exists()
    assert all(call.done() for call in calls)
    with pytest.raises(RuntimeError, match="shut down"):
        pool.submit(double, 1)


def test_processes_die_with_the_one_that_started_them():
    code = (
        "import os, time\n"
        "from pescape.tasks.pool import worker_pool\n"
        "if __name__ == '__main__':\n"
        "    with worker_pool(1) as pool:\n"
        "        print(pool.submit(os.getpid).result(), flush=True)\n"
        "        pool.submit(time.sleep, 60.0).result()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    worker = Path(f"/proc/{int(parent.stdout.readline())}")
    assert worker.exists()
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 10.0
    while worker.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not worker.exists()


def test_a_folder_is_held_by_one_process_only(tmp_path):
    with (
        exclusive(tmp_path),
        pytest.raises(TaskError, match=r"another pescape process \(pid \d+\) works here"),
        exclusive(tmp_path),
    ):
        pass
    with exclusive(tmp_path):
        pass


def test_a_holder_on_another_machine_is_named(tmp_path, monkeypatch):
    def held(_file, _operation):
        raise BlockingIOError(errno.EAGAIN, "held")

    (tmp_path / ".lock").write_text("pid 12 on node7")
    monkeypatch.setattr(fcntl, "flock", held)
    with pytest.raises(TaskError, match=r"\(pid 12 on node7\) works here"), exclusive(tmp_path):
        pass


def test_where_there_are_no_locks_the_name_of_the_holder_has_to_do(tmp_path, monkeypatch):
    def lockless(_file, _operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", lockless)
    lock = tmp_path / ".lock"
    with exclusive(tmp_path):
        assert lock.read_text() == f"pid {os.getpid()} on {gethostname()}"
    assert lock.read_text() == ""
    for owner in (f"pid {os.getppid()} on {gethostname()}", "pid 12 on node7"):
        lock.write_text(owner)
        with pytest.raises(TaskError, match=r"if it is gone, remove .*\.lock"), exclusive(tmp_path):
            pass
    lock.write_text(f"pid 4194999 on {gethostname()}")  # no such process
    with exclusive(tmp_path):
        pass
