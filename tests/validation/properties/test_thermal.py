import dataclasses

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.eos import EquationOfState
from ase.units import _amu, _e, kB
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms
from pydantic import ValidationError

from pescape.labelling import reference_from
from pescape.validation import PropertyError
from pescape.validation.crystals import Crystal
from pescape.validation.properties.heat.dynamics import (
    lattice_parameters,
    orthogonal_supercell,
    timestep_for,
)
from pescape.validation.properties.heat.thermal import ThermalConfig, thermal
from pescape.validation.sources import lammps_model

COPPER = "eam:Cu_mishin1.eam.alloy"


def model_of(name, folder):
    return lammps_model(reference_from(name), folder)


@pytest.fixture(scope="module")
def heated(tmp_path_factory):
    """Copper at temperatures so low that it is nearly harmonic, in 108 atoms."""
    folder = tmp_path_factory.mktemp("thermal")
    config = ThermalConfig(
        crystal=Crystal(element="Cu", lattice="fcc"),
        temperatures=(80.0, 160.0),
        atoms=108,
        timestep=3.0,
        duration=12.0,
    )
    return thermal(model_of(COPPER, folder), config, folder), config, folder


def frequencies(calculator, a):
    """Angular frequencies (rad/s) of all waves that fit into 108 atoms of copper."""
    cell = bulk("Cu", a=a, cubic=True)
    phonon = Phonopy(
        PhonopyAtoms(
            cell.symbols, cell=cell.cell.array, scaled_positions=cell.get_scaled_positions()
        ),
        np.eye(3) * 3,
        primitive_matrix=np.eye(3),
        log_level=0,
    )
    phonon.generate_displacements(distance=0.005)
    forces = []
    for displaced in phonon.supercells_with_displacements:
        atoms = bulk("Cu", a=a, cubic=True).repeat(3)
        atoms.set_scaled_positions(displaced.scaled_positions)
        atoms.calc = calculator
        forces.append(atoms.get_forces())
    phonon.forces = forces
    phonon.produce_force_constants()
    phonon.run_mesh([3, 3, 3], is_gamma_center=True, is_mesh_symmetry=False)
    found = np.sort(phonon.mesh.frequencies.ravel())[3:]
    return 2e12 * np.pi * found


@pytest.fixture(scope="module")
def harmonic():
    """Lattice parameter at rest (Å), frequencies there, expansion of the volume (1/K)."""
    calculator = reference_from(COPPER).calculator()
    volumes, energies = [], []
    for a in 3.615 * np.linspace(0.99, 1.01, 7):
        cell = bulk("Cu", a=a)
        cell.calc = calculator
        volumes.append(cell.get_volume())
        energies.append(cell.get_potential_energy())
    volume, _, modulus = EquationOfState(volumes, energies, eos="birchmurnaghan").fit()
    a = (4 * volume) ** (1 / 3)
    low, middle, high = (frequencies(calculator, f * a) for f in (0.997, 1.0, 1.003))
    softening = -(np.log(high).sum() - np.log(low).sum()) / (3 * np.log(1.003 / 0.997))
    return a, middle, kB * softening / (modulus * volume * 108)


@pytest.mark.slow
def test_a_cold_crystal_expands_as_its_phonons_soften(heated, harmonic):
    # Quasi-harmonic, classical: B V dV/V = kB T times the sum of all Grüneisen parameters.
    values = heated[0].values
    a, _, expansion = harmonic
    error = values["expansion_error"].value
    assert values["expansion"].value == pytest.approx(1e6 * expansion, rel=0.08)
    assert error < 0.05 * values["expansion"].value
    assert values["expansion_a"].value == pytest.approx(values["expansion"].value / 3, rel=0.01)
    assert values["80K.a"].value == pytest.approx(a * (1 + 80 * expansion / 3), abs=2e-4)
    assert values["80K.volume"].value == pytest.approx(values["80K.a"].value ** 3 / 4, rel=1e-5)


