"""The loss of MLIP-3, and the residuals it is made of.

L = mean over configurations of k [w_E ΔE²/Nᵃ + w_F Σ|ΔF|²/Nᵇ + w_S Σ ΔW²/Nᵃ], with the energy E
in eV, forces F in eV/Å, the nine components of the virial W = -stress × volume in eV and the
weight k of the configuration. The powers of the number of atoms N are MLIP's ways of weighting.

Beyond MLIP's, w_S may fall with the forces: w_S / (1 + <F²>/F₀²), with the mean of the squared
labels of a configuration. Errors of stresses grow with temperature; so those of cold strained
cells, which tell the elastic constants, are not drowned by those of hot ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pescape.calculators.fit.data import TrainingSet
    from pescape.calculators.potential import Potential

    Floats = NDArray[np.float64]

Weighting = Literal["vibrations", "molecules", "structures"]

# Powers a (energies and virials) and b (forces) of the number of atoms; MLIP-3 calls them
# weight_scaling and weight_scaling_forces.
_POWERS: dict[str, tuple[int, int]] = {
    "vibrations": (1, 0),
    "molecules": (0, 0),
    "structures": (2, 1),
}
# Off-diagonal components of a Voigt vector stand for two of a symmetric matrix.
_VOIGT_COUNT = np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])


@dataclass(frozen=True)
class Weights:
    """What counts how much in the loss.

    Parameters
    ----------
    energy, force, stress
        Weights of energies (1/eV²), forces (Å²/eV²) and virials (1/eV²).
    weighting
        How configurations of different size compare, as MLIP has it. "vibrations": an error of
        the energy of one atom counts the same in all, for molecular dynamics; "molecules": the
        energy of the whole counts, for binding energies; "structures": the energy per atom does,
        for formation energies.
    stress_force
        F₀, eV/Å; None where the stresses of all configurations count alike.
    """

    energy: float = 1.0
    force: float = 0.01
    stress: float = 0.001
    weighting: Weighting = "vibrations"
    stress_force: float | None = None

    def __post_init__(self) -> None:
        for name in ("energy", "force", "stress"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0.0):
                raise ValueError(f"{name} weight {value} is not a number ≥ 0")
        if self.stress_force is not None and not self.stress_force > 0.0:
            raise ValueError(f"stress_force {self.stress_force} is not above 0 eV/Å")
        if self.energy == self.force == self.stress == 0.0:
            raise ValueError("all weights of the loss are zero")
        if self.weighting not in _POWERS:
            raise ValueError(f"weighting {self.weighting!r} is none of {', '.join(_POWERS)}")


@dataclass(frozen=True, eq=False)
class Residuals:
    """Predicted minus labeled: energies (C,) eV, forces (n, 3) eV/Å, virials (C, 6) eV."""

    energies: Floats
    forces: Floats
    virials: Floats


def residuals(potential: Potential, data: TrainingSet, threads: int = 1) -> Residuals:
    """Evaluate a potential on a data set and subtract the labels.

    Parameters
    ----------
    potential
        Trained.
    data
        Configurations and labels.
    threads
        OpenMP threads.
    """
    sites, forces, virials = potential.kernel().evaluate(*data.geometry, threads)
    first = data.first[:-1]
    return Residuals(
        np.add.reduceat(sites, first) - data.energies,
        forces - data.forces,
        np.where(data.has_virial[:, None], np.add.reduceat(virials, first) - data.virials, 0.0),
    )


def loss(potential: Potential, data: TrainingSet, weights: Weights, threads: int = 1) -> float:
    """Compute the loss.

    Parameters
    ----------
    potential, data, threads
        As of `residuals`.
    weights
        Of energies, forces and virials.
    """
    return loss_value(residuals(potential, data, threads), data, weights)


def loss_value(delta: Residuals, data: TrainingSet, weights: Weights) -> float:
    """Compute the loss from the residuals.

    Parameters
    ----------
    delta
        Of the data.
    data
        Says how much configurations count.
    weights
        Of energies, forces and virials.
    """
    energy, force, virial = factors(data, weights)
    total = energy @ delta.energies**2
    total += np.repeat(force, data.sizes) @ np.sum(delta.forces**2, axis=1)
    total += virial @ (delta.virials**2 @ _VOIGT_COUNT)
    return float(total)


def factors(data: TrainingSet, weights: Weights) -> tuple[Floats, Floats, Floats]:
    """Compute the factors of squared residuals in the loss: of energies, forces, virials, (C,).

    Parameters
    ----------
    data
        Says how much configurations count.
    weights
        Of energies, forces and virials.
    """
    whole, each = (data.factors / data.sizes.astype(float) ** n for n in _POWERS[weights.weighting])
    calm: Floats | float = 1.0
    if weights.stress_force is not None:
        calm = 1.0 / (1.0 + data.mean_square_forces / weights.stress_force**2)
    energy = weights.energy if data.has_energies else 0.0
    return energy * whole, weights.force * each, weights.stress * calm * whole


def row_scales(data: TrainingSet, weights: Weights) -> tuple[Floats, Floats, Floats]:
    """Compute the factors that turn residuals into least-squares rows.

    Parameters
    ----------
    data, weights
        As of `factors`.

    Returns
    -------
    tuple
        For energies (C,), forces (C,) and virials (C, 6): the loss is the sum of the squares of
        the residuals times these.
    """
    energy, force, virial = factors(data, weights)
    return np.sqrt(energy), np.sqrt(force), np.sqrt(virial[:, None] * _VOIGT_COUNT)
