"""The committee of a network: weights of other data, by one Gauss-Newton step each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from pescape.calculators.bpnn.fit.least_squares import residual_rows
from pescape.calculators.bpnn.fit.model import Model
from pescape.calculators.bpnn.fit.prepare import prepare, row_factors
from pescape.calculators.committee.sandwich import FEWEST, Changes, calibrated, changes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from pescape.calculators.bpnn.fit.features import CacheSettings
    from pescape.calculators.bpnn.fit.prepare import Prepared
    from pescape.calculators.bpnn.fit.settings import FitSettings
    from pescape.calculators.bpnn.potential import BPNNPotential
    from pescape.calculators.committee.model import ErrorModel

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

# Relative to the largest eigenvalue: weights do not go where the data says nothing.
_DAMPING = 1e-6
# Of more weights than these the output layers' alone change.
_MOST = 1500


def error_model(
    potential: BPNNPotential,
    configurations: Sequence[Atoms],
    settings: FitSettings,
    *,
    members: int = 4,
    folds: int = 10,
    seed: int = 0,
    cache: CacheSettings | None = None,
) -> ErrorModel | None:
    """Make a committee of a network, and calibrate it on data that members have not seen.

    Parameters
    ----------
    potential
        Trained on the configurations.
    configurations
        With energy, forces and, where they are periodic, stress.
    settings
        How it was fitted.
    members
        Of the committee.
    folds
        Into how many parts the data is split to calibrate it.
    seed
        Of the folds.
    cache
        Where symmetry functions are kept.

    Returns
    -------
    ErrorModel or None
        None of fewer than ten configurations, which cannot calibrate it.
    """
    bare = potential.with_active_set(None)
    prepared = prepare(bare, configurations, settings, None, cache, None)
    count = len(prepared.data)
    if count < FEWEST:
        return None
    model = Model.of(bare, prepared.device)
    columns, places = _changing(model)
    systems = _systems(model, prepared, settings, columns)
    found = changes(systems, count, members=members, folds=folds, damping=_DAMPING, seed=seed)

    def everywhere(some: Floats) -> Floats:
        wide = np.zeros((len(some), bare.parameter_count))
        wide[:, places] = some
        return wide

    wide = Changes(everywhere(found.members), everywhere(found.unseen), found.folds)
    return calibrated(bare, prepared.data, 0, wide, threads=settings.threads)


def _changing(model: Model) -> tuple[Integers, Integers]:
    """Return which entries of θ change, and where among the potential's parameters they are."""
    columns, places, start = [], [], 0
    few = model.potential.parameter_count <= _MOST
    for element, network in zip(model.potential.elements, model.networks, strict=True):
        count = element.parameter_count
        first = 0 if few else count - element.layers[-1].parameter_count
        own = np.arange(first, count)
        columns.append(network.part.start + own)
        places.append(start + own)
        start += count
    return np.concatenate(columns), np.concatenate(places)


def _systems(
    model: Model, prepared: Prepared, settings: FitSettings, columns: Integers
) -> Iterator[tuple[Floats, Floats]]:
    """Yield the normal equations of each configuration in turn."""
    data, device = prepared.data, prepared.device
    scales = row_factors(data, settings).times(np.sqrt(prepared.weights))
    theta = torch.tensor(model.theta(), dtype=torch.float64, device=device)
    chosen = torch.tensor(columns, device=device)
    for c, batch in enumerate(prepared.small_batches(1)):
        arrays = (
            scales.energies[c : c + 1],
            np.full(batch.atoms, scales.forces[c]),
            scales.virials[c : c + 1],
        )
        energies, forces, virials = (torch.tensor(x, device=device) for x in arrays)
        rows, residuals = residual_rows(model, theta, batch, energies, forces, virials)
        own = rows[:, chosen]
        yield (own.T @ own).cpu().numpy(), -(own.T @ residuals).cpu().numpy()
