"""Jobs in a queue: ``sbatch``, ``squeue``, ``scancel`` and ``srun`` are stand-ins here."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from pescape.config import validate
from pescape.errors import ConfigError
from pescape.tasks.cluster import ExecutorConfig, open_executor
from pescape.tasks.store import Policy, Task, TaskStore

pytest.importorskip("executorlib")
pytest.importorskip("pysqa")
cloudpickle = pytest.importorskip("cloudpickle")

# A job is a file of the folder $QUEUE: its number, and in it its process and its name.
COMMANDS = {
    "sbatch": """\
script=${!#}
number=$(($(ls $QUEUE | wc -l) + 1))
cp "$script" $QUEUE/$number.script
cd "$(sed -n 's/^#SBATCH --chdir=//p' "$script")"
setsid bash "$script" > job.out 2>&1 < /dev/null &
echo $! > $QUEUE/$number.process
echo $number
""",
    "squeue": """\
for file in $QUEUE/*.process; do
    [ -e $file ] || continue
    number=$(basename $file .process)
    kill -0 $(cat $file) 2> /dev/null && echo "$number|$USER|R|task|/"
done
exit 0
""",
    "scancel": "kill -9 -- -$(cat $QUEUE/$1.process)\n",
    "srun": 'shift; ranks=$1; shift; exec mpiexec -n $ranks "$@"\n',
}


@pytest.fixture
def queue(tmp_path, monkeypatch):
    commands, jobs = tmp_path / "bin", tmp_path / "queue"
    commands.mkdir()
    jobs.mkdir()
    for name, text in COMMANDS.items():
        (commands / name).write_text(f"#!/bin/bash\n{text}")
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setenv("QUEUE", str(jobs))
    monkeypatch.setenv("USER", os.environ.get("USER", "somebody"))
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield jobs
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def slurm(**given):
    return validate({"kind": "executorlib", "backend": "slurm", **given}, ExecutorConfig, "x.toml")


def write(folder, text):
    (folder / "out.txt").write_text(text)


def full_once(folder, flag):
    if not Path(flag).exists():
        Path(flag).touch()
        raise OSError(28, "No space left on device")
    write(folder, os.environ["WHERE"])


def add_ranks(folder):
    from mpi4py import MPI

    total = MPI.COMM_WORLD.allreduce(MPI.COMM_WORLD.rank + 1)
    if MPI.COMM_WORLD.rank == 0:
        write(folder, f"{total} of {MPI.COMM_WORLD.size}")


def test_tasks_are_jobs_with_cores_walltime_and_what_the_site_wants(queue, tmp_path):
    settings = slurm(
        walltime="1-02:00:30", partition="long", account="zr", memory=1.5, setup="export WHERE=job"
    )
    store = TaskStore(tmp_path / "tasks", Policy(pause=0.01))
    tasks = [
        Task("label", "again", full_once, (str(tmp_path / "flag"),), cores=3),
        Task("fit", "ranks", add_ranks, (), ranks=2),
    ]
    with open_executor(settings, tmp_path) as executor:
        folders = store.run(tasks, executor)
    assert [(f / "out.txt").read_text() for f in folders] == ["job", "3 of 2"]
    assert Counter(r["event"] for r in store.records()) == {
        "started": 3,
        "finished": 2,
        "failed": 1,
    }
    scripts = [file.read_text().splitlines() for file in queue.glob("*.script")]
    assert len(scripts) == 3
    wanted = {"--time=1561", "--partition=long", "--account=zr", "--mem=1536M", "--nodes=1"}
    for script in scripts:
        assert {f"#SBATCH {option}" for option in wanted} <= set(script)
    assert sum("#SBATCH --ntasks=3" in script for script in scripts) == 2
    assert sum("#SBATCH --ntasks=2" in script for script in scripts) == 1
    assert not list((tmp_path / "executorlib").glob("*.h5"))


def test_jobs_outlive_the_campaign_and_are_found_again(queue, tmp_path):
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from pescape.tasks.cluster import ExecutorConfig, open_executor\n"
        "from pescape.tasks.store import Task, TaskStore\n"
        "def work(folder, calls):\n"
        "    with open(calls, 'a') as file:\n"
        "        file.write('called ')\n"
        "    time.sleep(2.5)\n"
        "    (folder / 'out.txt').write_text('done')\n"
        "folder = Path(sys.argv[1])\n"
        "task = Task('label', 'k', work, (str(folder / 'calls'),))\n"
        "with open_executor(ExecutorConfig(kind='executorlib', backend='slurm'), folder) as jobs:\n"
        "    [result] = TaskStore(folder / 'tasks').run([task], jobs)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    killed = subprocess.Popen(command)
    while not (tmp_path / "calls").exists():
        time.sleep(0.05)
    time.sleep(0.3)  # the job's number is being written
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    subprocess.run(command, check=True, timeout=60)
    store = TaskStore(tmp_path / "tasks")
    assert (tmp_path / "tasks" / "label" / "k" / "out.txt").read_text() == "done"
    assert (tmp_path / "calls").read_text() == "called "
    assert len(list(queue.glob("*.script"))) == 1
    assert store.summary()["label"].finished == 1


def test_a_template_has_to_start_the_task(tmp_path):
    (tmp_path / "job.sh").write_text("#!/bin/bash\n")
    for name, message in (("job.sh", r"the line \{\{command\}\} is missing"), ("no", "No such")):
        settings = slurm(template=name)
        with (
            pytest.raises(ConfigError, match=message),
            open_executor(settings, tmp_path, base=tmp_path),
        ):
            pass


def test_the_script_of_the_example_is_filled_in(queue, tmp_path):
    examples = Path(__file__).parents[2] / "examples" / "cluster"
    settings = slurm(template="job.sh", partition="long", setup="module() { :; }; export WHERE=x")
    script = (examples / "job.sh").read_text().replace("module load", "SETUP\nmodule load")
    (tmp_path / "job.sh").write_text(script)
    with open_executor(settings, tmp_path, base=tmp_path) as executor:
        task = Task("md", "k", write, ("x",), cores=2)
        [folder] = TaskStore(tmp_path / "tasks").run([task], executor)
    assert (folder / "out.txt").read_text() == "x"
    [script] = [file.read_text() for file in queue.glob("*.script")]
    assert "#SBATCH --constraint=skylake\n#SBATCH --partition=long\n" in script
    assert not set("{}") & set(script.replace("{ :; }", ""))
