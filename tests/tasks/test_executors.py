import importlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from pescape.config import Strict, load_config, validate
from pescape.errors import ConfigError, TaskError
from pescape.tasks.cluster import ExecutorConfig, open_executor
from pescape.tasks.store import Policy, Task, TaskStore

QUICK = Policy(pause=0.01, patience=5.0, grace=0.5)


def config(**given):
    return validate(given, ExecutorConfig, "learn.toml")


def local(**given):
    return config(kind="executorlib", backend="local", **given)


@pytest.fixture(scope="module")
def library():
    cloudpickle = pytest.importorskip("cloudpickle")
    pytest.importorskip("executorlib")
    # The workers cannot import tests.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def write(folder, text):
    (folder / "out.txt").write_text(text)


def die_once(folder, flag):
    if not Path(flag).exists():
        Path(flag).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    write(folder, "second")


def add_ranks(folder):
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    total = world.allreduce(world.rank + 1)
    if world.rank == 0:
        write(folder, f"{total} of {world.size}")


def fail_on_the_last_rank(folder):
    from mpi4py import MPI

    if MPI.COMM_WORLD.rank == 0:
        write(folder, "rank 0 was content")
    if MPI.COMM_WORLD.rank == MPI.COMM_WORLD.size - 1:
        raise ValueError("the last rank was not")


def test_processes_are_the_default(tmp_path):
    with open_executor(config(workers=1), tmp_path) as executor:
        [folder] = TaskStore(tmp_path / "tasks").run([Task("t", "k", write, ("x",))], executor)
    assert (folder / "out.txt").read_text() == "x"


def test_cores_are_told_by_kind():
    made = config(cores={"md": 8, "fit": 4, "explore": 2})
    assert [made.cores_of(kind) for kind in ("md", "fit", "explore", "label")] == [8, 4, 2, 1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"wall_time": "1:00:00"}, "unknown key 'wall_time'; did you mean 'walltime'"),
        ({"backend": "slurm"}, "backend needs kind = 'executorlib'"),
        ({"kind": "executorlib", "workers": 2}, "give max_cores or max_jobs"),
        ({"kind": "executorlib", "walltime": "2h"}, r"\[DAYS-\]HOURS:MINUTES:SECONDS"),
        ({"kind": "executorlib", "partition": "long"}, "partition needs backend = 'slurm'"),
        (
            {"kind": "executorlib", "max_cores": 4, "cores": {"md": 8}},
            "a task of 8 cores does not fit into max_cores = 4",
        ),
    ],
)
def test_what_does_not_fit_together_is_told(given, message):
    with pytest.raises(ConfigError, match=message):
        config(**given)


@pytest.mark.parametrize(
    ("kind", "message"),
    [("mdd", "did you mean 'md'"), ("explore", None), ("label", None), ("fit", None)],
)
def test_a_kind_is_what_the_campaign_makes_tasks_of(tmp_path, kind, message):
    importlib.import_module("pescape.learning.loop")
    given = config(cores={kind: 2})
    if message is None:
        given.check_kinds()
        return
    with (
        pytest.raises(ConfigError, match=f"executor.cores: there .* kind {kind!r}; {message}"),
        open_executor(given, tmp_path),
    ):
        pass


def test_without_the_library_it_is_told_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "executorlib", None)
    with (
        pytest.raises(
            ConfigError, match=r'needs the package executorlib: pip install "pescape\[hp'
        ),
        open_executor(local(), tmp_path),
    ):
        pass


@pytest.mark.usefixtures("library")
def test_ranks_call_the_function_together(tmp_path):
    store = TaskStore(tmp_path / "tasks", QUICK)
    with open_executor(local(max_cores=2), tmp_path) as executor:
        [folder] = store.run([Task("fit", "k", add_ranks, (), ranks=2)], executor)
    assert (folder / "out.txt").read_text() == "3 of 2"
    assert [r["event"] for r in store.records()] == ["started", "finished"]
    assert not list((tmp_path / "tasks" / ".running").iterdir())


@pytest.mark.usefixtures("library")
def test_an_error_of_one_rank_is_the_error_of_the_task(tmp_path):
    store = TaskStore(tmp_path / "tasks", QUICK)
    with (
        pytest.raises(ValueError, match="the last rank was not"),
        open_executor(local(max_cores=2), tmp_path) as executor,
    ):
        store.run([Task("fit", "k", fail_on_the_last_rank, (), ranks=2)], executor)
    assert not (tmp_path / "tasks" / "fit").exists()
    assert not list((tmp_path / "tasks" / ".running").iterdir())


def test_a_function_for_ranks_runs_on_one_where_there_are_no_more(tmp_path):
    with open_executor(config(workers=1), tmp_path) as executor:
        task = Task("fit", "k", add_ranks, (), ranks=2)
        [folder] = TaskStore(tmp_path / "tasks").run([task], executor)
    assert (folder / "out.txt").read_text() == "1 of 1"


@pytest.mark.usefixtures("library")
def test_a_worker_that_dies_is_replaced_and_cores_are_kept_to(tmp_path):
    store = TaskStore(tmp_path / "tasks", QUICK)
    tasks = [Task("t", f"k{i}", write, (str(i),), cores=2) for i in range(2)]
    tasks.append(Task("t", "dies", die_once, (str(tmp_path / "flag"),)))
    with open_executor(local(max_cores=2), tmp_path) as executor:
        folders = store.run(tasks, executor)
        with pytest.raises(ConfigError, match="a task of 3 cores does not fit into the 2"):
            store.run([Task("t", "big", write, ("x",), cores=3)], executor)
    assert [(f / "out.txt").read_text() for f in folders] == ["0", "1", "second"]
    assert Counter(r["event"] for r in store.records()) == {
        "started": 4,
        "finished": 3,
        "failed": 1,
    }


@pytest.mark.usefixtures("library")
def test_a_worker_of_the_library_that_hangs_is_ended(tmp_path):
    def hang(_folder):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        time.sleep(60.0)

    store = TaskStore(tmp_path / "tasks", Policy(attempts=1, grace=0.2))
    with (
        pytest.raises(TaskError, match=r"longer than 0.3 s"),
        open_executor(local(max_cores=1), tmp_path) as executor,
    ):
        store.run([Task("t", "k", hang, (), limit=0.3)], executor)


@pytest.mark.slow
@pytest.mark.usefixtures("library")
def test_workers_of_the_library_die_with_the_campaign(tmp_path):
    code = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from pescape.tasks.cluster import ExecutorConfig, open_executor\n"
        "from pescape.tasks.store import Task, TaskStore\n"
        "def work(folder):\n"
        "    print(os.getpid(), flush=True)\n"
        "    time.sleep(60.0)\n"
        "settings = ExecutorConfig(kind='executorlib')\n"
        "with open_executor(settings, sys.argv[1]) as executor:\n"
        "    TaskStore(Path(sys.argv[1])).run([Task('t', 'k', work, ())], executor)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    worker = Path(f"/proc/{int(parent.stdout.readline())}")
    assert worker.exists()
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 10.0
    while worker.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not worker.exists()


@pytest.mark.parametrize("name", ["slurm", "allocation", "flux"])
def test_the_examples_are_valid(name):
    class Campaign(Strict):
        executor: ExecutorConfig

    examples = Path(__file__).parents[2] / "examples" / "cluster"
    settings = load_config(examples / f"{name}.toml", Campaign).executor
    assert settings.cores_of("md") == 8
