"""Minimum-energy paths between two structures by climbing nudged elastic bands."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.geometry import find_mic
from ase.mep.neb import NEB, NEBOptimizer
from ase.optimize.sciopt import OptimizerConvergenceError
from pydantic import Field, PositiveFloat, PositiveInt

from pescape.config import Strict
from pescape.validation.result import Curve, PropertyError, snapshot

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator

# The band straightens out at first without an image that climbs, down to this force, eV/Å.
_COARSE = 0.1
# Dips between images that are shallower (eV) are noise.
_DIP = 1e-3


class BandConfig(Strict):
    """How paths are found."""

    images: PositiveInt = Field(5, description="between the ends")
    spring: PositiveFloat = Field(1.0, description="eV/Å²")
    fmax: PositiveFloat = Field(0.005, description="largest force component left, eV/Å")
    steps: PositiveInt = Field(300, description="more mean that the property fails")


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
        Images between the ends that are lower than both neighbours.
    curve
        Energy above the first image against the length of the path.
    """

    images: tuple[Atoms, ...]
    barrier: float
    reverse: float
    minima: int
    curve: Curve


def minimum_energy_path(
    first: Atoms, last: Atoms, calculator: BaseCalculator, config: BandConfig, *, name: str
) -> Path:
    """Find the path between two minima.

    Parameters
    ----------
    first, last
        Relaxed, with energies and forces; atoms in the same order, moved without detours.
    calculator
        Evaluates one image after the other.
    config
        How to go about it.
    name
        Of the path, for errors and the images.

    Returns
    -------
    Path
    """
    images = [first, *(first.copy() for _ in range(config.images)), last]
    for image in images[1:-1]:
        image.calc = calculator
    band = NEB(images, k=config.spring, method="improvedtangent", allow_shared_calculator=True)
    band.interpolate(mic=True)
    _converge(band, config, name)
    between = [snapshot(image, f"{name}_{n}") for n, image in enumerate(images[1:-1], 1)]
    return _path([first, *between, last])


def _converge(band: NEB, config: BandConfig, name: str) -> None:
    """Relax a band, at first without and then with an image that climbs."""
    for climb, fmax in ((False, max(_COARSE, config.fmax)), (True, config.fmax)):
        band.climb = climb
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of steps that the integrator takes back
                converged = NEBOptimizer(band, logfile=None).run(fmax=fmax, steps=config.steps)
        except OptimizerConvergenceError as error:
            raise PropertyError(f"{name}: the band does not converge ({error})") from error
        if not converged:
            raise PropertyError(f"{name}: the band has not converged after {config.steps} steps")


def _path(images: list[Atoms]) -> Path:
    energies = np.array([image.get_potential_energy() for image in images])
    energies -= energies[0]
    highest = int(energies.argmax())
    inner = energies[1:-1]
    dips = (inner < energies[:-2] - _DIP) & (inner < energies[2:] - _DIP)
    steps = [
        np.linalg.norm(find_mic(b.positions - a.positions, a.cell, a.pbc)[0])
        for a, b in itertools.pairwise(images)
    ]
    length = np.concatenate(([0.0], np.cumsum(steps)))
    return Path(
        images=tuple(images),
        barrier=float(energies[highest]),
        reverse=float(energies[highest] - energies[-1]),
        minima=int(dips.sum()),
        curve=Curve(length, energies, "path (Å)", "energy (eV)"),
    )
