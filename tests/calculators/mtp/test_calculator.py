import copy
import json
import pickle

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError, all_changes
from ase.calculators.mixing import SumCalculator
from ase.filters import FrechetCellFilter
from ase.io import read, write
from ase.io.trajectory import Trajectory
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from scipy.spatial.transform import Rotation

from pescape.calculators import MTP
from pescape.calculators.doptimality.active_set import build_active_set
from pescape.calculators.mtp import MTPotential

CUTOFF = 4.5
# A potential trained by MLIP-2 and what MLIP-2 computes with it.
MOLYBDENUM = """MTP
version = 1.1.0
potential_name = MTP1m
scaling = 7.080596892968130e-02
species_count = 1
potential_tag =
radial_basis_type = RBChebyshev
	min_dist = 2.000000000000000e+00
	max_dist = 5.000000000000000e+00
	radial_basis_size = 8
	radial_funcs_count = 2
	radial_coeffs
		0-0
			{-3.704263590712729e-02, -5.093319618523066e-01, -4.878787784168940e-01, \
-4.670156398615885e-01, -3.799614642516667e-01, -3.067081650676174e-01, \
-2.023056501011824e-01, -6.092040510014118e-02}
			{7.351096619195957e-01, -1.314599309419165e-02, 5.166465852126984e-01, \
-3.292587731005787e-01, -4.460359333773894e-02, -1.815111592145384e-01, \
-1.988708258361560e-01, -9.808438466741892e-02}
alpha_moments_count = 18
alpha_index_basic_count = 11
alpha_index_basic = {{0, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}, {0, 2, 0, 0}, \
{0, 1, 1, 0}, {0, 1, 0, 1}, {0, 0, 2, 0}, {0, 0, 1, 1}, {0, 0, 0, 2}, {1, 0, 0, 0}}
alpha_index_times_count = 14
alpha_index_times = {{0, 0, 1, 11}, {1, 1, 1, 12}, {2, 2, 1, 12}, {3, 3, 1, 12}, {4, 4, 1, 13}, \
{5, 5, 2, 13}, {6, 6, 2, 13}, {7, 7, 1, 13}, {8, 8, 2, 13}, {9, 9, 1, 13}, {0, 10, 1, 14}, \
{0, 11, 1, 15}, {0, 12, 1, 16}, {0, 15, 1, 17}}
alpha_scalar_moments = 9
alpha_moment_mapping = {0, 10, 11, 12, 13, 14, 15, 16, 17}
species_coeffs = {-7.493661702061749e+00}
moment_coeffs = {1.146942099228534e+01, -1.772176814826346e-01, -5.236706232061213e+01, \
-1.768179420245546e+01, 8.766385894995368e+00, 1.745232661826871e+00, 5.041763725993374e+01, \
2.580963440867947e+01, -1.724154537941070e+01}
"""
TRICLINIC = Atoms(
    "Mo2",
    cell=[
        [3.1935436082001627, 0.10352388608114595, 0.041635071599106774],
        [-1.7389712798296233, 2.7750097875609376, 0.027890500828548385],
        [-0.10824977224863348, 0.11715340980598479, 5.113497795071113],
    ],
    positions=[
        [-0.02083789237027353, -0.0028133413613164737, -0.10680980478342271],
        [-0.06691099619042884, 1.8534194127109227, 2.5471335536714808],
    ],
    pbc=True,
)


@pytest.fixture(scope="module")
def potential():
    """Random, with two species."""
    return MTPotential.untrained(12, ["Zr", "O"], CUTOFF, 1.6, 6).randomized(seed=4)


@pytest.fixture(scope="module", params=["neighborhood", "configuration"])
def guarded(potential, request):
    frames = [crystal(seed=seed) for seed in range(3)]
    return potential.with_active_set(build_active_set(potential, frames, mode=request.param))


def crystal(seed=1):
    atoms = bulk("Zr") * (2, 2, 1)
    atoms.symbols[::3] = "O"
    atoms.rattle(0.2, seed=seed)
    return atoms


