"""A repulsion from ``pescape fit`` to ``info`` and ``convert``."""

from __future__ import annotations

import json

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.morse import MorsePotential
from ase.calculators.singlepoint import SinglePointCalculator

from pescape.calculators.mtp import MTPotential
from pescape.calculators.zbl import ZBL

from .conftest import run


@pytest.fixture
def train(tmp_path):
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(5):
        atoms = bulk("Zr", "fcc", a=4.5 * rng.uniform(0.95, 1.05), cubic=True)
        atoms.positions += 0.1 * rng.normal(size=atoms.positions.shape)
        atoms.calc = MorsePotential(epsilon=0.6, r0=3.2, rho0=4.0, rcut1=4.0, rcut2=5.0)
        labels = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        frames.append(atoms)
    ase.io.write(tmp_path / "train.xyz", frames)
    return tmp_path / "train.xyz"


def fit(train, output, *more):
    settings = ("--level", "4", "--iterations", "10", "--starts", "1", "--no-check")
    return ("fit", "mtp", train, "-o", output, *settings, *more)


def test_fit_adds_a_repulsion_that_info_shows_and_later_fits_keep(train, capsys):
    work = train.parent
    code, out, _ = run(capsys, *fit(train, work / "zr.mtp", "--zbl", "0.8", "1.8"))
    assert code == 0, out
    assert MTPotential.read(work / "zr.mtp").repulsion == ZBL(0.8, 1.8)
    code, out, _ = run(capsys, "info", work / "zr.mtp", "--json", work / "info.json")
    assert code == 0
    assert "zbl repulsion, from and to (Å)" in out
    assert json.loads((work / "info.json").read_text())["zbl"] == [0.8, 1.8]
    for more, expected in (((), ZBL(0.8, 1.8)), (("--zbl", "1", "2.5"), ZBL(1.0, 2.5))):
        start = ("--start", work / "zr.mtp")
        assert run(capsys, *fit(train, work / "again.mtp", *start, *more))[0] == 0
        assert MTPotential.read(work / "again.mtp").repulsion == expected


def test_convert_keeps_the_repulsion_and_tells_who_ignores_it(tmp_path, capsys):
    bare = MTPotential.untrained(4, ["Zr"], 5.0, 2.0, 4).randomized(seed=0)
    bare.write(tmp_path / "bare.mtp")
    bare.with_repulsion(ZBL(0.8, 1.8)).write(tmp_path / "zbl.mtp")
    for name, told in (("bare", False), ("zbl", True)):
        code, out, _ = run(capsys, "convert", tmp_path / f"{name}.mtp", tmp_path / "new.mtp")
        assert code == 0
        assert ("new.mtp has a ZBL repulsion, which MLIP and other programs ignore" in out) == told
        assert (MTPotential.read(tmp_path / "new.mtp").repulsion is not None) == told


@pytest.mark.parametrize(
    ("distances", "message"),
    [
        (("1.8", "0.8"), "zbl: inner 1.8 Å and outer 0.8 Å: 0 < inner < outer must hold"),
        (("0", "0.8"), "zbl: inner 0 Å and outer 0.8 Å: 0 < inner < outer must hold"),
        (("2", "5.5"), "zbl: outer 5.5 Å is beyond the potential's cutoff 5 Å"),
    ],
)
def test_distances_that_make_no_sense_are_told_in_one_line(train, capsys, distances, message):
    code, _, err = run(capsys, *fit(train, train.parent / "x.mtp", "--zbl", *distances))
    assert code == 1
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not (train.parent / "x.mtp").exists()
