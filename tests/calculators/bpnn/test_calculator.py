import json
import pickle
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.md.verlet import VelocityVerlet

from pescape.calculators import BPNN
from pescape.calculators.bpnn import (
    BPNNPotential,
    Cutoff,
    SymmetryFunction,
    waters_rondinelli_functions,
)
from pescape.calculators.bpnn.data import ACTIVATIONS
from pescape.calculators.bpnn.descriptors import SymmetryFunctions
from pescape.calculators.bpnn.symmetry import CUTOFFS, KINDS, NEIGHBORS, WINDOWS
from pescape.calculators.doptimality.active_set import ActiveSet, grades
from pescape.calculators.neighbors import neighbors


def assert_agrees(reference, potential, atoms):
    expected = reference.evaluate(potential, atoms)
    atoms = atoms.copy()
    atoms.calc = calculator = BPNN(potential)
    scale = max(np.abs(expected.forces).max(), 1e-3)
    np.testing.assert_allclose(
        calculator.get_property("energies", atoms), expected.energies, rtol=1e-12, atol=1e-12
    )
    np.testing.assert_allclose(atoms.get_forces() / scale, expected.forces / scale, atol=1e-11)
    if atoms.cell.rank == 3:
        stress = -expected.virial / atoms.get_volume()
        np.testing.assert_allclose(
            atoms.get_stress(voigt=False) / scale, stress / scale, atol=1e-11
        )


def single(kind, cutoff, shift=0.0, activation="tanh", lambda_=-1.0, zeta=2.3):
    neighbors = ("Zr", "O")[: NEIGHBORS[kind]]
    function = SymmetryFunction(kind, neighbors, 0.04, cutoff, shift, lambda_=lambda_, zeta=zeta)
    untrained = BPNNPotential.untrained(["Zr", "O"], [function], hidden=(2,), activation=activation)
    return untrained.randomized(seed=5)


FITTING = [pair for pair in product(KINDS, CUTOFFS) if ("C" in pair[0]) == (pair[1] in WINDOWS)]


@pytest.mark.parametrize(("kind", "cutoff"), FITTING)
def test_every_function_and_cutoff_is_what_the_formula_says(reference, crystal, kind, cutoff):
    parameter = {"amp-polynomial": 3.5, "cosine": 0.2, "exp": 0.1, "poly2": 0.4}.get(cutoff, 0.0)
    fc = Cutoff(cutoff, 4.4, parameter)
    for shift in (0.0, 0.5):
        assert_agrees(reference, single(kind, fc, shift), crystal)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_is_what_the_formula_says(reference, crystal, activation):
    fc = Cutoff("poly1", 4.0)
    assert_agrees(reference, single("G5", fc, activation=activation, zeta=4.0), crystal)


@pytest.mark.parametrize("zeta", [1.0, 2.0, 3.0, 7.0, 16.0, 64.0, 100.0, 1.5, 1.1, 33.3])
@pytest.mark.parametrize("lambda_", [1.0, -1.0, 0.5])
def test_whole_and_broken_powers_are_exact(reference, crystal, zeta, lambda_):
    fc = Cutoff("cosine", 4.4)
    assert_agrees(reference, single("G4", fc, lambda_=lambda_, zeta=zeta), crystal)


def test_several_functions_that_share_groups(reference, potential, crystal):
    assert_agrees(reference, potential, crystal)


def test_the_paper_s_136_functions(reference):
    atoms = bulk("ZrO2", "fluorite", a=5.1)
    atoms.rattle(0.1, seed=4)
    potential = BPNNPotential.untrained(["Zr", "O"]).randomized(seed=1)
    assert len(potential.elements[0].functions) == 136
    assert_agrees(reference, potential, atoms)


def test_molecules_and_lonely_atoms(reference, potential):
    atoms = Atoms("ZrO2", [[0, 0, 0], [1.9, 0.1, 0], [-0.3, 1.8, 0.4]])
    assert_agrees(reference, potential, atoms)
    assert_agrees(reference, potential, Atoms("O", [[1.0, 2.0, 3.0]]))
    line = Atoms("OZrO", [[-1.9, 0, 0], [0, 0, 0], [1.9, 0, 0]])  # cosines of exactly ±1
    assert_agrees(reference, potential, line)


def test_forces_and_stress_are_derivatives_of_the_energy(potential, crystal):
    crystal.calc = BPNN(potential)
    numerical = calculate_numerical_forces(crystal, eps=1e-4)
    np.testing.assert_allclose(crystal.get_forces(), numerical, atol=2e-7)
    numerical = calculate_numerical_stress(crystal, eps=1e-5)
    np.testing.assert_allclose(crystal.get_stress(), numerical, atol=1e-8)


