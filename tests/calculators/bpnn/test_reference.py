import json
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms

from pescape.calculators.bpnn import BPNNPotential, Cutoff, SymmetryFunction
from pescape.calculators.bpnn.data import ACTIVATIONS
from pescape.calculators.bpnn.symmetry import CUTOFFS, KINDS, NEIGHBORS, WINDOWS


def single(function, activation="tanh"):
    """A potential of one function of oxygen and zirconium alike."""
    untrained = BPNNPotential.untrained(["Zr", "O"], [function], hidden=(2,), activation=activation)
    return untrained.randomized(seed=5)


def assert_forces_are_derivatives(reference, potential, atoms):
    result, step = reference.evaluate(potential, atoms), 1e-4
    energies = np.empty((2, 3))
    for axis in range(3):
        for sign in (0, 1):
            moved = atoms.copy()
            moved.positions[1, axis] += step * (2 * sign - 1)
            energies[sign, axis] = reference.evaluate(potential, moved).energy
    numerical = -(energies[1] - energies[0]) / (2 * step)
    scale = max(np.abs(result.forces).max(), 1e-3)
    np.testing.assert_allclose(result.forces[1] / scale, numerical / scale, atol=2e-6)


SMOOTH = [kind for kind in CUTOFFS if kind not in WINDOWS]
PAIRS = [("G4", cutoff) for cutoff in SMOOTH] + [
    (kind, "poly2") for kind in KINDS if kind.startswith("G")
]
WINDOW_PAIRS = [("C4", window) for window in WINDOWS] + [
    (kind, "skewed2") for kind in KINDS if kind.startswith("C")
]


@pytest.mark.parametrize(("kind", "cutoff"), PAIRS)
def test_forces_are_derivatives_for_every_kind_of_function(reference, crystal, kind, cutoff):
    fc = Cutoff(cutoff, 4.4, {"amp-polynomial": 3.5, "cosine": 0.2, "poly2": 0.4}.get(cutoff, 0.0))
    neighbors = ("Zr", "O")[: NEIGHBORS[kind]]
    function = SymmetryFunction(kind, neighbors, 0.04, fc, 0.5, lambda_=-1.0, zeta=2.3)
    assert_forces_are_derivatives(reference, single(function), crystal)


@pytest.mark.parametrize(("kind", "window"), WINDOW_PAIRS)
def test_forces_are_derivatives_for_every_window(reference, crystal, kind, window):
    fc = Cutoff(window, 4.4, -4.4 if window.endswith("1") else 1.2)
    neighbors = ("Zr", "O")[: NEIGHBORS[kind]]
    angles = (-90.0, 90.0) if window.endswith("2") else (20.0, 180.0)
    function = SymmetryFunction(kind, neighbors, 0.0, fc, angles=angles)
    assert_forces_are_derivatives(reference, single(function), crystal)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_forces_are_derivatives_for_every_activation(reference, crystal, activation):
    function = SymmetryFunction("G5", ("O", "O"), 0.03, Cutoff("poly1", 4.0), zeta=4.0)
    assert_forces_are_derivatives(reference, single(function, activation), crystal)


@pytest.mark.parametrize("kind", SMOOTH)
def test_cutoff_functions_fall_from_one_to_zero(reference, kind):
    parameter = 3.5 if kind == "amp-polynomial" else 0.0
    r = np.linspace(1e-6, 5.999999, 3001)
    f, df = reference.cutoff(CUTOFFS[kind], 6.0, parameter, r)
    assert (np.diff(f) < 1e-12).all()
    assert f[0] == pytest.approx(np.tanh(1) ** 3 if kind == "tanh3" else 1.0, abs=1e-5)
    if kind != "hard":
        assert f[-1] == pytest.approx(0, abs=1e-5)
    assert reference.cutoff(CUTOFFS[kind], 6.0, parameter, np.array([6.0, 7.0]))[0].max() == 0
    np.testing.assert_allclose(np.gradient(f, r)[1:-1], df[1:-1], atol=1e-5)


