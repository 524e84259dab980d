"""The committee of a moment tensor potential: linear coefficients of other data."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pescape.calculators.committee.sandwich import FEWEST, calibrated, changes
from pescape.calculators.fit.data import configuration_weights, training_set
from pescape.calculators.mtp.fit.problem import linear_columns, rows, shifted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from ase import Atoms
    from numpy.typing import NDArray

    from pescape.calculators.committee.model import ErrorModel
    from pescape.calculators.fit.data import TrainingSet
    from pescape.calculators.fit.loss import Weights
    from pescape.calculators.mtp.potential import MTPotential

    Floats = NDArray[np.float64]

# Relative to the largest eigenvalue: what normal equations lose to round-off.
_DAMPING = 1e-12


def error_model(
    potential: MTPotential,
    configurations: Sequence[Atoms],
    weights: Weights,
    *,
    stress_offset: float = 0.0,
    members: int = 4,
    folds: int = 10,
    seed: int = 0,
    threads: int = 1,
) -> ErrorModel | None:
    """Make a committee of a potential, and calibrate it on data that members have not seen.

    Radial functions are those of the potential. Its few radial coefficients saw all of the data;
    to forget a tenth of it changes errors there by some percent less than they are.

    Parameters
    ----------
    potential
        Trained on the configurations.
    configurations
        With energy, forces and, where they are periodic, stress.
    weights
        Of the loss.
    stress_offset
        What the fit took out of the labels, eV/Å³.
    members
        Of the committee.
    folds
        Into how many parts the data is split to calibrate it.
    seed
        Of the folds.
    threads
        OpenMP threads.

    Returns
    -------
    ErrorModel or None
        None of fewer than ten configurations, which cannot calibrate it.
    """
    if len(configurations) < FEWEST:
        return None
    data = training_set(configurations, potential.species, potential.cutoff)
    data = replace(data, factors=data.factors * configuration_weights(configurations))
    systems = _systems(potential, shifted(data, stress_offset), weights, threads)
    found = changes(systems, len(data), members=members, folds=folds, damping=_DAMPING, seed=seed)
    first = potential.parameter_count - found.members.shape[1]
    return calibrated(potential, data, first, found, threads=threads)


def _systems(
    potential: MTPotential, data: TrainingSet, weights: Weights, threads: int
) -> Iterator[tuple[Floats, Floats]]:
    """Yield the normal equations of the linear coefficients of each configuration in turn."""
    for c in range(len(data)):
        one = data.part(c, c + 1)
        columns = linear_columns(potential, one, weights, threads)
        yield columns.T @ columns, -columns.T @ rows(potential, one, weights, threads)
