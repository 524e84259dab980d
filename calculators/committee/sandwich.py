"""Committees of a least-squares fit: its parameters had the configurations been others.

Drawing configurations anew (bootstrap) changes the parameters by A⁻¹ Σ (w - 1) g to first order,
where g is a configuration's share of the gradient, A the matrix of the normal equations of all,
and w how often the configuration was drawn: their covariance is A⁻¹ (Σ g gᵀ) A⁻¹. Unlike the
posterior σ² A⁻¹ it holds for models that cannot describe the data, as potentials cannot. The K
members stand for this covariance: each is the sum of every K-th of its principal components, in
the metric of A, with random signs. Nothing has to be fitted again.

The normal equations without a fold of the configurations give parameters that have not seen it:
errors on it are those that a calibration needs.

References
----------
H. White, Econometrica 48, 817 (1980), for the covariance; B. Efron, J. R. Stat. Soc. B 54, 83
(1992), for the bootstrap to first order; F. Musil, M. J. Willatt, M. A. Langovoy and M. Ceriotti,
J. Chem. Theory Comput. 15, 906 (2019), for calibrated committees by resampling.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pescape.calculators.committee.calibration import (
    COVERAGE,
    Calibration,
    energy_spread,
    force_spread,
)
from pescape.calculators.committee.model import ErrorModel
from pescape.calculators.fit.loss import residuals
from pescape.calculators.fit.normalized import column_lengths

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from pescape.calculators.fit.data import TrainingSet
    from pescape.calculators.potential import Potential

    Floats = NDArray[np.float64]

#: Fewer configurations say nothing of how a committee's spread compares with errors.
FEWEST = 10


@dataclass(frozen=True, eq=False)
class Changes:
    """Changes of parameters, relative to what all of the data says.

    Parameters
    ----------
    members
        Of the members of a committee, shape (K, m).
    unseen
        Without each fold, shape (F, m).
    folds
        Which fold a configuration is in, shape (C,).
    """

    members: Floats
    unseen: Floats
    folds: NDArray[np.int64]


def changes(
    systems: Iterable[tuple[Floats, Floats]],
    count: int,
    *,
    members: int,
    folds: int,
    damping: float,
    seed: int = 0,
) -> Changes:
    """Solve for what the parameters would be, had the data been another.

    Parameters
    ----------
    systems
        Of each configuration in turn JᵀJ (m, m) and Jᵀr (m,), of the rows' Jacobian J by the
        parameters and their residuals r, labels minus predictions.
    count
        Number C of configurations.
    members
        K.
    folds
        F, of about the same size.
    damping
        Added to the normal equations, which are scaled to a diagonal of ones, times their largest
        eigenvalue.
    seed
        Of the folds and the signs.
    """
    rng = np.random.default_rng(seed)
    fold_of = rng.permutation(count) % min(folds, count)
    by_fold: dict[int, Floats] = {}
    slopes = []
    for fold, (matrix, slope) in zip(fold_of.tolist(), systems, strict=True):
        by_fold[fold] = by_fold[fold] + matrix if fold in by_fold else matrix
        slopes.append(slope)
    pieces = np.array(slopes)
    whole = _Solver(np.sum(list(by_fold.values()), axis=0), damping)
    here = whole.solved(pieces.sum(axis=0))
    unseen = []
    for fold in range(len(by_fold)):
        rest = _Solver(whole.matrix - by_fold[fold], damping, whole.lengths)
        unseen.append(rest.solved(pieces[fold_of != fold].sum(axis=0)) - here)
    white = whole.whitened(pieces - pieces.mean(axis=0))
    _, sizes, directions = np.linalg.svd(white, full_matrices=False)
    components = (sizes * rng.choice([-1.0, 1.0], len(sizes)))[:, None] * directions
    parts = [components[k::members].sum(axis=0) for k in range(min(members, len(sizes)))]
    found = np.sqrt(len(parts)) * np.array([whole.unwhitened(part) for part in parts])
    return Changes(found, np.array(unseen), fold_of)


class _Solver:
    """Normal equations, damped, with their square root."""

    def __init__(self, matrix: Floats, damping: float, lengths: Floats | None = None) -> None:
        self.matrix = matrix
        if lengths is None:
            lengths = column_lengths(matrix)
        self.lengths = lengths
        values, self._vectors = np.linalg.eigh(matrix / np.outer(lengths, lengths))
        least = damping * max(float(values[-1]), np.finfo(float).tiny)
        self._roots = np.sqrt(np.maximum(values, 0.0) + least)

    def whitened(self, slopes: Floats) -> Floats:
        """Return A^(-1/2) times slopes (…, m), in the basis of the eigenvectors.

        Parameters
        ----------
        slopes
            Shape (…, m).
        """
        return np.asarray((slopes / self.lengths) @ self._vectors / self._roots)

    def unwhitened(self, white: Floats) -> Floats:
        """Return A^(-1/2) times vectors (…, m) of that basis.

        Parameters
        ----------
        white
            Shape (…, m).
        """
        return np.asarray((white / self._roots) @ self._vectors.T / self.lengths)

    def solved(self, slope: Floats) -> Floats:
        """Return A⁻¹ times a slope (m,).

        Parameters
        ----------
        slope
            Shape (m,).
        """
        return self.unwhitened(self.whitened(slope))


def calibrated(
    potential: Potential,
    data: TrainingSet,
    first: int,
    found: Changes,
    *,
    threads: int = 1,
    coverage: float = COVERAGE,
) -> ErrorModel:
    """Make a committee of changed parameters, and calibrate it on the folds.

    Parameters
    ----------
    potential
        Of all the data.
    data
        The data.
    first
        Where the parameters that change begin.
    found
        The changes.
    threads
        OpenMP threads.
    coverage
        Share of errors that bounds are to be above.
    """
    theta = np.array(potential.parameters)
    part = slice(first, first + found.members.shape[1])

    def changed(change: Floats) -> Potential:
        moved = theta.copy()
        moved[part] += change
        return potential.with_parameters(moved)

    here = residuals(potential, data, threads)
    others = [residuals(changed(change), data, threads) for change in found.members]
    forces = force_spread(np.array([one.forces for one in others]), here.forces)
    energies = energy_spread(np.array([one.energies for one in others]), here.energies)
    force_errors, energy_errors = np.empty(len(forces)), np.empty(len(energies))
    unseen = [changed(change) for change in found.unseen]
    for c, fold in enumerate(found.folds):
        errors = residuals(unseen[fold], data.part(c, c + 1), threads)
        force_errors[data.first[c] : data.first[c + 1]] = np.linalg.norm(errors.forces, axis=1)
        energy_errors[c] = abs(errors.energies[0])
    sizes = data.sizes
    calibration = Calibration.of(
        potential.species,
        (energy_errors / sizes, energies / sizes),
        (force_errors, forces),
        data.species,
        coverage,
    )
    return ErrorModel(first, theta[part], theta[part] + found.members, calibration)
