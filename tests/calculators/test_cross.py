"""Models on each other's test sets, with models whose errors are known."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from pescape.calculators import BPNN
from pescape.calculators.bpnn import BPNNPotential
from pescape.calculators.bpnn.fit import default_functions
from pescape.calculators.fit.cross import cross_evaluate
from pescape.calculators.mtp import MTPotential
from pescape.calculators.mtp.fit import evaluate
from pescape.errors import DataError
from pescape.figures.evaluation import draw_cross_evaluation, draw_error_maps


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


def test_only_models_that_differ_are_called_best():
    tests = {"md": labelled(0.05, 6), "one": labelled(0.1, 1)}
    models = {
        "long": Shifted(factor=1.1),
        "longer": Shifted(factor=1.5),
        "same": Shifted(factor=1.1),
    }
    found = cross_evaluate(models, tests)
    assert found["long", "md"].best == found["same", "md"].best == ("force_mae", "force_rmse")
    assert found["longer", "md"].best == ()
    assert all(found[model, "one"].best == () for model in models)
    assert found["long", "one"].force_mae_error is None
    assert 0.0 < found["long", "all"].force_mae_error < found["long", "all"].force_mae


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


def test_training_sets_are_told_beside_the_test_sets_but_not_within_all():
    models = {"exact": EMT(), "shifted": Shifted(energy=0.002)}
    found = cross_evaluate(models, {"md": labelled(0.05, 2)}, {"shifted": labelled(0.1, 3)})
    assert found["shifted", "training"].images == 3
    assert found["shifted", "training"].energy_mae == pytest.approx(2.0)
    assert found["shifted", "all"].images == 2
    with pytest.raises(KeyError):
        found["exact", "training"]
    with pytest.raises(DataError, match="training set 'ce' is of no model: they are exact"):
        cross_evaluate(models, {"md": labelled(0.05, 1)}, {"ce": labelled(0.1, 1)})


def test_differences_are_those_of_each_configuration_and_atom():
    frames = labelled(0.1, 3)
    one = cross_evaluate({"long": Shifted(energy=0.003, factor=1.5)}, {"md": frames})
    found = one.differences["long", "md"]
    energies = [a.get_potential_energy() / len(a) for a in frames]
    forces = np.concatenate([a.get_forces() for a in frames])
    assert found.energies == pytest.approx(energies)
    assert found.energy_errors == pytest.approx(np.full(3, 3.0))
    assert found.force_errors == pytest.approx(0.5 * forces)
    short = np.linalg.norm(forces, axis=1) < 0.05 / 1.5
    assert np.isnan(found.angles[short]).all()


@pytest.mark.parametrize("what", ["energy", "angle", pytest.param("force", marks=pytest.mark.slow)])
def test_maps_of_errors_count_every_configuration_or_atom(tmp_path, what, monkeypatch):
    drawn_counts = []
    histogram = np.histogram2d

    def counted(x, y, edges):
        found = histogram(x, y, edges)
        drawn_counts.append((found[0].sum(), len(x)))
        return found

    monkeypatch.setattr(np, "histogram2d", counted)
    tests = {"md": labelled(0.05, 2), "ce": labelled(0.2, 3)}
    models = {"exact": EMT(), "turned": Shifted(energy=0.1, factor=2.0, degrees=40.0)}
    found = cross_evaluate(models, tests, {"turned": tests["ce"]})
    draw_error_maps(found, what, tmp_path / "map.png")
    assert (tmp_path / "map.png").stat().st_size > 10_000
    assert len(drawn_counts) == 5
    least = 0.5 if what == "angle" else 1.0  # long forces are cropped
    assert all(shown >= least * given > 0 for shown, given in drawn_counts)


def test_maps_of_forces_that_have_no_direction_are_empty(tmp_path):
    still = bulk("Cu", cubic=True)
    still.calc = SinglePointCalculator(still, energy=0.0, forces=np.zeros((4, 3)))
    found = cross_evaluate({"emt": EMT()}, {"still": [still]})
    draw_error_maps(found, "angle", tmp_path / "angles.png")
    draw_error_maps(found, "force", tmp_path / "forces.png")
    assert (tmp_path / "forces.png").exists()


def test_networks_and_moment_tensor_potentials_are_read_from_files(tmp_path):
    frames = labelled(0.1, 2)
    functions = default_functions(["Cu"], 4.0, radial=2, angular=2)
    network = BPNNPotential.untrained(["Cu"], functions, hidden=[2]).randomized(seed=1)
    network.write(tmp_path / "cu.bpnn")
    tensors = MTPotential.untrained(level=4, species=["Cu"], cutoff=4.0, min_dist=1.8)
    tensors.randomized(seed=3).write(tmp_path / "cu.mtp")
    models = {"network": tmp_path / "cu.bpnn", "tensors": tmp_path / "cu.mtp"}
    by_file = cross_evaluate(models, {"md": frames})
    by_calculator = cross_evaluate({"network": BPNN(network)}, {"md": frames})
    assert by_file["network", "all"] == by_calculator["network", "all"]
    assert by_file["tensors", "all"].force_rmse != by_file["network", "all"].force_rmse
