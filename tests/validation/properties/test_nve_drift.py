import numpy as np
import pytest
from ase.units import kB

from pescape.labelling import reference_from
from pescape.validation.crystals import Crystal
from pescape.validation.properties.soundness.nve_drift import (
    NveDriftConfig,
    conservation,
    nve_drift,
)
from pescape.validation.sources import lammps_model

from .test_thermal import COPPER, frequencies


def drift_of(name, crystal, folder, **options):
    config = NveDriftConfig(crystal=crystal, **options)
    result = nve_drift(lammps_model(reference_from(name), folder), config, folder)
    assert tuple(result.values) == config.value_names
    return result


def test_a_drift_is_told_from_a_fluctuation():
    rng = np.random.default_rng(1)
    time = np.linspace(0.0, 10.0, 2001)
    energy = 2.0 * time + 0.3 * np.sin(40.0 * time) + 0.01 * rng.normal(size=time.shape)
    drift, error, fluctuation = conservation(time, energy)
    assert drift == pytest.approx(2000.0, abs=4.0 * error)
    assert error < 5.0
    assert fluctuation == pytest.approx(0.3 / 2**0.5, rel=0.01)


@pytest.mark.slow
def test_the_energy_fluctuates_as_the_integrator_has_it(tmp_path):
    # Velocity Verlet conserves the energy of an oscillator with k (1 - (omega dt)²/4) for k, so
    # that the true one moves along with (omega dt)²/4 of the potential energy of every mode. That
    # has a variance of (kB T)²/4 where modes keep what they have, and twice as much where they
    # exchange it.
    crystal = Crystal(element="Cu", lattice="fcc")
    options = {"temperature": 80.0, "atoms": 108, "timestep": 3.0, "duration": 5.0}
    result = drift_of(COPPER, crystal, tmp_path, **options)
    omega = frequencies(reference_from(COPPER).calculator(), 3.615)
    temperature = result.values["temperature"].value
    per_mode = 1e3 * kB * temperature / 8.0 * (3e-15 * omega) ** 2
    apart = np.sqrt(np.sum(per_mode**2)) / 108
    assert 0.9 * apart < result.values["fluctuation"].value < 1.1 * 2**0.5 * apart
    assert result.values["order"].value == pytest.approx(2.0, abs=0.02)
    assert temperature == pytest.approx(80.0, rel=0.1)


@pytest.mark.slow
def test_the_zr_potential_conserves_the_energy(tmp_path, zirconium):
    result = drift_of("eam:Zr_mm.eam.fs", zirconium, tmp_path, atoms=96, duration=5.0)
    assert abs(result.values["drift"].value) < 1.0
    assert not result.warnings
    assert result.curves["energy"].y[0] == 0.0
    assert np.abs(result.curves["energy"].y).max() < 0.05


def test_too_long_a_step_is_told(tmp_path, zirconium):
    options = {"atoms": 96, "timestep": 40.0, "duration": 10.0}
    result = drift_of("eam:Zr_mm.eam.fs", zirconium, tmp_path, **options)
    assert result.values["drift"].value > 100.0
    assert "the energy drifts by" in result.warnings[0]