def triclinic():
    """Two atoms in a cell smaller than the cut-off."""
    atoms = bulk("Zr")
    atoms.symbols[1] = "O"
    atoms.rattle(0.2, seed=2)
    strain = np.eye(3) + np.random.default_rng(2).uniform(-0.05, 0.05, size=(3, 3))
    atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
    return atoms


def layer():
    atoms = crystal(seed=3)
    atoms.pbc = [True, True, False]
    return atoms


def cluster():
    rng = np.random.default_rng(6)
    return Atoms("Zr3O2", positions=rng.uniform(0, 4.5, size=(5, 3)))


STRUCTURES = [crystal, triclinic, layer, cluster]


def with_calculator(atoms, calculator):
    atoms.calc = calculator
    return atoms


def derivative(energy, step=2e-3):
    """Fourth-order central difference of energy(x) at x = 0."""
    near, far = (energy(step) - energy(-step), energy(2 * step) - energy(-2 * step))
    return (8 * near - far) / (12 * step)


def test_energies_and_forces_are_those_of_another_program(tmp_path):
    (tmp_path / "Mo.mtp").write_text(MOLYBDENUM)
    atoms = with_calculator(TRICLINIC.copy(), MTP(tmp_path / "Mo.mtp", species=["Mo"]))
    assert atoms.get_potential_energy() == pytest.approx(-20.374086378131, abs=1e-11)
    expected = np.array([[0.543556, -0.425874, 0.845396], [-0.543556, 0.425874, -0.845396]])
    np.testing.assert_allclose(atoms.get_forces(), expected, atol=5.1e-7)
    virial = [-6.94212, -8.50017, -5.84832, -1.25334, 0.31125, 0.58372]
    np.testing.assert_allclose(-atoms.get_stress() * atoms.get_volume(), virial, atol=5.1e-6)


@pytest.mark.parametrize("name", ["Mo_L08", "Mo_L08_nbh", "ZrO_L16_random"])
def test_all_reference_structures_agree_with_other_programs(shared, name):
    folder = shared / "reference" / "mtp"
    reference = json.loads((folder / f"{name}.json").read_text())
    calculator = MTP(folder / reference["potential"], species=reference["species"])
    for case in reference["structures"]:
        atoms = Atoms(case["symbols"], case["positions"], cell=case["cell"], pbc=case["pbc"])
        atoms.calc = calculator
        assert atoms.get_potential_energy() == pytest.approx(case["energy"], abs=1e-11)
        np.testing.assert_allclose(atoms.get_forces(), case["forces"], atol=5.1e-7)
        virial = -atoms.get_stress() * atoms.get_volume()
        np.testing.assert_allclose(virial, case["plus_stress_eV"], atol=5.1e-6)
        if "grades_per_atom" in case:
            grades = calculator.get_property("extrapolation_grades", atoms)
            np.testing.assert_allclose(grades, case["grades_per_atom"], rtol=1e-4, atol=1e-6)
            largest = calculator.get_property("extrapolation_grade", atoms)
            assert largest == pytest.approx(float(case["grade_features"]["MV_grade"]), rel=1e-4)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_forces_are_derivatives_of_the_energy(potential, structure):
    atoms = with_calculator(structure(), MTP(potential))
    forces = atoms.get_forces()
    for atom, axis in [(0, 0), (1, 1), (len(atoms) - 1, 2)]:

        def energy(x, atom=atom, axis=axis):
            moved = atoms.copy()
            moved.positions[atom, axis] += x
            return with_calculator(moved, atoms.calc).get_potential_energy()

        assert abs(-derivative(energy) - forces[atom, axis]) < 1e-7 * np.abs(forces).max()


@pytest.mark.parametrize("structure", [crystal, triclinic, layer])
def test_stress_is_the_derivative_of_the_energy(potential, structure):
    atoms = with_calculator(structure(), MTP(potential))
    stress = atoms.get_stress(voigt=False)
    for a, b in [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]:

        def energy(x, a=a, b=b):
            strain = np.eye(3)
            strain[a, b] += x
            moved = atoms.copy()
            moved.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            return with_calculator(moved, atoms.calc).get_potential_energy()

        expected = derivative(energy, step=5e-4) / atoms.get_volume()
        assert abs(expected - stress[a, b]) < 1e-7 * np.abs(stress).max()


