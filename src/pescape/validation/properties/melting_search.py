"""The search for the temperature at which a crystal and its liquid keep their balance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pescape.validation.properties.coexistence import (
    Coexistence,
    coexistence,
    fusion,
    prepared,
    superheating_limit,
)
from pescape.validation.properties.dynamics import orthogonal_supercell, timestep_for
from pescape.validation.properties.melting_runs import Dynamics
from pescape.validation.properties.moving_interface import (
    MeltingPoint,
    Motion,
    interface_motion,
    melting_point,
)
from pescape.validation.result import PropertyError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    from ase import Atoms

    from pescape.validation.crystals import Crystal
    from pescape.validation.lammps import LammpsModel
    from pescape.validation.properties.melting import MeltingConfig

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
_FEW = 500
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
    executor
        Where they run.
    """

    name: str
    dynamics: Dynamics
    small: Atoms
    long: Atoms
    config: MeltingConfig
    folder: Path
    executor: Executor

    @classmethod
    def of(
        cls,
        phase: Crystal,
        model: LammpsModel,
        config: MeltingConfig,
        folder: Path,
        executor: Executor,
    ) -> Setting:
        """Build the cells of a crystal."""
        primitive = phase.primitive()
        dynamics = Dynamics(
            model,
            phase.hexagonal,
            primitive.get_volume() / len(primitive),
            1e-3 * (config.timestep or timestep_for(primitive)),
            config.ranks,
        )
        small, _ = orthogonal_supercell(phase, min(_FEW, config.atoms))
        long = _long_cell(phase, config.atoms)
        return cls(phase.title, dynamics, small, long, config, folder, executor)


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
    limit = _SUPERHEATING * config.guess if config.guess is not None else _limit(setting)
    point, runs, precise = _narrowed(setting, limit)
    fused = setting.executor.submit(
        fusion,
        setting.dynamics,
        setting.folder / f"{setting.name}_fused",
        setting.small,
        temperature=point.temperature,
        hot=limit,
        time=_AVERAGED * config.time,
        seed=_seed(config.seed),
    ).result()
    return Melted(point, tuple(runs), tuple(map(_motion, runs)), fused, precise)


def _limit(setting: Setting) -> float:
    """Find where the crystal melts without an interface."""
    config = setting.config
    return setting.executor.submit(
        superheating_limit,
        setting.dynamics,
        setting.folder / f"{setting.name}_heated",
        setting.small,
        highest=config.highest,
        rate=config.heating,
        seed=_seed(config.seed),
    ).result()


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
    solid = setting.executor.submit(
        prepared,
        setting.dynamics,
        start,
        setting.long,
        temperature=centre,
        hot=limit,
        seed=_seed(config.seed, number),
    ).result()
    if solid is None:
        return None
    count = config.temperatures if fine else _COARSE_TEMPERATURES
    pending = [
        setting.executor.submit(
            coexistence,
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
    return [one.result() for one in pending]


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
