"""Where a fit starts: scaling of the symmetry functions, range of the energies, random weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pescape.calculators.bpnn.scaling import Scaling

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pescape.calculators.bpnn.fit.cache import Features
    from pescape.calculators.bpnn.fit.settings import FitSettings
    from pescape.calculators.bpnn.potential import BPNNPotential
    from pescape.calculators.fitting.data import TrainingSet

    Floats = NDArray[np.float64]

# Functions that vary less than this in the data are left as they are.
_TOLERANCE = 1e-8


def starting_point(
    potential: BPNNPotential,
    data: TrainingSet,
    features: Features,
    settings: FitSettings,
    seed: np.random.SeedSequence,
) -> BPNNPotential:
    """Give an untrained potential scaling, output range and weights; a trained one is ready.

    Parameters
    ----------
    potential
        Its scaling is kept if it has one.
    data, features
        The labels and the symmetry functions.
    settings
        Which scaling is meant.
    seed
        Of the weights.
    """
    if potential.is_trained:
        return potential.with_active_set(None)
    scaling = {}
    tables = zip(potential.species, potential.elements, features.tables, strict=True)
    for name, element, table in tables:
        if not len(table.functions):
            raise ValueError(
                f"the data holds no {name}, so that nothing is learned about it: "
                "leave it out of the species"
            )
        if element.scaling.kind == "none":
            scaling[name] = _scaling(table.functions, settings.scaling)
    scaled = potential.with_scaling(scaling)
    if settings.scaling == "range":
        output = _energy_range(data)
        slopes, shifts = (dict.fromkeys(potential.species, value) for value in output)
        return scaled.with_output(slopes, shifts).randomized(seed)
    energies = _atom_energies(potential, data)
    return scaled.with_output(intercept=energies).randomized(seed)


def _scaling(functions: Floats, kind: str) -> Scaling:
    if kind == "range":
        low, high = functions.min(axis=0), functions.max(axis=0)
        return Scaling("range", -1.0, 1.0, minimum=low, maximum=high, tolerance=_TOLERANCE)
    mean, sigma = functions.mean(axis=0), functions.std(axis=0)
    return Scaling("sigma", 0.0, 1.0, mean=mean, sigma=sigma, tolerance=_TOLERANCE)


def _energy_range(data: TrainingSet) -> tuple[float, float]:
    """Half the range of the energies per atom, and its middle, eV."""
    per_atom = data.energies / data.sizes
    low, high = float(per_atom.min()), float(per_atom.max())
    return 0.5 * (high - low) or 1.0, 0.5 * (high + low)


def _atom_energies(potential: BPNNPotential, data: TrainingSet) -> dict[str, float]:
    """Energies of the elements' atoms, eV, that explain most of the energies."""
    kinds = np.arange(len(potential.species))
    counts = np.add.reduceat(data.species[:, None] == kinds, data.first[:-1], axis=0, dtype=float)
    sizes = data.sizes[:, None]
    solution = np.linalg.lstsq(counts / sizes, data.energies / sizes[:, 0], rcond=None)[0]
    return dict(zip(potential.species, solution.tolist(), strict=True))
