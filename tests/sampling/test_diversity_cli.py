"""``pescape diversity``, from files."""

import json

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from typer.testing import CliRunner

from pescape.cli import build_app
from pescape.data.configurations import write_configurations
from pescape.errors import DataError
from pescape.sampling.diversity.axes import waters_rondinelli_descriptors


def images(sampler, width, seed):
    rng = np.random.default_rng(seed)
    frames = []
    for run in range(5):
        for call in range(1, 5):
            atoms = bulk("Cu", cubic=True)
            atoms.positions += rng.normal(scale=width, size=(4, 3))
            atoms.info = {
                "sampler": sampler,
                "builder": "rattled",
                "start": run,
                "trajectory": f"{sampler}{run}",
                "call": call,
                "start_energy": -0.03,
            }
            atoms.calc = EMT()
            results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
            atoms.calc = SinglePointCalculator(atoms, **results)
            frames.append(atoms)
    return frames


@pytest.mark.slow
def test_samplers_of_one_file_and_files_by_name_give_the_same(tmp_path):
    md, contour = images("md", 0.05, 1), images("contour", 0.08, 2)
    write_configurations(tmp_path / "train.xyz", md + contour)
    write_configurations(tmp_path / "a.xyz", md)
    write_configurations(tmp_path / "b.xyz", contour)
    options = ["--cutoff", "4.0", "--resamples", "20"]
    runner = CliRunner()
    ways = {
        "one": [str(tmp_path / "train.xyz")],
        "two": [f"md={tmp_path / 'a.xyz'}", f"contour={tmp_path / 'b.xyz'}"],
    }
    found = {}
    for name, given in ways.items():
        result = runner.invoke(
            build_app(), ["diversity", *given, "-o", str(tmp_path / name), *options]
        )
        assert result.exit_code == 0, result.output
        found[name] = json.loads((tmp_path / name / "diversity.json").read_text())
        assert (tmp_path / name / "diversity.png").stat().st_size > 10_000
    assert found["one"]["comparisons"] == found["two"]["comparisons"]
    assert found["one"]["baseline"] == "md"
    assert found["one"]["resampled"] == "starts"
    kinds = [comparison["kind"] for comparison in found["one"]["comparisons"]]
    assert kinds[:2] == ["all images", "equal calls"]
    assert 1.2 < found["one"]["comparisons"][0]["sets"][1]["ratio"] < 2.0
    assert len(found["one"]["inputs"]) == 1


def test_one_data_set_alone_or_half_named_files_get_one_clear_error(tmp_path):
    write_configurations(tmp_path / "a.xyz", images("md", 0.05, 1))
    runner = CliRunner()
    file, out = str(tmp_path / "a.xyz"), str(tmp_path / "out")
    alone = runner.invoke(build_app(), ["diversity", file, "-o", out])
    assert isinstance(alone.exception, DataError)
    assert "all images are of one data set, 'md'" in str(alone.exception)
    mixed = runner.invoke(build_app(), ["diversity", file, f"b={file}", "-o", out])
    assert isinstance(mixed.exception, DataError)
    assert "NAME=FILE, or none" in str(mixed.exception)


def test_the_papers_descriptors_are_136_for_two_elements_and_do_not_change_under_rotation():
    describe = waters_rondinelli_descriptors(["Cu", "Au"], cutoff=5.0)
    atoms = bulk("Cu", cubic=True)
    atoms.numbers[1] = 79
    atoms.rattle(0.1, seed=1)
    turned = atoms.copy()
    turned.rotate(50.0, (1, -2, 3), rotate_cell=True)
    assert describe(atoms).shape == (4, 136)
    assert describe(turned) == pytest.approx(describe(atoms), rel=1e-8, abs=1e-12)
