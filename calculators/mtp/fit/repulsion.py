"""Fitting beside a repulsion: it is subtracted from the labels and left out of the potential."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pescape.calculators.fitting.data import TrainingSet
    from pescape.calculators.mtp import MTPotential


def without_repulsion(
    potential: MTPotential, data: TrainingSet, threads: int = 1
) -> tuple[MTPotential, TrainingSet]:
    """Leave the repulsion out on both sides, which changes no residual.

    Parameters
    ----------
    potential
        Returned as it is if it has no repulsion.
    data
        Labels of the whole energy.
    threads
        OpenMP threads.

    Returns
    -------
    tuple
        The potential whose kernel leaves its repulsion out (``with_repulsion`` brings it back),
        and the data with the labels that are left for it.
    """
    if potential.repulsion is None:
        return potential, data
    kernel = potential.repulsion.kernel(potential.species)
    sites, forces, virials = kernel.evaluate(*data.geometry, threads)
    first = data.first[:-1]
    virial = np.where(data.has_virial[:, None], np.add.reduceat(virials, first), 0.0)
    rest = dataclasses.replace(
        data,
        energies=data.energies - np.add.reduceat(sites, first),
        forces=data.forces - forces,
        virials=data.virials - virial,
    )
    return potential.with_repulsion(potential.repulsion, added=False), rest
