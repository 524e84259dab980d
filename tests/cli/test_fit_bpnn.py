import json

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from pescape.calculators import BPNN
from pescape.calculators.bpnn import BPNNPotential

from .conftest import run


def copper(count, seed):
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(count):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell.array * rng.uniform(0.97, 1.04), scale_atoms=True)
        atoms.positions += 0.1 * rng.normal(size=atoms.positions.shape)
        atoms.calc = EMT()
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        stress = atoms.get_stress()
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces, stress=stress)
        frames.append(atoms)
    return frames


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    ase.io.write(folder / "train.xyz", copper(10, 0))
    ase.io.write(folder / "test.xyz", copper(4, 1))
    return folder


SMALL = ("--hidden", "4", "--cutoff", "4.5", "--radial", "4", "--angular", "4")


def test_a_fit_writes_potential_errors_and_figure_and_leaves_nothing_else(capsys, data, tmp_path):
    output = tmp_path / "cu.bpnn"
    code, printed, _ = run(
        capsys,
        *("fit", "bpnn", data / "train.xyz", "-o", output, "--test", data / "test.xyz"),
        *("--iterations", "6", "--no-check", *SMALL),
    )
    assert code == 0, printed
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cu.bpnn",
        "cu.bpnn.errors",
        "cu.bpnn.json",
        "cu.bpnn.png",
    ]
    content = json.loads((tmp_path / "cu.bpnn.json").read_text())
    assert set(content["errors"]) == {"training", "validation", "test"}
    assert len(content["history"]) == content["iterations"] == 12  # of two stages
    assert (tmp_path / "cu.bpnn.png").read_bytes().startswith(b"\x89PNG")
    atoms = ase.io.read(data / "test.xyz")
    atoms.calc = BPNN(output)
    assert atoms.calc.get_property("extrapolation_grade", atoms) > 0
    assert (atoms.calc.get_property("force_errors", atoms) > 0.0).all()
    code, printed, _ = run(
        capsys, "evaluate", output, data / "test.xyz", "--json", tmp_path / "e.json"
    )
    assert code == 0
    again = json.loads((tmp_path / "e.json").read_text())
    assert again["force_rmse"] == pytest.approx(content["errors"]["test"]["force_rmse"], rel=1e-6)


def test_networks_grade_and_select(capsys, data, tmp_path):
    output = tmp_path / "cu.bpnn"
    arguments = ("fit", "bpnn", data / "train.xyz", "-o", output, "--iterations", "2", "--no-plot")
    arguments += ("--no-check",)
    assert run(capsys, *arguments, "--active-set", "all", *SMALL)[0] == 0
    assert BPNNPotential.read(output).active_parameters == "all"
    far = ase.io.read(data / "test.xyz")
    far.set_cell(0.8 * far.cell.array, scale_atoms=True)
    ase.io.write(tmp_path / "far.xyz", [far])
    assert run(capsys, "grade", output, tmp_path / "far.xyz", "-o", tmp_path / "g.xyz")[0] == 0
    assert ase.io.read(tmp_path / "g.xyz").info["extrapolation_grade"] > 1.0
    code, printed, _ = run(
        capsys,
        *("select", output, tmp_path / "far.xyz", "-o", tmp_path / "s.xyz"),
        *("--training", data / "train.xyz"),
    )
    assert code == 0, printed
    assert len(ase.io.read(tmp_path / "s.xyz", ":")) == 1


def test_members_have_files_of_their_own(capsys, data, tmp_path):
    arguments = ("fit", "bpnn", data / "train.xyz", "-o", tmp_path / "cu.bpnn", "--no-plot")
    assert (
        run(capsys, *arguments, "--members", "2", "--iterations", "1", "--no-check", *SMALL)[0] == 0
    )
    one, two = (BPNNPotential.read(tmp_path / name) for name in ("cu.bpnn", "cu-1.bpnn"))
    assert not np.allclose(one.parameters, two.parameters)


def test_the_papers_preset_has_its_functions_and_network(capsys, data, tmp_path):
    arguments = ("fit", "bpnn", data / "train.xyz", "-o", tmp_path / "cu.bpnn", "--no-plot")
    code, _, error = run(
        capsys, *arguments, "--preset", "paper", "--cutoff", "4", "--iterations", "2", "--no-check"
    )
    assert code == 0, error
    (element,) = BPNNPotential.read(tmp_path / "cu.bpnn").elements
    assert len(element.functions) == 8 + 32 + 8
    assert element.hidden == (8,)
    assert [layer.activation for layer in element.layers] == ["tanh", "tanh"]
    content = json.loads((tmp_path / "cu.bpnn.json").read_text())
    assert [stage["penalty"] for stage in content["stages"]] == [0.05, 0.001]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-o", "cu.amp"), "a network is written to a .bpnn file"),
        (("-o", "cu.bpnn", "--hidden", "8-8"), "--hidden 8-8: input should be a valid integer"),
        (("-o", "cu.bpnn", "--limits", "bad.json"), "bad.json holds no limits"),
        (("-o", "cu.bpnn", "--memory-limit", "-1"), "memory_limit must be a number"),
    ],
)
def test_wrong_options_are_told_in_a_line(capsys, data, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.json").write_text("{}")
    code, _, error = run(capsys, "fit", "bpnn", data / "train.xyz", *arguments)
    assert code == 1
    assert message in error
    assert "Traceback" not in error
