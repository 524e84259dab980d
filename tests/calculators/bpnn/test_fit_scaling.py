import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.morse import MorsePotential
from ase.calculators.singlepoint import SinglePointCalculator

from pescape.calculators import BPNN
from pescape.calculators.bpnn import BPNNPotential, SymmetryFunction
from pescape.calculators.bpnn.descriptors import SymmetryFunctions
from pescape.calculators.bpnn.fit import FitSettings, Stage, default_functions, evaluate, fit_bpnn
from pescape.calculators.bpnn.fit.features import CacheSettings, features
from pescape.calculators.bpnn.fit.scaling import (
    DISPLACEMENT,
    IDLE,
    displacement_slopes,
    initial_scaling,
    smallest_divisors,
)
from pescape.calculators.fit.data import training_set

SHORT = FitSettings(stages=(Stage("levenberg", 8),))


@pytest.fixture(scope="module")
def narrow():
    """Frames of one relaxation: all along one displacement that fades."""

    def make(amplitudes):
        crystal = bulk("Cu", "fcc", a=3.6, cubic=True)
        direction = np.random.default_rng(5).normal(size=crystal.positions.shape)
        frames = []
        for amplitude in amplitudes:
            atoms = crystal.copy()
            atoms.positions += amplitude * direction
            atoms.calc = MorsePotential(epsilon=0.5, r0=2.6, rho0=4.0, rcut1=3.5, rcut2=4.5)
            results = {name: atoms.calc.get_property(name, atoms) for name in ("energy", "forces")}
            atoms.calc = SinglePointCalculator(atoms, **results)
            frames.append(atoms)
        return frames

    return make


def network(functions=None):
    functions = functions or default_functions(["Cu"], 4.5, radial=6, angular=8)
    return BPNNPotential.untrained(["Cu"], functions, hidden=(4,))


def tables_of(potential, frames):
    data = training_set(frames, potential.species, potential.cutoff)
    table = features(potential, data, CacheSettings()).tables[0]
    return table, displacement_slopes(potential, data)[0]


def test_ordinary_data_is_scaled_by_its_standard_deviation(morse):
    table, slopes = tables_of(network(), morse(8, seed=0))
    found = initial_scaling(table, "sigma", slopes)
    np.testing.assert_array_equal(found.sigma, table.functions.std(axis=0))
    np.testing.assert_array_equal(found.minimum, table.functions.min(axis=0))
    np.testing.assert_array_equal(found.maximum, table.functions.max(axis=0))


def test_nothing_is_divided_by_less_than_a_displacement_changes_it_by(narrow):
    frames = narrow(1e-4 * np.arange(1, 6))
    table, slopes = tables_of(network(), frames)
    divisors = smallest_divisors(table, slopes)
    np.testing.assert_array_equal(divisors, DISPLACEMENT * slopes)
    found = initial_scaling(table, "sigma", slopes)
    np.testing.assert_array_equal(found.sigma, divisors)
    assert (table.functions.std(axis=0) < 0.1 * divisors).all()
    # By a sample: the same crystal, all atoms displaced at random, none with its images.
    large = frames[0] * (3, 3, 3)
    moved = large.copy()
    moved.positions += 0.01 * np.random.default_rng(0).normal(size=large.positions.shape)
    compute = SymmetryFunctions(["Cu"], network().elements[0].functions)
    change = compute(moved) - compute(large)
    sampled = np.sqrt((change**2).mean(axis=0)) / 0.01
    np.testing.assert_allclose(sampled, slopes, rtol=0.3)


def test_atoms_without_neighbors_say_nothing_about_displacements(narrow):
    alone = Atoms("Cu", [[0.0, 0.0, 0.0]])
    alone.calc = SinglePointCalculator(alone, energy=0.0, forces=np.zeros((1, 3)))
    _, expected = tables_of(network(), narrow([0.1]))
    _, slopes = tables_of(network(), [alone, *narrow([0.1])])
    np.testing.assert_allclose(slopes**2 * 5, expected**2 * 4)
    table, slopes = tables_of(network(), [alone])
    assert (smallest_divisors(table, slopes) == IDLE).all()


def test_between_frames_of_a_relaxation_forces_are_right(narrow):
    amplitudes = 0.2 * 0.7 ** np.arange(12)
    train = narrow(np.delete(amplitudes, [4, 8]))
    settings = FitSettings(stages=(Stage("levenberg", 60, penalty=1e-5),), validation=0.0)
    fitted = fit_bpnn(network(), train, settings).potential
    test = narrow(amplitudes[[4, 8]])
    spread = np.sqrt(np.mean([atoms.get_forces() ** 2 for atoms in test]))
    assert evaluate(fitted, test).force_rmse < 0.1 * spread


def test_functions_that_are_constant_in_the_data_carry_no_weight(morse):
    cutoff = default_functions(["Cu"], 4.5)[0].cutoff
    far = SymmetryFunction("G2", ("Cu",), 1e4, cutoff, shift=0.5)
    functions = (*default_functions(["Cu"], 4.5, radial=4, angular=4), far)
    fitted = fit_bpnn(network(functions), morse(6, seed=0), SHORT).potential
    element = fitted.elements[0]
    assert element.scaling.sigma[-1] == IDLE
    assert (np.abs(element.layers[0].weights[-1]) < 1e-100).all()
    assert (np.abs(element.layers[0].weights[:-1]) > 1e-6).all()


def test_fits_know_the_ranges_of_their_data(morse, tmp_path):
    frames = morse(6, seed=0)
    fitted = fit_bpnn(network(), frames, SHORT).potential
    fitted.write(tmp_path / "cu.bpnn")
    calculator = BPNN(tmp_path / "cu.bpnn")
    assert calculator.potential.knows_ranges
    for atoms in frames:
        assert calculator.out_of_range(atoms) == []
        assert (calculator.get_property("range_excess", atoms) == 0.0).all()
    dense = frames[0].copy()
    dense.set_cell(0.8 * dense.cell.array, scale_atoms=True)
    excess = calculator.get_property("range_excess", dense)
    found = calculator.out_of_range(dense)
    assert {one.atom for one in found} == set(np.flatnonzero(excess).tolist())
    assert max(one.excess for one in found) == pytest.approx(excess.max())


def test_training_further_widens_the_ranges_and_keeps_the_inputs(morse):
    first = fit_bpnn(network(), morse(4, seed=0), SHORT).potential
    dense = morse(1, seed=1)[0]
    dense.set_cell(0.93 * dense.cell.array, scale_atoms=True)
    results = {"energy": -1.0, "forces": np.zeros((len(dense), 3))}
    dense.calc = SinglePointCalculator(dense, **results)
    assert BPNN(first).out_of_range(dense)
    again = fit_bpnn(first, [*morse(4, seed=0), dense], SHORT).potential
    assert BPNN(again).out_of_range(dense) == []
    np.testing.assert_array_equal(again.elements[0].scaling.sigma, first.elements[0].scaling.sigma)
