"""Melting temperatures, by the interface between crystal and liquid that does not move.

How fast solid and liquid grow into each other is measured at several temperatures; rounds of
such runs close in on the temperature at which the interface stands still.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from pescape.figures.crystals import draw_melting
from pescape.validation.crystals import Crystal, check_titles
from pescape.validation.properties.heat.coexistence import (
    LATTICES,
    Coexistence,
    Dynamics,
    coexistence,
    fusion,
    prepared,
    superheating_limit,
)
from pescape.validation.properties.heat.dynamics import orthogonal_supercell, timestep_for
from pescape.validation.property import (
    Curve,
    Floats,
    PropertyConfig,
    PropertyError,
    PropertyResult,
    Value,
    register_property,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ase import Atoms

    from pescape.validation.sources import LammpsModel


# What of the cell has to be solid, and liquid, for its two interfaces not to feel each other.
_SOLID, _LIQUID = 0.12, 0.15
# Fewer samples than this tell no velocity.
_LEAST_SAMPLES = 8
#: m/s in an Å/ps.
_PER_ANGSTROM_PS = 100.0


@dataclass(frozen=True)
class Motion:
    """How the interfaces of one run have moved.

    Parameters
    ----------
    temperature
        K.
    velocity
        Of each interface, m/s; positive where the solid grows.
    duration
        For how long there were two interfaces, ps.
    ended
        What the cell had become before the run ended: ``"solid"``, ``"liquid"`` or nothing.
    """

    temperature: float
    velocity: float
    duration: float
    ended: str = ""


@dataclass(frozen=True)
class MeltingPoint:
    """Where the interface stands still.

    Parameters
    ----------
    temperature
        K.
    uncertainty
        Its standard error, K.
    slope
        How much faster the solid grows for each kelvin more, m/s/K; negative.
    bracketed
        Whether the solid grew in some runs and melted in others.
    """

    temperature: float
    uncertainty: float
    slope: float
    bracketed: bool

    def velocity(self, temperature: Floats) -> Floats:
        """Of the interface by the straight line, m/s.

        Parameters
        ----------
        temperature
            K, of any shape.
        """
        return self.slope * (temperature - self.temperature)


def interface_motion(time: Floats, solid: Floats, length: float, temperature: float) -> Motion:
    """Measure how fast the two interfaces of a periodic cell move.

    Parameters
    ----------
    time
        Shape (n,), ps.
    solid
        Fraction of the cell that is solid, shape (n,).
    length
        Of the cell across the interfaces, Å.
    temperature
        K.

    Returns
    -------
    Motion
        By a straight line through the fraction, up to where one of the phases is about to
        vanish; where that is so from the beginning, the velocity is not a number.
    """
    gone = np.flatnonzero((solid < _SOLID) | (solid > 1.0 - _LIQUID))
    end = int(gone[0]) if len(gone) else len(time)
    ended = "" if end == len(time) else "liquid" if solid[end] < 0.5 else "solid"
    if end < _LEAST_SAMPLES:
        return Motion(temperature, np.nan, 0.0, ended)
    rate = np.polyfit(time[:end], solid[:end], 1)[0]
    velocity = _PER_ANGSTROM_PS * rate * length / 2
    return Motion(temperature, float(velocity), float(time[end - 1] - time[0]), ended)


def melting_point(motions: Sequence[Motion]) -> MeltingPoint | None:
    """Find the temperature at which interfaces stand still.

    The position of an interface is a random walk on top of its drift, so that the variance of
    a velocity falls with the duration of its run. How large it is comes from the scatter of the
    runs about the straight line, and so does the standard error of the temperature.

    Parameters
    ----------
    motions
        Those without a velocity are left out.

    Returns
    -------
    MeltingPoint or None
        None where fewer than three have a velocity, or where the solid does not grow slower
        as it gets hotter.
    """
    usable = [one for one in motions if np.isfinite(one.velocity)]
    if len({one.temperature for one in usable}) < 3:
        return None
    temperatures = np.array([one.temperature for one in usable])
    velocities = np.array([one.velocity for one in usable])
    weights = np.sqrt([one.duration for one in usable])
    centre = temperatures.mean()
    (slope, middle), covariance = np.polyfit(
        temperatures - centre, velocities, 1, w=weights, cov=True
    )
    if slope >= 0:
        return None
    gradient = np.array([middle / slope**2, -1.0 / slope])  # of -middle / slope
    return MeltingPoint(
        float(centre - middle / slope),
        float(np.sqrt(gradient @ covariance @ gradient)),
        float(slope),
        bool(velocities.min() < 0.0 < velocities.max()),
    )


# Crystals without surfaces stand about this much heat more than those that have them, when
# heated as fast as here (S.-N. Luo, T. J. Ahrens, Appl. Phys. Lett. 82, 1836 (2003)).
_SUPERHEATING = 1.25
# The first round looks for the temperature in a range of this half width, as a fraction.
_COARSE_WIDTH = 0.12
_COARSE_TEMPERATURES = 4
# Runs of earlier rounds count as far from the middle as this, in units of the half width.
_LINEAR = 2.0
# Length of the cell, in units of its edges along the interface.
_ASPECT = 2.5
# Atoms of the cells without interfaces, at most, and how long averages over them are, in units
# of the time of runs with an interface.
_SMALL_CELL = 500
_AVERAGED = 0.3


@dataclass(frozen=True, eq=False)
class Setting:
    """All that the runs of one crystal are made of.

    Parameters
    ----------
    name
        Of the crystal, in names of folders.
    dynamics
        How runs are made.
    small, long
        Cells of the crystal, one of them for an interface.
    config
        How many runs, how long.
    folder
        Keeps them.
    """

    name: str
    dynamics: Dynamics
    small: Atoms
    long: Atoms
    config: MeltingConfig
    folder: Path

    @classmethod
    def of(cls, phase: Crystal, model: LammpsModel, config: MeltingConfig, folder: Path) -> Setting:
        """Build the cells of a crystal.

        Parameters
        ----------
        phase
            The crystal, as guessed.
        model
            The potential.
        config, folder
            As the class holds them.
        """
        primitive = phase.primitive()
        dynamics = Dynamics(
            model,
            phase.hexagonal,
            primitive.get_volume() / len(primitive),
            1e-3 * (config.timestep or timestep_for(primitive)),
            config.ranks,
        )
        small, _ = orthogonal_supercell(phase, min(_SMALL_CELL, config.atoms))
        long = _long_cell(phase, config.atoms)
        return cls(phase.title, dynamics, small, long, config, folder)


@dataclass(frozen=True, eq=False)
class Melted:
    """What the search has found.

    Parameters
    ----------
    point
        The melting temperature.
    runs, motions
        What it is from.
    fusion
        Heat of fusion, eV/atom, and increase of the volume, as a fraction.
    precise
        Whether the standard error is as small as was asked for.
    """

    point: MeltingPoint
    runs: tuple[Coexistence, ...]
    motions: tuple[Motion, ...]
    fusion: tuple[float, float]
    precise: bool


def search(setting: Setting) -> Melted:
    """Find the melting temperature of a crystal.

    Parameters
    ----------
    setting
        The crystal, and how runs are made.

    Raises
    ------
    PropertyError
        There is no temperature near which the interface changes its direction.
    """
    config = setting.config
    if config.guess is not None:
        limit = _SUPERHEATING * config.guess
    else:
        limit = superheating_limit(
            setting.dynamics,
            setting.folder / f"{setting.name}_heated",
            setting.small,
            highest=config.highest,
            rate=config.heating,
            seed=_seed(config.seed),
        )
    point, runs, precise = _narrowed(setting, limit)
    fused = fusion(
        setting.dynamics,
        setting.folder / f"{setting.name}_fused",
        setting.small,
        temperature=point.temperature,
        hot=limit,
        time=_AVERAGED * config.time,
        seed=_seed(config.seed),
    )
    return Melted(point, tuple(runs), tuple(map(_motion, runs)), fused, precise)


def _narrowed(setting: Setting, limit: float) -> tuple[MeltingPoint, list[Coexistence], bool]:
    """Add rounds of runs until the temperature is precise enough.

    Returns
    -------
    tuple
        The temperature, the runs it is from, and whether it is precise enough.
    """
    config = setting.config
    centre, width = limit / _SUPERHEATING, _COARSE_WIDTH
    runs: list[Coexistence] = []
    rounds: list[float | None] = []
    best: tuple[MeltingPoint, list[Coexistence]] | None = None
    for number in range(config.rounds):
        fine = best is not None
        new = _round(setting, number, centre, width, limit, fine=fine)
        if new is None:
            centre *= 1.0 - width
            continue
        runs += new
        reach = _COARSE_WIDTH if not fine else _LINEAR * width
        near = [run for run in runs if abs(run.temperature / centre - 1.0) < 1.01 * reach]
        motions = [_motion(run) for run in near]
        point = melting_point(motions)
        if point is None or not point.bracketed:
            centre, width = _elsewhere(centre, width, motions)
            continue
        rounds.append(_round_point(new))
        point = replace(point, uncertainty=float(np.hypot(point.uncertainty, _shared(rounds))))
        if fine and point.uncertainty <= config.precision:
            return point, near, True
        best = point, near
        centre, width = point.temperature, config.width
    if best is None:
        raise PropertyError(
            f"the interface stands still at no temperature near {centre:.0f} K, where "
            f"{config.rounds} rounds of runs have come"
        )
    return *best, False


def _round(
    setting: Setting, number: int, centre: float, width: float, limit: float, *, fine: bool
) -> list[Coexistence] | None:
    """Run at several temperatures, from one cell; None if the crystal melted there."""
    config = setting.config
    start = setting.folder / f"{setting.name}_{number}_prepared"
    solid = prepared(
        setting.dynamics,
        start,
        setting.long,
        temperature=centre,
        hot=limit,
        seed=_seed(config.seed, number),
    )
    if solid is None:
        return None
    count = config.temperatures if fine else _COARSE_TEMPERATURES
    return [
        coexistence(
            setting.dynamics,
            setting.folder / f"{setting.name}_{number}_{index}_{temperature:.0f}K",
            setting.long,
            start,
            temperature=float(temperature),
            time=config.time if fine else config.time / 2,
            seed=_seed(config.seed, number, index),
        )
        for index, temperature in enumerate(centre * (1 + np.linspace(-width, width, count)))
    ]


def _long_cell(phase: Crystal, atoms: int) -> Atoms:
    """Build a cell of about so many atoms, long along z.

    The interface of cubic crystals is (001), that of hcp (11-20): rough, without facets.
    """
    unit = phase.host(phase.primitive()).atoms()
    if phase.hexagonal:
        order = [1, 2, 0]
        unit.set_cell(unit.cell.lengths()[order])
        unit.set_positions(unit.positions[:, order])
    edge = (atoms * unit.get_volume() / len(unit) / _ASPECT) ** (1 / 3)
    wanted = np.array([edge, edge, _ASPECT * edge]) / unit.cell.lengths()
    return unit.repeat(tuple(int(n) for n in np.maximum(2, np.round(wanted))))


def _seed(*numbers: int) -> int:
    """Make a seed for LAMMPS of some numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0]) % 900_000_000 + 1


