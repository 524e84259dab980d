import json
import os
import shutil
import signal
import threading
import time
from collections import Counter
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from pescape.errors import ConfigError, DataError, TaskError
from pescape.files import append_line, read_lines
from pescape.tasks.pool import worker_pool
from pescape.tasks.run import MARK_FILE, Attempt, execute
from pescape.tasks.store import KindSummary, Policy, Task, TaskStore

QUICK = Policy(pause=0.01, patience=1.0, grace=0.3)


def write(folder, text):
    (folder / "out.txt").write_text(text)


def fail(folder, text, kind=ValueError):
    write(folder, text)
    raise kind(text)


def die(folder, text):
    write(folder, text)
    os.kill(os.getpid(), signal.SIGKILL)


def once(folder, text, flag, spoil):
    """Go wrong the first time."""
    if not Path(flag).exists():
        Path(flag).touch()
        spoil(folder, text)
    write(folder, text)


def slow(folder, seconds):
    time.sleep(seconds)
    write(folder, "slow")


def full(_folder, _text):
    raise OSError(28, "No space left on device")


def stubborn(folder, seconds):
    """Take no notice of the alarm that ends a task whose time is over."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    slow(folder, seconds)


class UnsendableError(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def unsendable(_folder):
    raise UnsendableError(1, 2)


@pytest.fixture
def executor():
    with ThreadPoolExecutor(2) as threads:
        yield threads


@pytest.fixture(scope="module")
def pool():
    with worker_pool(2) as processes:
        yield processes


def events(store, event):
    return [r["key"] for r in store.records() if r["event"] == event]


def started(store):
    return events(store, "started")


def test_results_come_in_the_order_of_the_tasks(tmp_path, executor):
    store = TaskStore(tmp_path)
    folders = store.run([Task("t", f"k{i}", write, (str(i),)) for i in range(5)], executor)
    assert [(f / "out.txt").read_text() for f in folders] == list("01234")


def test_a_finished_task_never_runs_again(tmp_path, executor):
    task = Task("t", "k", write, ("once",))
    TaskStore(tmp_path).run([task], executor)
    again = TaskStore(tmp_path)
    again.run([Task("t", "k", fail, ("never called",))], executor)
    assert started(again) == ["k"]


def test_equal_tasks_run_once(tmp_path, executor):
    store = TaskStore(tmp_path)
    folders = store.run([Task("t", "k", write, ("x",))] * 3, executor)
    assert len(set(folders)) == 1
    assert started(store) == ["k"]


def test_tasks_of_two_kinds_may_have_one_key(tmp_path, executor):
    store = TaskStore(tmp_path)
    folders = store.run([Task(kind, "k", write, (kind,)) for kind in "ab"], executor)
    assert [(f / "out.txt").read_text() for f in folders] == ["a", "b"]


@pytest.mark.parametrize("kind", [ValueError, TypeError, KeyError, ConfigError, DataError])
def test_a_wrong_task_is_told_as_it_is_leaves_nothing_and_can_run_again(tmp_path, executor, kind):
    store = TaskStore(tmp_path, QUICK)
    with pytest.raises(kind, match="wrong"):
        store.run([Task("t", "k", fail, ("wrong", kind))], executor)
    assert not (tmp_path / "t").exists()
    assert not list((tmp_path / ".running").iterdir())
    store.run([Task("t", "k", write, ("right",))], executor)
    assert (tmp_path / "t" / "k" / "out.txt").read_text() == "right"
    assert len(started(store)) == 1


def test_progress_counts_what_was_finished_before(tmp_path, executor):
    store = TaskStore(tmp_path)
    tasks = [Task("t", f"k{i}", write, ("x",)) for i in range(4)]
    store.run(tasks[:2], executor)
    seen = []
    store.run(tasks, executor, lambda done, _: seen.append(done))
    assert seen == [3, 4]


def test_what_a_kill_left_half_done_is_removed_and_the_unindexed_is_indexed(tmp_path, executor):
    store = TaskStore(tmp_path)
    store.run([Task("t", "done", write, ("x",))], executor)
    (tmp_path / "t" / ".part-1-aa").mkdir()
    (tmp_path / ".running" / "t.next.1.aa").mkdir()
    (tmp_path / "t" / "renamed-but-not-indexed").mkdir()
    (tmp_path / "t" / "renamed-but-not-indexed" / MARK_FILE).write_text('{"seconds": 2.5}')
    with store.index.open("a") as index:
        index.write('{"event":"fini')
    again = TaskStore(tmp_path)
    assert not (tmp_path / "t" / ".part-1-aa").exists()
    assert sorted(events(again, "finished")) == ["done", "renamed-but-not-indexed"]
    assert again.summary()["t"].seconds == pytest.approx(2.5, abs=0.2)
    again.run([Task("t", "next", write, ("x",))], executor)
    assert not list((tmp_path / ".running").iterdir())
    assert events(TaskStore(tmp_path), "finished") == events(again, "finished")


def test_an_unfinished_last_line_spoils_no_other(tmp_path):
    path = tmp_path / "index.jsonl"
    append_line(path, {"a": 1})
    with path.open("a") as file:
        file.write('{"a":')
    assert read_lines(path) == [{"a": 1}]


def test_a_task_whose_worker_dies_is_done_again_and_the_others_never_notice(tmp_path, pool):
    store = TaskStore(tmp_path / "tasks", QUICK)
    tasks = [Task("t", f"s{i}", slow, (0.3,)) for i in range(2)]
    tasks.append(Task("t", "k", once, ("x", str(tmp_path / "flag"), die)))
    store.run(tasks, pool)
    assert Counter(started(store)) == {"s0": 1, "s1": 1, "k": 2}
    assert sorted(events(store, "finished")) == ["k", "s0", "s1"]
    [failed] = [r for r in store.records() if r["event"] == "failed"]
    assert failed["key"] == "k"
    assert failed["attempt"] == 1
    assert "a worker process died (killed by SIGKILL: out of memory?)" in failed["reason"]
    assert not list((tmp_path / "tasks" / ".running").iterdir())


def test_a_task_that_always_kills_its_worker_is_named_when_the_others_are_done(tmp_path, pool):
    store = TaskStore(tmp_path, QUICK)
    tasks = [Task("t", "bad", die, ("x",)), *(Task("t", f"k{i}", write, ("x",)) for i in range(9))]
    with pytest.raises(TaskError, match=r"t task bad failed 3 times.*worker process died.*again"):
        store.run(tasks, pool)
    assert not store.finished(tasks[0])
    assert all(map(store.finished, tasks[1:]))
    assert Counter(started(store))["bad"] == 3
    store.run([Task("t", "bad", write, ("x",))], pool)
    assert store.finished(tasks[0])


@pytest.mark.parametrize("workers", ["executor", "pool"])
def test_a_full_disk_is_tried_again(tmp_path, request, workers):
    store = TaskStore(tmp_path / "tasks", QUICK)
    workers = request.getfixturevalue(workers)
    store.run([Task("t", "k", once, ("x", str(tmp_path / "flag"), full))], workers)
    assert [r["event"] for r in store.records()] == ["started", "failed", "started", "finished"]
    with pytest.raises(TaskError, match=r"t task no failed 3 times.*No space left"):
        store.run([Task("t", "no", full, ("x",))], workers)


def test_a_task_that_hangs_is_ended_and_done_again(tmp_path, pool):
    store = TaskStore(tmp_path / "tasks", QUICK)
    hang = Task("t", "k", once, ("x", str(tmp_path / "flag"), _sleep), limit=0.2)
    store.run([hang], pool)
    [failed] = [r for r in store.records() if r["event"] == "failed"]
    assert "it took longer than 0.2 s" in failed["reason"]


def _sleep(_folder, _text):
    time.sleep(60.0)


def test_a_task_that_cannot_be_ended_is_killed(tmp_path, pool):
    store = TaskStore(tmp_path, Policy(attempts=2, pause=0.01, grace=0.3))
    with pytest.raises(TaskError, match=r"t task k failed 2 times.*longer than 0.2 s"):
        store.run([Task("t", "k", stubborn, (60.0,), limit=0.2)], pool)


@pytest.mark.slow
def test_where_nothing_can_be_killed_a_task_that_hangs_is_given_up(tmp_path, executor):
    store = TaskStore(tmp_path, Policy(attempts=2, pause=1.5, grace=0.1))
    store.run([Task("t", "k", slow, (1.2,), limit=0.2)], executor)
    assert [r["event"] for r in store.records()] == ["started", "failed", "finished"], (
        "the attempt that was given up finished while the second had to wait"
    )


class Unreliable(Executor):
    """Runs everything at once, and says what it likes."""

    def __init__(self, outcome=None, hide=0.0):
        self.outcome, self.hide, self.calls = outcome, hide, 0

    def submit(self, function, /, *arguments):
        self.calls += 1
        future = Future()
        answer = function(*arguments)
        if self.hide:  # a network file system that is late
            final = arguments[0].final
            hidden = final.rename(final.with_name(".part-hidden"))
            threading.Timer(self.hide, hidden.rename, (final,)).start()
        if self.outcome is None:
            future.set_result(answer)
        else:
            future.set_exception(self.outcome)
        return future


def test_what_a_worker_given_for_dead_has_finished_is_not_run_again(tmp_path):
    executor = Unreliable(RuntimeError("the node was lost"))
    store = TaskStore(tmp_path, QUICK)
    store.run([Task("t", "k", write, ("x",))], executor)
    assert [r["event"] for r in store.records()] == ["started", "finished"]
    assert executor.calls == 1


def test_a_folder_may_appear_late(tmp_path):
    executor = Unreliable(hide=0.4)
    store = TaskStore(tmp_path, QUICK)
    store.run([Task("t", "k", write, ("x",))], executor)
    assert [r["event"] for r in store.records()] == ["started", "finished"]
    assert executor.calls == 1


def test_of_two_attempts_the_first_wins(tmp_path):
    first = Attempt(Task("t", "k", write, ("1",)), 1, tmp_path / ".running", tmp_path / "t" / "k")

    def second(folder, text):
        assert execute(first).error is None  # while the second runs
        write(folder, text)

    later = Attempt(Task("t", "k", second, ("2",)), 2, first.working, first.final)
    assert execute(later).error is None
    assert (first.final / "out.txt").read_text() == "1"
    assert not list(first.working.iterdir())


class Losing(Executor):
    """Loses the first calls before they begin."""

    def __init__(self, losses):
        self.losses = losses

    def submit(self, function, /, *arguments):
        future = Future()
        self.losses -= 1
        if self.losses >= 0:
            future.set_exception(RuntimeError("no node"))
        else:
            future.set_result([function(*arguments), None])  # as MPI ranks answer
        return future


def test_tasks_lost_before_they_began_count_no_attempt(tmp_path):
    store = TaskStore(tmp_path, Policy(attempts=1, pause=0.001))
    store.run([Task("t", "k", write, ("x",))], Losing(2))
    told = [r["event"] for r in store.records()]
    assert told == ["lost", "lost", "started", "finished"]
    with pytest.raises(TaskError, match=r"t task no .*no node"):
        store.run([Task("t", "no", write, ("x",))], Losing(1000))


@pytest.mark.slow
def test_thousands_of_tasks_are_brought_to_the_executor_in_portions(tmp_path):
    waiting, most = set(), 0

    class Counting(ThreadPoolExecutor):
        def submit(self, function, /, *arguments):
            nonlocal most
            future = super().submit(function, *arguments)
            waiting.add(future)
            future.add_done_callback(waiting.discard)
            most = max(most, len(waiting))
            return future

    store = TaskStore(tmp_path, Policy(in_flight=50))
    tasks = [Task("t", f"k{i}", write, ("x",)) for i in range(2000)]
    with Counting(4) as threads:
        store.run(tasks, threads)
    assert most <= 50
    assert store.summary()["t"].finished == 2000
    assert store.summary()["t"].running == 0
    assert all(map(store.finished, tasks))


def test_the_pool_of_the_standard_library_works_until_one_of_its_workers_dies(tmp_path):
    store = TaskStore(tmp_path, QUICK)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        store.run([Task("t", "k", write, ("x",))], pool)
        with pytest.raises(TaskError, match=r"the executor broke .*start again"):
            store.run([Task("t", "bad", die, ("x",))], pool)


def test_an_error_that_cannot_be_sent_is_told_all_the_same(tmp_path, pool):
    store = TaskStore(tmp_path, QUICK)
    with pytest.raises(RuntimeError, match="UnsendableError: 1 and 2"):
        store.run([Task("t", "k", unsendable, ())], pool)


def test_a_task_that_cannot_be_sent_is_not_tried_again(tmp_path, pool):
    store = TaskStore(tmp_path, QUICK)
    with pytest.raises((AttributeError, TypeError), match=r"pickle|local"):
        store.run([Task("t", "k", lambda _folder: None, ())], pool)
    assert store.records() == []


def test_a_store_copied_elsewhere_goes_on(tmp_path, executor):
    here, there = tmp_path / "here", tmp_path / "on another machine"
    tasks = [Task("t", f"k{i}", write, (str(i),)) for i in range(4)]
    TaskStore(here).run(tasks[:3], executor)
    (here / ".running" / "t.k3.1.aa").mkdir()
    shutil.copytree(here, there)
    for file in there.rglob("*"):
        assert not file.is_file() or str(tmp_path).encode() not in file.read_bytes(), file
    shutil.rmtree(here)
    moved = TaskStore(there)
    folders = moved.run(tasks, executor)
    assert [(f / "out.txt").read_text() for f in folders] == list("0123")
    assert Counter(started(moved)) == {f"k{i}": 1 for i in range(4)}
    assert not list((there / ".running").iterdir())


def test_a_summary_tells_what_is_finished_what_runs_and_what_failed(tmp_path, executor):
    store = TaskStore(tmp_path / "tasks", QUICK)
    store.run([Task("label", f"k{i}", slow, (0.1,)) for i in range(2)], executor)
    store.run([Task("md", "k", once, ("x", str(tmp_path / "flag"), full))], executor)
    append_line(store.index, {"event": "started", "kind": "md", "key": "killed"})
    summary = TaskStore(tmp_path / "tasks", read_only=True).summary()
    assert list(summary) == ["label", "md"]
    assert summary["label"].seconds == pytest.approx(0.2, abs=0.15)
    assert summary["label"].mean == summary["label"].seconds / 2
    assert summary["md"] == KindSummary(1, 1, 1, summary["md"].seconds)
    store.discard(Task("label", "k0", slow, (0.1,)))
    assert store.summary()["label"].finished == 1


def test_a_store_that_is_looked_at_stays_as_it_is(tmp_path, executor):
    TaskStore(tmp_path).run([Task("t", "k", write, ("x",))], executor)
    (tmp_path / ".running" / "t.next.1.aa").mkdir()
    looked = TaskStore(tmp_path, read_only=True)
    with pytest.raises(TaskError, match="to look at only"):
        looked.run([], executor)
    assert (tmp_path / ".running" / "t.next.1.aa").is_dir()
    assert TaskStore(tmp_path / "none", read_only=True).summary() == {}
    assert not (tmp_path / "none").exists()


def test_what_runs_is_in_the_index_before_it_ends(tmp_path, executor):
    store = TaskStore(tmp_path)
    running = threading.Thread(target=store.run, args=([Task("t", "k", slow, (1.0,))], executor))
    running.start()
    while not store.records():
        time.sleep(0.02)
    assert [r["event"] for r in store.records()] == ["started"]
    running.join()
    assert [r["event"] for r in store.records()] == ["started", "finished"]


def test_records_are_json_lines_with_times(tmp_path, executor):
    store = TaskStore(tmp_path)
    store.run([Task("t", "k", write, ("x",))], executor)
    lines = [json.loads(line) for line in store.index.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["started", "finished"]
    assert all(time.strptime(line["time"], "%Y-%m-%dT%H:%M:%S%z") for line in lines)
