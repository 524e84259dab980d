import contextlib
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import Executor, Future
from pathlib import Path

import ase.io
import numpy as np
import pytest
from typer.testing import CliRunner

from pescape.calculators.mtp import MTPotential
from pescape.calculators.mtp.fit import evaluate
from pescape.cli import build_app
from pescape.config import load_config
from pescape.files import read_lines
from pescape.labelling import label, reference_from
from pescape.learning.config import LearnConfig
from pescape.learning.loop import learn
from pescape.learning.records import read_rounds
from pescape.tasks.store import exclusive

FILES = ("zr.almtp", "train.xyz", "test.xyz", "rounds.json", "rounds.csv", "learn.png")


def start(config, folder, *options):
    code = "from pescape.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, "learn", str(config), "-o", str(folder), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def index(folder):
    return read_lines(folder / "tasks" / "index.jsonl")


def labels(folder):
    made = folder / "tasks" / "label"
    return {p.name for p in made.iterdir() if p.name[0] != "."} if made.exists() else set()


def children_working_in(folder):
    """Processes whose working folder is inside a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(process.joinpath("cwd").readlink()).startswith(str(folder)):
                found.append(int(process.name))
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny):
    """A campaign that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    config = folder / "learn.toml"
    config.write_text(tiny)
    process = start(config, folder / "out")
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return folder / "out", output


def test_a_campaign_goes_on_until_a_whole_round_meets_nothing_risky(whole):
    folder, output = whole
    rounds, settled = read_rounds(folder)
    assert settled
    assert list(dict.fromkeys(r.level for r in rounds)) == [2, 4]
    for level in (2, 4):
        last = [r for r in rounds if r.level == level][-1]
        assert last.runs == 2
        assert last.risky == last.halted == last.exploded == 0
        assert last.largest_grade <= 2.1
        assert last.test_configurations == 2
    assert any(r.risky > 0 and r.labelled > 0 for r in rounds)
    assert "nothing risky" in output
    assert "zr.almtp" in output


def test_the_potential_is_the_one_that_was_learned(whole):
    folder, _ = whole
    potential = MTPotential.read(folder / "zr.almtp")
    assert potential.species == ("Zr",)
    assert potential.active_set.filled > 0
    rounds, _ = read_rounds(folder)
    errors = evaluate(potential, ase.io.read(folder / "train.xyz", ":"))
    assert errors.force_rmse == pytest.approx(rounds[-1].force_rmse, rel=1e-6)


def test_every_frame_of_the_data_set_says_where_it_comes_from(whole):
    folder, _ = whole
    frames = ase.io.read(folder / "train.xyz", ":")
    records = read_lines(folder / "train.jsonl")
    assert [r["configuration_id"] for r in records] == [f.info["configuration_id"] for f in frames]
    rounds, _ = read_rounds(folder)
    assert Counter(f.info["round"] for f in frames) == {
        r.number: r.labelled for r in rounds if r.labelled
    }
    for frame, record in zip(frames, records, strict=True):
        info = frame.info
        assert info["reference"] == "eam/fs Zr_mm.eam.fs"
        assert info["reference_version"].startswith("lammps ")
        assert info["command"] == "pescape learn"
        assert info["seed"] == 3
        assert (folder / "tasks" / record["task"] / "label.xyz").is_file()
        if info["made_by"] == "md":
            run = info["parent"].split()[0]
            assert (folder / "tasks" / run / "risky.xyz").is_file()
        assert {"energy", "free_energy", "forces", "stress"} <= set(frame.calc.results)


def test_labels_are_those_of_the_reference(whole):
    folder, _ = whole
    reference = reference_from("eam:Zr_mm.eam.fs")
    for frame in ase.io.read(folder / "train.xyz", ":")[::3]:
        again = label(frame, reference)
        assert again.info["configuration_id"] == frame.info["configuration_id"]
        assert again.get_potential_energy() == pytest.approx(frame.get_potential_energy(), abs=1e-9)
        np.testing.assert_allclose(again.get_forces(), frame.get_forces(), atol=2e-8)


@pytest.mark.slow
def test_a_campaign_killed_again_and_again_ends_with_the_same_result(whole, tmp_path, tiny):
    undisturbed, _ = whole
    config, folder = tmp_path / "learn.toml", tmp_path / "out"
    config.write_text(tiny)
    chance = random.Random(1)
    total, kept = len(index(undisturbed)), set()
    for kill in range(3):
        target = (kill + 1) * total // 4
        process = start(config, folder)
        while process.poll() is None and len(index(folder)) < target:
            time.sleep(0.005)
        time.sleep(chance.uniform(0.0, 0.2))
        process.kill()
        process.communicate()
        deadline = time.monotonic() + 10.0
        while children_working_in(folder) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not children_working_in(folder), "LAMMPS outlived the campaign"
        assert kept <= labels(folder)
        kept = labels(folder)
    process = start(config, folder, "--resume")
    output, _ = process.communicate()
    assert process.returncode == 0, output
    for name in FILES:
        assert (folder / name).read_bytes() == (undisturbed / name).read_bytes(), name
    finished = set()
    for record in index(folder):
        task = record["kind"], record["key"]
        if record["event"] == "finished":
            assert task not in finished, "a task is finished once"
            finished.add(task)
        else:
            assert task not in finished, "a finished task is never started again"
    assert labels(folder) == labels(undisturbed)


@pytest.mark.slow
def test_a_finished_campaign_started_again_does_nothing(whole):
    folder, _ = whole
    before = index(folder)
    process = start(folder.parent / "learn.toml", folder)
    process.communicate()
    assert process.returncode == 0
    assert index(folder) == before


def test_a_second_campaign_in_the_same_folder_is_refused(whole):
    folder, _ = whole
    with exclusive(folder):
        process = start(folder.parent / "learn.toml", folder)
        output, _ = process.communicate()
    assert process.returncode == 1
    assert f"another pescape process (pid {os.getpid()}) works here" in output
    assert "Traceback" not in output


class Serial(Executor):
    """Runs everything at once, in this process."""

    def submit(self, function, /, *arguments):
        future = Future()
        future.set_result(function(*arguments))
        return future


@pytest.mark.slow
def test_the_executor_does_not_matter(whole, tmp_path):
    undisturbed, _ = whole
    config = load_config(undisturbed.parent / "learn.toml", LearnConfig)
    potential = config.potential.model_copy(update={"levels": (2,)})
    config = config.model_copy(update={"potential": potential})
    result = learn(config, tmp_path / "serial", executor=Serial())
    expected, _ = read_rounds(undisturbed)
    assert result.settled
    assert list(result.rounds) == [one for one in expected if one.level == 2]


def test_status_and_dry_run_only_tell(whole, tmp_path):
    folder, _ = whole
    config, new = str(folder.parent / "learn.toml"), str(tmp_path / "new")

    def command(*arguments):
        return CliRunner().invoke(build_app(), ["learn", config, *arguments])

    told = command("-o", str(folder), "--status")
    assert told.exit_code == 0
    assert "settled" in told.output
    told = command("-o", new, "--dry-run")
    assert told.exit_code == 0
    assert "4 initial structures of 1 to 2 atoms" in told.output
    assert re.search(r"all\s+crystal\s+1\s+8\s+2\s+4.8e\+03", told.output), told.output
    assert re.search(r"^4 +\d+ +[\d.]+", told.output, re.MULTILINE), "the cost of each level"
    assert not (tmp_path / "new").exists()
    told = command("-o", new, "--resume")
    assert told.exit_code == 1
    assert "nothing has been learned here yet" in str(told.exception)
