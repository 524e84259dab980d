import json

import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from pescape.calculators.bpnn import BPNNPotential, Scaling
from pescape.calculators.bpnn.descriptors import SymmetryFunctions
from pescape.calculators.doptimality.active_set import build_active_set
from pescape.calculators.mtp import MTPotential
from pescape.data.configurations import write_configurations
from pescape.plugins.structures import crystal
from tests.conftest import strained_and_rattled

from .conftest import run

PARENTS = [crystal("Zr", "hcp", 3.23, c_over_a=1.6), crystal("Zr", "bcc", 3.58, repeat=(2, 1, 1))]


def made(count, seed, rattle):
    frames = strained_and_rattled(PARENTS, count, rattle=rattle, strain=0.02, seed=seed)
    for number, atoms in enumerate(frames):
        atoms.calc = SinglePointCalculator(atoms, energy=float(number))
    return frames


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with a potential, its training data and news."""
    folder = tmp_path_factory.mktemp("grading")
    training = made(30, 1, (0.0, 0.05))
    plain = MTPotential.untrained(6, ["Zr"], 5.0, 2.0, 4).randomized(seed=2)
    plain.write(folder / "plain.mtp")
    plain.with_active_set(build_active_set(plain, training)).write(folder / "zr.almtp")
    write_configurations(folder / "train.xyz", training)
    write_configurations(folder / "new.xyz", made(8, 2, (0.3, 0.4)))
    return folder


def test_risky_atoms_are_explained(work, capsys):
    code, out, _ = run(
        capsys,
        *("grade", work / "zr.almtp", work / "new.xyz", "-o", work / "graded.xyz"),
        *("--explain", "--worst", "3", "--json", work / "grades.json"),
    )
    assert code == 0
    assert "atoms that extrapolate" in out
    told = json.loads((work / "grades.json").read_text())
    frames = ase.io.read(work / "graded.xyz", ":")
    risky = {frame for frame, value in enumerate(told["grades"]) if value > 2.1}
    assert risky == {one["frame"] for one in told["extrapolations"]}
    for one in told["extrapolations"]:
        values = frames[one["frame"]].get_array("extrapolation_grades")
        assert one["grade"] == pytest.approx(values[one["atom"]], rel=1e-6)
        assert one["distances"] == sorted(one["distances"])
    worst = max(told["extrapolations"], key=lambda one: one["grade"])
    assert worst["parameter_name"] in " ".join(out.split())
    _, out, _ = run(
        capsys,
        *("grade", work / "zr.almtp", work / "train.xyz", "-o", work / "g.xyz", "--explain"),
    )
    assert "nothing to explain" in out


def test_networks_warn_of_symmetry_functions_out_of_range(tmp_path, capsys):
    training, new = made(6, 1, (0.0, 0.05)), made(2, 2, (0.4, 0.4))
    values = np.concatenate([SymmetryFunctions(["Zr"])(atoms) for atoms in training])
    scaling = Scaling("range", -1.0, 1.0, values.min(axis=0), values.max(axis=0), tolerance=1e-8)
    network = BPNNPotential.untrained(["Zr"], hidden=(3,)).with_scaling({"Zr": scaling})
    network = network.randomized(seed=1)
    network = network.with_active_set(build_active_set(network, training))
    network.write(tmp_path / "zr.bpnn")
    write_configurations(tmp_path / "new.xyz", new)
    code, out, _ = run(
        capsys,
        *("grade", tmp_path / "zr.bpnn", tmp_path / "new.xyz", "-o", tmp_path / "g.xyz"),
        *("--json", tmp_path / "g.json"),
    )
    assert code == 0
    assert "atoms in 2 of 2 configurations have symmetry functions beyond the range" in out
    told = json.loads((tmp_path / "g.json").read_text())["out_of_range"]
    assert [one["frame"] for one in told] == [0, 1]
    assert 0 < told[0]["atoms"] <= len(new[0])
    assert told[0]["worst"] in " ".join(out.split())


@pytest.mark.parametrize("linear", [False, True])
def test_a_subsample_needs_no_active_set_and_keeps_labels(work, capsys, linear):
    code, out, _ = run(
        capsys,
        *("select", work / "plain.mtp", work / "train.xyz", "-o", work / "few.xyz"),
        *("--subsample", "--count", "4", "--json", work / "few.json"),
        *(["--linear"] if linear else []),
    )
    assert code == 0
    assert "4 of 30 selected" in out
    told = json.loads((work / "few.json").read_text())
    frames = ase.io.read(work / "few.xyz", ":")
    assert [atoms.get_potential_energy() for atoms in frames] == told["selected"]
    assert len(told["gains"]) == 4


def test_select_reads_files_pass_by_pass_as_it_reads_them_at_once(work, capsys):
    arguments = ("select", work / "zr.almtp", work / "new.xyz", "--training", work / "train.xyz")
    outputs = []
    for memory in ("1", "0"):
        outputs.append(work / f"selected-{memory}.xyz")
        code, out, _ = run(capsys, *arguments, "-o", outputs[-1], "--memory", memory)
        assert code == 0
        assert "0 similar to training data" in out
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    few = run(capsys, *arguments, "-o", outputs[0], "--count", "1", "--json", work / "one.json")
    assert "beyond --count" in few[1]
    first = json.loads((work / "one.json").read_text())
    assert len(ase.io.read(outputs[0], ":")) == 1
    assert first["grades"][first["selected"][0]] == max(first["grades"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--linear"], "--linear and --mode are for --subsample"),
        (["--mode", "configuration"], "--linear and --mode are for --subsample"),
        (["--subsample", "--training", "{work}/train.xyz"], "--training is for finding news"),
    ],
)
def test_options_that_do_not_go_together_are_refused(work, capsys, options, message):
    options = [option.format(work=work) for option in options]
    code, _, err = run(
        capsys, "select", work / "zr.almtp", work / "new.xyz", "-o", work / "x.xyz", *options
    )
    assert code == 1
    assert message in err
    assert not (work / "x.xyz").exists()


def test_errors_name_file_and_frame_and_leave_no_output(work, capsys):
    frames = made(2, 3, (0.0, 0.1))
    frames[1].symbols[0] = "O"
    write_configurations(work / "oxide.xyz", frames)
    for command in ("grade", "select"):
        code, _, err = run(
            capsys, command, work / "zr.almtp", work / "oxide.xyz", "-o", work / "y.xyz"
        )
        assert code == 1
        assert f"{work}/oxide.xyz frame 1: O is unknown to the potential" in err
        assert not (work / "y.xyz").exists()
