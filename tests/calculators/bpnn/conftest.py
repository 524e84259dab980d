import importlib.util
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.morse import MorsePotential
from ase.calculators.singlepoint import SinglePointCalculator

from pescape.calculators.bpnn import BPNNPotential, Cutoff, SymmetryFunction


@pytest.fixture(scope="session")
def reference():
    """The NumPy implementation, which is made from the formulas alone."""
    path = Path(__file__).with_name("reference_bpnn.py")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def functions():
    """A few functions of every kind, with numbers that are not round."""
    fc = Cutoff("cosine", 4.3)
    short = Cutoff("cosine", 3.6)
    return (
        SymmetryFunction("G2", ("O",), 0.1 / 3, fc),
        SymmetryFunction("G2", ("Zr",), 1.7, short, shift=2.1),
        SymmetryFunction("G4", ("Zr", "O"), 0.02, fc, lambda_=-1.0, zeta=2.154),
        SymmetryFunction("G4", ("O", "O"), 0.05, fc, shift=0.3, lambda_=1.0, zeta=4.0),
        SymmetryFunction("G5", ("Zr", "Zr"), 0.03, fc, lambda_=1.0, zeta=1.0),
        SymmetryFunction("G5", ("O", "Zr"), 0.013, short, lambda_=-1.0, zeta=10.0),
    )


@pytest.fixture(scope="session")
def potential(functions):
    """A small potential with random weights and different networks."""
    given = {"Zr": functions, "O": functions[:4]}
    potential = BPNNPotential.untrained(["Zr", "O"], given, hidden=(5, 3)).randomized(seed=3)
    return potential.with_output(
        slope={"Zr": 1.3, "O": 0.7}, intercept={"Zr": -8.1, "O": -4.9}, atom_energy={"O": -1.1}
    )


@pytest.fixture(scope="session")
def crystal():
    """Atoms in a cell smaller than twice the cut-off, off their sites."""
    atoms = bulk("Zr", "fcc", a=4.6) * (2, 1, 1)
    atoms.symbols[:] = ["Zr", "O"]
    atoms += Atoms("O", [[1.2, 1.4, 2.1]])
    atoms.rattle(0.1, seed=1)
    return atoms


def _labelled(atoms, **results):
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


@pytest.fixture(scope="session")
def made_up():
    """Small cells with made-up labels: periodic with and without stress, not periodic, sparse."""
    rng = np.random.default_rng(0)
    made = []
    for k in range(5):
        atoms = bulk("Zr", "fcc", a=4.6) * (3, 1, 1)
        atoms.symbols = ["Zr", "O", "O"]
        atoms.positions += 0.2 * rng.normal(size=atoms.positions.shape)
        if k == 3:  # two atoms see each other, the third sees nothing
            atoms.set_cell(40.0 * np.eye(3))
            atoms.positions[2] += 15.0
        results = {"energy": rng.normal(), "forces": rng.normal(size=(len(atoms), 3))}
        if k % 3 == 2:
            atoms.pbc = False
        elif k % 3 == 1:
            results["stress"] = 0.01 * rng.normal(size=6)
        made.append(_labelled(atoms, **results))
    return made


@pytest.fixture(scope="session")
def morse():
    """Makes rattled copper with the labels of a pair potential."""

    def make(count, seed):
        rng = np.random.default_rng(seed)
        made = []
        for _ in range(count):
            atoms = bulk("Cu", "fcc", a=3.6 * rng.uniform(0.96, 1.05), cubic=True)
            atoms.positions += 0.1 * rng.normal(size=atoms.positions.shape)
            atoms.calc = MorsePotential(epsilon=0.5, r0=2.6, rho0=4.0, rcut1=3.5, rcut2=4.5)
            energy, forces = atoms.get_potential_energy(), atoms.get_forces()
            made.append(_labelled(atoms, energy=energy, forces=forces, stress=atoms.get_stress()))
        return made

    return make
