import csv
import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from pescape.config import validate
from pescape.errors import ConfigError
from pescape.files import read_lines
from pescape.validation.config import ValidationConfig
from pescape.validation.property import PROPERTIES, PropertyResult, Value
from pescape.validation.references import source_from, standard_from
from pescape.validation.runner import PropertyOutcome, property_task
from pescape.validation.study import (
    KnownValue,
    ReferenceData,
    Study,
    TestedPotential,
    Threshold,
    group_errors,
    records,
    violations,
)
from pescape.validation.study_run import (
    plan_validation,
    read_study,
    run_validation,
    validation_progress,
)

COPPER = {"element": "Cu", "lattice": "fcc"}
LATTICE = {"kind": "lattice", "phases": [COPPER]}
ELASTIC = {"kind": "elastic", "crystal": COPPER}
# It lets the lattice collapse: every property of it fails.
ATTRACTIVE = "bad=ase.calculators.lj:LennardJones"
EMT = "emt=ase.calculators.emt:EMT"


def configured(**content):
    return validate({"properties": [LATTICE, ELASTIC], **content}, ValidationConfig, "suite.toml")


def outcome(subject, kind, values, title=None):
    result = PropertyResult(kind, {name: Value(*one) for name, one in values.items()})
    return PropertyOutcome(subject, title or kind, result=result)


@pytest.fixture
def study():
    """Two potentials, of which one has no elastic constants, and a reference."""
    good = TestedPotential(
        "good",
        "",
        "1",
        (
            outcome("good", "lattice", {"hcp.a": (3.2, "Å"), "hcp.c": (5.1, "Å")}),
            outcome("good", "elastic", {"C11": (110.0, "GPa"), "asymmetry": (9.0, "GPa")}, "stiff"),
        ),
    )
    bad = TestedPotential(
        "bad",
        "",
        "2",
        (
            outcome("bad", "lattice", {"hcp.a": (3.5, "Å"), "hcp.c": (5.1, "Å")}),
            PropertyOutcome("bad", "stiff", "no minimum"),
        ),
    )
    known = {"lattice.hcp.a": 3.3, "lattice.hcp.c": 5.2, "stiff.C11": 100.0, "stiff.asymmetry": 0.0}
    paper = ReferenceData("paper", "", {name: KnownValue(value) for name, value in known.items()})
    limits = {"lattice.hcp.a": Threshold(0.15), "stiff.C11": Threshold(0.05, relative=True)}
    return Study("test", (good, bad), (paper,), limits)


@pytest.fixture
def executor():
    with ThreadPoolExecutor(1) as threads:
        yield threads


def test_errors_are_averaged_over_groups_by_what_properties_are(study):
    found = {(one.group, one.subject): one for one in group_errors(study)}
    lengths = found["lattice parameters", "bad"]
    assert (lengths.mean, lengths.largest) == (pytest.approx(0.15), pytest.approx(0.2))
    assert (lengths.count, lengths.unit, lengths.standard) == (2, "Å", "paper")
    assert found["elastic constants", "good"].mean == pytest.approx(10.0)  # by kind, not title
    assert ("elastic constants", "bad") not in found  # it has none
    assert ("cohesive energies", "good") not in found


def test_every_number_is_told_with_signed_errors_and_a_verdict(study):
    told = {(one["potential"], one["property"]): one for one in records(study)}
    stiff = told["good", "stiff.C11"]
    assert stiff["error"] == pytest.approx(10.0)
    assert stiff["relative error"] == pytest.approx(0.1)
    assert (stiff["threshold"], stiff["verdict"]) == ("5 %", "beyond")
    assert told["good", "lattice.hcp.a"]["error"] == pytest.approx(-0.1)
    assert told["good", "lattice.hcp.a"]["verdict"] == "within"
    assert told["bad", "stiff.C11"]["verdict"] == "failed"
    assert told["good", "stiff.asymmetry"]["relative error"] is None  # its reference is zero
    beyond = [(row.name, subject) for row, subject, _ in violations(study)]
    assert beyond == [("lattice.hcp.a", "bad"), ("stiff.C11", "good")]


