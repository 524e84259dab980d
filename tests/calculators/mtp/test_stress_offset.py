"""Stresses of the labels that do not belong to their energies, and how much stresses count."""

import ase.build
import numpy as np
import pytest
from ase.calculators.morse import MorsePotential
from ase.calculators.singlepoint import SinglePointCalculator

from pescape.calculators import MTP
from pescape.calculators.fit.loss import Weights, factors
from pescape.calculators.mtp import MTPotential
from pescape.calculators.mtp.fit import FitSettings, fit_mtp, training_set

PULAY = 0.02  # eV/Å³, 3.2 GPa


def strained(count=16, stress=0.0, volumes=True):
    """Morse crystals of several volumes, with a constant stress that is not their own."""
    rng = np.random.default_rng(3)
    frames = []
    for _ in range(count):
        atoms = ase.build.bulk("Cu", cubic=True, a=3.5 * (1 + 0.03 * rng.normal() * volumes))
        atoms.rattle(0.05, seed=int(rng.integers(1000)))
        atoms.calc = MorsePotential(epsilon=0.4, r0=2.55, rho0=4.0, rcut1=3.6, rcut2=4.4)
        found = {
            "energy": atoms.get_potential_energy(),
            "forces": atoms.get_forces(),
            "stress": atoms.get_stress() + stress * np.array([1, 1, 1, 0, 0, 0]),
        }
        atoms.calc = SinglePointCalculator(atoms, **found)
        frames.append(atoms)
    return frames


def fitted(frames, **settings):
    start = MTPotential.untrained(6, ["Cu"], 4.5, 2.0, 6)
    return fit_mtp(
        start, frames, FitSettings(iterations=120, starts=1, stress_force=1e3, **settings)
    )


def test_a_stress_beside_the_energies_is_found_and_left_out():
    right, plain = fitted(strained()), fitted(strained(stress=PULAY))
    assert abs(right.stress_offset) < 0.15 * PULAY
    assert plain.stress_offset == pytest.approx(PULAY, rel=0.25)
    atoms = strained(1)[0]
    pressure = atoms.get_stress()[:3].mean()
    atoms.calc = MTP(plain.potential)
    assert atoms.get_stress()[:3].mean() == pytest.approx(pressure, abs=0.25 * PULAY)
    pulled = fitted(strained(stress=PULAY), pulay=False)
    assert pulled.stress_offset == 0.0
    assert plain.errors.energy_rmse < 0.7 * pulled.errors.energy_rmse


def test_what_energies_cannot_tell_is_no_offset():
    same = strained(stress=PULAY, volumes=False)
    assert abs(fitted(same).stress_offset) < 0.5 * PULAY


def test_fits_can_be_stopped_and_go_on_with_the_offset(tmp_path):
    frames = strained(8, stress=PULAY)
    start = MTPotential.untrained(6, ["Cu"], 4.5, 2.0, 6)
    settings = FitSettings(iterations=40, cycle=20, starts=1)
    whole = fit_mtp(start, frames, settings)

    class Stopped(Exception):  # noqa: N818
        pass

    def stop(now):
        if now.stage == "fit" and now.iteration == 25:
            raise Stopped

    with pytest.raises(Stopped):
        fit_mtp(start, frames, settings, checkpoint=tmp_path / "c.npz", on_progress=stop)
    again = fit_mtp(start, frames, settings, checkpoint=tmp_path / "c.npz")
    assert again.stress_offset == whole.stress_offset
    np.testing.assert_array_equal(again.potential.parameters, whole.potential.parameters)


def test_stresses_of_hot_configurations_count_less():
    data = training_set(strained(6), ["Cu"], 4.5)
    alike = factors(data, Weights(1.0, 0.01, 0.1))
    calm = factors(data, Weights(1.0, 0.01, 0.1, stress_force=0.3))
    squares = [
        np.mean(np.sum(data.forces[a:b] ** 2, axis=1))
        for a, b in zip(data.first[:-1], data.first[1:], strict=True)
    ]
    np.testing.assert_allclose(calm[2], alike[2] / (1 + np.array(squares) / 0.09))
    np.testing.assert_array_equal(calm[0], alike[0])
    np.testing.assert_array_equal(calm[1], alike[1])
    with pytest.raises(ValueError, match="stress_force 0"):
        Weights(stress_force=0.0)