def test_perfect_crystals_have_finite_forces():
    # Rounding pushes the cosines of collinear neighbors beyond ±1.
    potential = BPNNPotential.untrained(["Zr", "O"]).randomized(seed=1)
    for a in np.linspace(4.9, 5.2, 7):
        atoms = bulk("ZrO2", "fluorite", a=a)
        atoms.calc = BPNN(potential)
        np.testing.assert_allclose(atoms.get_forces(), 0.0, atol=1e-12)


def test_energy_and_forces_follow_rotations_translations_and_permutations(potential, crystal):
    crystal.calc = BPNN(potential)
    energy, forces = crystal.get_potential_energy(), crystal.get_forces()
    matrix = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    order = np.random.default_rng(3).permutation(len(crystal))
    moved = crystal[order]
    moved.set_cell(crystal.cell @ matrix.T)
    moved.positions = moved.positions @ matrix.T + [0.3, -2.0, 11.0]
    moved.calc = BPNN(potential)
    assert moved.get_potential_energy() == pytest.approx(energy, abs=1e-11)
    np.testing.assert_allclose(moved.get_forces(), forces[order] @ matrix.T, atol=1e-11)


def test_a_supercell_has_the_energy_of_its_cells(potential, crystal):
    one, many = crystal.copy(), crystal * (2, 1, 2)
    one.calc, many.calc = BPNN(potential), BPNN(potential)
    assert many.get_potential_energy() == pytest.approx(4 * one.get_potential_energy(), abs=1e-10)
    np.testing.assert_allclose(many.get_stress(), one.get_stress(), atol=1e-12)


@pytest.mark.parametrize("kind", ["G2", "G4", "G5"])
def test_the_energy_of_an_atom_is_smooth_at_the_cutoff(kind):
    calculator = BPNN(single(kind, Cutoff("cosine", 4.0)))
    third = [] if kind == "G2" else [[1.7, 0.6, 0.0]]
    energies = []
    for distance in 4.0 + np.array([-1e-3, -1e-6, 0.0, 1e-6, 1e-3]):
        atoms = Atoms("Zr" + "O" * (1 + len(third)), [[0, 0, 0], [distance, 0, 0], *third])
        energies.append(calculator.get_property("energies", atoms)[0])
    beyond = energies[-1]
    assert abs(energies[0] - beyond) < 1e-5  # of second order in the distance, as its slope is 0
    np.testing.assert_allclose(energies[1:4], beyond, atol=1e-11)


def test_dynamics_conserves_energy_as_the_integrator_does():
    potential = BPNNPotential.untrained(
        ["Zr", "O"], waters_rondinelli_functions(["Zr", "O"], cutoff=4.5), hidden=(4,)
    ).randomized(seed=2)
    start = bulk("ZrO2", "fluorite", a=5.1)
    start.set_momenta(np.random.default_rng(1).normal(scale=1.5, size=(3, 3)))
    errors = []
    for timestep in (0.4, 0.2):
        atoms = start.copy()
        atoms.calc = BPNN(potential)
        energies = []
        dynamics = VelocityVerlet(atoms, timestep * units.fs)
        dynamics.attach(lambda a=atoms, e=energies: e.append(a.get_total_energy()))
        dynamics.run(round(40 / timestep))
        errors.append(np.ptp(energies))
    assert errors[1] == pytest.approx(errors[0] / 4, rel=0.2)
    assert errors[1] / len(start) < 1e-4


def test_threads_change_nothing_but_rounding(potential, crystal):
    atoms = crystal * (2, 2, 2)
    one, two = BPNN(potential, threads=1), BPNN(potential, threads=2)
    assert one.get_potential_energy(atoms) == two.get_potential_energy(atoms)
    np.testing.assert_allclose(one.get_forces(atoms), two.get_forces(atoms), atol=1e-13)


def test_symmetry_functions_and_their_derivatives(reference, functions, potential, crystal):
    compute = SymmetryFunctions(["Zr", "O"], {"Zr": functions, "O": functions[:4]})
    values, derivatives = compute.derivatives(crystal)
    np.testing.assert_array_equal(values, compute(crystal))
    expected = reference.descriptors(potential, crystal)
    for atom, row in enumerate(expected):
        np.testing.assert_allclose(values[atom, : len(row)], row, rtol=1e-12, atol=1e-13)
        assert (values[atom, len(row) :] == 0).all()
    step = 1e-4
    for axis in range(3):
        plus, minus = crystal.copy(), crystal.copy()
        plus.positions[1, axis] += step
        minus.positions[1, axis] -= step
        numerical = (compute(plus) - compute(minus)) / (2 * step)
        np.testing.assert_allclose(derivatives[:, :, 1, axis], numerical, atol=1e-6)


def arguments_of(potential, atoms):
    listed = neighbors(atoms, potential.cutoff)
    return (atoms.positions, potential.types_of(atoms.numbers), *listed.arrays)