@pytest.mark.parametrize("structure", STRUCTURES)
def test_nothing_depends_on_the_frame_of_reference(potential, structure):
    atoms = with_calculator(structure(), MTP(potential))
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    scale = np.abs(forces).max()
    turn = Rotation.from_rotvec([0.4, 1.1, -0.6]).as_matrix()
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ turn.T)
    turned.positions = atoms.positions @ turn.T + [10.0, -3.0, 7.0]
    turned.calc = MTP(potential)
    assert turned.get_potential_energy() == pytest.approx(energy, rel=1e-12)
    np.testing.assert_allclose(turned.get_forces(), forces @ turn.T, atol=1e-12 * scale)
    order = np.random.default_rng(1).permutation(len(atoms))
    shuffled = with_calculator(atoms[order], MTP(potential))
    assert shuffled.get_potential_energy() == pytest.approx(energy, rel=1e-12)
    np.testing.assert_allclose(shuffled.get_forces(), forces[order], atol=1e-12 * scale)
    if atoms.cell.rank == 3:
        expected = turn @ atoms.get_stress(voigt=False) @ turn.T
        tolerance = 1e-12 * np.abs(expected).max()
        np.testing.assert_allclose(turned.get_stress(voigt=False), expected, atol=tolerance)


def test_a_supercell_is_its_copies(potential):
    small, big = triclinic(), triclinic() * (2, 1, 3)
    calculator = MTP(potential)
    small.calc = big.calc = calculator
    energy, forces, stress = small.get_potential_energy(), small.get_forces(), small.get_stress()
    assert big.get_potential_energy() == pytest.approx(6 * energy, rel=1e-12)
    np.testing.assert_allclose(big.get_forces(), np.tile(forces, (6, 1)), atol=1e-11)
    np.testing.assert_allclose(big.get_stress(), stress, rtol=1e-10)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_parts_add_up(potential, structure):
    atoms = with_calculator(structure(), MTP(potential))
    assert atoms.get_potential_energies().sum() == pytest.approx(atoms.get_potential_energy())
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
    np.testing.assert_allclose(atoms.get_forces().sum(0), 0.0, atol=1e-11)
    if atoms.cell.rank == 3:
        np.testing.assert_allclose(atoms.get_stresses().sum(0), atoms.get_stress(), atol=1e-14)


def test_an_isolated_atom_has_its_species_energy(potential):
    for symbol, expected in zip(potential.species, potential.species_coeffs, strict=True):
        atoms = with_calculator(Atoms(symbol), MTP(potential))
        assert atoms.get_potential_energy() == expected
        assert (atoms.get_forces() == 0.0).all()


def test_the_energy_is_smooth_at_the_cutoff(potential):
    calculator = MTP(potential)

    def dimer(distance):
        atoms = Atoms("ZrO", positions=[[0, 0, 0], [0, 0, distance]])
        atoms.calc = calculator
        return atoms.get_potential_energy(), atoms.get_forces()[1, 2]

    apart = potential.species_coeffs.sum()
    assert dimer(CUTOFF)[0] == apart
    assert dimer(CUTOFF + 0.1) == (apart, 0.0)
    energy, force = dimer(CUTOFF - 1e-5)
    assert abs(energy - apart) < 1e-9
    assert 0.0 < abs(force) < 1e-4
    near, nearer = abs(dimer(CUTOFF - 2e-4)[1]), abs(dimer(CUTOFF - 1e-4)[1])
    assert near / nearer == pytest.approx(2.0, rel=0.01)


def test_no_atoms_have_no_energy(potential):
    atoms = with_calculator(Atoms(), MTP(potential))
    assert atoms.get_potential_energy() == 0.0
    assert atoms.get_forces().shape == (0, 3)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_single_precision_is_close(potential, structure):
    atoms = structure()
    double, single = MTP(potential), MTP(potential, precision="single")
    expected = double.get_property("forces", atoms)
    found = single.get_property("forces", atoms)
    assert (expected != found).any()
    np.testing.assert_allclose(found, expected, atol=2e-4 * np.abs(expected).max())
    energy = double.get_potential_energy(atoms)
    assert single.get_potential_energy(atoms) == pytest.approx(energy, rel=1e-5)


