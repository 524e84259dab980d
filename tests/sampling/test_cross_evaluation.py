"""Models on each other's test sets, with models whose errors are known."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from pescape.calculators.mtp import MTPotential
from pescape.calculators.mtp.fit import evaluate
from pescape.errors import DataError
from pescape.sampling.cross_evaluation import cross_evaluate, draw_cross_evaluation


class Shifted(Calculator):
    """EMT with an error of known size: in energy, in length and in direction of forces."""

    implemented_properties = ("energy", "forces")

    def __init__(self, energy=0.0, factor=1.0, degrees=0.0):
        super().__init__()
        self.energy, self.factor = energy, factor
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        self.turn = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])

    def calculate(self, atoms=None, properties=None, system_changes=()):
        super().calculate(atoms, properties, system_changes)
        inner = atoms.copy()
        inner.calc = EMT()
        energy = inner.get_potential_energy() + self.energy * len(atoms)
        forces = self.factor * inner.get_forces() @ self.turn
        self.results = {"energy": energy, "forces": forces}


def labelled(width, count=4, size=2, **more):
    frames = []
    for seed in range(count):
        atoms = bulk("Cu", cubic=True).repeat((size, 1, 1))
        atoms.rattle(width, seed=seed)
        atoms.calc = EMT()
        energy, forces, stress = (
            atoms.get_potential_energy(),
            atoms.get_forces(),
            atoms.get_stress(),
        )
        atoms.calc = SinglePointCalculator(
            atoms, energy=energy, forces=forces, stress=stress, **more
        )
        frames.append(atoms)
    return frames


def test_known_errors_are_found_on_each_set_and_on_all():
    tests = {"md": labelled(0.05, 3), "ce": labelled(0.1, 5)}
    models = {"exact": EMT(), "shifted": Shifted(energy=0.002), "long": Shifted(factor=1.5)}
    found = cross_evaluate(models, tests)
    assert found.tests == ("md", "ce", "all")
    for test in found.tests:
        assert found["exact", test].force_rmse == pytest.approx(0.0, abs=1e-12)
        assert found["shifted", test].energy_mae == pytest.approx(2.0)
        assert found["shifted", test].energy_rmse == pytest.approx(2.0)
        assert found["long", test].angle_mae == pytest.approx(0.0, abs=1e-5)
    forces = np.concatenate([a.get_forces() for a in tests["ce"]])
    assert found["long", "ce"].force_mae == pytest.approx(0.5 * np.abs(forces).mean())
    assert found["long", "ce"].force_rmse == pytest.approx(0.5 * np.sqrt((forces**2).mean()))
    assert found["long", "all"].images == 8
    squares = [found["long", t].force_rmse ** 2 * found["long", t].atoms for t in ("md", "ce")]
    assert found["long", "all"].force_rmse == pytest.approx(np.sqrt(sum(squares) / 64))


def test_force_angles_are_those_between_the_vectors():
    frames = [
        Atoms("Cu2", positions=[[0, 0, 0], [2.3, 0.4, 0.0]], cell=[10, 10, 10], pbc=True)
        for _ in range(2)
    ]
    for atoms in frames:
        atoms.calc = EMT()
        atoms.get_forces()
    found = cross_evaluate({"turned": Shifted(degrees=30.0)}, {"pair": frames})["turned", "all"]
    assert found.angle_mae == pytest.approx(30.0)
    assert found.angle_rmse == pytest.approx(30.0)
    assert found.angle_atoms == 4


def test_errors_agree_with_those_of_the_fit_for_a_potential_file(tmp_path):
    frames = labelled(0.1)
    untrained = MTPotential.untrained(level=4, species=["Cu"], cutoff=4.0, min_dist=1.8)
    potential = untrained.randomized(seed=3)
    potential.write(tmp_path / "cu.mtp")
    found = cross_evaluate({"file": tmp_path / "cu.mtp"}, {"rattled": frames})["file", "rattled"]
    expected = evaluate(potential, frames)
    assert found.energy_rmse == pytest.approx(expected.energy_rmse)
    assert found.force_mae == pytest.approx(expected.force_mae)


def test_labels_are_free_energies_where_all_have_them():
    frames = labelled(0.1)
    for atoms in frames:
        atoms.calc.results["free_energy"] = atoms.calc.results["energy"] + 0.001 * len(atoms)
    found = cross_evaluate({"emt": EMT()}, {"set": frames})
    assert found.energy_kind == "free_energy"
    assert found["emt", "set"].energy_mae == pytest.approx(1.0)


def test_results_can_be_written_and_drawn(tmp_path):
    still = bulk("Cu", cubic=True)
    still.calc = SinglePointCalculator(still, energy=0.0, forces=np.zeros((4, 3)))
    found = cross_evaluate({"a": EMT(), "b": Shifted()}, {"still": [still]})
    assert found["a", "still"].angle_mae is None
    assert json.loads(json.dumps(found.summary(), allow_nan=False))["models"] == ["a", "b"]
    draw_cross_evaluation(found, tmp_path / "cross.png")
    assert (tmp_path / "cross.png").stat().st_size > 10_000


def test_missing_labels_and_failing_models_are_named():
    bare = bulk("Cu", cubic=True)
    with pytest.raises(DataError, match="'md', configuration 0 has no energy"):
        cross_evaluate({"emt": EMT()}, {"md": [bare]})
    with pytest.raises(DataError, match="cannot be called 'all'"):
        cross_evaluate({"emt": EMT()}, {"all": labelled(0.1, 1)})
    with pytest.raises(DataError, match="'empty' holds no configurations"):
        cross_evaluate({"emt": EMT()}, {"empty": []})
    iron = bulk("Fe", cubic=True)
    iron.calc = SinglePointCalculator(iron, energy=0.0, forces=np.zeros((2, 3)))
    with pytest.raises(DataError, match="model 'emt' fails on test set 'md', configuration 0"):
        cross_evaluate({"emt": EMT()}, {"md": [iron]})
    with pytest.raises(KeyError, match="models are emt"):
        cross_evaluate({"emt": EMT()}, {"md": labelled(0.1, 1)})["dft", "md"]
