import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pescape.ensemble.learning_curve import CurvePoint, LearningCurve
from pescape.files import write_json
from pescape.labelling import reference_from
from pescape.learning.records import LevelSummary, Round, write_levels, write_rounds
from pescape.report import write_report
from pescape.tasks.store import TaskStore
from pescape.validation import Curve, PropertyOutcome, PropertyResult, Value, run_properties
from pescape.validation.crystals import Crystal
from pescape.validation.properties.crystal.elastic import ElasticConfig
from pescape.validation.properties.crystal.lattice import EosConfig, LatticeConfig
from pescape.validation.property import Grid
from pescape.validation.study import KnownValue, ReferenceData, Study, TestedPotential, Threshold
from pescape.validation.study_run import STUDY_FILE

HOSTILE = "<script>alert('µ & $x$')</script>"
SOURCE = "Simmons & Wang (1971), <i>single crystals</i>"


def scaled(outcome, name, factor):
    """What another potential might have found: all values and curves times a factor."""
    result = outcome.result
    if result is None:
        return dataclasses.replace(outcome, source=name)
    values = {key: Value(factor * one.value, one.unit) for key, one in result.values.items()}
    curves = {key: dataclasses.replace(one, y=factor * one.y) for key, one in result.curves.items()}
    changed = dataclasses.replace(result, values=values, curves=curves)
    return dataclasses.replace(outcome, source=name, result=changed)


def mapped():
    """A property of a kind that has no figures of its own."""
    x, y = np.linspace(0.0, 1.0, 21), np.linspace(0.0, 1.0, 11)
    z = np.sin(np.pi * x)[None, :] ** 2 * np.cos(np.pi * y)[:, None] ** 2
    return PropertyResult(
        "map",
        {"highest": Value(float(z.max()), "J/m²")},
        curves={"line": Curve(x, z[0], "x", "γ (J/m²)", ((0.5, "½"),))},
        grids={"plane": Grid(x, y, z, "x (Å)", "y (Å)", "γ (J/m²)")},
        warnings=("a spurious minimum at <½, 0>",),
    )


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """EMT's copper, another potential that is not quite it, a third that knows little."""
    copper = Crystal(element="Cu", lattice="fcc")
    phases = [copper, Crystal(element="Cu", lattice="bcc")]
    configs = [
        LatticeConfig(phases=phases),
        EosConfig(phases=phases, points=5),
        ElasticConfig(crystal=copper),
        LatticeConfig(name="unknown", phases=[Crystal(element="Zr", lattice="hcp")]),
    ]
    source = reference_from("ase.calculators.emt:EMT")
    store = TaskStore(tmp_path_factory.mktemp("tasks"))
    with ThreadPoolExecutor(1) as threads:
        ((*found,),) = run_properties([source], configs, store, threads)
    found.append(PropertyOutcome(source.name, "plane", result=mapped()))
    subjects = [
        TestedPotential("EMT", "effective medium theory", source.identity, tuple(found)),
        TestedPotential(
            HOSTILE, "5 % off: Å³", "b" * 32, tuple(scaled(o, HOSTILE, 1.05) for o in found)
        ),
        TestedPotential(
            "none",
            "",
            "c" * 32,
            tuple(PropertyOutcome("none", o.title, "not a <b>potential</b>") for o in found),
        ),
    ]
    experiment = {
        "lattice.fcc.a": KnownValue(3.615),
        "lattice.fcc.cohesive": KnownValue(3.49, "Kittel"),
        "elastic.C11": KnownValue(168.4, SOURCE),
        "elastic.C12": KnownValue(121.4, SOURCE),
        "elastic.C44": KnownValue(75.4, SOURCE),
    }
    own = tuple(scaled(o, "also EMT", 0.99) for o in found)
    values = {name: KnownValue(v) for one in own for name, v in one.values.items()}
    standards = (
        ReferenceData("experiment", "room temperature", experiment),
        ReferenceData("also EMT", "computed", values, own),
    )
    thresholds = {
        "lattice.fcc.a": Threshold(0.05),
        "elastic.C11": Threshold(0.05, relative=True),
        "elastic.C44": Threshold(0.10, relative=True),
    }
    for one in subjects:
        outcomes = [dataclasses.replace(o, source=one.name) for o in one.outcomes]
        object.__setattr__(one, "outcomes", tuple(outcomes))
    return Study("Copper & <friends>", tuple(subjects), standards, thresholds)


@pytest.fixture(scope="session")
def folder(study, tmp_path_factory):
    """A study and its report."""
    folder = tmp_path_factory.mktemp("study")
    write_json(folder / STUDY_FILE, study.to_json())
    write_report(study, folder)
    return folder


@pytest.fixture(scope="session")
def page(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def ensemble(tmp_path_factory):
    """What `pescape ensemble` leaves, as far as a report needs it."""
    folder = tmp_path_factory.mktemp("ensemble")
    values = {"name": "lattice.fcc.a", "unit": "Å", "count": 2, "mean": 3.6, "std": 0.1}
    content = {
        "config": {"histograms": None},
        "values": [values | {"least": 3.5, "largest": 3.7, "reference": 3.61}],
        "predicates": [
            {"name": "wide", "text": "lattice.fcc.a > 3.6", "alone": 1, "together": 1, "unknown": 0}
        ],
        "tree": {
            "label": "members",
            "holds": None,
            "count": 2,
            "members": [1, 2],
            "branches": [
                {"label": "wide", "holds": True, "count": 1, "members": [2], "branches": []},
                {"label": "not wide", "holds": False, "count": 1, "members": [1], "branches": []},
            ],
        },
        "members": [{"values": {"lattice.fcc.a": a}} for a in (3.5, 3.7)],
    }
    (folder / "ensemble.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="session")
def campaign(tmp_path_factory):
    """What `pescape learn` leaves, as far as a report needs it."""
    folder = tmp_path_factory.mktemp("campaign")
    end = {"configurations": 20, "energy_rmse": 5.0, "force_rmse": 0.1, "largest_grade": 1.5}
    write_levels(folder, [LevelSummary(8, 26, 2, 3, {"initial": 12, "small": 8}, **end)])
    rounds = [
        Round(0, 8, labelled=12, **end),
        Round(1, 8, "small", runs=3, risky=9, labelled=8, **end),
    ]
    write_rounds(folder, rounds, settled=True)
    write_json(folder / "config.json", {"guard": {"select": 2.1, "stop": 10.0}})
    return folder


@pytest.fixture(scope="session")
def curve(tmp_path_factory):
    """What `pescape learning-curve` leaves."""
    folder = tmp_path_factory.mktemp("curve")
    points = [CurvePoint(8, 26, n, 10 * n, 5.0, 0.1, 60.0 / n, 1.0 / n) for n in (5, 10)]
    sure = {"test_energy_rmse_error": 0.31, "test_force_rmse_error": 0.004}
    best = ("test_energy_rmse",)
    points.append(CurvePoint(8, 26, 20, 200, 5.0, 0.1, 3.0, 0.05, **sure, best=best))
    write_json(folder / "curve.json", dataclasses.asdict(LearningCurve(tuple(points), 7, 1)))
    return folder
