"""Campaigns, ensembles and learning curves of networks."""

import json
import re

import ase.io
import pytest

from pescape.calculators.bpnn import BPNNPotential
from pescape.cli import main
from pescape.config import load_config, validate
from pescape.errors import ConfigError
from pescape.fits.config import NetworkConfig
from pescape.labelling import label, reference_from
from pescape.learning.config import LearnConfig
from pescape.learning.loop import learn
from pescape.learning.records import read_levels
from pescape.plugins.structures import crystal
from tests.conftest import strained_and_rattled

NETWORK = """
[potential]
kind = "bpnn"
file = "zr.bpnn"
species = ["Zr"]
hidden = [[2], [3]]
cutoff = 4.5
radial = 3
angular = 0
"""


@pytest.fixture(scope="module")
def content(tiny):
    """Text of the configuration of a tiny campaign that learns a network."""
    before, _, rest = tiny.partition("[potential]")
    structures = rest[rest.index("[[structures]]") :].replace("starts = 1", "patience = 5")
    structures = structures.replace("[md]", "[guard]\nmin_distance = 2.0\nmost_per_run = 5\n[md]")
    samplers = '[[samplers]]\nmethod = "contour"\ncalls = 40\nenergies = [0.02, 0.05]\n'
    return before + NETWORK + structures.replace("iterations = 60", "iterations = 30") + samplers


@pytest.fixture(scope="module")
def campaign(tmp_path_factory, content):
    """A finished campaign."""
    folder = tmp_path_factory.mktemp("network")
    (folder / "learn.toml").write_text(content)
    config = load_config(folder / "learn.toml", LearnConfig)
    return learn(config, folder / "out", base=folder)


@pytest.mark.slow
def test_networks_grow_until_nothing_is_risky(campaign):
    assert campaign.settled
    assert list(dict.fromkeys(one.level for one in campaign.rounds)) == [1, 2]
    assert campaign.potential.name == "zr.bpnn"
    found = BPNNPotential.read(campaign.potential)
    assert found.active_set is not None
    assert [layer.outputs for layer in found.elements[0].layers] == [3, 1]
    levels = read_levels(campaign.folder)
    assert [one.level for one in levels] == [1, 2]
    assert levels[0].parameters < levels[1].parameters == found.parameter_count
    assert (campaign.folder / "levels" / "zr-01.bpnn").exists()
    assert sum(one.labelled for one in campaign.rounds) > 4
    kinds = {path.name for path in (campaign.folder / "tasks").iterdir()}
    assert {"md", "explore", "fit", "label", "select"} <= kinds


@pytest.mark.slow
def test_a_campaign_of_networks_started_again_does_nothing(campaign):
    index = campaign.folder / "tasks" / "index.jsonl"
    before = index.read_bytes()
    config = load_config(campaign.folder.parent / "learn.toml", LearnConfig)
    again = learn(config, campaign.folder, base=campaign.folder.parent)
    assert again.rounds == campaign.rounds
    assert index.read_bytes() == before


@pytest.mark.slow
def test_the_cost_of_networks_is_estimated(campaign, tmp_path, capsys):
    config = campaign.folder.parent / "learn.toml"
    assert not run("learn", config, "-o", tmp_path / "new", "--dry-run")
    output = capsys.readouterr().out
    assert re.search(r"^2 +\d+ +[\d.]+", output, re.MULTILINE), output


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Files of twelve configurations, and four to test on."""
    folder = tmp_path_factory.mktemp("data")
    reference = reference_from("eam:Zr_mm.eam.fs")
    parents = [crystal("Zr", "bcc", 3.58, repeat=(2, 1, 1))]
    frames = strained_and_rattled(parents, 16, rattle=(0.02, 0.15), strain=0.02, seed=1)
    labelled = [label(atoms, reference) for atoms in frames]
    ase.io.write(folder / "train.xyz", labelled[:12], format="extxyz")
    ase.io.write(folder / "test.xyz", labelled[12:], format="extxyz")
    return folder


def run(*arguments):
    with pytest.raises(SystemExit) as end:
        main(list(map(str, arguments)))
    return end.value.code


@pytest.mark.slow
def test_an_ensemble_of_networks(data, tmp_path):
    text = NETWORK.replace('file = "zr.bpnn"\n', "").replace("[[2], [3]]", "[2]")
    text = "members = 2\n" + text + "[fit]\niterations = 20\n[[properties]]\n"
    text += 'kind = "lattice"\nphases = [{ element = "Zr", lattice = "bcc" }]\n'
    (tmp_path / "ensemble.toml").write_text(
        text + '[predicates]\n"small" = "lattice.bcc.a < 3.0"\n'
    )
    out = tmp_path / "out"
    files = data / "train.xyz", tmp_path / "ensemble.toml"
    assert not run("ensemble", *files, "-o", out, "--test", data / "test.xyz")
    members = json.loads((out / "ensemble.json").read_text())["members"]
    assert members[0]["seed"] != members[1]["seed"]
    assert members[0]["errors"] != members[1]["errors"]
    assert members[0]["errors"]["test"]["force_rmse"] > 0.0
    assert BPNNPotential.read(out / "best.bpnn").active_set is not None


def test_a_learning_curve_of_networks(data, tmp_path, capsys):
    out = tmp_path / "curve"
    files = data / "train.xyz", data / "test.xyz", "-o", out
    network = "--kind", "bpnn", "--hidden", "2", "--radial", "3", "--angular", "0"
    assert not run("learning-curve", *files, *network, "--sizes", "4,12", "--iterations", "20")
    points = json.loads((out / "curve.json").read_text())["points"]
    assert [one["configurations"] for one in points] == [4, 12]
    assert {one["level"] for one in points} == {1}
    assert points[1]["test_force_rmse"] > 0.0
    assert run("learning-curve", *files, *network, "--min-dist", "2.0") == 1
    assert "--min-dist is of no meaning for potentials of kind 'bpnn'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('kind = "bpnn"', 'kind = "gap"', "potential: kind has to be 'mtp' or 'bpnn'"),
        ("[[2], [3]]", "[[3], [3]]", "each network must have more nodes than the one before"),
        ("radial = 3", "level = 3", r"unknown key 'potential.level'; known here: .*hidden"),
        ("patience = 5", "starts = 5", r"unknown key 'fit.starts'"),
        ("min_distance = 2.0", "", "guard.min_distance is missing: networks have no min_dist"),
    ],
)
def test_what_networks_do_not_have_is_named(tmp_path, content, old, new, message):
    path = tmp_path / "learn.toml"
    path.write_text(content.replace(old, new))
    with pytest.raises(ConfigError, match=message):
        load_config(path, LearnConfig)


def test_a_single_network_needs_no_schedule(content, tmp_path):
    path = tmp_path / "learn.toml"
    path.write_text(content.replace("[[2], [3]]", "[4, 4]"))
    config = load_config(path, LearnConfig)
    assert isinstance(config.potential, NetworkConfig)
    assert config.potential.hidden == ((4, 4),)
    again = validate(config.model_dump(mode="json", exclude={"workers"}), LearnConfig, "again")
    assert again.potential == config.potential
    assert again.fit == config.fit
