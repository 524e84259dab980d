"""The GPAW process of examples/sampling/zirconia, where GPAW is installed."""

import importlib.util
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

EXAMPLE = Path(__file__).parents[2] / "examples" / "sampling" / "zirconia" / "gpaw_reference.py"


@pytest.fixture(scope="module")
def reference():
    """Import the example's module where its GPAW runs."""
    python = os.environ.get("GPAW_PYTHON", "/usr/bin/python3")
    bare = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    try:
        subprocess.run([python, "-c", "import gpaw"], env=bare, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(f"{python} has no gpaw")
    spec = importlib.util.spec_from_file_location("gpaw_reference", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_energies_are_those_that_forces_are_derivatives_of(reference, tmp_path):
    atoms = bulk("Zr", "hcp", a=3.23, c=5.16)
    atoms.positions[1] += [0.1, 0.05, -0.08]
    with reference.calculator(cutoff=250.0, k_length=3.0, directory=str(tmp_path)) as calculator:
        atoms.calc = calculator
        force = atoms.get_forces()[1, 0]
        energies = []
        for step in (0.02, -0.02):
            moved = atoms.copy()
            moved.positions[1, 0] += step
            moved.calc = calculator
            energies.append(moved.get_potential_energy(force_consistent=True))
    assert (energies[1] - energies[0]) / 0.04 == pytest.approx(force, abs=0.02)
    assert abs(force) > 0.2
    # One process served all three: another would have begun the file anew.
    assert (tmp_path / "gpaw.txt").read_text().count("iter:   1 ") == 3


def test_meshes_are_finer_where_the_cell_is_thinner(reference):
    cell = bulk("Zr", "hcp", a=3.0, c=6.0)
    assert reference._mesh(cell, 6.0) == [3, 3, 1]
    assert np.prod(reference._mesh(cell * (1, 1, 2), 12.0)) == 5 * 5 * 1