def test_a_validation_computes_compares_and_is_read_again(tmp_path, executor):
    config = configured(thresholds={"lattice.fcc.*": "10 %", "lattice.fcc.a": 0.05})
    standards = [standard_from("cu-experiment"), source_from("twin=ase.calculators.emt:EMT")]
    plan = plan_validation(config, [source_from(EMT), source_from(ATTRACTIVE)], standards)
    assert plan.warnings == ()
    study = run_validation(plan, config, tmp_path, executor=executor)
    rows = {row.name: row for row in study.rows()}
    assert rows["lattice.fcc.a"].threshold == Threshold(0.05)  # a name wins over a pattern
    assert rows["lattice.fcc.volume"].threshold == Threshold(0.1, relative=True)
    assert rows["lattice.fcc.a"].error("emt", "experiment") == pytest.approx(-0.02, abs=0.002)
    assert rows["lattice.fcc.a"].error("emt", "twin") == 0.0
    assert rows["lattice.fcc.a"].values["bad"] is None
    assert "its volume went to" in study.outcomes("lattice")[1].failure
    again = read_study(tmp_path)
    assert again.rows() == study.rows()
    assert [one.description for one in again.standards] == [
        one.description for one in study.standards
    ]
    assert (tmp_path / "structures/emt/lattice.xyz").exists()
    with (tmp_path / "values.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 2 * 2 * len(study.rows())
    computed = validation_progress(plan, tmp_path)
    assert computed == {"emt": (2, 2), "bad": (2, 2), "twin": (2, 2)}


def test_nothing_is_computed_twice_and_the_same_calculator_is_computed_once(tmp_path, executor):
    config = configured()
    plan = plan_validation(config, [source_from(EMT), source_from("ase.calculators.emt:EMT")])
    run_validation(plan, config, tmp_path, executor=executor)
    run_validation(plan, config, tmp_path, executor=executor)
    events = [one["event"] for one in read_lines(tmp_path / "tasks/index.jsonl")]
    assert events.count("started") == 2


def test_the_longest_properties_begin_first(tmp_path, executor, monkeypatch):
    config = configured()
    slow = dataclasses.replace(PROPERTIES["elastic"], seconds=100.0)
    monkeypatch.setitem(PROPERTIES, "elastic", slow)
    plan = plan_validation(config, [source_from(EMT)])
    study = run_validation(plan, config, tmp_path, executor=executor)
    lines = read_lines(tmp_path / "tasks/index.jsonl")
    first = next(one["key"] for one in lines if one["event"] == "started")
    assert first == property_task(plan.subjects[0], plan.properties[1]).key
    assert study.titles == ("lattice", "elastic")


def test_a_suite_holds_what_applies_and_gives_way_to_given_properties():
    suite = {"crystal": COPPER, "phases": ["bcc"], "without": ["vacancy"]}
    other = {"kind": "elastic", "crystal": COPPER, "strain": 0.001}
    config = validate({"suite": suite, "properties": [other]}, ValidationConfig, "x")
    chosen = {one.title: one for one in config.chosen()}
    assert {"lattice", "eos", "elastic", "elastic_bcc"} <= set(chosen)
    assert "vacancy" not in chosen
    assert chosen["elastic"].strain == 0.001
    assert [phase.title for phase in chosen["lattice"].phases] == ["fcc", "bcc"]
    zirconium = {"suite": {"crystal": {"element": "Zr", "lattice": "hcp"}}}
    phases = validate(zirconium, ValidationConfig, "x").suite.crystals
    assert [one.title for one in phases] == ["hcp", "bcc", "fcc", "omega"]
    # Vacancies jump in bcc, fcc and hcp only.
    silicon = {"suite": {"crystal": {"element": "Si", "lattice": "diamond"}}}
    titles = {one.title for one in validate(silicon, ValidationConfig, "x").chosen()}
    assert "vacancy_migration" not in titles
    assert "lattice" in titles


def test_phases_of_a_suite_begin_with_the_volume_that_was_given():
    crystal = {"element": "Po", "lattice": "fcc", "a": 4.0}
    config = validate({"suite": {"crystal": crystal}}, ValidationConfig, "x")
    for phase in config.suite.crystals:
        atoms = phase.primitive()
        assert atoms.get_volume() / len(atoms) == pytest.approx(16.0)


def test_properties_are_chosen_by_kind_and_name():
    config = configured(suite={"crystal": COPPER, "phases": ["bcc"]})
    assert [one.title for one in config.chosen(only=["elastic"])] == ["elastic", "elastic_bcc"]
    assert [one.title for one in config.chosen(only=["elastic_bcc"])] == ["elastic_bcc"]
    assert "lattice" not in {one.title for one in config.chosen(without=["lattice"])}
    with pytest.raises(ValueError, match=r"kind 'elasti'; did you mean 'elastic'\?"):
        config.chosen(only=["elasti"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"properties": []}, r"nothing to compute: give \[suite\]"),
        ({"thresholds": {"elastic.C11": "5 GPa"}}, r"thresholds.elastic.C11: a number in the unit"),
        ({"thresholds": {"elastic.C11": -1.0}}, r"a number in the unit"),
        ({"suite": {"crystal": COPPER, "without": ["melt"]}}, "no property is of kind 'melt'"),
        ({"workers": 2, "executor": {"kind": "processes"}}, "give workers or the table executor"),
        ({"properties": [LATTICE, LATTICE]}, "two properties are called 'lattice'"),
    ],
)
def test_wrong_configurations_are_told(content, message):
    with pytest.raises(ConfigError, match=message):
        configured(**content)


def test_what_does_not_fit_together_is_told_before_anything_is_computed(tmp_path):
    emt = source_from(EMT)
    with pytest.raises(ConfigError, match=r"'elastik.\*' is the name of no value; did you mean"):
        plan_validation(configured(thresholds={"elastik.*": 1.0}), [emt])
    with pytest.raises(ConfigError, match="two are called 'emt': tell them apart by NAME=PATH"):
        plan_validation(configured(), [emt], [emt])
    with pytest.raises(ConfigError, match="its values are of Zr, the properties of Cu"):
        plan_validation(configured(), [emt], [standard_from("zr-experiment")])
    with pytest.raises(ConfigError, match="no property is left"):
        plan_validation(configured(), [emt], only=["lattice"], without=["lattice"])
    with pytest.raises(ConfigError, match="there is none; `pescape validate` leaves it"):
        read_study(tmp_path)
    (tmp_path / "study.json").write_text(json.dumps({"title": "x"}))
    with pytest.raises(ConfigError, match="not a study"):
        read_study(tmp_path)
