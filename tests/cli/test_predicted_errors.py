import json

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from .conftest import run

FIT = (
    "--level",
    6,
    "--radial-basis-size",
    4,
    "--iterations",
    5,
    "--starts",
    1,
    "--no-plot",
    "--no-check",
)


def copper(count, seed):
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        atoms = bulk("Cu", "fcc", a=3.6) * (2, 2, 1)
        atoms.rattle(rng.uniform(0.02, 0.2), rng=rng)
        atoms.calc = EMT()
        results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        atoms.calc = SinglePointCalculator(atoms, **results)
        made.append(atoms)
    return made


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("predicted")
    ase.io.write(folder / "train.xyz", copper(24, 0))
    ase.io.write(folder / "test.xyz", copper(12, 1))
    return folder


@pytest.fixture
def fitted(work, capsys):
    path = work / "cu.almtp"
    if not path.exists():
        code, out, err = run(capsys, "fit", "mtp", work / "train.xyz", "-o", path, *FIT)
        assert code == 0, err
        assert "cu.almtp.errors: committee of 4, calibrated on 24 configurations" in out
    return path


def test_fits_write_a_committee_that_info_evaluate_and_grade_know(work, fitted, capsys):
    told = json.loads((work / "cu.almtp.json").read_text())["predicted_errors"]
    assert told["committee"] == 4
    _, out, _ = run(capsys, "info", fitted)
    assert "committee" in out
    assert "least force error Cu (eV/Å)" in out

    figure, result = work / "calibration.png", work / "errors.json"
    code, out, err = run(
        capsys, "evaluate", fitted, work / "test.xyz", "--figure", figure, "--json", result
    )
    assert code == 0, err
    assert "forces below" in out
    assert figure.stat().st_size > 10_000
    assert json.loads(result.read_text())["predicted_errors"]["expected"] == 0.9

    code, out, err = run(
        capsys, "grade", fitted, work / "test.xyz", "-o", work / "graded.xyz", "--json", result
    )
    assert code == 0, err
    assert "largest predicted force error of a configuration" in out
    graded = ase.io.read(work / "graded.xyz", ":")
    assert all(one.arrays["force_errors"].shape == (4,) for one in graded)
    assert all(one.info["energy_error"] > 0.0 for one in graded)
    assert 0.0 < json.loads(result.read_text())["predicted_errors"]["force_coverage"] <= 1.0


def test_a_conversion_takes_the_committee_along(work, fitted, capsys):
    code, _, err = run(capsys, "convert", fitted, work / "cu.mtp")
    assert code == 0, err
    assert (work / "cu.mtp.errors").read_text() == (work / "cu.almtp.errors").read_text()


def test_a_fit_without_committee_leaves_none_of_an_older_one(work, capsys):
    path = work / "bare.mtp"
    path.with_name("bare.mtp.errors").write_text("of an older fit")
    code, _, err = run(capsys, "fit", "mtp", work / "train.xyz", "-o", path, *FIT, "--committee", 0)
    assert code == 0, err
    assert not path.with_name("bare.mtp.errors").exists()
    code, _, err = run(capsys, "evaluate", path, work / "test.xyz", "--figure", work / "none.png")
    assert code != 0
    assert "has no committee beside it" in err
