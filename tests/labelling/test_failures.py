import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from typer.testing import CliRunner

from pescape.cli import build_app
from pescape.data.configurations import read_configurations, write_configurations
from pescape.errors import ConfigError, PescapeError, TaskError
from pescape.labelling import LabelError, LabelFailure, label, reference_from
from pescape.labelling.label import (
    discard_failed_labels,
    failure_summary,
    label_all,
    label_task,
    read_label,
)
from pescape.tasks.pool import worker_pool
from pescape.tasks.store import TaskStore
from tests.labelling.conftest import PW_UNCONVERGED

CALCULATORS = '''
import os, time
import numpy as np
from ase.calculators.calculator import SCFError
from ase.calculators.emt import EMT


class Moody(EMT):
    """Fails in the way it is told, on cells of more than one atom."""

    def __init__(self, mood="", steps=10):
        super().__init__()
        self.mood, self.steps = mood, steps

    def calculate(self, atoms=None, properties=("energy",), system_changes=("positions",)):
        super().calculate(atoms, properties, system_changes)
        if len(atoms) == 1:
            return
        if self.mood == "scf" and self.steps < 20:
            raise SCFError("no self-consistency")
        if self.mood == "nan":
            self.results["forces"] = self.results["forces"] * np.nan
        if self.mood == "segfault":
            os.abort()
        if self.mood == "sleep":
            time.sleep(1000)
        if self.mood == "bug":
            self.no_such_thing()
'''


@pytest.fixture
def moody(tmp_path):
    """Write a reference whose calculator fails as told."""
    (tmp_path / "moody.py").write_text(CALCULATORS)

    def make(mood, top=""):
        path = tmp_path / "moody.toml"
        path.write_text(f'{top}\ncalculator = "moody.py:Moody"\noptions = {{ mood = "{mood}" }}\n')
        return reference_from(str(path))

    return make


@pytest.fixture
def copper():
    atoms = bulk("Cu", "fcc", a=3.6, cubic=True)
    atoms.positions += 0.1 * np.random.default_rng(0).normal(size=(4, 3))
    return atoms


def failure_of(atoms, reference, folder=None):
    with pytest.raises(LabelError) as caught:
        label(atoms, reference, folder=folder)
    return caught.value.failure


def test_failures_say_what_happened_and_how_often(moody, copper):
    failure = failure_of(copper, moody("scf", "attempts = 3"))
    assert (failure.kind, failure.attempts, failure.formula) == ("not_converged", 3, "Cu4")
    assert str(failure) == (
        "moody.py:Moody failed on Cu4 (not converged, 3 attempts): no self-consistency"
    )
    assert failure_of(copper, moody("nan")).kind == "not_finite"


def test_a_later_attempt_may_change_options(moody, copper, tmp_path):
    folder = tmp_path / "label"
    folder.mkdir()
    plain, retrying = moody("scf"), moody("scf", "retry = [{ steps = 30 }]")
    made = label(copper, retrying, folder=folder)
    assert made.calc.results["energy"] == label(copper, moody("")).calc.results["energy"]
    record = json.loads((folder / "label.json").read_text())
    assert record["attempts"] == 2
    assert record["failed_attempts"][0]["kind"] == "not_converged"
    assert retrying.identity == plain.identity


def test_absurd_results_are_failures_and_not_tried_again(moody, copper):
    forces = label(copper, moody("")).calc.results["forces"]
    largest = np.linalg.norm(forces, axis=1).max()
    label(copper, moody("", f"max_force = {1.01 * largest}"))
    failure = failure_of(copper, moody("", f"max_force = {0.99 * largest}"))
    assert (failure.kind, failure.attempts) == ("beyond_limits", 1)
    failure = failure_of(copper, moody("", "energy_limits = [-9.0, -8.0]"))
    assert "not within energy_limits" in failure.message


def test_a_process_that_crashes_harms_nobody(moody, copper):
    failure = failure_of(copper, moody("segfault", "timeout = 60\nattempts = 1"))
    assert failure.kind == "crashed"
    assert "signal 6" in failure.message


def test_errors_in_a_program_stop_everything(moody, copper):
    with pytest.raises(AttributeError, match="no_such_thing"):
        label(copper, moody("bug"))
    with pytest.raises(PescapeError, match="no_such_thing"):
        label(copper, moody("bug", "timeout = 60"))


def test_isolated_labels_equal_those_of_this_process(moody, copper):
    here = label(copper, moody("")).calc.results
    there = label(copper, moody("", "timeout = 60")).calc.results
    for name, value in here.items():
        np.testing.assert_array_equal(value, there[name])


