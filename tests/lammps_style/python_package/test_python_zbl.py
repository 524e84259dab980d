"""A repulsion acts through `pair_style python` as it does in ASE."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from pescape.calculators import MTP
from pescape.calculators.zbl import ZBL


@pytest.mark.parametrize("ranks", [1, 2])
def test_near_atoms_repel_as_in_ase(embedded, potentials, ranks):
    potential = potentials.read(potentials.alloy()).with_repulsion(ZBL(0.8, 2.2))
    potential.write(potentials.folder / "zbl.mtp")
    atoms = bulk("Cu", cubic=True, a=3.65) * 2
    atoms.rattle(0.1, seed=1)
    atoms.symbols[::3] = "Ag"
    atoms.positions[1] = atoms.positions[0] + [0.5, -0.4, 0.3]
    (result,) = embedded.evaluate([atoms], "zbl.mtp", ["Ag", "Cu"], ranks)
    atoms.calc = MTP(potential)
    assert result.energy > 100.0
    assert result.energy == pytest.approx(atoms.get_potential_energy(), rel=1e-12)
    np.testing.assert_allclose(result.forces, atoms.get_forces(), rtol=1e-10, atol=1e-10)
    virial = -atoms.get_stress() * atoms.get_volume()
    np.testing.assert_allclose(result.virial, virial, rtol=1e-9, atol=1e-9)
