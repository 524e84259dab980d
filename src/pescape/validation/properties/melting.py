"""Melting temperatures, by the interface between crystal and liquid that does not move."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from pescape.validation.base import PropertyConfig
from pescape.validation.crystals import Crystal, check_titles
from pescape.validation.properties.coexistence import LATTICES, Coexistence
from pescape.validation.properties.melting_search import Melted, Setting, search
from pescape.validation.result import Curve, PropertyError, PropertyResult, Value

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ase import Atoms

    from pescape.validation.lammps import LammpsModel

# Less than this share of the solid with the lattice it began with is a transformation.
_RETAINED = 0.5


class MeltingConfig(PropertyConfig):
    """Cells half solid and half liquid at zero pressure, at several temperatures."""

    kind: Literal["melting"] = "melting"
    incidental: ClassVar[frozenset[str]] = frozenset({"processes", "ranks"})
    phases: Annotated[tuple[Crystal, ...], Field(min_length=1)]
    atoms: int = Field(2400, ge=200, description="about as many in each cell")
    time: PositiveFloat = Field(20.0, description="of each run, ps")
    temperatures: int = Field(6, ge=3, description="in each round of runs")
    width: float = Field(
        0.05, gt=0.0, lt=0.2, description="half the range of temperatures, as a fraction"
    )
    precision: PositiveFloat = Field(
        20.0, description="standard error below which there are no more rounds, K"
    )
    rounds: PositiveInt = Field(5, description="at most, the first coarse one included")
    guess: PositiveFloat | None = Field(
        None, description="K; by heating the crystal until it melts if unset"
    )
    highest: PositiveFloat = Field(5000.0, description="K; where heating ends")
    heating: PositiveFloat = Field(50.0, description="K/ps")
    timestep: PositiveFloat | None = Field(None, description="fs; by the mass if unset")
    seed: int = Field(0, ge=0)
    processes: PositiveInt | None = Field(
        None, description="LAMMPS runs at once; as many as there are processors if unset"
    )
    ranks: PositiveInt = Field(1, description="MPI ranks of each run")

    @model_validator(mode="after")
    def _phases(self) -> MeltingConfig:
        check_titles(self.phases)
        for phase in self.phases:
            if phase.lattice not in LATTICES:
                raise ValueError(
                    f"phases: {phase.lattice} cannot melt here, only {', '.join(LATTICES)}"
                )
        return self

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives."""
        names = (
            "temperature",
            "uncertainty",
            "kinetic_coefficient",
            "heat_of_fusion",
            "volume_change",
            "retained",
        )
        return tuple(f"{phase.title}.{name}" for phase in self.phases for name in names)


