"""The Zr-O example with a toy in place of its reference: the same starts and data sets."""

import importlib.util
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.neighborlist import neighbor_list

from pescape.config import load_config
from pescape.labelling import ReferenceConfig
from pescape.sampling import SampleConfig

HERE = Path(__file__).parents[2] / "examples" / "zro"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("zro_run", HERE / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "neighbours", "shortest", "volume"),
    [("c-ZrO2", 8, 2.20, 33.0), ("t-ZrO2", 8, 2.10, 33.6), ("m-ZrO2", 7, 2.05, 35.2)],
)
def test_phases_have_their_coordination_and_volume(name, neighbours, shortest, volume):
    phases = {atoms.info["name"]: atoms for atoms in ase.io.read(HERE / "phases.xyz", ":")}
    atoms = phases[name]
    assert 3 * atoms.get_volume() / len(atoms) == pytest.approx(volume, abs=0.1)
    centres, distances = neighbor_list("id", atoms, {("Zr", "O"): 2.6})
    counts = np.bincount(centres, minlength=len(atoms))
    assert (counts[atoms.symbols == "Zr"] == neighbours).all()
    assert distances.min() == pytest.approx(shortest, abs=0.02)


def test_samplers_get_data_sets_of_equal_size(example, tmp_path):
    config = example.small(load_config(HERE / "sample.toml", SampleConfig))
    toy = ReferenceConfig(
        calculator="ase.calculators.morse:MorsePotential", options={"r0": 2.2, "epsilon": 0.5}
    )
    starts = tuple(recipe.model_copy(update={"count": 2}) for recipe in config.structures)
    samplers = tuple(sampler.model_copy(update={"calls": 6}) for sampler in config.samplers)
    changes = {"reference": toy, "structures": starts, "samplers": samplers, "limits": None}
    example.campaign(config.model_copy(update=changes), tmp_path)
    for name in ("train", "test"):
        sets = [ase.io.read(tmp_path / f"{one}-{name}.xyz", ":") for one in example.SAMPLERS]
        assert len({len(frames) for frames in sets}) == 1
        assert all(a.info["sampler"] == "dimer" for a in sets[2])
