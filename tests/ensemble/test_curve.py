import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import ase.io
import pytest
from pydantic import TypeAdapter

from pescape.calculators.fit.errors import stated
from pescape.calculators.mtp.fit import FitSettings
from pescape.cli import main
from pescape.ensemble.learning_curve import (
    LearningCurve,
    halved_sizes,
    learning_curve,
    nested_parts,
)
from pescape.figures.learning import draw_learning_curve
from pescape.files import read_lines
from pescape.fits.task import MTPStart
from pescape.labelling import label, reference_from
from pescape.plugins.structures import crystal
from pescape.tasks.store import TaskStore
from tests.conftest import strained_and_rattled

STARTS = tuple(MTPStart(level, ("Zr",), 5.0, 2.0, 4) for level in (2, 6))
SETTINGS = FitSettings(iterations=60, starts=1, seed=1)


@pytest.fixture(scope="module")
def data():
    """Slightly disordered zirconium: sixteen configurations, and eight to test on."""
    reference = reference_from("eam:Zr_mm.eam.fs")
    parents = [crystal("Zr", lattice, a, repeat=(2, 1, 1)) for lattice, a in (("hcp", 3.23),)]
    frames = strained_and_rattled(parents, 24, rattle=(0.02, 0.15), strain=0.02, seed=2)
    labelled = [label(atoms, reference) for atoms in frames]
    return labelled[:16], labelled[16:]


def curve_of(data, folder, **options):
    with ThreadPoolExecutor(1) as threads:
        store = TaskStore(folder / "tasks")
        curve = learning_curve(
            *data, STARTS, SETTINGS, store, threads, folder / "checkpoints", **options
        )
    return curve, store


def started(store):
    return sum(record["event"] == "started" for record in read_lines(store.index))


def test_more_data_and_more_parameters_make_potentials_better(data, tmp_path):
    told = []
    curve, store = curve_of(
        data, tmp_path, sizes=(2, 16), on_finished=lambda done, of: told.append((done, of))
    )
    assert curve.levels == (2, 6)
    assert [one.configurations for one in curve.points] == [2, 16, 2, 16]
    assert curve.test_configurations == 8
    assert curve.points[1].atoms == sum(len(atoms) for atoms in data[0])
    small, whole = curve.of_level(6)
    assert whole.test_force_rmse < small.test_force_rmse
    # What two configurations say does not hold for others.
    assert small.test_force_rmse > small.force_rmse
    assert whole.test_force_rmse < curve.of_level(2)[1].test_force_rmse
    assert whole.parameters > curve.of_level(2)[1].parameters
    assert 0.0 < whole.test_force_rmse_error < whole.test_force_rmse
    assert whole.best == ("test_energy_rmse", "test_force_rmse")
    assert "test_energy_rmse" not in curve.points[0].best  # by a factor of five
    assert max(told) == (4, 4)
    again, _ = curve_of(data, tmp_path, sizes=(2, 16))
    assert again == curve
    assert started(store) == 4
    assert TypeAdapter(LearningCurve).validate_json(json.dumps(asdict(curve))) == curve
    draw_learning_curve(curve, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 5000


def test_parts_hold_the_smaller_ones(data):
    parts = nested_parts(data[0], (4, 16, 8), seed=3)
    names = [{atoms.info["configuration_id"] for atoms in part} for part in parts]
    assert [len(one) for one in names] == [4, 8, 16]
    assert names[0] < names[1] < names[2]
    other = nested_parts(data[0], (4,), seed=4)[0]
    assert {atoms.info["configuration_id"] for atoms in other} != names[0]


def test_sizes_are_halves_of_halves():
    assert halved_sizes(160) == (10, 20, 40, 80, 160)
    assert halved_sizes(3) == (1, 2, 3)


def test_a_part_larger_than_the_data_is_refused(data):
    with pytest.raises(ValueError, match=r"sizes \[4, 40\] are not all from 1 to 16"):
        nested_parts(data[0], (4, 40), seed=0)


def test_there_has_to_be_something_to_test_on(data, tmp_path):
    with pytest.raises(ValueError, match="to test potentials on"):
        curve_of((data[0], []), tmp_path)


def test_the_command_leaves_numbers_and_a_figure(data, tmp_path, capsys):
    for name, frames in zip(("train", "test"), data, strict=True):
        ase.io.write(tmp_path / f"{name}.xyz", frames, format="extxyz")
    files = [str(tmp_path / "train.xyz"), str(tmp_path / "test.xyz"), "-o", str(tmp_path / "out")]
    options = ["--levels", "2", "--sizes", "4,16", "--iterations", "30", "--starts", "1"]
    with pytest.raises(SystemExit) as end:
        main(["learning-curve", *files, *options])
    assert not end.value.code
    found = TypeAdapter(LearningCurve).validate_json((tmp_path / "out" / "curve.json").read_text())
    assert [one.configurations for one in found.points] == [4, 16]
    assert (tmp_path / "out" / "curve.png").exists()
    assert stated(found.points[0], "test_force_rmse") in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        main(["learning-curve", *files, "--levels", "2;4"])
    assert end.value.code == 1
    assert "--levels 2;4: input should be a valid integer" in capsys.readouterr().err
