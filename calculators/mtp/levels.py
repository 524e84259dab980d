"""Start a potential of a higher level from what a lower one has learned."""

from __future__ import annotations

import re

import numpy as np

from pescape.calculators.mtp.basis import moment_graph
from pescape.calculators.mtp.potential import MTPotential

# A level of these has learned most of what radial functions the next one needs, at a quarter of
# its cost.
_SCHEDULE = (12, 16, 20, 24)


def level_schedule(potential: MTPotential) -> tuple[MTPotential, ...]:
    """Return the untrained potentials of lower levels to fit first, and at last this one itself.

    Only the potential itself if its basis is not that of a level of this program's own making.

    Parameters
    ----------
    potential
        Of any level.
    """
    level = level_of(potential)
    lower = [] if level is None else [one for one in _SCHEDULE if one < level]
    return (*(_like(potential, one) for one in lower), potential)


def level_of(potential: MTPotential) -> int | None:
    """Return the level of a potential of this program's own making; None of any other.

    Parameters
    ----------
    potential
        Trained or not.
    """
    match = re.fullmatch(r"MTP_level_(\d+)", potential.name)
    if match is None or int(match[1]) not in range(2, 29, 2):
        return None
    graph = moment_graph(int(match[1]))
    for name in ("basic", "products", "scalar_moments"):
        if not np.array_equal(getattr(graph, name), getattr(potential, name)):
            return None
    return int(match[1])


def _like(potential: MTPotential, level: int) -> MTPotential:
    return MTPotential.untrained(
        level,
        potential.species or potential.species_count,
        cutoff=potential.cutoff,
        min_dist=potential.min_dist,
        radial_basis_size=potential.radial_basis_size,
    ).with_repulsion(potential.repulsion, added=potential.adds_repulsion)


def raised(
    potential: MTPotential, level: int, *, seed: int | np.random.SeedSequence = 0
) -> MTPotential:
    """Make a potential of a higher level that predicts what the given one does.

    The basis functions of a level are the first ones of every higher level, so all
    coefficients carry over; new moment coefficients are zero and new radial functions
    random, of the size of the old ones.

    Parameters
    ----------
    potential
        Trained, of a lower level of this program's own making.
    level
        The new level.
    seed
        Of the new radial functions.

    Returns
    -------
    MTPotential
    """
    new = _like(potential, level)
    old_radial, old_species = potential.radial_coeffs, potential.species_coeffs
    if old_radial is None or old_species is None:
        raise ValueError(f"{potential.source or 'the potential'} is untrained: fit it first")
    old_scalars, old_functions = len(potential.scalar_moments), potential.radial_funcs_count
    if len(new.scalar_moments) < old_scalars or new.radial_funcs_count < old_functions:
        raise ValueError(f"level {level} is not above the potential's own")
    randomized = new.randomized(seed)
    assert randomized.radial_coeffs is not None
    radial = randomized.radial_coeffs.copy()
    old = old_radial * potential.scaling
    if new.radial_funcs_count > old_functions:
        fresh = radial[:, :, old_functions:]
        fresh *= np.sqrt(np.mean(old**2)) / np.sqrt(np.mean(fresh**2))
    radial[:, :, :old_functions] = old
    moments = np.zeros(len(new.scalar_moments))
    moments[:old_scalars] = potential.moment_coeffs
    theta = np.concatenate((radial.ravel(), old_species, moments))
    return new.with_parameters(theta)
