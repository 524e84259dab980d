"""Campaigns in stages, with several samplers, failing labels, and moved between machines."""

import contextlib
import shutil

import ase.io
import pytest

from pescape.cli import main
from pescape.config import load_config
from pescape.files import read_lines
from pescape.learning.config import LearnConfig
from pescape.learning.loop import learn
from pescape.learning.records import read_levels

pytestmark = pytest.mark.slow

FAILING = """
from ase.calculators.calculator import CalculatorError
from pescape.labelling import reference_from


def calculator():
    made = reference_from("eam:Zr_mm.eam.fs").calculator()
    compute = made.calculate

    def calculate(atoms, *rest):
        if len(atoms) == 2 and atoms.get_volume() > 45.0:
            raise CalculatorError("no convergence")
        compute(atoms, *rest)

    made.calculate = calculate
    return made
"""

CAMPAIGN = """
[[samplers]]
method = "contour"
calls = 60
energies = [0.02, 0.05]

[[stages]]
name = "small"
largest = 8

[[stages]]
name = "large"
samplers = ["md"]
steps = 200

[ensemble]
members = 2

[[ensemble.properties]]
kind = "lattice"
phases = [{ element = "Zr", lattice = "bcc" }]

[ensemble.predicates]
"a is near" = "lattice.bcc.a = reference.lattice.bcc.a +- 0.1"
"a is small" = "lattice.bcc.a < 3.0"
"""


class StoppedError(Exception):
    """Raised by a watcher to end a campaign in the middle."""


@pytest.fixture(scope="module")
def staged(tmp_path_factory, tiny):
    """A campaign of two stages whose reference fails on some configurations."""
    folder = tmp_path_factory.mktemp("staged")
    (folder / "failing.py").write_text(FAILING)
    text = tiny.replace("repeat = [[2, 2, 1]]", "repeat = [[2, 2, 1], [2, 2, 2]]")
    text = text.replace("levels = [2, 4]", "levels = [2]")
    text = text.replace('eam = "Zr_mm.eam.fs"', 'calculator = "failing.py:calculator"')
    (folder / "learn.toml").write_text(text.replace("count = 4", "count = 6") + CAMPAIGN)
    config = load_config(folder / "learn.toml", LearnConfig)
    result = learn(config, folder / "out", base=folder)
    assert result.settled
    return config, result


def test_stages_are_settled_one_after_the_other_at_each_level(staged):
    _, result = staged
    places = list(dict.fromkeys((r.level, r.stage) for r in result.rounds if r.stage))
    assert places == [(2, "small"), (2, "large")]
    for place in places:
        last = [r for r in result.rounds if (r.level, r.stage) == place][-1]
        assert last.risky == last.exploded == 0
        assert last.runs == (3 if place[1] == "small" else 2)


def test_every_sampler_runs_under_guard(staged):
    _, result = staged
    kinds = {(r["kind"], r["event"]) for r in read_lines(result.folder / "tasks" / "index.jsonl")}
    assert {("md", "finished"), ("explore", "finished"), ("label", "finished")} <= kinds


def test_levels_leave_their_potentials_and_a_table(staged):
    config, result = staged
    levels = read_levels(result.folder)
    assert [one.level for one in levels] == list(config.potential.levels)
    assert sum(sum(one.labelled.values()) for one in levels) == levels[-1].configurations
    last = (result.folder / "levels" / "zr-02.almtp").read_bytes()
    assert last == result.potential.read_bytes()
    assert (result.folder / "levels.png").stat().st_size > 10_000
    tested = ase.io.read(result.folder / "test.xyz", ":")
    assert {frame.info["stage"] for frame in tested} == {"small", "large"}
    assert len(tested) == levels[-1].test_configurations


def test_labels_that_fail_are_counted_and_never_used(staged):
    _, result = staged
    frames = ase.io.read(result.folder / "train.xyz", ":")
    assert not [f for f in frames if len(f) == 2 and f.get_volume() > 45.0]
    assert sum(r.failed for r in result.rounds) > 0
    made = len(list((result.folder / "tasks" / "label").iterdir()))
    assert made > len(frames)


def test_the_command_line_tells_of_rounds_levels_and_the_ensemble(staged, capsys):
    _, result = staged
    with contextlib.suppress(SystemExit):
        main(["learn", str(result.folder.parent / "learn.toml"), "--resume"])
    told = capsys.readouterr().out
    assert "what 2 members predict" in told
    assert "a is near" in told
    assert str(result.potential.name) in told


def test_an_ensemble_is_fitted_to_the_final_data_set(staged):
    _, result = staged
    report = result.ensemble
    assert [member.number for member in report.members] == [1, 2]
    assert report.tree.members == (1, 2)
    assert [one.alone for one in report.satisfied] == [2, 0]
    assert (result.folder / "ensemble" / "tree.png").stat().st_size > 5_000


def test_a_campaign_copied_to_another_place_goes_on_there(staged, tmp_path):
    config, whole = staged
    here, there = tmp_path / "here", tmp_path / "other" / "place"

    class Stopper:
        def stage(self, what, done, total):
            pass

        def round(self, one):
            if one.number == 2:
                raise StoppedError

    base = whole.folder.parent
    with pytest.raises(StoppedError):
        learn(config, here, base=base, watcher=Stopper())
    shutil.copytree(here, there)
    shutil.rmtree(here)
    before = len(read_lines(there / "tasks" / "index.jsonl"))
    result = learn(config, there, base=base)
    for name in ("zr.almtp", "train.xyz", "test.xyz", "rounds.json", "levels.json"):
        assert (there / name).read_bytes() == (whole.folder / name).read_bytes(), name
    events = read_lines(there / "tasks" / "index.jsonl")
    assert len(events) == len(read_lines(whole.folder / "tasks" / "index.jsonl")) > before
    assert result.settled
