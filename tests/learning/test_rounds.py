import csv
import json

import pytest
from PIL import Image

from pescape.cli.learning import print_rounds
from pescape.figures.learning import draw_levels, draw_rounds
from pescape.learning.records import (
    Round,
    read_levels,
    read_rounds,
    summary_of,
    write_levels,
    write_rounds,
)

ROUNDS = [
    Round(0, 8, labelled=20, configurations=20, energy_rmse=9.0, force_rmse=0.1, stress_rmse=1.0),
    Round(
        1,
        8,
        "small",
        runs=10,
        halted=3,
        exploded=1,
        risky=500,
        unphysical=5,
        redundant=2,
        similar=1,
        labelled=12,
        failed=1,
        largest_grade=45.0,
        surprise_energy=15.0,
        surprise_force=0.4,
        configurations=32,
        energy_rmse=10.0,
        force_rmse=0.11,
        stress_rmse=1.1,
    ),
    Round(
        2,
        8,
        "small",
        runs=10,
        largest_grade=1.5,
        configurations=32,
        energy_rmse=10.0,
        force_rmse=0.11,
        test_configurations=20,
        test_energy_rmse=9.5,
        test_force_rmse=0.09,
        test_energy_rmse_error=1.2,
        test_force_rmse_error=0.008,
    ),
]


def test_rounds_are_read_as_written(tmp_path):
    write_rounds(tmp_path, ROUNDS, settled=True)
    assert read_rounds(tmp_path) == (ROUNDS, True)
    with (tmp_path / "rounds.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["risky"] for row in rows] == ["0", "500", "0"]
    assert rows[0]["largest_grade"] == ""
    assert rows[1]["largest_grade"] == "45.0"


@pytest.mark.parametrize(
    "count", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)]
)
def test_the_figure_is_drawn_and_always_the_same(tmp_path, count):
    for name in ("a.png", "b.png"):
        draw_rounds(ROUNDS[:count], tmp_path / name, select=2.1, stop=10.0)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        assert min(image.size) > 800


def test_rounds_of_earlier_versions_have_no_standard_errors(tmp_path):
    write_rounds(tmp_path, ROUNDS, settled=True)
    content = json.loads((tmp_path / "rounds.json").read_text())
    for row in content["rounds"]:
        for name in [name for name in row if name.endswith("_error")]:
            del row[name]
    (tmp_path / "rounds.json").write_text(json.dumps(content))
    old = read_rounds(tmp_path)[0][2]
    assert (old.test_energy_rmse, old.test_energy_rmse_error) == (9.5, None)


def test_errors_on_snapshots_are_printed_with_their_standard_errors(capsys):
    print_rounds(ROUNDS)
    printed = capsys.readouterr().out
    assert "9.5 ± 1.2" in printed
    assert "0.0900 ± 0.0080" in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_a_level_sums_up_its_rounds(tmp_path):
    level = summary_of(8, 26, ROUNDS, None)
    assert (level.rounds, level.runs) == (3, 20)
    assert level.labelled == {"initial": 20, "small": 12}
    assert level.configurations == 32
    assert level.largest_grade == 1.5
    assert level.force_rmse == 0.11
    assert level.test_energy_rmse is None
    write_levels(tmp_path, [level])
    assert read_levels(tmp_path) == [level]
    with (tmp_path / "levels.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["labelled small"] == "12"
    draw_levels([level, level], tmp_path / "levels.png", fixed=[level, level])
    with Image.open(tmp_path / "levels.png") as image:
        assert min(image.size) > 800
