"""How well pair_style mtp conserves energy: 10 ps of NVE at 600 K in steps of 0.5 fs.

    python benchmarks/nve_drift.py [--potential FILE --element Zr] [--picoseconds 10] [--ranks 1]

The drift is the slope of a straight line through the total energy times the length of the run.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from mtp_lammps import crystal_potential
from rich.console import Console

from pescape.lammps_style import launcher

ATOMS = 500
SCRIPT = """
units metal
lattice hcp 3.232
region box block 0 5 0 5 0 5
create_box 1 box
create_atoms 1 box
mass 1 91.224
pair_style mtp
pair_coeff * * {potential} {element}
velocity all create 1200 1 loop geom
fix 1 all nve
timestep 0.0005
run 2000
reset_timestep 0
thermo 20
thermo_style custom step temp etotal
thermo_modify format float %.15g
run {steps}
"""


def total_energies(script: str, ranks: int) -> tuple[np.ndarray, float]:
    """Total energy (eV/atom) along the run and the mean temperature (K)."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "in.lmp").write_text(script)
        done = subprocess.run(
            launcher.command(["-in", "in.lmp", "-log", "none"], ranks),
            env=launcher.environment(),
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
    table = done.stdout.split("TotEng")[-1].split("Loop time")[0]
    _, temperature, energy = np.loadtxt(io.StringIO(table)).T
    return energy / ATOMS, float(temperature.mean())


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--potential", type=Path, help="default: a level-8 potential made here")
    parser.add_argument("--element", default="Zr")
    parser.add_argument("--picoseconds", type=float, default=10.0)
    parser.add_argument("--ranks", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        potential = options.potential
        if potential is None:
            potential = Path(folder, "crystal.mtp")
            crystal_potential(8).write(potential)
        script = SCRIPT.format(
            potential=potential.resolve(),
            element=options.element,
            steps=round(2000 * options.picoseconds),
        )
        energy, temperature = total_energies(script, options.ranks)
    time = np.linspace(0.0, 1.0, len(energy))
    drift = np.polyfit(time, energy, 1)[0]
    Console().print(
        f"{options.picoseconds:g} ps at {temperature:.0f} K: drift {drift:+.1e} eV/atom, "
        f"fluctuation {energy.std():.1e} eV/atom"
    )


if __name__ == "__main__":
    main()
