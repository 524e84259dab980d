import csv
import json
import re
import textwrap

import pytest

from pescape.cli.validation import validate as command
from pescape.config import load_config
from pescape.files import read_lines
from pescape.validation import PROPERTIES
from pescape.validation.config import ValidationConfig
from pescape.validation.references import read_values

from .conftest import run

SUITE = """
title = "Copper"
workers = 1

[[properties]]
kind = "lattice"
phases = [{ element = "Cu", lattice = "fcc" }]

[[properties]]
kind = "elastic"
crystal = { element = "Cu", lattice = "fcc" }

[thresholds]
"lattice.fcc.a" = 0.1
"elastic.C44" = "5 %"
"""
VALUES = """
name = "paper"
source = "made up"

[values]
"elastic.C44" = { value = 100.0, unit = "GPa" }
"elastic.C122" = 1.0
"""
EMT = "EMT=ase.calculators.emt:EMT"
# It lets the lattice collapse: every property of it fails.
ATTRACTIVE = "LJ=ase.calculators.lj:LennardJones"


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("validation")
    (folder / "suite.toml").write_text(SUITE)
    (folder / "paper.toml").write_text(VALUES)
    return folder


@pytest.fixture(scope="module")
def compared(work):
    """Arguments of a validation of two calculators against a file and a shipped set."""
    return [
        *("validate", EMT, ATTRACTIVE, work / "suite.toml", "-o", work / "out"),
        *("-r", work / "paper.toml", "-r", "cu-experiment"),
    ]


def test_a_validation_leaves_tables_a_study_and_a_report_and_tells_what_failed(
    work, compared, capsys
):
    code, out, _ = run(capsys, *compared)
    assert code == 0
    assert "paper: 'elastic.C122' is no value of these properties; did you mean" in out
    assert "lattice of LJ failed: fcc: its volume went to" in out
    assert "2 beyond their thresholds" in out
    for name in ("report.html", "values.csv", "study.json", "structures/EMT/lattice.xyz"):
        assert (work / "out" / name).exists(), name
    with (work / "out/values.csv").open() as file:
        lines = [one for one in csv.DictReader(file) if one["property"] == "elastic.C44"]
    mine = {(one["potential"], one["reference"]): one for one in lines}
    assert mine["EMT", "paper"]["verdict"] == "beyond"
    assert float(mine["EMT", "paper"]["error"]) == pytest.approx(-10.1, abs=0.5)
    assert mine["LJ", "paper"]["verdict"] == "failed"


@pytest.mark.slow
def test_nothing_is_computed_again_and_the_state_is_told(work, compared, capsys):
    run(capsys, *compared)
    starts = read_lines(work / "out/tasks/index.jsonl")
    assert run(capsys, *compared)[0] == 0
    assert read_lines(work / "out/tasks/index.jsonl") == starts
    code, out, _ = run(capsys, *compared, "--status")
    assert code == 0
    assert out.splitlines() == [
        "EMT: 2 of 2 properties computed",
        "LJ: 2 of 2 properties computed",
    ]


@pytest.mark.slow
def test_the_exit_code_tells_thresholds_if_asked_and_failure_of_everything(work, capsys):
    begin = ["validate", EMT, work / "suite.toml", "-o", work / "out", "--only", "elastic"]
    assert run(capsys, *begin, "-r", work / "paper.toml")[0] == 0
    assert run(capsys, *begin, "-r", work / "paper.toml", "--strict")[0] == 2
    assert run(capsys, *begin, "--strict")[0] == 0
    only = ["--only", "lattice", "-o", work / "out"]
    assert run(capsys, "validate", ATTRACTIVE, work / "suite.toml", *only)[0] == 1


def test_kinds_of_properties_are_listed_with_their_keys(capsys):
    code, out, _ = run(capsys, "validate", "--list-properties")
    assert code == 0
    assert all(kind in out for kind in PROPERTIES)
    told = " ".join(out.split())
    assert "melting, in LAMMPS: Cells half solid" in told
    assert "strain = 0.002 # of each finite difference" in told
    assert "thicknesses = [12.0, 16.0, 20.0, 24.0]" in told


def test_published_values_are_listed(capsys):
    code, out, _ = run(capsys, "validate", "--list-references")
    assert code == 0
    assert "zr-experiment: 11 values of Zr" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none"], "none: neither a potential"),
        (["none.almtp"], "none.almtp: no such file"),
        ([EMT, EMT], "two are called 'EMT'"),
        ([EMT, "-r", "cu-experimen"], "did you mean 'cu-experiment'?"),
        ([EMT, "-r", "zr-experiment"], "its values are of Zr, the properties of Cu"),
        ([EMT, "--only", "latice"], "did you mean 'lattice'?"),
        (["eam:Zr_mm.eam.fs"], "Cu"),
    ],
)
def test_wrong_input_is_told_in_one_line(work, tmp_path, capsys, arguments, message):
    potentials = [one for one in arguments if one == EMT or ":" in one or one.startswith("none")]
    options = arguments[len(potentials) :]
    code, _, error = run(
        capsys, "validate", *potentials, work / "suite.toml", "-o", tmp_path / "out", *options
    )
    assert code != 0
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_wrong_unit_of_a_value_is_told(work, compared, capsys):
    (work / "other.toml").write_text(VALUES.replace("GPa", "eV/Å³"))
    code, _, error = run(capsys, *compared[:-4], "-r", work / "other.toml")
    assert code == 1
    assert "elastic.C44 is given in 'eV/Å³', the property in 'GPa': convert it" in error


def test_the_files_shown_in_the_help_are_right(tmp_path):
    help_text = textwrap.dedent("    " + command.__doc__)
    suite, values = re.findall(r"```toml\n(.*?)```", help_text, re.DOTALL)
    (tmp_path / "suite.toml").write_text(suite)
    (tmp_path / "values.toml").write_text(values)
    config = load_config(tmp_path / "suite.toml", ValidationConfig)
    assert config.limits()["lattice.hcp.a"].amount == 0.02
    known = read_values(tmp_path / "values.toml")
    assert known.check(list(config.limits()), {"Zr"}) == ()
    assert json.loads(known.content.model_dump_json())["values"]["lattice.hcp.a"]["unit"] == "Å"
