"""The gradient of the loss of moment tensor potentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pescape.calculators.fitting.data import full
from pescape.calculators.fitting.loss import factors, loss_value, residuals

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pescape.calculators.fitting.data import TrainingSet
    from pescape.calculators.fitting.loss import Weights
    from pescape.calculators.mtp import MTPotential

    Floats = NDArray[np.float64]


def loss_and_gradient(
    potential: MTPotential, data: TrainingSet, weights: Weights, threads: int = 1
) -> tuple[float, Floats]:
    """Value of the loss and its gradient (P,) with respect to the potential's parameters.

    The derivative of the loss with respect to energies, forces and virials gives a weight
    to each site energy and a change to each interatomic vector; the kernel turns both
    into the parameter gradient in one pass.
    """
    delta = residuals(potential, data, threads)
    sizes = data.sizes
    energy, force, virial = factors(data, weights)
    gradient = potential.kernel().weighted_gradient(
        *data.geometry,
        np.repeat(2.0 * energy * delta.energies, sizes),
        -2.0 * np.repeat(force, sizes)[:, None] * delta.forces,
        np.repeat(full(-2.0 * virial[:, None] * delta.virials), sizes, axis=0),
        threads,
    )
    return loss_value(delta, data, weights), gradient
