import csv
import json
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, Future
from pathlib import Path

import ase.io
import pytest

from pescape.cli import main
from pescape.config import load_config, validate
from pescape.ensemble.results import (
    Member,
    count_satisfied,
    decision_tree,
    read_report,
    report_of,
    tree_text,
)
from pescape.ensemble.run import (
    EnsembleConfig,
    EnsembleRunConfig,
    ensemble_of_files,
    ensemble_progress,
    member_seeds,
)
from pescape.errors import ConfigError, TaskError
from pescape.files import read_lines
from pescape.labelling import label, reference_from
from pescape.plugins.structures import crystal
from pescape.validation.property import PropertyResult, Value
from pescape.validation.runner import PropertyOutcome
from tests.conftest import strained_and_rattled

TINY = """
members = 3
seed = 5
[potential]
species = ["Zr"]
level = 4
cutoff = 5.0
radial_basis_size = 4
[fit]
iterations = 30
[[properties]]
kind = "lattice"
phases = [{ element = "Zr", lattice = "hcp" }, { element = "Zr", lattice = "bcc" }]
[[properties]]
kind = "elastic"
name = "stiff"
crystal = { element = "Zr", lattice = "hcp" }
[[properties]]
kind = "lattice"
name = "hopeless"
phases = [{ element = "Zr", lattice = "hcp" }]
steps = 1
[predicates]
"near" = "lattice.hcp.a = reference.lattice.hcp.a +- 0.1"
"stable" = "stiff.least_eigenvalue > 0"
"never" = "lattice.hcp.a < 0"
"open" = "hopeless.hcp.a > 0"
"""
FILES = ("ensemble.json", "members.csv", "values.csv", "tree.txt", "best.almtp")
REFERENCE = ("-r", "eam:Zr_mm.eam.fs")
FIGURES = ("histograms.png", "tree.png")


