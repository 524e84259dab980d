import numpy as np
import pytest
from ase.spacegroup import crystal
from ase.units import GPa

from pescape.validation.compounds import Prototype, StructureFile
from pescape.validation.crystals import Crystal, minimised, relaxed_crystal
from pescape.validation.properties.crystal.elastic import (
    ElasticConfig,
    cartesian_rotations,
    elastic,
    stiffness,
    symmetric_part,
    turn_to_axes,
)

from ..conftest import DEPTH, LENGTH, STEEPNESS

MODULI = 4


def numbers(result):
    return {name: one.value for name, one in result.values.items()}


def from_geometry(atoms, name):
    geometry = {
        "symbols": atoms.get_chemical_symbols(),
        "cell": atoms.cell.array.tolist(),
        "positions": atoms.get_scaled_positions().tolist(),
    }
    return StructureFile(name=name, geometry=geometry)


def zirconia(number, sites, cell):
    """Zirconia of a space group: the first site is zirconium's, the others are oxygen's."""
    elements = ["Zr"] + ["O"] * (len(sites) - 1)
    atoms = crystal(elements, sites, spacegroup=number, cellpar=cell)
    return from_geometry(atoms, f"zirconia_{number}")


# Baddeleyite, and made-up sites for the rest.
MONOCLINIC = zirconia(
    14,
    [(0.2754, 0.0395, 0.2083), (0.07, 0.3317, 0.3447), (0.4496, 0.7569, 0.4792)],
    [5.15, 5.21, 5.32, 90, 99.23, 90],
)
ORTHORHOMBIC = zirconia(62, [(0.1, 0.25, 0.2), (0.35, 0.25, 0.4)], [5.1, 6.2, 7.4, 90, 90, 90])
TRIGONAL = zirconia(166, [(0, 0, 0.1), (0.2, 0.8, 0.3)], [5.1, 5.1, 9.2, 90, 90, 120])
LOW_TETRAGONAL = zirconia(81, [(0, 0, 0), (0.2, 0.1, 0.3)], [5.1, 5.1, 6.3, 90, 90, 90])
TETRAGONAL = Prototype(formula="ZrO2", prototype="rutile", a=4.9)


@pytest.mark.parametrize(
    ("of", "independent"),
    [
        (Crystal(element="Zr", lattice="bcc"), "C11 C12 C44"),
        (Crystal(element="Zr", lattice="hcp"), "C11 C12 C13 C33 C44 C66"),
        (TETRAGONAL, "C11 C12 C13 C33 C44 C66"),
        (LOW_TETRAGONAL, "C11 C12 C13 C33 C44 C66 C16"),
        (TRIGONAL, "C11 C12 C13 C33 C44 C66 C14 C15"),
        (ORTHORHOMBIC, "C11 C22 C33 C12 C13 C23 C44 C55 C66"),
        (MONOCLINIC, "C11 C22 C33 C12 C13 C23 C44 C55 C66 C15 C25 C35 C46"),
    ],
    ids=lambda value: getattr(value, "system", None),
)
def test_the_constants_of_a_crystal_system_are_all_there_are(of, independent):
    names = independent.split()
    assert list(ElasticConfig(crystal=of).value_names[:-MODULI]) == names
    atoms = of.primitive()
    turned, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    atoms.set_cell(atoms.cell.array @ (turned * np.linalg.det(turned)), scale_atoms=True)
    turn_to_axes(atoms, of.symmetry)
    rotations = cartesian_rotations(atoms, of.symmetry)
    # Any matrix of the symmetry is zero exactly if all its named constants are.
    drawn = np.random.default_rng(2).normal(size=(50, 6, 6))
    allowed = np.array([symmetric_part(m + m.T, rotations)[np.triu_indices(6)] for m in drawn])
    entries = {f"C{i + 1}{j + 1}": n for n, (i, j) in enumerate(zip(*np.triu_indices(6)))}  # noqa: B905
    named = allowed[:, [entries[name] for name in names]]
    assert np.linalg.matrix_rank(allowed, tol=1e-8) == np.linalg.matrix_rank(named, tol=1e-8)


