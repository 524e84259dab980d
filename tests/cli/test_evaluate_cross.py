"""`pescape evaluate --cross` with untrained potentials: what it prints, writes and refuses."""

import json

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from pescape.calculators.bpnn import BPNNPotential
from pescape.calculators.bpnn.fit import default_functions
from pescape.calculators.fit.errors import with_error
from pescape.calculators.mtp import MTPotential

from .conftest import run


def copper(width, sampler):
    frames = []
    for seed in range(3):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(width, seed=seed)
        atoms.calc = EMT()
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        atoms.info["sampler"] = sampler
        frames.append(atoms)
    return frames


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cross")
    md, dimer = copper(0.05, "md"), copper(0.15, "dimer")
    ase.io.write(folder / "md.xyz", md)
    ase.io.write(folder / "dimer.xyz", dimer)
    ase.io.write(folder / "both.xyz", md + dimer)
    ase.io.write(folder / "bare.xyz", bulk("Cu", cubic=True))
    functions = default_functions(["Cu"], 4.0, radial=2, angular=2)
    BPNNPotential.untrained(["Cu"], functions, hidden=[2]).randomized(seed=1).write(
        folder / "md.bpnn"
    )
    MTPotential.untrained(4, ["Cu"], 4.0, 1.8).randomized(seed=1).write(folder / "dimer.mtp")
    return folder


def test_every_potential_is_tested_on_every_set_and_on_all(work, tmp_path, capsys):
    code, printed, _ = run(
        capsys,
        *("evaluate", "--cross", f"md={work}/md.bpnn", f"dimer={work}/dimer.mtp"),
        *("--test", f"md={work}/md.xyz", "--test", f"dimer={work}/dimer.xyz"),
        *("--train", f"md={work}/md.xyz", "-o", tmp_path / "new", "--species", "Cu"),
    )
    assert code == 0
    assert printed.count("all") == 2
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        *("angle_errors.png", "energy_errors.png", "errors.json", "errors.png"),
        "force_errors.png",
    ]
    found = json.loads((tmp_path / "new" / "errors.json").read_text())
    pairs = [(one["model"], one["test"]) for one in found["errors"]]
    assert pairs == [
        *(("md", "md"), ("md", "dimer"), ("md", "training"), ("md", "all")),
        *(("dimer", "md"), ("dimer", "dimer"), ("dimer", "all")),
    ]
    assert len(found["inputs"]) == 4
    shown = dict(zip(pairs, found["errors"], strict=True))
    assert shown["md", "training"]["force_mae"] == shown["md", "md"]["force_mae"]

    report = tmp_path / "one.json"
    assert run(capsys, "evaluate", work / "dimer.mtp", work / "md.xyz", "--json", report)[0] == 0
    alone = json.loads(report.read_text())
    for name in ("energy_mae", "energy_rmse", "force_mae", "force_rmse"):
        assert shown["dimer", "md"][name] == pytest.approx(alone[name], rel=1e-9)


def test_one_file_of_several_samplers_is_a_set_of_each(work, tmp_path, capsys):
    report = tmp_path / "errors.json"
    files = (work / "md.bpnn", "--test", work / "both.xyz", "--json", report)
    assert run(capsys, "evaluate", "--cross", *files)[0] == 0
    found = json.loads(report.read_text())
    assert found["models"] == ["md"]
    assert found["tests"] == ["md", "dimer", "all"]
    assert np.isfinite([one["force_rmse"] for one in found["errors"]]).all()


def test_errors_have_standard_errors_by_group_too(work, tmp_path, capsys):
    report = tmp_path / "errors.json"
    files = (work / "md.bpnn", work / "both.xyz", "--json", report)
    code, printed, _ = run(capsys, "evaluate", *files, "--by", "sampler")
    assert code == 0
    found = json.loads(report.read_text())
    assert found["by"] == "sampler"
    assert [*found["groups"]] == ["md", "dimer"]
    assert with_error(found["energy_mae"], found["energy_mae_error"]) in printed
    dimer = found["groups"]["dimer"]
    assert (dimer["configurations"], dimer["atoms"]) == (3, 12)
    assert with_error(dimer["force_rmse"], dimer["force_rmse_error"]) in printed

    ase.io.write(tmp_path / "one.xyz", copper(0.05, "md")[:1])
    code, printed, _ = run(capsys, "evaluate", work / "md.bpnn", tmp_path / "one.xyz")
    assert code == 0
    assert " ± –" in printed


@pytest.mark.parametrize(
    ("command", "code", "expected"),
    [
        ("--cross {w}/md.bpnn", 2, "--cross needs test sets"),
        ("--cross {w}/md.bpnn m={w}/dimer.mtp --test {w}/md.xyz", 1, "all potentials as NAME=FILE"),
        ("--cross {w}/md.bpnn {w}/md.bpnn --test {w}/md.xyz", 1, "two potentials are called 'md'"),
        ("--cross {w}/md.bpnn --test {w}/bare.xyz", 1, "bare.xyz frame 0 has no energy"),
        ("--cross {w}/md.bpnn --test all={w}/md.xyz", 1, "cannot be called 'all'"),
        ("--cross {w}/no.bpnn --test {w}/md.xyz", 1, "no.bpnn"),
        ("--cross {w}/md.bpnn --test {w}/no.xyz", 1, "no.xyz"),
        (
            "--cross {w}/md.bpnn --test {w}/md.xyz --train x={w}/md.xyz",
            1,
            "training set 'x' is of no model: they are md",
        ),
        ("{w}/md.bpnn {w}/md.xyz --test {w}/md.xyz", 2, "--test goes with --cross"),
        ("{w}/md.bpnn {w}/md.xyz {w}/md.xyz", 2, "compared with --cross"),
        ("--cross {w}/md.bpnn --test {w}/md.xyz --by sampler", 2, "--by goes without --cross"),
        (
            "{w}/md.bpnn {w}/md.xyz --by group",
            1,
            "--by group: configuration 0 of {w}/md.xyz has no such entry; its entries are",
        ),
        ("{w}/md.bpnn", 2, "expected a potential and a data set"),
    ],
)
def test_wrong_input_is_told_in_one_clear_error(work, capsys, command, code, expected):
    got, _, errors = run(capsys, "evaluate", *command.format(w=work).split())
    assert got == code
    assert expected.format(w=work) in " ".join(errors.replace("│", "").split())