class Serial(Executor):
    """Runs everything at once, in this process."""

    def submit(self, function, /, *arguments):
        future = Future()
        future.set_result(function(*arguments))
        return future


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder with a training set and a configuration."""
    folder = tmp_path_factory.mktemp("ensemble")
    reference = reference_from("eam:Zr_mm.eam.fs")
    parents = [
        crystal("Zr", "hcp", 3.23, c_over_a=1.6, repeat=(2, 1, 1)),
        crystal("Zr", "bcc", 3.57, repeat=(2, 1, 1)),
    ]
    frames = strained_and_rattled(parents, 8, rattle=(0.02, 0.15), seed=1)
    labelled = [label(atoms, reference) for atoms in frames]
    for atoms in labelled[:4]:  # data sets of others name neither configuration nor reference
        atoms.info = {}
    ase.io.write(folder / "train.xyz", labelled, format="extxyz")
    (folder / "tiny.toml").write_text(TINY)
    return folder


def start(inputs, output, *options):
    command = "from pescape.cli import main; main()"
    files = str(inputs / "train.xyz"), str(inputs / "tiny.toml")
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            command,
            "ensemble",
            *files,
            "-o",
            str(output),
            *REFERENCE,
            *options,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def index(folder):
    return read_lines(folder / "tasks" / "index.jsonl")


@pytest.fixture(scope="module")
def whole(inputs):
    """An ensemble that nobody disturbed."""
    process = start(inputs, inputs / "out")
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return inputs / "out", output


def test_members_differ_in_their_seeds_and_are_compared_with_the_reference(whole):
    folder, output = whole
    report = read_report(folder)
    seeds = [member["seed"] for member in report["members"]]
    assert len(set(seeds)) == 3
    assert seeds == member_seeds(EnsembleConfig.model_construct(members=3, seed=5))
    values = {one["name"]: one for one in report["values"]}
    length = values["lattice.hcp.a"]
    members = [member["values"]["lattice.hcp.a"] for member in report["members"]]
    assert length["reference"] == pytest.approx(3.234, abs=1e-3)
    assert length["unit"] == "Å"
    assert length["count"] == 3
    assert (length["least"], length["largest"]) == (min(members), max(members))
    assert length["mean"] == pytest.approx(sum(members) / 3)
    assert values["hopeless.hcp.a"]["count"] == 0
    assert all((folder / name).stat().st_size > 5000 for name in FIGURES)
    assert (folder / "best.almtp").read_bytes().startswith(b"MTP\n")
    assert "3 members" in output


def test_predicates_are_counted_alone_and_together(whole):
    folder, output = whole
    report = read_report(folder)
    counts = {one["name"]: one for one in report["predicates"]}
    verdicts = [member["verdicts"] for member in report["members"]]
    assert counts["near"]["alone"] == sum(one["near"] for one in verdicts)
    assert counts["never"]["alone"] == counts["never"]["together"] == 0
    assert counts["open"]["unknown"] == 3
    assert all(one["open"] is None for one in verdicts)
    assert "└─ not never" in output
    assert (folder / "tree.txt").read_text() in re.sub(r" *\n", "\n", output)


def test_failures_are_told_and_stop_nothing(whole):
    folder, output = whole
    for member in read_report(folder)["members"]:
        assert "not relaxed after 1 steps" in member["failures"]["hopeless"]
        assert "lattice" not in member["failures"]
    assert "hopeless failed for 3 members" in output


def test_tables_have_a_line_for_each_member_and_each_value(whole):
    folder, _ = whole
    members = list(csv.DictReader((folder / "members.csv").open()))
    values = list(csv.DictReader((folder / "values.csv").open()))
    assert [row["member"] for row in members] == ["1", "2", "3"]
    assert {row["open"] for row in members} == {"unknown"}
    assert {row["never"] for row in members} == {"no"}
    report = read_report(folder)
    for row, member in zip(members, report["members"], strict=True):
        assert float(row["lattice.hcp.a"]) == member["values"]["lattice.hcp.a"]
        assert float(row["training_force_rmse"]) == member["errors"]["training"]["force_rmse"]
    assert [row["name"] for row in values] == [one["name"] for one in report["values"]]


@pytest.mark.slow
def test_killed_anywhere_it_goes_on_and_ends_the_same(inputs, whole, tmp_path):
    undisturbed, _ = whole
    total = len(index(undisturbed))
    for target in (2, total // 2):
        process = start(inputs, tmp_path)
        while process.poll() is None and len(index(tmp_path)) < target:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = start(inputs, tmp_path)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    for name in (*FILES, *FIGURES):
        assert (tmp_path / name).read_bytes() == (undisturbed / name).read_bytes(), name
    finished = [(r["kind"], r["key"]) for r in index(tmp_path) if r["event"] == "finished"]
    assert len(finished) == len(set(finished))


def test_neither_executor_nor_more_members_change_a_member(inputs, whole, tmp_path):
    undisturbed, _ = whole
    config = load_config(inputs / "tiny.toml", EnsembleRunConfig)
    config = config.model_copy(update={"members": 4, "properties": config.properties[:1]})
    config = config.model_copy(update={"predicates": {"near": config.predicates["near"]}})
    report = ensemble_of_files(
        config,
        inputs / "train.xyz",
        tmp_path,
        reference=reference_from("eam:Zr_mm.eam.fs"),
        test=inputs / "train.xyz",
        executor=Serial(),
    )
    before = read_report(undisturbed)["members"]
    for member, other in zip(report.members, before, strict=False):
        assert member.values.items() <= other["values"].items()
        trained, tested = other["errors"]["training"], member.errors["test"]
        assert {name: tested[name] for name in trained} == pytest.approx(trained)
        assert 0.0 < tested["force_rmse_error"] < tested["force_rmse"]
    assert len(report.members) == 4


def test_status_tells_what_is_finished(inputs, whole, tmp_path, capsys):
    folder, _ = whole
    files = str(inputs / "train.xyz"), str(inputs / "tiny.toml")
    with pytest.raises(SystemExit) as ended:
        main(["ensemble", *files, "-o", str(folder), *REFERENCE, "--status"])
    assert ended.value.code == 0
    assert "3 of 3 members fitted\n12 of 12 properties computed" in capsys.readouterr().out
    config = load_config(inputs / "tiny.toml", EnsembleRunConfig)
    new = tmp_path / "new"
    assert ensemble_progress(config, inputs / "train.xyz", new) == (0, 0, 9)
    assert not new.exists()
    with pytest.raises(TaskError, match="no ensemble has been finished here"):
        read_report(tmp_path)


#: Of the first and the second predicate, by member.
VERDICTS = {
    1: {"a": True, "b": True},
    2: {"a": True, "b": False},
    3: {"a": False, "b": True},
    4: {"a": True, "b": None},
    5: {"a": True, "b": True},
}


def test_the_tree_parts_members_by_one_predicate_after_the_other():
    tree = decision_tree(VERDICTS, ["a", "b"])
    assert tree_text(tree).splitlines() == [
        "5 members",
        "├─ a: 4",
        "│  ├─ b: 2",
        "│  ├─ not b: 1",
        "│  └─ b unknown: 1",
        "└─ not a: 1",
        "   └─ b: 1",
    ]
    assert tree.branches[0].branches[0].members == (1, 5)
    described = json.loads(json.dumps(tree.to_json()))
    assert described["branches"][0]["branches"][0]["members"] == [1, 5]


def test_counts_are_those_of_single_predicates_and_of_all_so_far():
    first, second = count_satisfied(VERDICTS, {"a": "x > 0", "b": "y > 0"})
    assert (first.alone, first.together, first.unknown) == (4, 4, 0)
    assert (second.alone, second.together, second.unknown) == (3, 2, 1)
    assert second.text == "y > 0"


def test_the_best_satisfy_most_and_then_have_the_least_error_of_forces():
    config = validate(
        {
            "members": 5,
            "properties": [
                {"kind": "lattice", "phases": [{"element": "Zr", "lattice": "hcp"}]},
            ],
            "predicates": {"a": "lattice.hcp.a > 0", "b": "lattice.hcp.c > 0"},
        },
        EnsembleConfig,
        "test",
    )
    result = PropertyResult("lattice", {"hcp.a": Value(3.0, "Å")})
    members = [
        Member(
            number,
            seed=number,
            potential=Path("x"),
            errors={"training": {"force_rmse": 1.0}, "test": {"force_rmse": 1.0 / number}},
            outcomes=(PropertyOutcome("m", "lattice", result=result),),
            verdicts=verdicts,
        )
        for number, verdicts in VERDICTS.items()
    ]
    report = report_of(config, members, [], Path("x"))
    assert report.best == (5, 1)
    length = next(one for one in report.spreads if one.name == "lattice.hcp.a")
    assert (length.mean, length.std, length.count) == (3.0, 0.0, 5)
    assert length.reference is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('kind = "elastic"', 'kind = "plastic"', "kind has to be one of lattice, eos, elastic"),
        ("stiff.least", "stif.least", "no value 'stif.least_eigenvalue'; did you mean 'stiff.lea"),
        ("stiff.least_eigenvalue > 0", "stiff.C44", "expected one of < <= > >= ="),
        ('name = "stiff"', 'name = "lattice"', "two properties are called 'lattice'"),
        ("level = 4", "level = 5", "level 5 is not an even number from 2 to 28"),
        ("crystal =", "cristal =", "'properties[2].cristal'; did you mean 'crystal'?"),
    ],
)
def test_configurations_that_make_no_sense_are_told_in_one_line(tmp_path, old, new, message):
    path = tmp_path / "bad.toml"
    path.write_text(TINY.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        load_config(path, EnsembleRunConfig)
    assert message in str(caught.value)


def test_predicates_about_the_reference_need_one(inputs, tmp_path):
    config = load_config(inputs / "tiny.toml", EnsembleRunConfig)
    with pytest.raises(ConfigError, match="needs a reference calculator"):
        ensemble_of_files(config, inputs / "train.xyz", tmp_path, executor=Serial())
