"""pair_style mtp and bpnn agree with the numbers of MLIP, Amp and n2p2."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from pescape.calculators import BPNN
from pescape.calculators.bpnn import BPNNPotential

SHARED = Path(os.environ.get("PESCAPE_SHARED", Path(__file__).parents[3] / "shared"))
REFERENCE = SHARED / "reference"
needs_reference = pytest.mark.skipif(not REFERENCE.is_dir(), reason="no reference data here")


@needs_reference
@pytest.mark.parametrize("ranks", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["Mo_L08", "Mo_L08_nbh", "ZrO_L16_random"])
def test_agrees_with_mlip_to_the_digits_it_prints(lammps, name, ranks):
    reference = json.loads((REFERENCE / "mtp" / f"{name}.json").read_text())
    structures = reference["structures"]
    configurations = [
        Atoms(s["symbols"], positions=s["positions"], cell=s["cell"], pbc=s["pbc"])
        for s in structures
    ]
    shutil.copy(REFERENCE / "mtp" / reference["potential"], lammps.folder)
    graded = "grades_per_atom" in structures[0]
    results = lammps.evaluate(
        configurations, reference["potential"], reference["species"], ranks, grades=graded
    )
    for known, result in zip(structures, results, strict=True):
        assert result.energy == pytest.approx(known["energy"], abs=1e-6, rel=1e-9)
        np.testing.assert_allclose(result.forces, known["forces"], atol=2e-5, rtol=1e-5)
        np.testing.assert_allclose(result.virial, known["plus_stress_eV"], atol=2e-4, rtol=1e-6)
        if graded:
            np.testing.assert_allclose(result.grades, known["grades_per_atom"], rtol=1e-4)
            assert result.grade == pytest.approx(max(known["grades_per_atom"]), rel=1e-4)


def assert_same_as_ase(result, atoms, potential):
    atoms.calc = BPNN(potential)
    assert result.energy == pytest.approx(atoms.get_potential_energy(), rel=1e-13, abs=1e-9)
    np.testing.assert_allclose(result.energies, atoms.get_potential_energies(), atol=1e-9)
    np.testing.assert_allclose(result.forces, atoms.get_forces(), rtol=0, atol=1e-10)
    virial = -atoms.get_stress() * atoms.get_volume()
    np.testing.assert_allclose(result.virial, virial, rtol=0, atol=1e-8)


@needs_reference
@pytest.mark.parametrize("ranks", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_agrees_with_amp(lammps, ranks):
    reference = json.loads((REFERENCE / "amp" / "ZrO_reference.json").read_text())
    # Those with forces, and both cells that are smaller than the cut-off.
    structures = [
        s for s in reference["structures"] if "amp_forces" in s or s["name"].endswith("cif")
    ]
    potential = BPNNPotential.read(REFERENCE / "amp" / "ZrO_checkpoint.amp")
    potential.write(lammps.folder / "ZrO.bpnn")
    configurations = [
        Atoms(s["symbols"], positions=s["positions"], cell=s["cell"], pbc=s["pbc"])
        for s in structures
    ]
    results = lammps.evaluate(configurations, "ZrO.bpnn", ["Zr", "O"], ranks, style="bpnn")
    for known, atoms, result in zip(structures, configurations, results, strict=True):
        assert result.energy == pytest.approx(known["amp_energy"], abs=1e-9)
        np.testing.assert_allclose(result.energies, known["amp_atomic_energies"], atol=1e-9)
        if "amp_forces" in known:
            np.testing.assert_allclose(result.forces, known["amp_forces"], atol=1e-8)
        assert_same_as_ase(result, atoms, potential)


@needs_reference
@pytest.mark.parametrize("ranks", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["Cu2S_PBE", "Anisole_SCAN"])
def test_agrees_with_n2p2(lammps, name, ranks):
    folder = REFERENCE / "n2p2"
    structures = json.loads((folder / "reference.json").read_text())["structures"]
    known = next(s for s in structures if s["dir"].endswith(name))
    # In the folder's own units, whatever they are.
    potential = BPNNPotential.read(folder / name, length_unit=1.0, energy_unit=1.0)
    potential.write(lammps.folder / "nnp.bpnn")
    atoms = Atoms(known["symbols"], positions=known["positions"], cell=known["cell"], pbc=True)
    (result,) = lammps.evaluate([atoms], "nnp.bpnn", potential.species, ranks, style="bpnn")
    assert result.energy == pytest.approx(known["Ennp"], abs=1e-9)
    np.testing.assert_allclose(result.forces, known["forces_nnp"], atol=1e-8)
    assert_same_as_ase(result, atoms, potential)
