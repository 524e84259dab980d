"""Crystals and surfaces that saddle searches start from."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc100
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from pescape.plugins.dynamics.saddle.relax import relax
from pescape.plugins.dynamics.saddle.rotation import local_displacement


class Pairs(Calculator):
    """Lennard-Jones without a cut-off: no list of neighbours that the last digits depend on."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        apart = self.atoms.positions[:, None] - self.atoms.positions
        squares = np.sum(apart**2, axis=2) + np.diag(np.full(len(self.atoms), np.inf))
        sixth = (2.5**2 / squares) ** 3
        slopes = 24 * (2 * sixth**2 - sixth) / squares
        self.results["energy"] = 2 * float(np.sum(sixth**2 - sixth))
        self.results["forces"] = np.einsum("ij,ijk->ik", slopes, apart)


@pytest.fixture(scope="session")
def cluster():
    """Makes a disturbed cluster of seven atoms, and the disturbance."""
    angles = 2 * np.pi * np.arange(5) / 5
    ring = 2.4 * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    minimum = Atoms("Ar7", np.vstack([[[0, 0, 2.3], [0, 0, -2.3]], ring]))
    minimum.calc = Pairs()
    relax(minimum, 1e-6, 200)

    def make(seed=0):
        atoms = minimum.copy()
        shift = local_displacement(atoms, 0, seed, radius=4.0)
        atoms.positions += shift
        atoms.calc = Pairs()
        return atoms, shift

    return make


@pytest.fixture(scope="session")
def crystal():
    """Cu with a vacancy, relaxed."""
    atoms = bulk("Cu", cubic=True) * 2
    del atoms[0]
    atoms.calc = EMT()
    relax(atoms, 1e-4, 100)
    return atoms


@pytest.fixture
def hop(crystal):
    """Makes the crystal, disturbed around the vacancy, and the disturbance."""

    def make(seed=0):
        atoms = crystal.copy()
        shift = local_displacement(atoms, (0.0, 0.0, 0.0), seed)
        atoms.positions += shift
        atoms.calc = EMT()
        return atoms, shift

    return make


@pytest.fixture(scope="session")
def hollow():
    """An adatom in a hollow of Pt(100), relaxed."""
    atoms = fcc100("Pt", (3, 3, 2), vacuum=6.0)
    add_adsorbate(atoms, "Pt", 1.9, "hollow")
    atoms.set_constraint(FixAtoms(mask=[atom.tag >= 2 for atom in atoms]))
    atoms.calc = EMT()
    relax(atoms, 1e-3, 100)
    return atoms


@pytest.fixture
def on_hollow(hollow):
    """Makes a copy of the adatom in its hollow, with a calculator of its own."""

    def make():
        atoms = hollow.copy()
        atoms.calc = EMT()
        return atoms

    return make
