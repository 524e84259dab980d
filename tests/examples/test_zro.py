"""The Zr-O example with a toy in place of its reference: the same starts and data sets."""

import importlib.util
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.neighborlist import neighbor_list

import pescape.validation
from pescape.config import load_config, read_toml
from pescape.labelling import ReferenceConfig
from pescape.sampling import SampleConfig
from pescape.validation import known_values
from pescape.validation.config import ValidationConfig

HERE = Path(__file__).parents[2] / "examples" / "zro"
DATA = Path(pescape.validation.__file__).parent / "data"


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


@pytest.mark.parametrize(
    ("name", "symbol", "volume"),
    [("Zr3O", "R-3c", 18.05), ("Zr2O", "P-31m", 16.03), ("ZrO", "P-62m", 13.04)],
)
def test_suboxides_have_the_symmetry_and_volume_of_the_papers(name, symbol, volume):
    # Groups: Zhang et al. (2015), doi 10.1039/c5cp02252e; Å³/atom: Waters and
    # Rondinelli, table II, DFT.
    config = load_config(HERE / "tables.toml", ValidationConfig).properties[0]
    phase = config.by_title[name]
    atoms = phase.primitive()
    assert phase.symmetry.symbol == symbol
    assert atoms.get_volume() / len(atoms) == pytest.approx(volume, rel=0.015)
    distances = neighbor_list("d", atoms, 2.6)
    assert 2.1 < distances.min() < distances.max() < 2.35


def test_the_tables_of_the_paper_are_computed_under_the_names_of_its_numbers():
    config = load_config(HERE / "tables.toml", ValidationConfig)
    published = read_toml(DATA / "waters-rondinelli-dft.toml")["values"]
    assert set(published) <= set(known_values(config.properties))


@pytest.mark.slow
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
