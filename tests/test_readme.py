"""What the README shows is what works."""

from __future__ import annotations

import argparse
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from ase.build import bulk

from pescape.calculators.doptimality.active_set import build_active_set
from pescape.calculators.mtp import MTPotential
from pescape.lammps_style import launcher

README = Path(__file__).resolve().parents[1] / "README.md"
SCRIPT = """
lattice hcp 3.23
region box block 0 3 0 3 0 3
create_box 1 box
create_atoms 1 box
mass 1 91.224
{pair}
velocity all create 10 1
fix move all nve
run 20
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with the potential that the README speaks of."""
    potential = MTPotential.untrained(
        level=8, species=["Zr"], cutoff=5.0, min_dist=2.0, radial_basis_size=8
    ).randomized(seed=1)
    crystal = bulk("Zr", "hcp", a=3.23, c=5.16).repeat(2)
    crystal.rattle(0.05, seed=1)
    potential.with_active_set(build_active_set(potential, [crystal])).write(tmp_path / "zr.almtp")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_its_python_runs(number):
    exec(compile(blocks("python")[number], str(README), "exec"), {})


def test_its_lammps_lines_run(folder):
    lines = next(block for block in blocks("") if "pair_style" in block)
    units, pair = lines.split("\n", 1)
    (folder / "in.file").write_text(units + SCRIPT.format(pair=pair))
    done = subprocess.run(
        launcher.command(["-in", "in.file"]),
        env=launcher.environment(1),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    header = next(line for line in done.stdout.splitlines() if line.split()[:1] == ["Step"])
    assert header.split()[-3:] == ["f_guard", "f_guard[1]", "f_guard[2]"]
    assert "ERROR" not in done.stdout


def test_the_files_it_points_to_exist():
    targets = re.findall(r"\]\(([^)#:]+)\)", README.read_text())
    assert targets
    for target in targets:
        assert (README.parent / target).exists(), target


@pytest.mark.parametrize("number", [0, 1])
def test_its_commands_are_one_line_each(number):
    assert len(blocks("bash")[number].strip().splitlines()) == 1


def test_the_commands_it_lists_exist():
    from typer.main import get_command

    from pescape.cli import build_app

    known = set(get_command(build_app([])).commands)
    listed = set(re.findall(r"`pescape (\w+)", README.read_text()))
    assert listed - known == set()


def scripts():
    return re.findall(r"`python ((?:benchmarks|examples)/[^`]+)`", README.read_text())


@pytest.mark.parametrize("command", scripts())
def test_the_scripts_it_lists_have_all_their_arguments(command, monkeypatch):
    script, *arguments = command.split()
    path = README.parent / script
    parsed = argparse.ArgumentParser.parse_args

    class WholeError(Exception):
        pass

    def parse(self, *given):
        parsed(self, *given)
        raise WholeError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    monkeypatch.syspath_prepend(str(path.parent))
    with pytest.raises(WholeError):
        runpy.run_path(str(path), run_name="__main__")
