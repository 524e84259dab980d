"""Melting temperatures of EAM potentials that LAMMPS comes with, by the moving interface.

    python benchmarks/melting.py                                   # bcc, hcp and fcc Zr
    python benchmarks/melting.py --potential Cu_mishin1.eam.alloy --element Cu --lattices fcc
    python benchmarks/melting.py --potential Mg_mm.eam.fs --element Mg --lattices hcp

Prints temperatures and their standard errors, published ones of the same potential where there
are any, wall and CPU time, and how much CPU time that is for each atom and step beside plain
dynamics of the same potential. With --equilibrium it also lets a cell with an interface find its
temperature at constant enthalpy, another method with other errors. With --folder a run that was
stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lammps_runs import lammps, zirconium
from rich.console import Console

from pescape.labelling import reference_from
from pescape.validation.crystals import Crystal
from pescape.validation.properties.heat.coexistence import prepared
from pescape.validation.properties.heat.dynamics import block_error
from pescape.validation.properties.heat.melting import MeltingConfig, Setting, melting
from pescape.validation.sources import LammpsModel, lammps_model, thermo

if TYPE_CHECKING:
    from pescape.validation.property import PropertyResult

#: K, and who found it.
PUBLISHED = {
    ("Cu_mishin1.eam.alloy", "fcc"): (1327, "Mishin et al., Phys. Rev. B 63, 224106 (2001)"),
    ("Mg_mm.eam.fs", "hcp"): (914, "Sun et al., Phys. Rev. B 73, 024116 (2006)"),
    ("Fe_mm.eam.fs", "bcc"): (1772, "Sun, Asta, Hoyt, Phys. Rev. B 69, 174103 (2004)"),
}
EQUILIBRIUM = """velocity all create {temperature} {seed} mom yes rot no dist gaussian loop geom
fix move all npt temp {temperature} {temperature} {damping} z 0 0 {pressure_damping}
run {settle}
unfix move
fix move all nph z 0 0 {pressure_damping}
run {steps}
"""


def equilibrium(setting: Setting, around: float, time: float) -> tuple[float, float, bool]:
    """Let solid and liquid find their temperature (K); with its error, and whether both stay."""
    start = setting.folder / f"{setting.name}_equilibrium_prepared"
    prepared(setting.dynamics, start, setting.long, temperature=around, hot=1.25 * around, seed=7)
    folder = setting.folder / f"{setting.name}_equilibrium"
    setting.dynamics.run(
        folder,
        EQUILIBRIUM,
        setting.long,
        data=f"../{start.name}/molten.data",
        temperature=around,
        steps=setting.dynamics.steps(time),
        seed=8,
    )
    found = thermo(folder)
    half = len(found["Temp"]) // 2
    temperatures = found["Temp"][half:]
    both = bool(found["c_solid"][half:].min() > 0.1 and found["c_solid"][half:].max() < 0.9)
    return float(temperatures.mean()), block_error(temperatures), both


def cost(folder: Path) -> tuple[float, float]:
    """CPU time (s) of all runs in a folder, and how many atoms times steps they were."""
    logs = "".join(path.read_text() for path in folder.glob("*/log.lammps"))
    pattern = r"^Loop time of (\S+) .* for (\d+) steps with (\d+) atoms(?:.*\n)*?(\S+)% CPU use"
    runs = [tuple(map(float, run)) for run in re.findall(pattern, logs, re.MULTILINE)]
    seconds = sum(loop * percent / 100.0 for loop, _, _, percent in runs)
    return seconds, sum(steps * atoms for _, steps, atoms, _ in runs)


def plain_dynamics(model: LammpsModel) -> float:
    """CPU time of zirconium's plain dynamics, µs per atom and step."""
    with tempfile.TemporaryDirectory() as folder:
        return lammps(Path(folder), zirconium((8, 5, 16)), model.style, model.file, 200).cpu


def told(found: PropertyResult, phase: Crystal, potential: str) -> str:
    """Describe what was found of one phase."""
    values = {
        name: found.values[f"{phase.title}.{name}"].value
        for name in (
            "temperature",
            "uncertainty",
            "kinetic_coefficient",
            "heat_of_fusion",
            "volume_change",
            "retained",
        )
    }
    text = (
        "{temperature:.0f} ± {uncertainty:.0f} K, {kinetic_coefficient:.2f} m/s/K, "
        "{heat_of_fusion:.0f} meV/atom, {volume_change:+.1f} % in volume, "
        "{retained:.0%} of the solid as it was"
    ).format(**values)
    if (potential, phase.lattice) not in PUBLISHED:
        return f"{phase.title}: {text}"
    known, source = PUBLISHED[potential, phase.lattice]
    off = values["temperature"] - known
    return f"{phase.title}: {text}\n  published: {known} K ({source}), off by {off:+.0f} K"


def report(console: Console, options: argparse.Namespace, folder: Path) -> None:
    """Melt, and print what came out."""
    phases = [Crystal(element=options.element, lattice=one) for one in options.lattices]
    config = MeltingConfig(phases=phases, atoms=options.atoms, seed=options.seed)
    model = lammps_model(reference_from(f"eam:{options.potential}"), folder)
    begin = time.perf_counter()
    found = melting(model, config, folder)
    wall = time.perf_counter() - begin
    seconds, count = cost(folder)
    unit = 1e6 * seconds / count
    for phase in phases:
        if f"{phase.title}.temperature" not in found.values:
            continue
        console.print(told(found, phase, options.potential), soft_wrap=True)
        temperature = found.values[f"{phase.title}.temperature"].value
        if options.equilibrium:
            setting = Setting.of(phase, model, config, folder)
            other, spread, both = equilibrium(setting, temperature - 10.0, options.equilibrium)
            stays = "" if both else ", but one phase has gone"
            console.print(
                f"  at constant enthalpy: {other:.0f} ± {spread:.0f} K{stays}, "
                f"off by {temperature - other:+.0f} K"
            )
    for warning in found.warnings:
        console.print(f"warning: {warning}")
    console.print(f"{wall:.0f} s of wall time, {seconds:.0f} s of CPU time")
    console.print(f"{unit:.2f} µs/atom/step, that is with all that was measured on the way")
    if options.element == "Zr":
        plain = plain_dynamics(model)
        console.print(f"{plain:.2f} µs/atom/step for plain dynamics, a ratio of {unit / plain:.2f}")


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--potential", default="Zr_mm.eam.fs")
    parser.add_argument("--element", default="Zr")
    parser.add_argument("--lattices", nargs="+", default=["bcc", "hcp", "fcc"])
    parser.add_argument("--atoms", type=int, default=2400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--equilibrium", type=float, default=0.0, help="ps; none by default")
    parser.add_argument("--folder", type=Path, help="keeps runs; a temporary one by default")
    options = parser.parse_args()
    console = Console(highlight=False)
    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
        report(console, options, options.folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        report(console, options, Path(folder))


if __name__ == "__main__":
    main()