@pytest.mark.parametrize("which", ["output", "all"])
def test_rows_of_grades_are_derivatives_by_the_weights(potential, crystal, which):
    rows = potential.kernel().site_gradients(*arguments_of(potential, crystal), parameters=which)
    assert rows.shape == (len(crystal), potential.active_size(which))
    theta = potential.parameters
    places = np.arange(len(theta))
    if which == "output":  # of each element, the weights and the bias of the last layer
        ends = np.cumsum([element.parameter_count for element in potential.elements])
        sizes = [element.layers[-1].parameter_count for element in potential.elements]
        places = np.concatenate([np.arange(e - n, e) for e, n in zip(ends, sizes, strict=True)])
    for column, place in list(enumerate(places))[:: max(1, len(places) // 12)]:
        energies = []
        for sign in (1, -1):
            moved = theta.copy()
            moved[place] += sign * 1e-5
            calculator = BPNN(potential.with_parameters(moved))
            energies.append(calculator.get_property("energies", crystal))
        numerical = (energies[0] - energies[1]) / 2e-5
        np.testing.assert_allclose(rows[:, column], numerical, atol=1e-8)


def test_grades_of_atoms_and_configurations(potential, crystal):
    size = potential.active_size("output")
    matrix = np.random.default_rng(1).normal(size=(size, size))
    for mode in ("neighborhood", "configuration"):
        active = _active(matrix, mode)
        graded = potential.with_active_set(active, "output")
        rows = potential.kernel().site_gradients(*arguments_of(potential, crystal))
        calculator = BPNN(graded)
        if mode == "neighborhood":
            expected = grades(rows, active)
            found = calculator.get_property("extrapolation_grades", crystal)
            np.testing.assert_allclose(found, expected, rtol=1e-10)
            assert calculator.get_property("extrapolation_grade", crystal) == found.max()
        else:
            row = rows.sum(axis=0) / len(crystal)
            grade = calculator.get_property("extrapolation_grade", crystal)
            assert grade == pytest.approx(grades(row[None], active)[0])
            with pytest.raises(PropertyNotImplementedError, match="whole configurations"):
                calculator.get_property("extrapolation_grades", crystal)


def _active(matrix, mode):
    return ActiveSet(
        matrix=matrix,
        inverse=np.linalg.inv(matrix),
        mode=mode,
        weight_scaling=2.0,
        origins=np.full((len(matrix), 2), -1),
        configurations=(),
    )


def test_grades_need_an_active_set(potential, crystal):
    with pytest.raises(PropertyNotImplementedError, match="no active set"):
        BPNN(potential).get_property("extrapolation_grades", crystal)


def test_the_calculator_survives_pickling(potential, crystal):
    calculator = BPNN(potential)
    energy = calculator.get_potential_energy(crystal)
    again = pickle.loads(pickle.dumps(calculator))
    again.reset()
    assert again.get_potential_energy(crystal) == energy


def test_wrong_elements_and_untrained_potentials_are_named(potential, functions):
    with pytest.raises(ValueError, match=r"atom 0 is Cu, but .* is for Zr O"):
        BPNN(potential).get_potential_energy(bulk("Cu"))
    with pytest.raises(ValueError, match="untrained"):
        BPNN(BPNNPotential.untrained(["Zr", "O"], functions))


def test_atoms_on_top_of_each_other_are_an_error(potential):
    with pytest.raises(ValueError, match="not finite"):
        BPNN(potential).get_potential_energy(Atoms("O2", np.zeros((2, 3))))


def test_amp_s_own_values_of_an_amp_file(shared):
    folder = shared / "reference" / "amp"
    calculator = BPNN(folder / "ZrO_checkpoint.amp")
    data = json.loads((folder / "ZrO_reference.json").read_text())
    for one in data["structures"]:
        atoms = Atoms(**{key: one[key] for key in ("symbols", "positions", "cell", "pbc")})
        energies = calculator.get_property("energies", atoms)
        np.testing.assert_allclose(energies, one["amp_atomic_energies"], atol=1e-11)
        assert calculator.get_potential_energy(atoms) == pytest.approx(one["amp_energy"], abs=1e-10)
        if "amp_forces" in one:
            np.testing.assert_allclose(calculator.get_forces(atoms), one["amp_forces"], atol=1e-10)


def test_n2p2_s_own_values_of_its_folders(shared):
    folder = shared / "reference" / "n2p2"
    for one in json.loads((folder / "reference.json").read_text())["structures"]:
        path = folder / Path(one["dir"]).name
        calculator = BPNN(path, length_unit=1.0, energy_unit=1.0)  # in the folder's own units
        atoms = Atoms(one["symbols"], one["positions"], cell=one["cell"], pbc=True)
        assert calculator.get_potential_energy(atoms) == pytest.approx(one["Ennp"], abs=1e-9)
        np.testing.assert_allclose(calculator.get_forces(atoms), one["forces_nnp"], atol=1e-9)
