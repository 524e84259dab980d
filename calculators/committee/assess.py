"""Predicted errors beside true ones, of labeled data: coverage and rank correlation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import spearmanr

from pescape.calculators.committee.model import ErrorModel, ErrorPredictor
from pescape.calculators.fit.data import training_set

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from pescape.calculators.potential import Potential

    Floats = NDArray[np.float64]

# Resampled data sets for an error bar.
_RESAMPLES = 200


@dataclass(frozen=True, eq=False)
class Assessment:
    """True and predicted errors of labeled configurations.

    Parameters
    ----------
    force_errors, force_bounds
        Norm of the error of each atom's force and what was predicted to be above 90 % of them,
        eV/Å, shape (n,).
    energy_errors, energy_bounds
        Absolute error of each configuration's energy and its bound, eV, shape (C,).
    sizes
        Atoms per configuration, shape (C,).
    coverage
        Share of errors that bounds should be above.
    """

    force_errors: Floats
    force_bounds: Floats
    energy_errors: Floats
    energy_bounds: Floats
    sizes: NDArray[np.int64]
    coverage: float

    @property
    def force_coverage(self) -> float:
        """Share of atoms whose error is below its bound."""
        return float(np.mean(self.force_errors <= self.force_bounds))

    @property
    def force_coverage_error(self) -> float:
        """Standard deviation of that share, by resampling of configurations (bootstrap)."""
        covered = np.add.reduceat(
            (self.force_errors <= self.force_bounds).astype(float),
            np.cumsum(self.sizes) - self.sizes,
        )
        count = len(self.sizes)
        drawn = np.random.default_rng(0).integers(count, size=(_RESAMPLES, count))
        return float(np.std(covered[drawn].sum(axis=1) / self.sizes[drawn].sum(axis=1)))

    @property
    def energy_coverage(self) -> float:
        """Share of configurations whose error is below its bound."""
        return float(np.mean(self.energy_errors <= self.energy_bounds))

    @property
    def rank_correlation(self) -> float | None:
        """Spearman's, of true and predicted errors of forces; None where all are the same."""
        if not (np.ptp(self.force_errors) and np.ptp(self.force_bounds)):
            return None
        return float(spearmanr(self.force_errors, self.force_bounds).statistic)

    def summary(self) -> dict[str, Any]:
        """Return what JSON can hold of it."""
        return {
            "expected": self.coverage,
            "force_coverage": self.force_coverage,
            "force_coverage_error": self.force_coverage_error,
            "energy_coverage": self.energy_coverage,
            "rank_correlation": self.rank_correlation,
            "median_force_bound": float(np.median(self.force_bounds)),
        }


def assess(
    potential: Potential, model: ErrorModel, configurations: Sequence[Atoms], *, threads: int = 1
) -> Assessment:
    """Compare predicted with true errors.

    Parameters
    ----------
    potential, model
        The potential and its committee.
    configurations
        With energy and forces.
    threads
        OpenMP threads.
    """
    data = training_set(configurations, potential.species, potential.cutoff)
    arguments = (*data.geometry, threads)
    sites, forces, _ = potential.kernel().evaluate(*arguments)
    predicted = ErrorPredictor(model, potential).predict(arguments, (sites, forces), data.first)
    energies = np.add.reduceat(sites, data.first[:-1])
    return Assessment(
        force_errors=np.linalg.norm(forces - data.forces, axis=1),
        force_bounds=predicted.forces,
        energy_errors=np.abs(energies - data.energies),
        energy_bounds=predicted.energies,
        sizes=data.sizes,
        coverage=model.calibration.coverage,
    )
