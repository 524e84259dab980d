import json

import numpy as np
import pytest

from pescape.calculators.bpnn import BPNNPotential, waters_rondinelli_functions

from .conftest import run


@pytest.fixture
def potential(tmp_path):
    functions = waters_rondinelli_functions(["Zr", "O"])[::7]
    potential = BPNNPotential.untrained(["Zr", "O"], functions).randomized(seed=4)
    potential.write(tmp_path / "x.bpnn")
    return potential


def test_networks_are_converted_there_and_back(potential, tmp_path, capsys):
    assert run(capsys, "convert", tmp_path / "x.bpnn", tmp_path / "nnp")[0] == 0
    assert (tmp_path / "nnp" / "weights.040.data").is_file()
    assert run(capsys, "convert", tmp_path / "nnp", tmp_path / "y.bpnn")[0] == 0
    again = BPNNPotential.read(tmp_path / "y.bpnn")
    # n2p2 sorts the functions, and with them the rows of the first layer.
    for one, other in zip(potential.elements, again.elements, strict=True):
        order = [one.functions.index(f) for f in other.functions]
        assert sorted(order) == list(range(len(one.functions)))
        assert (one.layers[0].weights[order] == other.layers[0].weights).all()
        assert (one.scaling.maximum[order] == other.scaling.maximum).all()
    assert run(capsys, "convert", tmp_path / "y.bpnn", tmp_path / "nnp2")[0] == 0
    assert run(capsys, "convert", tmp_path / "nnp2", tmp_path / "z.bpnn")[0] == 0
    texts = [(tmp_path / name).read_text() for name in ("y.bpnn", "z.bpnn")]
    assert texts[0] == texts[1]


def test_units_of_folders_are_named(potential, tmp_path, capsys):
    potential.write(tmp_path / "nnp")
    settings = tmp_path / "nnp" / "input.nn"
    settings.write_text(settings.read_text().replace("# pescape units:", "#"))
    code, _, err = run(capsys, "info", tmp_path / "nnp")
    assert code == 1
    assert "does not say its units" in err
    assert "--length-unit" in err
    units = ("--length-unit", "Bohr", "--energy-unit", "27.2")
    assert run(capsys, "convert", tmp_path / "nnp", tmp_path / "b.bpnn", *units)[0] == 0
    read = BPNNPotential.read(tmp_path / "b.bpnn")
    assert read.cutoff == pytest.approx(7 * 0.529177, rel=1e-6)
    assert read.elements[0].slope == 27.2
    np.testing.assert_array_equal(
        read.elements[1].layers[1].weights, potential.elements[1].layers[1].weights
    )


def test_info_tells_what_a_network_is(potential, tmp_path, capsys):
    code, out, _ = run(capsys, "info", tmp_path / "x.bpnn", "--json", tmp_path / "info.json")
    assert code == 0
    assert "20-8-1 (tanh, linear)" in out
    content = json.loads((tmp_path / "info.json").read_text())
    assert content["species"] == "Zr O"
    assert content["cutoff"] == 7.0
    assert content["parameters"] == potential.parameter_count
    assert content["O_functions"].startswith("20 (3 G2, ")
    assert content["active_set"] is None
    assert list(content["inputs"]) == [str(tmp_path / "x.bpnn")]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("convert {work}/x.bpnn {work}/x.amp", "Amp's format is not written; write a .bpnn"),
        ("convert {work}/x.bpnn {work}/x.xyz", "one is a potential, the other is not"),
        ("convert {work}/x.bpnn {work}/x.mtp", "cannot be made from each other"),
        ("convert {work}/x.bpnn {work}/y.bpnn --species O,Zr", "names its elements: leave --spec"),
        ("convert {work} {work}/y.bpnn", "holds no input.nn: it is no n2p2 or RuNNer folder"),
        ("convert {work}/x.bpnn {work}/full", "is there already: give the name of a new folder"),
        ("info {work}/bad.bpnn", "bad.bpnn, line 2: 'name' expected"),
    ],
)
def test_mistakes_are_told_in_one_line(potential, tmp_path, capsys, command, message):
    assert potential.is_trained
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").write_text("")
    (tmp_path / "bad.bpnn").write_text("pescape-bpnn 1\nspecies\n")
    before = sorted(tmp_path.iterdir())
    code, _, err = run(capsys, *command.format(work=tmp_path).split())
    assert code == 1
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before
