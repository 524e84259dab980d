"""What a potential costs in LAMMPS, beside an embedded-atom one."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from pescape.figures.curves import draw_cost
from pescape.labelling import reference_from
from pescape.lammps_style.launcher import LOG_FILE
from pescape.validation.crystals import Crystal
from pescape.validation.properties.heat.dynamics import (
    OrthogonalCrystal,
    orthogonal_supercell,
    start,
    timestep_for,
    write_start,
)
from pescape.validation.property import PropertyConfig, PropertyResult, Value, register_property
from pescape.validation.sources import LammpsModel, lammps_model, run_lammps

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True)
class Timing:
    """µs per atom and step.

    Attributes
    ----------
    loop
        Wall time of the MD loop.
    pair, neigh
        What of it the pair style and the neighbor lists take.
    cpu
        CPU time of the MD loop, all ranks together.
    """

    loop: float
    pair: float
    neigh: float
    cpu: float

    @classmethod
    def read(cls, output: str, atoms: int, steps: int, ranks: int = 1) -> Timing:
        """Read the timing of the last run from the output of LAMMPS.

        Parameters
        ----------
        output
            Of LAMMPS, or its log.
        atoms, steps, ranks
            How many the run had.
        """

        def last(pattern: str) -> float:
            return float(re.findall(pattern, output, re.MULTILINE)[-1])

        unit = 1e6 / (atoms * steps)
        loop = unit * last(r"Loop time of (\S+)")
        return cls(
            loop=loop,
            pair=unit * last(r"^Pair +\| +\S+ +\| +(\S+)"),
            neigh=unit * last(r"^Neigh +\| +\S+ +\| +(\S+)"),
            cpu=loop * last(r"^(\S+)% CPU use") / 100 * ranks,
        )


# What everything is measured beside: M. I. Mendelev, G. J. Ackland, Philos. Mag. Lett. 87, 349
# (2007), for hcp zirconium, whatever the potential is for.
_BASELINE = "eam:Zr_mm.eam.fs"
_ZIRCONIUM = Crystal(element="Zr", lattice="hcp")
# Steps of the first run, which tells how many there shall be, and fewest of the others.
_TRIAL_STEPS, _LEAST_STEPS = 5, 20
_RUN = """timestep {timestep}
velocity all create 300 1 loop geom
fix move all nve
thermo 1000000
run {warm}
run {steps}
"""


class CostConfig(PropertyConfig):
    """CPU time of molecular dynamics on one core, by the machine where it is measured."""

    kind: Literal["cost"] = "cost"
    crystal: OrthogonalCrystal
    atoms: PositiveInt = Field(2000, description="of the supercell, about")
    rounds: PositiveInt = Field(3, description="of alternating runs with both potentials")
    seconds: PositiveFloat = Field(1.0, description="that each run takes, about")

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives; `parameters` only where a file tells them."""
        return ("microseconds", "baseline", "ratio", "ratio_error", "parameters")


@register_property(CostConfig, engine="lammps", seconds=9.0, draw=draw_cost)
def cost(model: LammpsModel, config: CostConfig, folder: Path) -> PropertyResult:
    """Measure what a potential costs.

    Runs alternate with those of an embedded-atom potential, so that a machine that gets busy or
    slow spoils both alike: compare the ratio between machines, not the times.

    Parameters
    ----------
    model
        The potential.
    config
        The crystal and the length of runs.
    folder
        Where LAMMPS runs.

    Returns
    -------
    PropertyResult
        ``microseconds`` of CPU time per atom and step (the median), the same of the ``baseline``
        (eam/fs, hcp Zr), ``ratio`` of the two (the median of the rounds) with its standard
        error, and ``parameters`` of the potential.
    """
    eam = lammps_model(reference_from(_BASELINE), folder)
    own = orthogonal_supercell(config.crystal, config.atoms)[0]
    metal = orthogonal_supercell(_ZIRCONIUM, config.atoms)[0]
    pairs = ((folder / "potential", model, own), (folder / "baseline", eam, metal))
    steps = [
        max(
            _LEAST_STEPS,
            round(1e6 * config.seconds / (_timed(*pair, _TRIAL_STEPS).loop * len(pair[2]))),
        )
        for pair in pairs
    ]
    rounds = np.array(
        [
            [_timed(*pair, count).cpu for pair, count in zip(pairs, steps, strict=True)]
            for _ in range(config.rounds)
        ]
    )
    ratios = rounds[:, 0] / rounds[:, 1]
    error = float(ratios.std(ddof=1) / len(ratios) ** 0.5) if len(ratios) > 1 else 0.0
    unit = "µs/atom/step"
    values = {
        "microseconds": Value(float(np.median(rounds[:, 0])), unit),
        "baseline": Value(float(np.median(rounds[:, 1])), unit),
        "ratio": Value(float(np.median(ratios))),
        "ratio_error": Value(error),
    }
    parameters = parameter_count(model)
    if parameters is not None:
        values["parameters"] = Value(float(parameters))
    found = config.result(values)
    return replace(found, settings={**found.settings, "processor": processor()})


def _timed(folder: Path, model: LammpsModel, atoms: Atoms, steps: int) -> Timing:
    """Run a number of steps on one core."""
    folder.mkdir(parents=True, exist_ok=True)
    write_start(folder, atoms)
    script = start(atoms, model) + _RUN.format(
        timestep=1e-3 * timestep_for(atoms), warm=max(1, steps // 10), steps=steps
    )
    run_lammps(folder, script, what=folder.name)
    log = (folder / LOG_FILE).read_text(encoding="utf-8", errors="replace")
    return Timing.read(log, len(atoms), steps)


def parameter_count(model: LammpsModel) -> int | None:
    """Count what was fitted; None where the file does not tell, as tables do not.

    Parameters
    ----------
    model
        The potential.
    """
    from pescape.calculators.potential import load, potential_kind

    return load(model.file).parameter_count if potential_kind(model.file) == model.style else None


def processor() -> str:
    """Name the processor of this machine."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1).strip() if found else platform.processor() or platform.machine()
