"""Crystals and surfaces that saddle searches start from."""

import pytest
from ase.build import add_adsorbate, bulk, fcc100
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from pescape.plugins.dynamics.modes import local_displacement
from pescape.plugins.dynamics.slide import relax


class Memoryless(Calculator):
    """EMT whose last digits do not depend on when its neighbour list was built."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        code = EMT()
        code.calculate(self.atoms, ["energy", "forces"], all_changes)
        self.results = {name: code.results[name] for name in ("energy", "forces")}


@pytest.fixture(scope="session")
def memoryless():
    return Memoryless


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
