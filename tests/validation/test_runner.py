import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pescape.calculators.mtp import MTPotential
from pescape.errors import DataError
from pescape.files import read_lines
from pescape.labelling import reference_from
from pescape.tasks.pool import worker_pool
from pescape.tasks.store import TaskStore
from pescape.validation import (
    Curve,
    PotentialFile,
    PropertyError,
    PropertyResult,
    Value,
    known_values,
    property_task,
    run_properties,
)
from pescape.validation.crystals import Crystal
from pescape.validation.properties.crystal.elastic import ElasticConfig
from pescape.validation.properties.crystal.lattice import EosConfig, LatticeConfig, lattice

COPPER = Crystal(element="Cu", lattice="fcc")


@pytest.fixture
def emt_reference():
    return reference_from("ase.calculators.emt:EMT")


@pytest.fixture
def executor():
    with ThreadPoolExecutor(1) as threads:
        yield threads


def started(store):
    return sum(record["event"] == "started" for record in read_lines(store.index))


def test_results_survive_json(emt):
    result = lattice(emt, LatticeConfig(phases=[COPPER]))
    result = PropertyResult(
        result.kind,
        result.values,
        {"line": Curve([0.0, 1.0 / 3.0], [1.0, 2.0], "x (Å)", "y (eV)")},
        structures=result.structures,
        settings=result.settings,
        warnings=("mind the gap",),
    )
    again = PropertyResult.from_json(json.loads(json.dumps(result.to_json())))
    assert again.values == result.values
    assert again.settings == result.settings
    assert again.warnings == ("mind the gap",)
    np.testing.assert_array_equal(again.curves["line"].x, result.curves["line"].x)
    assert again.curves["line"].y_label == "y (eV)"
    one, other = result.structures[0], again.structures[0]
    assert other == one
    assert other.info["name"] == "fcc"
    assert other.get_potential_energy() == one.get_potential_energy()
    np.testing.assert_array_equal(other.get_forces(), one.get_forces())


def test_numbers_have_to_be_finite_and_curves_of_one_length():
    with pytest.raises(PropertyError, match="lattice: a is not a finite number"):
        PropertyResult("lattice", {"a": Value(np.nan, "Å")})
    with pytest.raises(ValueError, match="abscissae"):
        Curve([0.0], [1.0, 2.0], "", "")


def test_a_property_that_fails_is_told_and_stops_no_other(emt_reference, tmp_path, executor):
    wrong = LatticeConfig(phases=[COPPER], steps=1)
    unknown = LatticeConfig(name="zr", phases=[Crystal(element="Zr", lattice="hcp")])
    right = ElasticConfig(crystal=COPPER)
    store = TaskStore(tmp_path)
    (outcomes,) = run_properties([emt_reference], [wrong, unknown, right], store, executor)
    assert outcomes[0].result is None
    assert "fcc: not relaxed after 1 steps" in outcomes[0].failure
    assert "Zr" in outcomes[1].failure  # EMT knows no Zr
    assert outcomes[2].failure is None
    assert outcomes[2].values["elastic.C11"] == pytest.approx(172.6, abs=0.5)
    assert outcomes[2].units["elastic.C11"] == "GPa"


def test_what_was_computed_is_not_computed_again(emt_reference, tmp_path, executor):
    configs = [LatticeConfig(phases=[COPPER]), LatticeConfig(name="bad", phases=[COPPER], steps=1)]
    first = run_properties([emt_reference], configs, TaskStore(tmp_path), executor)
    assert started(TaskStore(tmp_path)) == 2
    renamed = [configs[0].model_copy(update={"name": "other"}), configs[1]]
    (again,) = run_properties([emt_reference], renamed, TaskStore(tmp_path), executor)
    assert started(TaskStore(tmp_path)) == 2
    assert again[0].values["other.fcc.a"] == first[0][0].values["lattice.fcc.a"]
    assert again[1].failure == first[0][1].failure
    run_properties([emt_reference], renamed, TaskStore(tmp_path), executor, retry_failed=True)
    assert started(TaskStore(tmp_path)) == 3


def test_processes_compute_what_this_one_does(emt_reference, tmp_path, emt):
    config = LatticeConfig(phases=[COPPER])
    with worker_pool(1) as pool:
        ((outcome,),) = run_properties([emt_reference], [config], TaskStore(tmp_path), pool)
    expected = lattice(emt, config)
    assert outcome.values["lattice.fcc.a"] == pytest.approx(expected.values["fcc.a"].value)


def test_keys_depend_on_potential_and_settings_alone(emt_reference, tmp_path):
    potential = MTPotential.untrained(level=2, species=["Cu"], cutoff=4.0, min_dist=2.0).randomized(
        seed=1
    )
    potential.write(tmp_path / "a.almtp")
    (tmp_path / "b.almtp").write_bytes((tmp_path / "a.almtp").read_bytes())
    one, same = PotentialFile.of(tmp_path / "a.almtp"), PotentialFile.of(tmp_path / "b.almtp")
    config, other = LatticeConfig(phases=[COPPER]), LatticeConfig(phases=[COPPER], fmax=0.002)
    assert property_task(one, config).key == property_task(same, config).key
    assert property_task(one, config).key != property_task(one, other).key
    assert property_task(one, config).key != property_task(emt_reference, config).key
    named = LatticeConfig(name="mine", phases=[COPPER])
    assert property_task(one, config).key == property_task(one, named).key


def test_a_potential_that_changes_meanwhile_is_refused(tmp_path):
    path = tmp_path / "a.almtp"
    MTPotential.untrained(level=2, species=["Cu"], cutoff=4.0, min_dist=2.0).randomized(
        seed=1
    ).write(path)
    source = PotentialFile.of(path)
    with source.session() as calculator:
        assert calculator.potential.species == ("Cu",)
    MTPotential.untrained(level=2, species=["Cu"], cutoff=4.0, min_dist=2.0).randomized(
        seed=2
    ).write(path)
    with pytest.raises(DataError, match="has changed meanwhile"), source.session():
        pass
    with pytest.raises(DataError, match="no such file"):
        PotentialFile.of(tmp_path / "none.almtp")


def test_names_of_values_are_known_before_anything_is_computed():
    configs = [EosConfig(name="curve", phases=[COPPER]), ElasticConfig(crystal=COPPER)]
    known = known_values(configs)
    assert known[:2] == ("curve.fcc.volume", "curve.fcc.bulk_modulus")
    assert known[5:8] == ("elastic.C11", "elastic.C12", "elastic.C44")