def test_elastic_constants_of_zr_are_near_measured_ones(zr, zirconium):
    # E. S. Fisher, C. J. Renken, Phys. Rev. 135, A482 (1964), at 4 K.
    measured = {"C11": 155.4, "C12": 67.2, "C13": 64.6, "C33": 172.5, "C44": 36.3, "C66": 44.1}
    found = numbers(elastic(zr, ElasticConfig(crystal=zirconium)))
    assert {name: found[name] for name in measured} == pytest.approx(measured, rel=0.25)


def test_a_crystal_from_a_file_has_the_constants_of_its_lattice(emt, copper):
    atoms = copper.primitive() * (1, 2, 1)
    turned, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    atoms.set_cell(atoms.cell.array @ turned, scale_atoms=True)
    built, read = (
        numbers(elastic(emt, ElasticConfig(crystal=one)))
        for one in (copper, from_geometry(atoms, "copper"))
    )
    assert read == pytest.approx(built, abs=0.05)


def test_elastic_constants_of_bound_neighbours_are_those_of_their_springs(springs, copper):
    # Central forces k between nearest neighbours of fcc: C11 = 2 C12 = 2 C44 = 2 k / a.
    config = ElasticConfig(crystal=copper, strain=5e-4)
    result = elastic(springs, config)
    assert tuple(result.values) == config.value_names
    found = numbers(result)
    stiffness = 2.0 * DEPTH * STEEPNESS**2 / LENGTH**2 / (LENGTH * 2**0.5) / GPa
    assert found["C11"] == pytest.approx(2.0 * stiffness, rel=1e-4)
    assert found["C12"] == pytest.approx(stiffness, rel=1e-4)
    assert found["C44"] == pytest.approx(stiffness, rel=1e-4)
    assert found["bulk_modulus"] == pytest.approx(4.0 / 3.0 * stiffness, rel=1e-4)
    assert found["shear_modulus"] == pytest.approx(0.8 * stiffness, rel=1e-4)
    assert found["least_eigenvalue"] == pytest.approx(stiffness, rel=1e-4)
    assert found["asymmetry"] < 1e-3


def strained_energy(ground, calculator, strain, fmax):
    atoms = ground.copy()
    atoms.set_cell(ground.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    atoms.calc = calculator
    minimised(atoms, fmax=fmax, steps=300, what="strained")
    return atoms.get_potential_energy()


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("C33", [[0, 0, 0], [0, 0, 0], [0, 0, 1]]),
        ("C44", [[0, 0, 0], [0, 0, 0.5], [0, 0.5, 0]]),
        ("C66", [[0, 0.5, 0], [0.5, 0, 0], [0, 0, 0]]),
    ],
)
def test_elastic_constants_are_curvatures_of_the_energy(zr, zirconium, name, pattern):
    found = numbers(elastic(zr, ElasticConfig(crystal=zirconium)))
    ground = relaxed_crystal(zirconium, zr, fmax=1e-4)
    step = 0.002 * np.array(pattern)
    low, middle, high = (strained_energy(ground, zr, f * step, 1e-4) for f in (-1, 0, 1))
    curvature = (high - 2 * middle + low) / 0.002**2 / ground.get_volume() / GPa
    assert found[name] == pytest.approx(curvature, rel=0.01)
    assert found["C66"] == pytest.approx((found["C11"] - found["C12"]) / 2)


def test_atoms_relax_inside_strained_cells(zr, zirconium):
    # Shear in the basal plane moves the two atoms of hcp against each other, which softens it.
    ground = relaxed_crystal(zirconium, zr)
    relaxed = stiffness(ground, zr, strain=0.002, fmax=1e-4, steps=300)
    clamped = stiffness(ground, zr, strain=0.002, fmax=10.0, steps=300)
    assert clamped[5, 5] > 1.05 * relaxed[5, 5]
    assert clamped[2, 2] == pytest.approx(relaxed[2, 2], abs=0.1)
    assert np.abs(relaxed - relaxed.T).max() == 0.0


def test_an_unstable_crystal_is_told(zr):
    result = elastic(zr, ElasticConfig(crystal=Crystal(element="Zr", lattice="bcc")))
    found = numbers(result)
    assert found["C11"] < found["C12"]
    assert found["least_eigenvalue"] == pytest.approx(found["C11"] - found["C12"])
    assert "bcc is mechanically unstable" in result.warnings[0]
