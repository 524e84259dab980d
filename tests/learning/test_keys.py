"""Campaigns begun by earlier versions find their tasks again: keys are as they always were."""

import dataclasses
from pathlib import Path

import pytest
from ase import Atoms

from pescape.fits.config import FitConfig, PotentialConfig
from pescape.fits.task import Fitted, LabelledData, fit_task
from pescape.learning.config import GuardConfig
from pescape.learning.exploration import ExplorationRun, MDRun, dynamics_task, exploration_task
from pescape.learning.outcomes import select_task
from pescape.sampling.config import ContourConfig, DimerConfig

START = Atoms("Zr2", positions=[[0, 0, 0], [1.6, 1.6, 1.6]], cell=[3.2] * 3, pbc=True)
POTENTIAL = Fitted(Path("x"), "d" * 32)
EXPLORATION = ExplorationRun(
    name="hcp",
    sampler=ContourConfig(method="contour", calls=60, energies=(0.1, 0.2)),
    every=10,
    select=2.1,
    stop=10.0,
    snapshots=3,
    seed=5,
)


@pytest.fixture
def data():
    """One configuration, known by its name and that of its reference."""
    frame = START.copy()
    frame.info = {"configuration_id": "c" * 32, "reference_id": "r" * 32}
    return LabelledData([frame], Path("train.xyz"))


def test_keys_of_fits(data, tmp_path):
    fit = FitConfig(zbl=(0.8, 1.8))
    start = PotentialConfig(species=("Zr",)).start(8, fit)
    settings = fit.settings(7)
    new = fit_task(start, data, settings, "neighborhood", tmp_path)
    assert new.key == "067b616f533a7331045acc68731a45b9"
    fitted = tmp_path / "fitted.mtp"
    fitted.write_bytes(b"fitted")
    later = dataclasses.replace(start, path=str(fitted), level=12)
    raised = fit_task(later, data, settings, "neighborhood", tmp_path)
    assert raised.key == "23e6ac62c00429fed8e2821c3b028ac1"


def test_keys_of_runs():
    run = MDRun("hcp Zr2", 300.0, 1000, 0.002, 0.1, 10, 2.1, 10.0, 3, ("Zr",), 5, 2)
    assert dynamics_task(run, START, POTENTIAL).key == "47acea1ad43ee13487f3ef77260fa096"
    walk = exploration_task(EXPLORATION, START, POTENTIAL)
    assert walk.key == "4427681ce663c84e8ab94592c23c11be"
    sampler = DimerConfig(method="dimer", calls=60)
    search = exploration_task(dataclasses.replace(EXPLORATION, sampler=sampler), START, POTENTIAL)
    assert search.key == "0bcf9bd60e6841c319ae4566879daabf"


def test_keys_of_selections(data):
    runs = [Path("md/a"), Path("md/b")]
    task = select_task(runs, POTENTIAL, data, GuardConfig(), 2.0)
    assert task.key == "890c23f69c4cde1cbc4fc5789dcebb59"
