"""Minimum-energy paths between two structures by climbing nudged elastic bands."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING
from warnings import catch_warnings, simplefilter

import numpy as np
from ase.geometry import find_mic
from ase.mep.neb import NEB, NEBOptimizer
from ase.optimize import FIRE
from ase.optimize.sciopt import OptimizerConvergenceError
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from pescape.config import Strict
from pescape.plugins.structures.crystals import enforce_min_distance
from pescape.validation.property import (
    Curve,
    Floats,
    PropertyConfig,
    PropertyError,
    PropertyResult,
    Value,
    snapshot,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator

# The band straightens out at first without an image that climbs, down to this force, eV/Å.
_COARSE_FMAX = 0.1
# Dips between images that are shallower (eV) are noise.
_DIP_DEPTH = 1e-3
# Ends of a path between equivalent structures that differ by more than this (eV) are not.
_END_DIFFERENCE = 1e-3
# Atoms whose places at both ends are farther apart (Å) take part in the jump.
_JUMP_DISTANCE = 0.1


class BandConfig(Strict):
    """How paths are found."""

    images: PositiveInt = Field(5, description="between the ends")
    spring: PositiveFloat = Field(1.0, description="eV/Å²")
    fmax: PositiveFloat = Field(0.005, description="largest force component left, eV/Å")
    steps: PositiveInt = Field(300, description="more mean that the path is not found")
    rattle: NonNegativeFloat = Field(
        0.0,
        description="of the atoms that jump, Å, so that symmetry does not hold the images",
    )
    seed: NonNegativeInt = 0


@dataclass(frozen=True, eq=False)
class Path:
    """A minimum-energy path.

    Parameters
    ----------
    images
        From end to end, with energies and forces.
    barrier, reverse
        Height of the saddle above the first and the last image, eV.
    minima
        Images between the ends that are lower than both neighbors.
    curve
        Energy above the first image against the length of the path.
    """

    images: tuple[Atoms, ...]
    barrier: float
    reverse: float
    minima: int
    curve: Curve

    @property
    def span(self) -> float:
        """Height of the saddle above the lowest image, eV: the barrier if that is the first."""
        return float(np.ptp(self.curve.y))

    @property
    def remarks(self) -> tuple[str, ...]:
        """Say what is odd about a path between structures that ought to be alike."""
        remarks = []
        if abs(self.barrier - self.reverse) > _END_DIFFERENCE:
            remarks.append(f"its ends differ by {self.barrier - self.reverse:.2g} eV")
        lowest = float(self.curve.y.min())
        if lowest < min(0.0, self.barrier - self.reverse) - _DIP_DEPTH:
            remarks.append(f"it runs down to {-lowest:.2g} eV below its first image")
        return tuple(remarks)


def minimum_energy_path(
    first: Atoms,
    last: Atoms,
    calculator: BaseCalculator,
    config: BandConfig,
    *,
    name: str,
    min_distance: float = 0.0,
    wrapped: bool = True,
) -> Path:
    """Find the path between two minima.

    Parameters
    ----------
    first, last
        Relaxed, with energies and forces; atoms in the same order. Constraints of the first
        hold along the path.
    calculator
        Evaluates one image after the other.
    config
        How to go about it.
    name
        Of the path, for errors and the images.
    min_distance
        Atoms that straight ways bring nearer than this, Å, are pushed apart before.
    wrapped
        Atoms go to the nearest image of their last position; else to that position.
    """
    images = [first, *(first.copy() for _ in range(config.images)), last]
    band = NEB(images, k=config.spring, method="improvedtangent", allow_shared_calculator=True)
    band.interpolate(mic=wrapped)
    chance = np.random.default_rng(config.seed)
    jumps = _distances(first, last) > _JUMP_DISTANCE
    for image in images[1:-1]:
        if min_distance:
            enforce_min_distance(image, min_distance)
        shift = chance.normal(scale=config.rattle, size=image.positions.shape)
        # Through the method, which leaves atoms that are held where they are.
        image.set_positions(image.positions + jumps[:, None] * shift)
        image.calc = calculator
    _converge(band, config, name)
    between = [snapshot(image, f"{name}_{n}") for n, image in enumerate(images[1:-1], 1)]
    return path_of([first, *between, last])


def _converge(band: NEB, config: BandConfig, name: str) -> None:
    """Relax a band, at first without and then with an image that climbs."""
    _relax(band, max(_COARSE_FMAX, config.fmax), config.steps)
    # No image climbs on a band that hangs between its ends: it would run to one of them.
    band.climb = _has_summit(band)
    left = _relax(band, config.fmax, config.steps)
    if not left <= config.fmax:
        raise PropertyError(
            f"{name}: the band has not converged after {config.steps} steps, "
            f"a force of {left:.3g} eV/Å is left"
        )


def _relax(band: NEB, fmax: float, steps: int) -> float:
    """Take steps until no force is larger than `fmax`; give the largest that is left, eV/Å."""
    optimizer = NEBOptimizer(band, logfile=None)
    with catch_warnings(), contextlib.suppress(OptimizerConvergenceError):
        simplefilter("ignore")  # of steps that the integrator takes back
        optimizer.run(fmax=fmax, steps=steps)
    # It counts a band that has used up its steps as converged, and gives up where forces jump,
    # as they do when another image begins to climb. FIRE is slower and gets over that.
    left = float(optimizer.get_residual())
    if np.isfinite(left) and left > fmax and optimizer.nsteps < steps:
        FIRE(band, logfile=None).run(fmax=fmax, steps=steps - optimizer.nsteps)  # type: ignore[arg-type]
        left = float(optimizer.get_residual())
    return left


def _has_summit(band: NEB) -> bool:
    """Tell whether an image between the ends is higher than both."""
    energies = [image.get_potential_energy() for image in band.images]
    return max(energies[1:-1]) > max(energies[0], energies[-1])


def path_of(images: Sequence[Atoms]) -> Path:
    """Describe a path.

    Parameters
    ----------
    images
        From end to end, with energies.
    """
    energies = np.array([image.get_potential_energy() for image in images])
    energies -= energies[0]
    highest = int(energies.argmax())
    return Path(
        images=tuple(images),
        barrier=float(energies[highest]),
        reverse=float(energies[highest] - energies[-1]),
        minima=_minima_between(energies),
        curve=Curve(_path_lengths(images), energies, "path (Å)", "energy (eV)"),
    )


def _minima_between(energies: Floats) -> int:
    """Count the images of a path between its ends that are lower than both neighbors."""
    inner = energies[1:-1]
    return int(((inner < energies[:-2] - _DIP_DEPTH) & (inner < energies[2:] - _DIP_DEPTH)).sum())


def _path_lengths(images: Sequence[Atoms]) -> Floats:
    """Give the way from the first image to each, Å; shape (images,)."""
    steps = [np.linalg.norm(_distances(a, b)) for a, b in itertools.pairwise(images)]
    return np.concatenate(([0.0], np.cumsum(steps)))


def _distances(one: Atoms, other: Atoms) -> Floats:
    """Give how far each atom of a structure is from that of another, Å; shape (atoms,)."""
    lengths: Floats = find_mic(other.positions - one.positions, one.cell, one.pbc)[1]
    return lengths


def migration_result(
    config: PropertyConfig,
    paths: Mapping[str, Callable[[], Path]],
    *,
    spans: bool = False,
    remarks: Sequence[str] = (),
) -> PropertyResult:
    """Find the paths of jumps; those that are not found are left out, with a warning.

    Parameters
    ----------
    config
        Of the property.
    paths
        Find the path of each jump, by name.
    spans
        Give the spans too.
    remarks
        On what the jumps have in common.

    Returns
    -------
    PropertyResult
        By jump the barrier (eV), and with ``_minima`` added, the number of minima between the
        ends; with ``_span`` added, the span (eV).
    """
    values: dict[str, Value] = {}
    curves: dict[str, Curve] = {}
    structures: list[Atoms] = []
    warnings = list(remarks)
    for name, find in paths.items():
        try:
            path = find()
        except PropertyError as error:
            warnings.append(str(error))
            continue
        values |= {name: Value(path.barrier, "eV"), f"{name}_minima": Value(float(path.minima))}
        if spans:
            values[f"{name}_span"] = Value(path.span, "eV")
        curves[name] = path.curve
        structures += [one for one in path.images if one not in structures]
        warnings += [f"{name}: {remark}" for remark in path.remarks]
    if not values:
        raise PropertyError("; ".join(warnings))
    return config.result(values, curves=curves, structures=structures, warnings=warnings)
