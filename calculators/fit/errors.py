"""Errors of a potential on labelled data, in the measures that papers compare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.units import GPa

from pescape.calculators.fit.data import training_set
from pescape.calculators.fit.loss import residuals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from pescape.calculators.fit.data import TrainingSet
    from pescape.calculators.fit.loss import Residuals
    from pescape.calculators.potential import Potential

    Floats = NDArray[np.float64]

# Forces shorter than this (eV/Å) have no direction worth comparing.
_SHORT_FORCE = 0.05


@dataclass(frozen=True)
class Errors:
    """Mean absolute and root mean square errors.

    Parameters
    ----------
    configurations, atoms
        How many they are averaged over.
    energy_mae, energy_rmse
        meV/atom.
    force_mae, force_rmse
        Of the Cartesian components, eV/Å.
    force_max
        Largest error vector, eV/Å.
    force_angle
        Mean angle between predicted and labelled forces longer than 0.05 eV/Å, degrees;
        None if there are none.
    stress_mae, stress_rmse
        Of the six components, GPa; None without labelled stresses.
    """

    configurations: int
    atoms: int
    energy_mae: float
    energy_rmse: float
    force_mae: float
    force_rmse: float
    force_max: float
    force_angle: float | None
    stress_mae: float | None
    stress_rmse: float | None


def evaluate(potential: Potential, configurations: Sequence[Atoms], *, threads: int = 1) -> Errors:
    """Compare a potential with labelled configurations.

    Parameters
    ----------
    potential
        Trained, and naming its species.
    configurations
        With energy, forces and, where they are periodic, stress.
    threads
        OpenMP threads.

    Returns
    -------
    Errors
    """
    data = training_set(configurations, potential.species, potential.cutoff)
    return errors_of(potential, data, threads=threads)


def errors_of(potential: Potential, data: TrainingSet, *, threads: int = 1) -> Errors:
    """Compare a potential with data that is in arrays already."""
    return errors_from(residuals(potential, data, threads), data)


def errors_from(
    delta: Residuals, data: TrainingSet, chosen: NDArray[np.bool_] | None = None
) -> Errors:
    """Sum up residuals.

    Parameters
    ----------
    delta
        Of the whole data set.
    data
        The labels.
    chosen
        Which configurations count, shape (C,); by default all.
    """
    if chosen is None:
        chosen = np.ones(len(data), dtype=bool)
    atoms, stressed = np.repeat(chosen, data.sizes), chosen & data.has_virial
    energies = 1000.0 * delta.energies[chosen] / data.sizes[chosen]
    forces = delta.forces[atoms]
    stress: Floats | None = None
    if stressed.any():
        stress = delta.virials[stressed] / data.volumes[stressed, None] / GPa
    return Errors(
        configurations=int(chosen.sum()),
        atoms=len(forces),
        energy_mae=float(np.abs(energies).mean()),
        energy_rmse=_rms(energies),
        force_mae=float(np.abs(forces).mean()),
        force_rmse=_rms(forces),
        force_max=float(np.linalg.norm(forces, axis=1).max()),
        force_angle=_mean_angle(data.forces[atoms], data.forces[atoms] + forces),
        stress_mae=None if stress is None else float(np.abs(stress).mean()),
        stress_rmse=None if stress is None else _rms(stress),
    )


def _rms(values: Floats) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _mean_angle(labelled: Floats, predicted: Floats) -> float | None:
    a, b = np.linalg.norm(labelled, axis=1), np.linalg.norm(predicted, axis=1)
    long = (a > _SHORT_FORCE) & (b > 0.0)
    if not long.any():
        return None
    cosine = np.einsum("ij,ij->i", labelled[long], predicted[long]) / (a[long] * b[long])
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))).mean())
