"""pair_style mtp agrees with MLIP's numbers and with the kernel that Python uses."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

SHARED = Path(os.environ.get("PESCAPE_SHARED", Path(__file__).parents[3] / "shared"))
REFERENCE = SHARED / "reference" / "mtp"
needs_reference = pytest.mark.skipif(not REFERENCE.is_dir(), reason="no reference data here")


@needs_reference
@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("name", ["Mo_L08", "Mo_L08_nbh", "ZrO_L16_random"])
def test_agrees_with_mlip_to_the_digits_it_prints(lammps, name, ranks):
    reference = json.loads((REFERENCE / f"{name}.json").read_text())
    structures = reference["structures"]
    configurations = [
        Atoms(s["symbols"], positions=s["positions"], cell=s["cell"], pbc=s["pbc"])
        for s in structures
    ]
    shutil.copy(REFERENCE / reference["potential"], lammps.folder)
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