def alive(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def gone(processes, seconds=20.0):
    deadline = time.monotonic() + seconds
    while any(map(alive, processes)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(alive, processes))


def wait_for(path, seconds=60.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if path.exists() and path.read_text().endswith("\n"):
            return path.read_text()
        time.sleep(0.05)
    raise AssertionError(f"{path} did not appear")


def hanging(file):
    """Lines of a program that hangs, deaf to SIGTERM, with children in groups of their own."""
    return f"""
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    time.sleep(1000)
open({str(file)!r}, "w").write(f"{{os.getpid()}} {{child}}\\n")
print("iteration 7", flush=True)
time.sleep(1000)
"""


@pytest.mark.slow
def test_a_hanging_program_is_killed_with_its_children(pw, espresso_config, zirconium, tmp_path):
    pids = tmp_path / "pids"
    reference = reference_from(
        espresso_config(pw(first=hanging(pids)), top="timeout = 4\nattempts = 1")
    )
    folder = tmp_path / "label"
    folder.mkdir()
    failure = failure_of(zirconium, reference, folder)
    assert failure.kind == "timed_out"
    assert "killed after 4 s" in failure.message
    assert "iteration 7" in failure.tail
    assert [path.name for path in folder.iterdir()] == ["attempt-1.txt"]
    assert gone(map(int, pids.read_text().split()))


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_programs_end_when_their_worker_is_killed(pw, espresso_config, zirconium, tmp_path):
    pids = tmp_path / "pids"
    config = espresso_config(pw(first=hanging(pids)))
    write_configurations(tmp_path / "in.xyz", [zirconium])
    program = "from pescape.cli import main; main()"
    arguments = ["label", "in.xyz", "-o", "out.xyz", "-r", config]
    main = subprocess.Popen([sys.executable, "-c", program, *arguments], cwd=tmp_path)
    processes = list(map(int, wait_for(pids).split()))
    assert all(map(alive, processes))
    os.kill(main.pid, signal.SIGKILL)
    main.wait()
    assert gone(processes)
    assert not list((tmp_path / "out.xyz.tasks" / "label").glob("[0-9a-f]*"))


@pytest.mark.slow
def test_the_second_attempt_goes_more_carefully(pw, espresso_config, zirconium, tmp_path):
    # Writes its input down, and converges only with as little mixing as the second attempt's.
    inputs = tmp_path / "inputs"
    first = f"""
text = open(sys.argv[-1]).read()
open({str(inputs)!r}, "a").write(text)
if "mixing_beta      = 0.35" not in text:
    sys.stdout.write('''{PW_UNCONVERGED}''')
    sys.exit(2)
"""
    reference = reference_from(espresso_config(pw(first=first)))
    folder = tmp_path / "label"
    folder.mkdir()
    label(zirconium, reference, folder=folder)
    assert "electron_maxstep = 400" in inputs.read_text()
    assert "diagonalization  = 'cg'" in inputs.read_text()
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["attempt-1.txt", "attempt-2.txt", "label.json"]


def test_failed_labels_are_recorded_and_tried_again_when_asked(moody, copper, tmp_path):
    single = bulk("Cu", "fcc", a=3.6)
    frames = [single, copper]
    outcomes = label_all(frames, moody("nan"), tmp_path / "tasks")
    assert outcomes[0].info["made_by"] == "label"
    assert isinstance(outcomes[1], LabelFailure)
    assert failure_summary([outcomes[1]]) == "1 label failed: 1 not finite"
    index = tmp_path / "tasks" / "index.jsonl"
    before = index.read_text().count('"started"')
    assert label_all(frames, moody("nan"), tmp_path / "tasks")[1] == outcomes[1]
    assert index.read_text().count('"started"') == before
    label_all(frames, moody("nan"), tmp_path / "tasks", retry_failed=True)
    assert index.read_text().count('"started"') == before + 1
    with pytest.raises(TaskError, match="1 label failed: 1 not finite; the first one: moody"):
        label_all([copper], moody("nan"), tmp_path / "tasks")


def test_tasks_keep_failures_apart_from_labels(moody, copper, tmp_path):
    task = label_task(copper, moody("nan"), {"seed": 1})
    with worker_pool(1) as pool:
        (folder,) = TaskStore(tmp_path).run([task], pool)
    assert read_label(folder).kind == "not_finite"
    store = TaskStore(tmp_path)
    assert discard_failed_labels(store, [task, task]) == 1
    assert discard_failed_labels(store, [task]) == 0
    assert not store.finished(task)


def test_tasks_take_the_cores_of_their_ranks(pw, espresso_config, zirconium):
    task = label_task(zirconium, reference_from(espresso_config(pw(), "ranks = 4")), {})
    assert task.cores == 4
    assert label_task(zirconium, reference_from("eam:Zr_mm.eam.fs"), {}).cores == 1


def test_elements_a_reference_lacks_stop_before_anything_runs(copper, tmp_path):
    with pytest.raises(ConfigError, match="knows Zr, not Cu"):
        label_all([copper], reference_from("eam:Zr_mm.eam.fs"), tmp_path / "tasks")
    assert not (tmp_path / "tasks").exists()


def test_the_command_tells_how_many_labels_failed(moody, copper, tmp_path):
    moody("nan")
    write_configurations(tmp_path / "in.xyz", [bulk("Cu", "fcc", a=3.6), copper])
    arguments = ["label", str(tmp_path / "in.xyz"), "-o", str(tmp_path / "out.xyz")]
    result = CliRunner().invoke(build_app(), [*arguments, "-r", str(tmp_path / "moody.toml")])
    assert result.exit_code == 0
    assert "1 configurations labelled" in result.output
    assert "1 label failed: 1 not finite" in result.output
    assert len(read_configurations(tmp_path / "out.xyz")) == 1
