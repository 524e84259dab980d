"""What a fit starts from: its data in arrays, the weights of the residuals, the first network."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from pescape.calculators.bpnn.fit.features import CacheSettings, Features, features
from pescape.calculators.bpnn.fit.least_squares import Scales
from pescape.calculators.bpnn.fit.model import Batch, batches
from pescape.calculators.bpnn.fit.scaling import (
    displacement_slopes,
    initial_scaling,
    widened,
    without_idle_inputs,
)
from pescape.calculators.fit.data import (
    TrainingSet,
    configuration_weights,
    training_set,
    within_limits,
)
from pescape.calculators.fit.loss import row_scales
from pescape.errors import SOURCE, frame_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ase import Atoms
    from numpy.typing import ArrayLike, NDArray

    from pescape.calculators.bpnn.fit.settings import FitSettings
    from pescape.calculators.bpnn.potential import BPNNPotential

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Prepared:
    """The data of a fit, in random order."""

    potential: BPNNPotential
    order: NDArray[np.int64]
    data: TrainingSet
    weights: Floats
    features: Features
    precision: str
    device: str

    @cached_property
    def batches(self) -> list[Batch]:
        """All of the data, to be gone through in every iteration."""
        return batches(self.data, self.features, device=self.device)

    def small_batches(self, configurations: int) -> list[Batch]:
        """Return all of the data, in batches of a few configurations.

        Parameters
        ----------
        configurations
            How many in each.
        """
        return batches(self.data, self.features, configurations=configurations, device=self.device)


def prepare(
    potential: BPNNPotential,
    configurations: Sequence[Atoms],
    settings: FitSettings,
    structure_weights: ArrayLike | None,
    cache: CacheSettings | None,
    report: Callable[[str], None] | None,
) -> Prepared:
    """Check the data, put it into arrays and compute its symmetry functions.

    Parameters
    ----------
    potential
        Its symmetry functions are computed.
    configurations
        With energy, forces and perhaps stress.
    settings
        Limits of the data, threads, device.
    structure_weights
        How much each configuration counts (C,).
    cache
        Where symmetry functions are kept.
    report
        Called with lines of text worth knowing.
    """
    cache = cache or CacheSettings()
    weights = configuration_weights(configurations, structure_weights)
    chosen = np.array(_chosen(configurations, settings, report), dtype=np.int64)
    order = chosen[np.random.default_rng(0).permutation(len(chosen))]
    shuffled = [_named(configurations[index], int(index)) for index in order]
    data = training_set(shuffled, potential.species, potential.cutoff)
    found = features(potential, data, cache, threads=settings.threads, report=report)
    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return Prepared(potential, order, data, weights[order], found, cache.precision, device)


def _chosen(
    configurations: Sequence[Atoms],
    settings: FitSettings,
    report: Callable[[str], None] | None,
) -> Sequence[int]:
    """Return the indices of the configurations within the limits."""
    force, energy = settings.force_limit, settings.energy_limit
    if force is None and energy is None:
        return range(len(configurations))
    kept = within_limits(
        configurations, force=force, energy=energy, atom_energies=settings.atom_energies
    )
    if not kept:
        raise ValueError(
            f"none of the {len(configurations)} configurations keeps the limits "
            f"(force {force} eV/Å, energy {energy} eV/atom)"
        )
    if report is not None and len(kept) < len(configurations):
        report(f"{len(configurations) - len(kept)} configurations beyond the limits are left out")
    return kept


def _named(atoms: Atoms, index: int) -> Atoms:
    """Copy a configuration and note its place in the data, which messages name."""
    copy = atoms.copy()
    copy.calc = atoms.calc
    copy.info[SOURCE] = frame_name(atoms, index)
    return copy


def validation_set(count: int, fraction: float, seed: np.random.SeedSequence) -> Flags:
    """Choose configurations to keep out, at least one if any, never all.

    Parameters
    ----------
    count
        C, the number of configurations.
    fraction
        How many of them to keep out.
    seed
        Of the choice.

    Returns
    -------
    array
        Whether each configuration is kept out, shape (C,).
    """
    chosen = np.zeros(count, dtype=bool)
    if fraction > 0.0 and count > 1:
        number = min(max(round(fraction * count), 1), count - 1)
        chosen[np.random.default_rng(seed).choice(count, number, replace=False)] = True
    return chosen


def row_factors(data: TrainingSet, settings: FitSettings) -> Scales:
    """Return the factors of the residuals' rows in the loss.

    Parameters
    ----------
    data
        The labels.
    settings
        Say which loss, with which weights.
    """
    if settings.loss == "mean":
        energies, forces, virials = row_scales(data, settings.weights)
        return Scales(energies, forces, virials * data.has_virial[:, None])
    weights = settings.weights
    return Scales(
        np.sqrt(weights.energy) / data.sizes,
        np.sqrt(weights.force / (3.0 * data.sizes)),
        np.zeros((len(data), 6)),
    )


@dataclass(frozen=True, eq=False)
class Squares:
    """Squared errors of each configuration: in the loss, per atom (eV²), of forces, (C,)."""

    loss: Floats
    energies: Floats
    forces: Floats
    sizes: NDArray[np.int64]

    def rmse(self, chosen: Flags) -> tuple[float, float]:
        """Return the errors of energies in meV/atom and of force components in eV/Å.

        Parameters
        ----------
        chosen
            Which configurations count, shape (C,).
        """
        energy = 1000.0 * float(np.sqrt(self.energies[chosen].mean()))
        components = 3 * int(self.sizes[chosen].sum())
        return energy, float(np.sqrt(self.forces[chosen].sum() / components))


def squares(
    data: TrainingSet, scales: Scales, energies: Floats, forces: Floats, virials: Floats
) -> Squares:
    """Square residuals, and sum them up by configuration.

    Parameters
    ----------
    data
        The configurations.
    scales
        Factors in the loss.
    energies, forces, virials
        Residuals (C,), (n, 3) and (C, 6) in eV and eV/Å.
    """
    by_configuration = np.add.reduceat((forces**2).sum(axis=1), data.first[:-1])
    loss = (scales.energies * energies) ** 2 + scales.forces**2 * by_configuration
    loss += ((scales.virials * virials) ** 2).sum(axis=1)
    return Squares(loss, (energies / data.sizes) ** 2, by_configuration, data.sizes)


def starting_point(
    potential: BPNNPotential,
    data: TrainingSet,
    features: Features,
    settings: FitSettings,
    seed: np.random.SeedSequence,
) -> BPNNPotential:
    """Return where a fit starts: an untrained potential gets scaling, output range and weights.

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
    scaling = {}
    tables = dict(zip(potential.species, features.tables, strict=True))
    if potential.is_trained:
        for name, element in zip(potential.species, potential.elements, strict=True):
            scaling[name] = element.scaling
            if len(tables[name].functions):
                scaling[name] = widened(element.scaling, tables[name])
        return potential.with_scaling(scaling)
    found = displacement_slopes(potential, data)
    for name, element, slope in zip(potential.species, potential.elements, found, strict=True):
        if not len(tables[name].functions):
            raise ValueError(
                f"the data holds no {name}, so that nothing is learned about it: "
                "leave it out of the species"
            )
        if element.scaling.kind == "none":
            scaling[name] = initial_scaling(tables[name], settings.scaling, slope)
    scaled = potential.with_scaling(scaling)
    if settings.scaling == "range":
        output = _energy_range(data)
        slopes, shifts = (dict.fromkeys(potential.species, value) for value in output)
        scaled = scaled.with_output(slopes, shifts)
    else:
        scaled = scaled.with_output(intercept=_atom_energies(potential, data))
    elements = zip(potential.species, scaled.randomized(seed).elements, strict=True)
    return scaled.with_elements(
        [without_idle_inputs(element, tables[name]) for name, element in elements]
    )


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
