"""The loss of MLIP-3, and the residuals it is made of.

L = mean over configurations of w_E ΔE²/N + w_F Σ|ΔF|² + w_S Σ ΔW²/N, with the energy E in eV,
forces F in eV/Å and the nine components of the virial W = -stress × volume in eV.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pescape.calculators.activeset import SitePotential
    from pescape.calculators.fitting.data import TrainingSet

    Floats = NDArray[np.float64]

# Off-diagonal components of a Voigt vector stand for two of a symmetric matrix.
_VOIGT_COUNT = np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])


@dataclass(frozen=True)
class Weights:
    """Weights of energies (1/eV²), forces (Å²/eV²) and virials (1/eV²) in the loss."""

    energy: float = 1.0
    force: float = 0.01
    stress: float = 0.001

    def __post_init__(self) -> None:
        for name in ("energy", "force", "stress"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0.0):
                raise ValueError(f"{name} weight {value} is not a number ≥ 0")
        if self.energy == self.force == self.stress == 0.0:
            raise ValueError("all weights of the loss are zero")


@dataclass(frozen=True, eq=False)
class Residuals:
    """Predicted minus labelled: energies (C,) eV, forces (n, 3) eV/Å, virials (C, 6) eV."""

    energies: Floats
    forces: Floats
    virials: Floats


def residuals(potential: SitePotential, data: TrainingSet, threads: int = 1) -> Residuals:
    """Evaluate a potential on a data set and subtract the labels."""
    sites, forces, virials = potential.kernel().evaluate(*data.geometry, threads)
    first = data.first[:-1]
    return Residuals(
        np.add.reduceat(sites, first) - data.energies,
        forces - data.forces,
        np.where(data.has_virial[:, None], np.add.reduceat(virials, first) - data.virials, 0.0),
    )


def loss(potential: SitePotential, data: TrainingSet, weights: Weights, threads: int = 1) -> float:
    """Value of the loss."""
    return loss_value(residuals(potential, data, threads), data, weights)


def loss_value(delta: Residuals, data: TrainingSet, weights: Weights) -> float:
    """Value of the loss, from the residuals."""
    total = weights.energy * np.sum(delta.energies**2 / data.sizes)
    total += weights.force * np.sum(delta.forces**2)
    total += weights.stress * np.sum(delta.virials**2 @ _VOIGT_COUNT / data.sizes)
    return float(total / len(data))


def row_scales(data: TrainingSet, weights: Weights) -> tuple[Floats, float, Floats]:
    """Factors that turn residuals into least-squares rows.

    Returns
    -------
    tuple
        For energies (C,), for all forces, for virials (C, 6): the loss is the sum of the
        squares of the residuals times these.
    """
    scale = 1.0 / len(data)
    return (
        np.sqrt(weights.energy * scale / data.sizes),
        float(np.sqrt(weights.force * scale)),
        np.sqrt(weights.stress * scale / data.sizes[:, None] * _VOIGT_COUNT),
    )
