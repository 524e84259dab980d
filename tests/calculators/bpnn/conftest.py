import importlib.util
from pathlib import Path

import pytest
from ase import Atoms
from ase.build import bulk

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