def test_the_formulas_for_three_atoms(reference):
    # By hand: a right angle at the first atom, cos θ = 0 and (1 ± 0)^ζ = 1.
    atoms = Atoms("OZrZr", [[0, 0, 0], [1.5, 0, 0], [0, 2.0, 0]])
    fc = Cutoff("cosine", 5.0)
    kinds = [
        SymmetryFunction("G2", ("Zr",), 0.3, fc, 0.2),
        SymmetryFunction("G4", ("Zr", "Zr"), 0.1, fc, zeta=3.0),
        SymmetryFunction("G5", ("Zr", "Zr"), 0.1, fc, lambda_=-1.0, zeta=3.0),
        SymmetryFunction("G4W", (), 0.1, fc, zeta=3.0),
        SymmetryFunction("G2W", (), 0.3, fc),
    ]
    potential = BPNNPotential.untrained(["Zr", "O"], kinds).randomized(seed=1)
    found = reference.evaluate(potential, atoms).descriptors[0]
    f = {r: (1 + np.cos(np.pi * r / 5)) / 2 for r in (1.5, 2.0, 2.5)}
    narrow = 2**-2 * np.exp(-0.1 * (2.25 + 4 + 6.25)) * f[1.5] * f[2.0] * f[2.5]
    expected = [
        np.exp(-0.3 * 1.3**2) * f[1.5] + np.exp(-0.3 * 1.8**2) * f[2.0],
        narrow,
        2**-2 * np.exp(-0.1 * (2.25 + 4)) * f[1.5] * f[2.0],
        1600 * narrow,
        40 * (np.exp(-0.3 * 2.25) * f[1.5] + np.exp(-0.3 * 4) * f[2.0]),
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_the_windows_for_three_atoms(reference):
    atoms = Atoms("OZrZr", [[0, 0, 0], [1.5, 0, 0], [0, 2.0, 0]])
    kinds = [
        SymmetryFunction("C2", ("Zr",), 0.0, Cutoff("window1", 3.0, 1.0)),
        SymmetryFunction("C2W", (), 0.0, Cutoff("skewed1", 3.0, 1.0)),
        SymmetryFunction("C5", ("Zr", "Zr"), 0.0, Cutoff("skewed1", 3.0, 1.0), angles=(0, 120)),
        SymmetryFunction("C4W", (), 0.0, Cutoff("window1", 3.0, 1.0), angles=(0, 180)),
    ]
    potential = BPNNPotential.untrained(["Zr", "O"], kinds).randomized(seed=1)
    found = reference.evaluate(potential, atoms).descriptors[0]
    # 1 + x² (2x - 3) at x = 0 (r = 2), 1/2 (r = 1.5 and 2.5; 90° in 0 … 120°) and 3/4 = 2/4 - 1/4.
    half, skewed = 0.5, 1 - 0.75**2 * 1.5
    expected = [half + 1, 40 * (skewed + 1), skewed * half, 40**2 * half * half]
    np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_the_virial_is_the_derivative_by_strain(reference, potential, crystal):
    step, energies = 1e-5, []
    for strain in (-step, step):
        deformed = crystal.copy()
        deformed.set_cell(crystal.cell @ (np.eye(3) + strain * np.eye(3)), scale_atoms=True)
        energies.append(reference.evaluate(potential, deformed).energy)
    virial = reference.evaluate(potential, crystal).virial
    assert -np.trace(virial) == pytest.approx((energies[1] - energies[0]) / (2 * step), rel=1e-6)


def amp_structures(shared):
    data = json.loads((shared / "reference" / "amp" / "ZrO_reference.json").read_text())
    for one in data["structures"]:
        keys = ("symbols", "positions", "cell", "pbc")
        yield Atoms(**{key: one[key] for key in keys}), one


def test_amp_files_give_amps_fingerprints_energies_and_forces(shared, reference):
    potential = BPNNPotential.read(shared / "reference" / "amp" / "ZrO_checkpoint.amp")
    checked = [(a, one) for a, one in amp_structures(shared) if "amp_forces" in one]
    for atoms, one in checked[2:]:
        result = reference.evaluate(potential, atoms)
        np.testing.assert_allclose(result.energies, one["amp_atomic_energies"], atol=1e-12)
        assert result.energy == pytest.approx(one["amp_energy"], abs=1e-11)
        np.testing.assert_allclose(result.forces, one["amp_forces"], atol=1e-11)
        for index, fingerprint in one["fingerprints"].items():
            values = fingerprint["values"]
            np.testing.assert_allclose(result.descriptors[int(index)], values, rtol=1e-11)


@pytest.mark.parametrize(("index", "name"), [(0, "Cu2S_PBE"), (1, "Anisole_SCAN")])
def test_n2p2_folders_give_n2p2s_energies(shared, reference, index, name):
    folder = shared / "reference" / "n2p2"
    one = json.loads((folder / "reference.json").read_text())["structures"][index]
    # In the folder's own units.
    potential = BPNNPotential.read(folder / name, length_unit=1.0, energy_unit=1.0)
    atoms = Atoms(one["symbols"], one["positions"], cell=one["cell"], pbc=True)
    types, arguments = potential.types_of(atoms.numbers), potential.kernel_arguments()
    for atom, (_, around) in enumerate(reference.neighborhoods(arguments, atoms, types)):
        if atom != len(atoms) - 2:
            continue
        element = arguments["elements"][types[atom]]
        energy, _ = reference.network(element, around.descriptors(element["functions"])[0])
        # n2p2 leaves the mean energy out of the atomic ones.
        expected = pytest.approx(one["atomic_energies"][atom], abs=1e-13)
        assert energy - element["intercept"] == expected


def test_slope_intercept_and_atom_energy_enter_linearly(reference, potential, crystal):
    zr, o = (e.intercept + e.atom_energy for e in potential.elements)
    plain = potential.with_elements(
        [replace(e, slope=1.0, intercept=0.0, atom_energy=0.0) for e in potential.elements]
    )
    outputs = reference.evaluate(plain, crystal).energies
    expected = outputs * [1.3, 0.7, 0.7] + [zr, o, o]
    np.testing.assert_allclose(reference.evaluate(potential, crystal).energies, expected)
