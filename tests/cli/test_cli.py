import json
import subprocess
import sys

import ase.io
import numpy as np
import pytest
from ase.build import bulk

from pescape.calculators.mtp import MTPotential
from pescape.cli import build_app, main
from pescape.files import read_lines

from .conftest import run

STRUCTURES = """
seed = 1
[[structures]]
element = "Zr"
lattice = "hcp"
a = 3.23
repeat = [[1, 1, 1], [2, 1, 1]]
count = 12
rattle = [0.05, 0.2]
volume = [0.95, 1.05]
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with labelled structures and a potential, all made by commands."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "structures.toml").write_text(STRUCTURES)
    commands = [
        ("structures", folder / "structures.toml", "-o", folder / "start.xyz"),
        ("structures", folder / "structures.toml", "-o", folder / "more.xyz", "--seed", "2"),
        ("label", folder / "start.xyz", "-o", folder / "train.xyz", "-r", "eam:Zr_mm.eam.fs"),
        ("label", folder / "more.xyz", "-o", folder / "test.xyz", "-r", "eam:Zr_mm.eam.fs"),
        (
            *("fit", "mtp", folder / "train.xyz", "-o", folder / "zr.almtp", "--level", "6"),
            *("--test", folder / "test.xyz", "--starts", "1", "--iterations", "100"),
            "--no-check",
        ),
    ]
    for command in commands:
        with pytest.raises(SystemExit) as end:
            main([str(a) for a in command])
        assert not end.value.code, command
    return folder


def test_every_command_has_a_help_with_an_example(capsys):
    commands = ["structures", "sample", "label", "evaluate", "grade", "select", "learn"]
    commands += ["diversity", "convert", "info", "lammps"]
    for command in [[name] for name in commands] + [["fit", "mtp"]]:
        code, out, _ = run(capsys, *command, "--help")
        assert code == 0
        assert "Example" in out, command
        assert f"pescape {' '.join(command)}" in out, command


def test_commands_start_without_the_heavy_packages():
    code = (
        "import sys, pescape.cli\n"
        "heavy = {'ase', 'numpy', 'scipy', 'torch', 'matplotlib', 'lammps'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_labels_keep_their_provenance(work):
    frames = ase.io.read(work / "train.xyz", ":")
    assert len(frames) == 12
    for index, atoms in enumerate(frames):
        assert atoms.info["parent"].endswith(f"start.xyz frame {index}")
        assert atoms.info["command"] == "pescape label start.xyz"
        assert atoms.info["reference"] == "eam/fs Zr_mm.eam.fs"
        assert {"energy", "forces", "stress"} <= set(atoms.calc.results)


def test_finished_labels_are_not_made_again(work, capsys):
    index = work / "train.xyz.tasks" / "index.jsonl"
    before, content = read_lines(index), (work / "train.xyz").read_bytes()
    code, _, _ = run(
        capsys, "label", work / "start.xyz", "-o", work / "train.xyz", "-r", "eam:Zr_mm.eam.fs"
    )
    assert code == 0
    assert read_lines(index) == before
    assert (work / "train.xyz").read_bytes() == content


def test_a_fit_leaves_a_potential_with_its_active_set_and_its_errors(work):
    potential = MTPotential.read(work / "zr.almtp")
    assert potential.species == ("Zr",)
    assert potential.active_set.mode == "neighborhood"
    summary = json.loads((work / "zr.almtp.json").read_text())
    assert set(summary["errors"]) == {"training", "test"}
    assert summary["errors"]["training"]["configurations"] == 12
    assert summary["energy_kind"] == "free_energy"
    assert list(summary["inputs"]) == [str(work / "train.xyz"), str(work / "test.xyz")]
    assert not list(work.glob("*.checkpoint.npz"))


def test_evaluate_prints_what_the_fit_saw_and_writes_it(work, capsys):
    report = work / "errors.json"
    code, out, _ = run(capsys, "evaluate", work / "zr.almtp", work / "test.xyz", "--json", report)
    assert code == 0
    assert "energy" in out
    fitted = json.loads((work / "zr.almtp.json").read_text())["errors"]["test"]
    evaluated = json.loads(report.read_text())
    for key, value in fitted.items():
        assert evaluated[key] == pytest.approx(value, rel=1e-6)


def test_a_higher_level_starts_from_a_lower_one(work, capsys):
    code, out, _ = run(
        capsys,
        *("fit", "mtp", work / "train.xyz", "-o", work / "zr8.almtp", "--level", "8"),
        *("--start", work / "zr.almtp", "--iterations", "40", "--no-check"),
    )
    assert code == 0, out
    low, high = (
        json.loads((work / f"{name}.almtp.json").read_text())["loss"] for name in ("zr", "zr8")
    )
    assert high < low


def test_grades_are_written_atom_by_atom(work, capsys):
    code, _, _ = run(
        capsys,
        *("grade", work / "zr.almtp", work / "test.xyz", "-o", work / "graded.xyz"),
        *("--json", work / "grades.json"),
    )
    assert code == 0
    graded = ase.io.read(work / "graded.xyz", ":")
    written = json.loads((work / "grades.json").read_text())
    for atoms, largest in zip(graded, written["grades"], strict=True):
        values = atoms.get_array("extrapolation_grades")
        assert values.max() == pytest.approx(largest, abs=1e-7)
        assert atoms.info["extrapolation_grade"] == pytest.approx(largest)
    run(capsys, "grade", work / "zr.almtp", work / "train.xyz", "-o", work / "known.xyz")
    known = ase.io.read(work / "known.xyz", ":")
    assert max(atoms.info["extrapolation_grade"] for atoms in known) < 1.01


def test_select_writes_what_the_potential_does_not_know(work, capsys):
    arguments = ("select", work / "zr.almtp", work / "test.xyz", "-o", work / "selected.xyz")
    code, out, _ = run(
        capsys, *arguments, "--training", work / "train.xyz", "--json", work / "selected.json"
    )
    assert code == 0
    chosen = json.loads((work / "selected.json").read_text())["selected"]
    assert 0 < len(chosen) <= 12
    assert f"{len(chosen)} of 12 selected" in out
    frames, selected = ase.io.read(work / "test.xyz", ":"), ase.io.read(work / "selected.xyz", ":")
    for index, atoms in zip(chosen, selected, strict=True):
        np.testing.assert_array_equal(atoms.positions, frames[index].positions)


def test_selecting_from_what_is_known_says_so(work, capsys):
    code, _, err = run(
        capsys, "select", work / "zr.almtp", work / "train.xyz", "-o", work / "none.xyz"
    )
    assert code == 1
    assert "nothing selected: the potential knows all of" in err
    assert not (work / "none.xyz").exists()


def test_info_tells_what_a_file_holds(work, capsys):
    code, out, _ = run(capsys, "info", work / "zr.almtp", "--json", work / "info.json")
    assert code == 0
    assert "neighborhood" in out
    content = json.loads((work / "info.json").read_text())
    assert content["species"] == "Zr"
    assert content["parameters"] == MTPotential.read(work / "zr.almtp").parameter_count


def test_potentials_and_data_sets_are_converted(work, capsys):
    assert run(capsys, "convert", work / "zr.almtp", work / "zr.mtp")[0] == 0
    plain = MTPotential.read(work / "zr.mtp")
    assert plain.active_set is None
    np.testing.assert_allclose(
        plain.parameters, MTPotential.read(work / "zr.almtp").parameters, rtol=1e-14
    )
    assert run(capsys, "convert", work / "train.xyz", work / "train.cfg")[0] == 0
    assert run(capsys, "convert", work / "train.cfg", work / "back.xyz")[0] == 0
    for a, b in zip(
        ase.io.read(work / "train.xyz", ":"), ase.io.read(work / "back.xyz", ":"), strict=True
    ):
        np.testing.assert_allclose(a.positions, b.positions, atol=1e-8)
        np.testing.assert_allclose(a.get_forces(), b.get_forces(), atol=1e-8)
        assert a.get_potential_energy() == pytest.approx(b.get_potential_energy(), rel=1e-12)


def test_lammps_passes_its_arguments_and_exit_code_on(tmp_path, capfd):
    (tmp_path / "in.ok").write_text('print "two words"\n')
    (tmp_path / "in.bad").write_text("no_such_command\n")
    log = ("-log", str(tmp_path / "log"))
    for name, expected in (("in.ok", 0), ("in.bad", 1)):
        with pytest.raises(SystemExit) as end:
            main(["lammps", "--", "-in", str(tmp_path / name), *log])
        assert end.value.code == expected
    assert "two words" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("evaluate {work}/nothing.almtp {work}/test.xyz", "nothing.almtp"),
        ("evaluate {work}/zr.almtp {work}/nothing.xyz", "nothing.xyz: no such file"),
        ("evaluate {work}/zr.almtp {work}/start.xyz", "start.xyz frame 0 has no energy"),
        ("evaluate {work}/zr.almtp {work}/zr.almtp.json", "zr.almtp.json"),
        ("evaluate {work}/structures.toml {work}/test.xyz", "structures.toml: not a potential"),
        ("evaluate {work}/zr.almtp {work}/oxide.xyz", "holds O; the potential knows Zr"),
        ("grade {work}/plain.mtp {work}/test.xyz -o {work}/x.xyz", "no active set"),
        ("fit mtp {work}/train.xyz -o {work}/x.almtp --level 7", "7"),
        ("fit mtp {work}/start.xyz -o {work}/x.almtp", "start.xyz frame 0 has no energy"),
        (
            "fit mtp {work}/train.xyz -o {work}/x.almtp --species O",
            "holds Zr; the potential knows O",
        ),
        ("label {work}/start.xyz -o {work}/x.xyz -r nothing", "no import path MODULE:CLASS"),
        ("structures {work}/learn.toml -o {work}/x.xyz", "learn.toml: cannot be read"),
        ("convert {work}/zr.almtp {work}/x.xyz", "one is a potential, the other is not"),
        ("convert {work}/plain.mtp {work}/x.almtp", "has no active set"),
    ],
)
def test_mistakes_are_told_in_one_line(work, capsys, command, message):
    MTPotential.read(work / "zr.almtp").with_active_set(None).write(work / "plain.mtp")
    oxide = bulk("Zr", "hcp", a=3.2)
    oxide.symbols[1] = "O"
    ase.io.write(work / "oxide.xyz", oxide)
    code, _, err = run(capsys, *command.format(work=work).split())
    assert code == 1
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert err.startswith("Error: ")
    assert not (work / "x.xyz").exists()
    assert not (work / "x.almtp").exists()


def test_debug_shows_where_an_error_comes_from():
    with pytest.raises(FileNotFoundError):
        main(["info", "--debug", "nothing.almtp"])


def test_wrong_usage_has_its_own_exit_code(capsys):
    assert run(capsys, "evaluate")[0] == 2
    assert run(capsys, "nothing")[0] == 2


def test_the_version_is_printed(capsys):
    code, out, _ = run(capsys, "--version")
    assert code == 0
    assert out.startswith("pescape ")


def test_the_commands_are_those_of_the_documentation():
    names = {command.name for command in build_app([]).registered_commands}
    groups = {group.name for group in build_app([]).registered_groups}
    assert names == {
        *("learn", "structures", "sample", "diversity", "label", "evaluate", "grade"),
        *("select", "convert", "info", "lammps", "ensemble", "learning-curve"),
        *("validate", "report", "check"),
    }
    assert groups == {"fit"}
