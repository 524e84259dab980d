import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.units import GPa, fs

from pescape.validation.compounds import Prototype
from pescape.validation.crystals import Crystal, relaxed_crystal
from pescape.validation.properties.crystal.elastic import ElasticConfig, elastic
from pescape.validation.properties.crystal.phonons import (
    PhononsConfig,
    even_repeat,
    force_constants,
    phonons,
)

from ..conftest import DEPTH, LENGTH, STEEPNESS

# THz of a frequency of 1 in ASE's units of time.
THZ = 1000.0 * fs
SPRING = 2.0 * DEPTH * STEEPNESS**2 / LENGTH**2
BCC = Crystal(element="Zr", lattice="bcc")


def numbers(result):
    return {name: one.value for name, one in result.values.items()}


def mass(element):
    return Atoms(element).get_masses()[0]


def test_phonons_of_bound_neighbours_are_those_of_their_springs(springs, copper):
    # Central forces k between nearest neighbours of fcc: m ω² is 8 k and 4 k at X, 8 k and 2 k
    # at L (longitudinal and transverse).
    config = PhononsConfig(phases=[copper], repeat=(4, 4, 4))
    result = phonons(springs, config)
    assert tuple(result.values) == config.value_names
    found = numbers(result)
    unit = np.sqrt(SPRING / mass("Cu")) / (2 * np.pi) * THZ
    for point, longitudinal, transverse in (("X", 8, 4), ("L", 8, 2)):
        assert found[f"fcc.{point}.highest"] == pytest.approx(unit * longitudinal**0.5, rel=1e-3)
        assert found[f"fcc.{point}.lowest"] == pytest.approx(unit * transverse**0.5, rel=1e-3)
    assert found["fcc.highest"] == pytest.approx(unit * 8**0.5, rel=1e-3)
    assert found["fcc.lowest"] == 0.0
    assert found["fcc.imaginary_fraction"] == 0.0
    assert result.warnings == ()
    density = result.curves["fcc.dos"]
    assert np.trapezoid(density.y, density.x) == pytest.approx(3.0, rel=0.01)
    decay = result.curves["fcc.force_constants"]
    assert decay.x[0] == pytest.approx(LENGTH, abs=0.01)
    assert decay.y[0] == pytest.approx(SPRING, rel=1e-3)
    assert decay.y[1:].max() < 1e-3 * SPRING


def test_bands_share_a_path_with_names(springs, copper):
    result = phonons(springs, PhononsConfig(phases=[copper], repeat=(2, 2, 2)))
    bands = [result.curves[f"fcc.band_{n}"] for n in (1, 2, 3)]
    assert "fcc.band_4" not in result.curves
    for lower, upper in itertools.pairwise(bands):
        assert (lower.x == upper.x).all()
        assert (lower.y <= upper.y + 1e-9).all()
        assert lower.marks == upper.marks
    names = [name for _, name in bands[0].marks]
    assert names[:3] == ["Γ", "X", "W"]
    assert "K|U" in names


def test_heat_and_zero_point_energy_have_their_limits(springs, copper):
    at = {
        kelvin: numbers(
            phonons(springs, PhononsConfig(phases=[copper], repeat=(2, 2, 2), temperature=kelvin))
        )
        for kelvin in (1.0, 5000.0)
    }
    cold, hot = at[1.0], at[5000.0]
    assert cold["fcc.vibrational_free_energy"] == pytest.approx(
        cold["fcc.zero_point_energy"], rel=1e-4
    )
    assert hot["fcc.heat_capacity"] == pytest.approx(3 * 8.314463, rel=1e-3)
    assert cold["fcc.heat_capacity"] < 0.01


def test_sound_has_the_speed_of_the_elastic_constants(springs, copper):
    result = phonons(springs, PhononsConfig(phases=[copper], repeat=(4, 4, 4), points=1000))
    constants = elastic(springs, ElasticConfig(crystal=copper, strain=5e-4)).values
    crystal = result.structures[0]
    density = crystal.get_masses().sum() / crystal.get_volume()
    for band, name in (("fcc.band_3", "C11"), ("fcc.band_1", "C44")):
        curve = result.curves[band]
        speed = 2 * np.pi * curve.y[3] / THZ / curve.x[3]
        assert speed == pytest.approx(np.sqrt(constants[name].value * GPa / density), rel=2e-3)