def test_threads_do_not_matter(potential):
    atoms = crystal() * (2, 2, 2)
    one, two = MTP(potential, threads=1), MTP(potential, threads=2)
    for name in ("energy", "forces", "stress", "stresses"):
        a, b = one.get_property(name, atoms), two.get_property(name, atoms)
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_the_number_of_threads_comes_from_the_environment(potential, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert MTP(potential).threads == 3
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert MTP(potential).threads == 1


def test_a_wandering_system_is_never_stale(potential):
    rng = np.random.default_rng(8)
    atoms = with_calculator(crystal(), MTP(potential, skin=0.4))
    for step in range(60):
        atoms.positions += rng.normal(scale=0.02, size=(len(atoms), 3))
        if step % 5 == 1:
            strain = np.eye(3) + rng.normal(scale=0.003, size=(3, 3))
            atoms.set_cell(atoms.cell.array @ strain, scale_atoms=step % 2 == 0)
        if step == 20:
            atoms.symbols[1] = "O"
        if step == 30:
            atoms.pbc[2] = False
        if step == 40:
            del atoms[2]
        if step == 50:
            atoms.wrap()
        fresh = MTP(potential, skin=0.0)
        for name in ("energy", "forces", "stress"):
            expected = fresh.get_property(name, atoms)
            np.testing.assert_allclose(
                atoms.calc.get_property(name, atoms), expected, rtol=1e-11, atol=1e-11
            )


# --- grades


def test_grades_of_what_the_active_set_holds_are_at_most_one(guarded):
    calculator = MTP(guarded)
    for seed in range(3):
        grade = calculator.get_property("extrapolation_grade", crystal(seed))
        assert 0.0 < grade < 1.002
    far = crystal()
    far.rattle(0.4, seed=9)
    assert calculator.get_property("extrapolation_grade", far) > 1.1


def test_grades_per_atom_need_a_set_of_neighborhoods(guarded):
    atoms = with_calculator(crystal(), MTP(guarded))
    if guarded.active_set.mode == "configuration":
        with pytest.raises(PropertyNotImplementedError, match="is of whole configurations"):
            atoms.calc.get_property("extrapolation_grades", atoms)
        return
    grades = atoms.calc.get_property("extrapolation_grades", atoms)
    assert grades.shape == (len(atoms),)
    assert atoms.calc.get_property("extrapolation_grade", atoms) == grades.max()


def test_grades_are_computed_only_when_asked_for(guarded):
    atoms = with_calculator(crystal(), MTP(guarded))
    atoms.get_forces()
    assert "extrapolation_grade" not in atoms.calc.results
    assert atoms.calc.get_property("extrapolation_grade", atoms, allow_calculation=False) is None
    atoms.calc.get_property("extrapolation_grade", atoms)
    assert atoms.calc.get_property("energy", atoms, allow_calculation=False) is not None
    assert "energy" in atoms.get_properties(["energy"])


def test_grades_without_an_active_set_are_an_error(potential, tmp_path):
    potential.write(tmp_path / "x.mtp")
    calculator = MTP(tmp_path / "x.mtp")
    for name in ("extrapolation_grades", "extrapolation_grade"):
        with pytest.raises(PropertyNotImplementedError, match=r"x\.mtp has no active set"):
            calculator.get_property(name, crystal())
    assert np.isfinite(calculator.get_potential_energy(crystal()))


# --- ASE's conventions


def test_results_are_kept_until_something_changes(potential, monkeypatch):
    atoms = with_calculator(crystal(), MTP(potential))
    calls = []
    original = MTP._evaluate

    def counting(self, *arguments):
        calls.append(1)
        return original(self, *arguments)

    monkeypatch.setattr(MTP, "_evaluate", counting)
    for _ in range(2):
        atoms.get_potential_energy()
        atoms.get_forces()
        atoms.get_stress()
    assert len(calls) == 1
    atoms.set_initial_charges([0.5] * len(atoms))
    atoms.info["note"] = 1
    atoms.get_forces()
    assert len(calls) == 1
    for count, change in enumerate(["positions", "numbers", "cell", "pbc"], start=2):
        if change == "positions":
            atoms.positions[0, 0] += 1e-12
        elif change == "numbers":
            atoms.numbers[0] = 40
        elif change == "cell":
            atoms.cell[0, 0] += 1e-12
        else:
            atoms.pbc[0] = False
        assert atoms.calc.calculation_required(atoms, ["energy"])
        assert atoms.calc.check_state(atoms) == [change]
        atoms.get_forces()
        assert len(calls) == count
    assert not atoms.calc.calculation_required(atoms, ["energy", "forces"])
    atoms.calc.reset()
    assert atoms.calc.check_state(atoms) == all_changes
    assert atoms.calc.results == {}


def test_results_are_the_callers_own(potential):
    atoms = with_calculator(crystal(), MTP(potential))
    forces = atoms.get_forces()
    forces[:] = 0.0
    assert (atoms.get_forces() != 0.0).any()
    assert atoms.calc.atoms is not atoms
    assert atoms.calc.atoms == atoms


def test_calculate_can_be_called_directly(potential):
    atoms, calculator = crystal(), MTP(potential)
    calculator.calculate(atoms, ["energy", "forces", "stress"], all_changes)
    assert {"energy", "free_energy", "energies", "forces", "stress"} <= set(calculator.results)
    first = calculator.results["energy"]
    atoms.rattle(0.1, seed=3)
    calculator.calculate(atoms)
    assert calculator.results["energy"] != first
    with pytest.raises(ValueError, match="no atoms"):
        MTP(potential).calculate()


def test_stress_needs_a_volume(potential):
    atoms = with_calculator(cluster(), MTP(potential))
    for method in (atoms.get_stress, atoms.get_stresses):
        with pytest.raises(PropertyNotImplementedError, match="the cell has no volume"):
            method()
    assert np.isfinite(atoms.get_potential_energy())
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_dipole_moment()


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_copies_calculate_the_same(guarded, clone):
    atoms = with_calculator(crystal(), MTP(guarded, threads=2, precision="single"))
    atoms.get_forces()
    other = clone(atoms.calc)
    assert other.threads == 2
    assert (other.get_property("forces", atoms) == atoms.get_forces()).all()
    moved = crystal(seed=5)
    for name in ("forces", "extrapolation_grade"):
        expected = MTP(guarded, precision="single").get_property(name, moved)
        np.testing.assert_allclose(other.get_property(name, moved), expected, rtol=1e-6, atol=1e-6)
    assert (atoms.calc.get_property("forces", atoms) == atoms.get_forces()).all()


def test_todict_says_how_to_make_it_again(potential, tmp_path):
    potential.write(tmp_path / "x.mtp")
    calculator = MTP(tmp_path / "x.mtp", precision="single")
    settings = calculator.todict()
    assert json.loads(json.dumps(settings)) == settings
    assert calculator.name == "mtp"
    again = MTP(**settings)
    atoms = crystal()
    assert again.get_potential_energy(atoms) == calculator.get_potential_energy(atoms)


def test_results_travel_through_ases_files(guarded, tmp_path):
    atoms = with_calculator(crystal(), MTP(guarded))
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    atoms.calc.get_property("extrapolation_grade", atoms)
    write(tmp_path / "x.xyz", atoms)
    with Trajectory(tmp_path / "x.traj", "w") as trajectory:
        trajectory.write(atoms)
    for name in ("x.xyz", "x.traj"):
        again = read(tmp_path / name)
        assert again.get_potential_energy() == pytest.approx(energy)
        np.testing.assert_allclose(again.get_forces(), forces, atol=1e-7)


def test_optimizers_and_cell_filters_run(potential):
    atoms = with_calculator(molecule("O2"), MTP(potential))
    atoms.center(vacuum=3.0)
    assert BFGS(atoms, logfile=None).run(fmax=1e-3, steps=100)
    atoms = with_calculator(triclinic(), MTP(potential))
    before = atoms.get_potential_energy()
    BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-3, steps=3)
    assert atoms.get_potential_energy() < before


