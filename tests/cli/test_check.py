import json
import re

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from .conftest import run


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """Copper by EMT: strained crystals, and rattled ones."""
    rng = np.random.default_rng(0)
    frames = []
    for index in range(16):
        atoms = bulk("Cu", "fcc", a=3.59, cubic=True)
        strain = rng.normal(scale=0.01 if index else 0.0, size=(3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain + strain.T), scale_atoms=True)
        if index > 11:
            atoms.positions += rng.normal(scale=0.15, size=atoms.positions.shape)
        atoms.calc = EMT()
        names = ("energy", "forces", "stress")
        found = {name: atoms.calc.get_property(name, atoms) for name in names}
        atoms.calc = SinglePointCalculator(atoms, **found)
        frames.append(atoms)
    path = tmp_path_factory.mktemp("check") / "train.xyz"
    ase.io.write(path, frames)
    return path


def test_a_fit_is_checked_and_the_check_can_be_repeated(train, capsys):
    output = train.parent / "cu.almtp"
    code, out, err = run(
        capsys,
        *("fit", "mtp", train, "-o", output, "--level", "4", "--cutoff", "4", "--starts", "1"),
        *("--iterations", "30", "--no-plot"),
    )
    assert code == 0, err
    text = " ".join(out.split())
    assert re.search(r"(ok|look|bad) elastic constants, Cu fcc: C11 \d+ \(\d+ ± \d+\)", text)
    report = json.loads((train.parent / "cu.almtp.check.json").read_text())
    assert report["data"] == str(train)
    assert str(output) in report["inputs"]
    assert (train.parent / "cu.almtp.check.png").read_bytes().startswith(b"\x89PNG")
    status = {one["check"]: one["status"] for one in report["verdicts"]}
    folder = train.parent / "again"
    few = ("--packings", "2", "--steps", "5")
    code, out, err = run(capsys, "check", output, train, "-o", folder, "--strict", *few)
    assert code == (2 if "bad" in status.values() else 0), err
    assert sorted(one.name for one in folder.iterdir()) == ["check.json", "check.png"]
    again = json.loads((folder / "check.json").read_text())
    assert again["crystals"] == report["crystals"]


def test_a_check_needs_no_data(train, capsys):
    output = train.parent / "other.almtp"
    made = ("fit", "mtp", train, "-o", output, "--level", "2", "--iterations", "3", "--no-check")
    assert run(capsys, *made, "--cutoff", "4", "--starts", "1", "--no-plot")[0] == 0
    assert not output.with_name("other.almtp.check.json").exists()
    code, out, err = run(capsys, "check", output, "--packings", "1", "--steps", "2")
    assert code == 0, err
    assert "with the active set" in out