@pytest.mark.slow
def test_atoms_of_a_cold_crystal_move_as_far_as_equipartition_has_it(heated, harmonic):
    values = heated[0].values
    _, omega, _ = harmonic
    mass = 63.546 * _amu
    expected = 1e20 * kB * _e * 80.0 / mass * np.sum(omega**-2.0) / 108
    assert values["80K.msd"].value == pytest.approx(expected, rel=0.08)
    assert values["80K.intact"].value == 1.0
    assert values["heat_capacity"].value == pytest.approx(3.0, abs=0.03)


@pytest.mark.slow
def test_values_are_those_announced(heated):
    result, config, _ = heated
    assert set(result.values) == set(config.value_names)
    assert result.values["expansion"].unit == "1e-6/K"
    assert not result.warnings
    assert list(result.curves["a"].x) == [0.0, 80.0, 160.0]
    assert set(result.curves) == {"a", "volume", "energy", "msd"}


@pytest.mark.slow
def test_runs_that_are_there_are_not_run_again(heated):
    result, config, folder = heated
    nothing = dataclasses.replace(model_of(COPPER, folder), file="no such file")
    assert thermal(nothing, config, folder).values == result.values


def test_a_crystal_that_melts_is_told(tmp_path):
    config = ThermalConfig(
        crystal=Crystal(element="Zr", lattice="hcp"),
        temperatures=(300.0, 4000.0),
        atoms=96,
        equilibration=1.0,
        duration=1.0,
    )
    result = thermal(model_of("eam:Zr_mm.eam.fs", tmp_path), config, tmp_path)
    assert result.values["300K.intact"].value == 1.0
    assert result.values["4000K.intact"].value < 0.9
    assert "4000K: only" in result.warnings[0]
    # What is left is the expansion between absolute zero and the one temperature that is whole.
    rest, warm = result.curves["volume"].y[:2]
    assert result.values["expansion"].value == pytest.approx(
        1e6 * (warm / rest - 1) / 300, rel=1e-6
    )


def test_lammps_says_what_is_wrong(tmp_path):
    model = dataclasses.replace(model_of(COPPER, tmp_path), file=str(tmp_path / "missing.fs"))
    config = ThermalConfig(crystal=Crystal(element="Cu", lattice="fcc"))
    with pytest.raises(PropertyError, match=r"static: LAMMPS failed .*missing"):
        thermal(model, config, tmp_path)


@pytest.mark.parametrize(
    ("lattice", "atoms"), [("hcp", 448), ("fcc", 500), ("bcc", 432), ("omega", 336)]
)
def test_cells_have_right_angles_and_the_lattice_parameters_of_the_crystal(lattice, atoms):
    crystal = Crystal(element="Zr", lattice=lattice, a=3.2)
    cell, cells = orthogonal_supercell(crystal, 400)
    assert abs(len(cell) - atoms) < 120
    np.testing.assert_allclose(cell.cell.angles(), 90.0)
    found = lattice_parameters(crystal, cell.cell.lengths(), cells)
    assert {k: float(v) for k, v in found.items()} == pytest.approx(
        crystal.parameters(crystal.primitive())
    )
    ideal = crystal.primitive()
    assert cell.get_volume() / len(cell) == pytest.approx(ideal.get_volume() / len(ideal))
    assert timestep_for(cell) == 2.0


def test_temperatures_have_to_rise():
    with pytest.raises(ValidationError, match="have to rise"):
        ThermalConfig(crystal=Crystal(element="Cu", lattice="fcc"), temperatures=(300.0, 200.0))


def test_crystals_without_right_angles_are_refused(tmp_path):
    skewed = Atoms("Cu", cell=[[2.5, 0.0, 0.0], [0.3, 2.7, 0.0], [0.2, 0.4, 2.9]], pbc=True)
    skewed.write(tmp_path / "skewed.vasp")
    with pytest.raises(ValidationError, match="skewed is triclinic: edges have to be orthogonal"):
        ThermalConfig(crystal={"file": str(tmp_path / "skewed.vasp")})
