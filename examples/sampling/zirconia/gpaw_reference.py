"""GPAW as a calculator of this environment, computed by another Python's process.

GPAW and its PAW data sets come from Debian and run under Debian's Python:

    apt-get install --no-install-recommends gpaw gpaw-data

Set GPAW_PYTHON to the interpreter that imports gpaw if that is not /usr/bin/python3.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase.calculators.socketio import SocketIOCalculator

if TYPE_CHECKING:
    from ase import Atoms

_WORKER = Path(__file__).with_name("gpaw_worker.py")


def calculator(
    cutoff: float = 300.0,
    k_length: float = 8.0,
    smearing: float = 0.1,
    xc: str = "PBE",
    timeout: float = 600.0,
    directory: str | None = None,
) -> SocketIOCalculator:
    """Make a calculator whose process lives from its first configuration until ``close()``.

    Parameters
    ----------
    cutoff
        Of the plane waves, eV.
    k_length
        Å: lattice planes d apart get a mesh of ceil(k_length / d) points across.
    smearing
        Width of the Fermi-Dirac occupations, eV. Energies are free energies: forces are
        their derivatives.
    xc
        Exchange-correlation functional.
    timeout
        Seconds that one configuration may take.
    directory
        Where GPAW writes its own output, ``gpaw.txt``; a campaign gives one of its own to
        each trajectory. Nothing is kept when None.

    Returns
    -------
    SocketIOCalculator
        For configurations of equal elements and boundary conditions.
    """
    scratch = tempfile.TemporaryDirectory(prefix="gpaw-")
    folder = Path(directory or scratch.name).resolve()

    def launch(
        atoms: Atoms, properties: object, port: object, unixsocket: str
    ) -> subprocess.Popen[bytes]:
        del properties, port  # ASE's launchers are told; the socket's name is all it takes here
        start = {
            "symbols": atoms.get_chemical_symbols(),
            "positions": atoms.positions.tolist(),
            "cell": atoms.cell.tolist(),
            "pbc": atoms.pbc.tolist(),
            "cutoff": cutoff,
            "kpts": _mesh(atoms, k_length),
            "smearing": smearing,
            "xc": xc,
        }
        file = Path(scratch.name) / "start.json"
        file.write_text(json.dumps(start), encoding="utf-8")
        # This environment's packages are for another Python; one thread, beside other runs.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        return subprocess.Popen(
            [os.environ.get("GPAW_PYTHON", "/usr/bin/python3"), _WORKER, file, unixsocket],
            env=environment | {"OMP_NUM_THREADS": "1"},
            cwd=folder,
        )

    return SocketIOCalculator(
        unixsocket=f"gpaw-{os.getpid()}-{secrets.token_hex(4)}",
        timeout=timeout,
        launch_client=launch,
    )


def _mesh(atoms: Atoms, length: float) -> list[int]:
    """Return the number of k-points along each reciprocal vector."""
    spacings = 1.0 / np.linalg.norm(atoms.cell.reciprocal(), axis=1)
    return [math.ceil(length / spacing) for spacing in spacings]