def test_force_constants_are_central_differences_of_forces(zr):
    atoms = relaxed_crystal(BCC, zr)
    found = force_constants(atoms, zr, repeat=(4, 4, 4), displacement=0.01)
    assert found.cells == 1
    cell = found.phonons.supercell
    start = Atoms(cell.symbols, cell.positions, cell=cell.cell, pbc=True)
    for axis in range(3):
        forces = []
        for sign in (1.0, -1.0):
            moved = start.copy()
            moved.positions[0, axis] += sign * 0.01
            moved.calc = zr
            forces.append(moved.get_forces())
        direct = (forces[1] - forces[0]) / 0.02
        assert found.phonons.force_constants[0, :, axis] == pytest.approx(
            direct, rel=1e-3, abs=1e-3
        )


@pytest.mark.slow
def test_imaginary_frequencies_of_bcc_are_curvatures_of_the_energy(zr):
    # The transverse mode at N moves (110) planes against each other along [1-10].
    config = PhononsConfig(phases=[BCC])
    assert even_repeat(BCC.primitive(), config.length) == (6, 6, 6)
    result = phonons(zr, config)
    found = numbers(result)
    edge = BCC.parameters(result.structures[0])["a"]
    cell = bulk("Zr", "bcc", a=edge, cubic=True) * (2, 2, 1)
    phases = np.cos(np.pi / edge * cell.positions[:, :2].sum(axis=1))
    energies = []
    for amplitude in (0.0, 0.01):
        moved = cell.copy()
        moved.positions += amplitude * phases[:, None] * np.array([1.0, -1.0, 0.0]) / 2**0.5
        moved.calc = zr
        energies.append(moved.get_potential_energy())
    square = 2.0 * (energies[1] - energies[0]) / (cell.get_masses().sum() * 0.01**2)
    assert found["bcc.N.lowest"] == pytest.approx(-np.sqrt(-square) / (2 * np.pi) * THZ, rel=0.01)
    assert found["bcc.lowest"] <= found["bcc.N.lowest"]
    assert 0.1 < found["bcc.imaginary_fraction"] < 0.4
    assert "bcc: dynamically unstable" in result.warnings[0]
    assert "at N" in result.warnings[0]
    assert "bcc.heat_capacity" in config.value_names
    assert "bcc.heat_capacity" not in found


class Anchored(EMT):
    """Holds the first atom where it is."""

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        start = self.atoms.cell.scaled_positions(self.atoms.positions[:1]).round(1)
        self.results["forces"] -= 5.0 * (self.atoms.positions[0] - start @ self.atoms.cell)


def test_forces_that_depend_on_where_the_crystal_is_are_told(copper):
    result = phonons(Anchored(), PhononsConfig(phases=[copper], repeat=(3, 3, 3)))
    assert "do not add up to zero" in result.warnings[0]


def test_phonons_of_emt_copper_are_near_measured_ones(emt, copper):
    # E. C. Svensson, B. N. Brockhouse, J. M. Rowe, Phys. Rev. 155, 619 (1967), neutrons, 296 K:
    # of the force constants that they fitted, as the data of DANSE's VNF have them (bvk_cu_296);
    # EMT is too stiff by a tenth.
    found = numbers(phonons(emt, PhononsConfig(phases=[copper], repeat=(4, 4, 4))))
    measured = {"X.highest": 7.23, "X.lowest": 5.08, "L.highest": 7.30, "L.lowest": 3.37}
    assert {name: found[f"fcc.{name}"] for name in measured} == pytest.approx(measured, rel=0.15)


def test_compounds_have_phonons_and_small_supercells_are_told(emt):
    alloy = Prototype(formula="Cu3Au", prototype="L1_2", a=3.75)
    config = PhononsConfig(phases=[alloy], repeat=(2, 2, 2))
    result = phonons(emt, config)
    assert tuple(result.values) == config.value_names
    assert "Cu3Au_L1_2.band_12" in result.curves
    assert result.values["Cu3Au_L1_2.G.highest"].value > 3.0
    assert "half a supercell away" in result.warnings[-1]
