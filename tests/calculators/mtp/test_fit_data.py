import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from pescape.calculators.mtp import MTPotential
from pescape.calculators.mtp.fit import evaluate, training_set


def frame(n=2, **changes):
    atoms = bulk("Zr", "hcp", a=3.2) * (1, 1, n // 2)
    results = {
        "energy": -1.0 * len(atoms),
        "forces": np.zeros((len(atoms), 3)),
        "stress": np.arange(6.0),
    }
    results.update(changes)
    results = {key: value for key, value in results.items() if value is not None}
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def data_of(frames, **options):
    return training_set(frames, ["Zr"], 5.0, **options)


def test_configurations_follow_each_other():
    frames = [frame(2), frame(4), frame(6)]
    data = data_of(frames)
    assert data.sizes.tolist() == [2, 4, 6]
    np.testing.assert_array_equal(data.positions, np.concatenate([f.positions for f in frames]))
    owner = np.repeat(np.arange(3), data.sizes)
    centre = np.repeat(np.arange(12), np.diff(data.offsets))
    np.testing.assert_array_equal(owner[centre], owner[data.indices])
    for c, atoms in enumerate(frames):
        alone = data_of([atoms])
        for one, other in zip(data.one(c), alone.geometry, strict=True):
            np.testing.assert_array_equal(one, other)


def test_virial_is_minus_stress_times_volume():
    atoms = frame()
    data = data_of([atoms])
    np.testing.assert_allclose(data.virials[0], -np.arange(6.0) * atoms.get_volume())
    assert data.has_virial.tolist() == [True]


def test_frames_may_lack_a_stress():
    data = data_of([frame(), frame(stress=None)])
    assert data.has_virial.tolist() == [True, False]
    assert not data.virials[1].any()


def test_a_cluster_has_no_stress_to_learn():
    atoms = frame()
    atoms.pbc = (True, True, False)
    atoms.calc.atoms = atoms
    assert data_of([atoms]).has_virial.tolist() == [False]


def test_free_energies_are_taken_where_all_frames_have_them():
    data = data_of([frame(free_energy=-5.0), frame(free_energy=-6.0)])
    assert data.energy_kind == "free_energy"
    assert data.energies.tolist() == [-5.0, -6.0]
    assert data_of([frame()]).energy_kind == "energy"


def test_energies_and_free_energies_are_not_mixed():
    frames = [frame(free_energy=-5.0), frame()]
    frames[1].info["source_frame"] = "train.xyz frame 1"
    with pytest.raises(ValueError, match=r"train\.xyz frame 1 has none: .*cannot be mixed"):
        data_of(frames)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"energy": None}, "has no energy: label it first"),
        ({"forces": None}, "has no forces: label it first"),
        ({"energy": np.nan}, "energy is not finite"),
        ({"forces": np.full((2, 3), np.inf)}, "forces is not finite"),
        ({"stress": np.full(6, np.nan)}, "stress is not finite"),
    ],
)
def test_bad_labels_are_named_with_their_frame(changes, message):
    frames = [frame(), frame(), frame(**changes)]
    frames[2].info["source_frame"] = "train.xyz frame 2"
    with pytest.raises(ValueError, match=rf"train\.xyz frame 2.* {message}"):
        data_of(frames)


def test_frames_without_labels_are_named():
    with pytest.raises(ValueError, match="configuration 0 has no energy"):
        data_of([bulk("Zr", "hcp", a=3.2)])


def test_no_configurations_are_an_error():
    with pytest.raises(ValueError, match="holds no configurations"):
        data_of([])


def test_a_frame_without_atoms_is_an_error():
    empty = Atoms()
    empty.calc = SinglePointCalculator(empty, energy=0.0, forces=np.zeros((0, 3)))
    with pytest.raises(ValueError, match="configuration 0 has no atoms"):
        data_of([empty])


def test_unknown_elements_are_named():
    atoms = frame()
    atoms.symbols[0] = "O"
    with pytest.raises(ValueError, match="configuration 0 holds O; the potential knows Zr"):
        data_of([atoms])


def test_positions_that_are_not_numbers_are_an_error():
    atoms = frame()
    atoms.positions[1, 1] = np.nan
    with pytest.raises(ValueError, match="positions or cell are not finite"):
        data_of([atoms])


def test_atoms_too_near_each_other_are_named():
    atoms = frame()
    atoms.positions[1] = atoms.positions[0] + [1.2, 0.0, 0.0]
    message = r"atoms \d and \d are 1\.200 Å apart, nearer than min_dist = 1\.5 Å"
    with pytest.raises(ValueError, match=message):
        data_of([atoms], min_dist=1.5)
    assert data_of([atoms]).shortest == pytest.approx(1.2)


def test_isolated_atoms_have_no_shortest_distance():
    atoms = Atoms("Zr", positions=[[0, 0, 0]])
    atoms.calc = SinglePointCalculator(atoms, energy=-2.0, forces=np.zeros((1, 3)))
    data = data_of([atoms])
    assert data.shortest == np.inf
    assert len(data.indices) == 0


def test_errors_are_those_of_the_definitions():
    potential = MTPotential.untrained(6, ["Zr"], 5.0, 2.0, 4).randomized(seed=1)
    rng = np.random.default_rng(0)
    frames = [frame(n, forces=rng.normal(size=(n, 3))) for n in (2, 4)]
    errors = evaluate(potential, frames)
    energy, force, stress = [], [], []
    for atoms in frames:
        data = data_of([atoms])
        sites, forces, virials = potential.kernel().evaluate(*data.geometry)
        energy.append(1000 * (sites.sum() - atoms.get_potential_energy()) / len(atoms))
        force.append(forces - atoms.get_forces())
        predicted = -virials.sum(axis=0) / atoms.get_volume()
        stress.append((predicted - atoms.get_stress()) * 160.21766208)
    force = np.concatenate(force)
    assert errors.configurations == 2
    assert errors.atoms == 6
    assert errors.energy_mae == pytest.approx(np.mean(np.abs(energy)))
    assert errors.energy_rmse == pytest.approx(np.sqrt(np.mean(np.square(energy))))
    assert errors.force_mae == pytest.approx(np.mean(np.abs(force)))
    assert errors.force_rmse == pytest.approx(np.sqrt(np.mean(force**2)))
    assert errors.force_max == pytest.approx(np.linalg.norm(force, axis=1).max())
    assert errors.stress_mae == pytest.approx(np.mean(np.abs(stress)), rel=1e-6)


def test_a_perfect_potential_has_no_errors():
    potential = MTPotential.untrained(6, ["Zr"], 5.0, 2.0, 4).randomized(seed=1)
    potential = potential.with_parameters(10.0 * potential.parameters)
    atoms = frame(4)
    atoms.positions += 0.1 * np.random.default_rng(0).normal(size=(4, 3))
    data = data_of([_with(atoms, 0.0, np.zeros((4, 3)), np.zeros(6))])
    sites, forces, virials = potential.kernel().evaluate(*data.geometry)
    stress = -virials.sum(axis=0) / atoms.get_volume()
    errors = evaluate(potential, [_with(atoms, sites.sum(), forces, stress)])
    assert errors.energy_rmse < 1e-8
    assert errors.force_rmse < 1e-10
    assert errors.force_angle < 1e-4
    assert errors.stress_rmse < 1e-9


def _with(atoms, energy, forces, stress):
    atoms = atoms.copy()
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces, stress=stress)
    return atoms