def test_dynamics_conserve_the_energy(tmp_path):
    (tmp_path / "Mo.mtp").write_text(MOLYBDENUM)
    atoms = bulk("Mo", cubic=True) * 2
    atoms.calc = MTP(tmp_path / "Mo.mtp", species=["Mo"])
    atoms.set_velocities(np.random.default_rng(1).normal(scale=0.025, size=(16, 3)))
    start = atoms.get_total_energy()
    VelocityVerlet(atoms, timestep=1.0 * units.fs).run(100)
    assert abs(atoms.get_total_energy() - start) / len(atoms) < 1e-4


def test_calculators_can_be_mixed(potential):
    atoms = crystal()
    one = MTP(potential).get_potential_energy(atoms)
    two = SumCalculator([MTP(potential), MTP(potential)]).get_potential_energy(atoms)
    assert two == pytest.approx(2 * one)


# --- errors


def test_other_elements_are_an_error(potential):
    atoms = crystal()
    atoms.symbols[5] = "Fe"
    with pytest.raises(ValueError, match=r"atom 5 is Fe, but the potential .* is for Zr O"):
        MTP(potential).get_potential_energy(atoms)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_positions_that_are_not_finite_are_an_error(potential, value):
    atoms = with_calculator(crystal(), MTP(potential))
    atoms.get_forces()
    atoms.positions[3, 1] = value
    for _ in range(2):
        with pytest.raises(ValueError, match="the position of atom 3 is not finite"):
            atoms.get_forces()


