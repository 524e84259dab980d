import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pescape.errors import TaskError
from pescape.files import append_line, read_lines
from pescape.processes import exclusive, worker_pool
from pescape.tasks import Task, TaskStore


def write(folder, text):
    (folder / "out.txt").write_text(text)


def fail(folder, text):
    write(folder, text)
    raise ValueError(text)


def die(folder, text):
    import os
    import signal

    write(folder, text)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def executor():
    with ThreadPoolExecutor(2) as threads:
        yield threads


def started(store):
    return [r["key"] for r in store.records() if r["event"] == "started"]


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


def test_a_failed_task_leaves_nothing_and_can_run_again(tmp_path, executor):
    store = TaskStore(tmp_path)
    with pytest.raises(ValueError, match="wrong"):
        store.run([Task("t", "k", fail, ("wrong",))], executor)
    assert list((tmp_path / "t").iterdir()) == []
    store.run([Task("t", "k", write, ("right",))], executor)
    assert (tmp_path / "t" / "k" / "out.txt").read_text() == "right"


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
    (tmp_path / "t" / "renamed-but-not-indexed").mkdir()
    with store.index.open("a") as index:
        index.write('{"event":"fini')
    again = TaskStore(tmp_path)
    assert not (tmp_path / "t" / ".part-1-aa").exists()
    finished = [r["key"] for r in again.records() if r["event"] == "finished"]
    assert sorted(finished) == ["done", "renamed-but-not-indexed"]


def test_an_unfinished_last_line_spoils_no_other(tmp_path):
    path = tmp_path / "index.jsonl"
    append_line(path, {"a": 1})
    with path.open("a") as file:
        file.write('{"a":')
    assert read_lines(path) == [{"a": 1}]


def test_a_dead_worker_is_told_in_one_clear_error(tmp_path):
    with pytest.raises(TaskError, match="worker process died"), worker_pool(1) as pool:
        TaskStore(tmp_path).run([Task("t", "k", die, ("x",))], pool)
    assert not (tmp_path / "t" / "k").exists()
    store = TaskStore(tmp_path)
    with worker_pool(1) as pool:
        store.run([Task("t", "k", write, ("x",))], pool)
    assert store.finished(Task("t", "k", write, ("x",)))


def test_a_folder_is_held_by_one_process_only(tmp_path):
    with (
        exclusive(tmp_path),
        pytest.raises(TaskError, match=r"another pescape process \(pid \d+\)"),
        exclusive(tmp_path),
    ):
        pass
    with exclusive(tmp_path):
        pass


def test_records_are_json_lines_with_times(tmp_path, executor):
    store = TaskStore(tmp_path)
    store.run([Task("t", "k", write, ("x",))], executor)
    lines = [json.loads(line) for line in store.index.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["started", "finished"]
    assert all(time.strptime(line["time"], "%Y-%m-%dT%H:%M:%S%z") for line in lines)
