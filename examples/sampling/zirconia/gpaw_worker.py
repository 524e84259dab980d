"""Serve GPAW over a socket; run by the Python that has GPAW, started by `gpaw_reference.py`.

    python3 gpaw_worker.py START.json SOCKET

The wave functions and the density stay in memory between configurations, so that a
configuration near the last one takes a few iterations only.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ase import Atoms
from ase.calculators.socketio import SocketClient
from gpaw import GPAW, PW, FermiDirac

if TYPE_CHECKING:
    import numpy as np


class FreeEnergyClient(SocketClient):
    """A client that sends the energy which the forces are derivatives of."""

    def calculate(self, atoms: Atoms, use_stress: bool) -> tuple[float, np.ndarray, np.ndarray]:
        """Return the free energy (eV), forces (eV/Å) and virial (eV)."""
        _, forces, virial = super().calculate(atoms, use_stress)
        return atoms.get_potential_energy(force_consistent=True), forces, virial


def main(start: str, socket: str) -> None:
    """Serve until the other side closes the socket."""
    given = json.loads(Path(start).read_text(encoding="utf-8"))
    atoms = Atoms(
        given["symbols"], positions=given["positions"], cell=given["cell"], pbc=given["pbc"]
    )
    atoms.calc = GPAW(
        mode=PW(given["cutoff"]),
        xc=given["xc"],
        kpts={"size": given["kpts"], "gamma": True},
        occupations=FermiDirac(given["smearing"]),
        convergence={"eigenstates": 1e-6, "density": 1e-4},
        # The mesh must not change when atoms move; time reversal is kept by all of them.
        symmetry={"point_group": False},
        txt="gpaw.txt",
    )
    FreeEnergyClient(unixsocket=socket).run(atoms, use_stress=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