def test_a_cell_that_is_not_finite_is_an_error(potential):
    atoms = with_calculator(crystal(), MTP(potential))
    atoms.get_forces()
    atoms.cell[0, 0] = np.nan
    with pytest.raises(ValueError, match="the cell is not finite"):
        atoms.get_forces()


def test_a_file_that_names_no_elements_needs_them(tmp_path):
    (tmp_path / "Mo.mtp").write_text(MOLYBDENUM)
    with pytest.raises(ValueError, match=r"Mo\.mtp does not say which elements .* species="):
        MTP(tmp_path / "Mo.mtp")
    with pytest.raises(ValueError, match=r"2 elements \(Mo O\) are named, but .* has 1 species"):
        MTP(tmp_path / "Mo.mtp", species=["Mo", "O"])


def test_species_must_agree_with_the_file(potential, tmp_path):
    potential.write(tmp_path / "x.mtp")
    assert MTP(tmp_path / "x.mtp", species=["Zr", "O"]).potential.species == ("Zr", "O")
    with pytest.raises(ValueError, match=r"x\.mtp is for the species Zr O, in this order"):
        MTP(tmp_path / "x.mtp", species=["O", "Zr"])


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"precision": "half"}, "precision must be one of double, single, not 'half'"),
        ({"threads": 0}, "threads must be 1 or more, not 0"),
        ({"skin": -1.0}, "skin must be 0 Å or more"),
    ],
)
def test_wrong_settings_are_refused(potential, keywords, message):
    with pytest.raises(ValueError, match=message):
        MTP(potential, **keywords)


def test_untrained_potentials_are_refused():
    with pytest.raises(ValueError, match="is untrained: fit it with `pescape fit mtp`"):
        MTP(MTPotential.untrained(8, ["Zr"], 5.0, 2.0))


def test_atoms_on_top_of_each_other_are_an_error(potential):
    atoms = Atoms("ZrZr", positions=[(1, 2, 3)] * 2)
    atoms.calc = MTP(potential)
    with pytest.raises(ValueError, match="atom 0 is not finite: are atoms on top of each other"):
        atoms.get_potential_energy()


def test_grades_do_not_depend_on_the_precision(guarded):
    double, single = (MTP(guarded, precision=precision) for precision in ("double", "single"))
    grade = double.get_property("extrapolation_grade", crystal())
    assert single.get_property("extrapolation_grade", crystal()) == grade


def test_settings_cannot_be_changed_later(potential):
    with pytest.raises(TypeError, match=r"fixed \(skin\)"):
        MTP(potential).set(skin=1.0)


@pytest.mark.parametrize("threads", [0, -1, 1.5, "two"])
def test_impossible_threads_are_refused(potential, threads):
    with pytest.raises(ValueError, match="threads must be 1 or more"):
        MTP(potential, threads=threads)