def melting(model: LammpsModel, config: MeltingConfig, folder: Path) -> PropertyResult:
    """Compute at which temperatures crystals and the liquid keep their balance.

    Parameters
    ----------
    model
        The potential.
    config
        Crystals and runs.
    folder
        Keeps every run that has ended.

    Returns
    -------
    PropertyResult
        For each phase: ``temperature`` and ``uncertainty`` (its standard error, by the scatter
        of runs about a straight line and of rounds about their mean), K;
        ``kinetic_coefficient``, by how much the velocity of the interface grows with each
        kelvin of undercooling, m/s/K; ``heat_of_fusion``, meV/atom; ``volume_change`` on
        melting, %; ``retained``, the share of solid atoms at the end of the runs that have the
        lattice they began with.

    Raises
    ------
    PropertyError
        For none of the phases a temperature was found.
    """
    processes = config.processes or max(1, len(os.sched_getaffinity(0)) // config.ranks)
    values: dict[str, Value] = {}
    curves: dict[str, Curve] = {}
    structures, warnings = [], []
    # The runs of all phases share the processors; a phase waits for its own.
    with ThreadPoolExecutor(processes) as runs, ThreadPoolExecutor(len(config.phases)) as waiting:
        pending = [
            waiting.submit(search, Setting.of(phase, model, config, folder, runs))
            for phase in config.phases
        ]
        for phase, one in zip(config.phases, pending, strict=True):
            try:
                melted = one.result()
            except PropertyError as error:
                warnings.append(f"{phase.title}: {error}")
                continue
            values |= _values(phase, melted)
            curves |= _curves(phase, melted)
            structures.append(_snapshot(phase, melted))
            warnings.extend(f"{phase.title}: {text}" for text in _remarks(phase, melted, config))
    if not values:
        raise PropertyError("; ".join(warnings))
    return PropertyResult(
        "melting",
        values,
        tuple(structures),
        curves,
        config.model_dump(mode="json"),
        tuple(warnings),
    )


def _remarks(phase: Crystal, melted: Melted, config: MeltingConfig) -> list[str]:
    """Say what a reader has to know about the runs that the temperature is from."""
    remarks = []
    if not melted.precise:
        remarks.append(
            f"the standard error is above {config.precision:g} K after {config.rounds} rounds"
        )
    shares = _shares(melted.runs)
    if shares[phase.lattice] < _RETAINED:
        told = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())
        remarks.append(f"the crystal transformed; its atoms ended as {told}")
    unused = sum(np.isnan(motion.velocity) for motion in melted.motions)
    if unused:
        remarks.append(f"{unused} of {len(melted.motions)} runs were over too early to be used")
    return remarks


def _shares(runs: Sequence[Coexistence]) -> dict[str, float]:
    """Give the share of each lattice among the solid atoms at the end of all runs."""
    counts = {name: sum(run.lattices[name] for run in runs) for name in LATTICES}
    total = max(1, sum(counts.values()))
    return {name: count / total for name, count in counts.items()}


def _values(phase: Crystal, melted: Melted) -> dict[str, Value]:
    heat, volume = melted.fusion
    numbers = {
        "temperature": Value(melted.point.temperature, "K"),
        "uncertainty": Value(melted.point.uncertainty, "K"),
        "kinetic_coefficient": Value(-melted.point.slope, "m/s/K"),
        "heat_of_fusion": Value(1000.0 * heat, "meV/atom"),
        "volume_change": Value(100.0 * volume, "%"),
        "retained": Value(_shares(melted.runs)[phase.lattice]),
    }
    return {f"{phase.title}.{name}": one for name, one in numbers.items()}


def _curves(phase: Crystal, melted: Melted) -> dict[str, Curve]:
    usable = [motion for motion in melted.motions if np.isfinite(motion.velocity)]
    temperatures = np.array([motion.temperature for motion in usable])
    ends = np.array([temperatures.min(), temperatures.max()])
    labels = ("temperature (K)", "velocity of the interface (m/s)")
    curves = {
        "velocity": Curve(temperatures, np.array([m.velocity for m in usable]), *labels),
        "fit": Curve(
            ends,
            melted.point.velocity(ends),
            *labels,
            marks=((melted.point.temperature, f"{melted.point.temperature:.0f} K"),),
        ),
    }
    for number, run in enumerate(sorted(melted.runs, key=lambda run: run.temperature), 1):
        name = f"{number}_{run.temperature:.0f}K"
        curves[f"solid_{name}"] = Curve(run.time, run.solid, "time (ps)", "solid fraction")
        curves[f"energy_{name}"] = Curve(
            run.time, run.energy, "time (ps)", "potential energy (eV/atom)"
        )
    return {f"{phase.title}.{name}": curve for name, curve in curves.items()}


def _snapshot(phase: Crystal, melted: Melted) -> Atoms:
    """Give the end of the run nearest to balance, of those that still have both phases."""

    def apart(run: Coexistence) -> float:
        return abs(run.solid[-1] - 0.5)

    end = min(melted.runs, key=apart).end.copy()
    end.info["name"] = f"{phase.title}_coexistence"
    return end