def _round_point(runs: Sequence[Coexistence]) -> float | None:
    """Find the melting temperature by the runs of one round alone, K; None if they tell none."""
    point = melting_point([_motion(run) for run in runs])
    return point.temperature if point is not None and point.bracketed else None


def _shared(rounds: Sequence[float | None]) -> float:
    """Give the standard error of a mean over rounds, K.

    The runs of a round begin from one cell, so that the errors this brings do not show in their
    scatter about the straight line, but from round to round.
    """
    found = [one for one in rounds if one is not None]
    return float(np.std(found, ddof=1) / np.sqrt(len(found))) if len(found) > 1 else 0.0


def _motion(run: Coexistence) -> Motion:
    return interface_motion(run.time, run.solid, float(run.length.mean()), run.temperature)


def _elsewhere(centre: float, width: float, motions: Sequence[Motion]) -> tuple[float, float]:
    """Say where the next round has to be, as some runs did not tell velocities of both signs."""
    grown = [m.ended == "solid" if np.isnan(m.velocity) else m.velocity > 0.0 for m in motions]
    if all(grown) or not any(grown):
        return centre * (1.0 + width if all(grown) else 1.0 - width), width
    cold = max(m.temperature for m, grew in zip(motions, grown, strict=True) if grew)
    hot = min(m.temperature for m, grew in zip(motions, grown, strict=True) if not grew)
    return (cold + hot) / 2.0, width / 2.0


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
        None, description="without effect: runs go one after another; give them more ranks"
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


@register_property(MeltingConfig, engine="lammps", seconds=1000.0, draw=draw_melting)
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
    values: dict[str, Value] = {}
    curves: dict[str, Curve] = {}
    structures, warnings = [], []
    for phase in config.phases:
        try:
            melted = search(Setting.of(phase, model, config, folder))
        except PropertyError as error:
            warnings.append(f"{phase.title}: {error}")
            continue
        values |= _values(phase, melted)
        curves |= _curves(phase, melted)
        structures.append(_snapshot(phase, melted))
        warnings.extend(f"{phase.title}: {text}" for text in _remarks(phase, melted, config))
    if not values:
        raise PropertyError("; ".join(warnings))
    return config.result(values, curves=curves, structures=structures, warnings=warnings)


def _remarks(phase: Crystal, melted: Melted, config: MeltingConfig) -> list[str]:
    """Say what a reader has to know about the runs that the temperature is from."""
    remarks = []
    if not melted.precise:
        remarks.append(
            f"the standard error is above {config.precision:g} K after {config.rounds} rounds"
        )
    shares = _shares(melted.runs)
    if shares[phase.lattice] < _RETAINED:
        ended = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())
        remarks.append(f"the crystal transformed; its atoms ended as {ended}")
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
