"""Which risky configurations are worth a label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pescape.calculators.activeset import grades, gradient_rows, select
from pescape.plugins.structures import shortest_distance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from pescape.calculators.activeset import ActiveSet, GradedPotential

    Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Choice:
    """What is labelled out of a list of candidates, and why the rest is not.

    Parameters
    ----------
    indices
        Of the chosen candidates, the largest grade first.
    grades
        Largest grade of each candidate, shape (candidates,).
    unphysical
        Candidates with atoms too near to each other.
    redundant
        Candidates that MaxVol does not need.
    similar
        Candidates too similar to a chosen one.
    """

    indices: tuple[int, ...]
    grades: Floats
    unphysical: int
    redundant: int
    similar: int


def choose(
    potential: GradedPotential,
    candidates: Sequence[Atoms],
    *,
    training: Sequence[Atoms] = (),
    min_distance: float = 0.0,
    similarity: float = 0.5,
    threads: int = 1,
) -> Choice:
    """Choose the candidates that teach the potential most.

    Unphysical candidates go first. Of the rest, MaxVol takes those that enlarge the
    volume of the active set. Of two that are similar, the one with the larger grade stays.

    Parameters
    ----------
    potential
        With its active set.
    candidates
        Configurations without labels.
    training
        The data the active set was chosen from.
    min_distance
        Candidates with atoms nearer than this (Å) are unphysical.
    similarity
        Two configurations are similar if every extrapolating neighbourhood of one has a
        counterpart in the other whose row b differs by less than this in max |Δb A⁻¹|:
        in units of the grade. Rotations, permutations and supercells of a configuration
        are similar to it.
    threads
        OpenMP threads.

    Returns
    -------
    Choice
    """
    active = _active_set_of(potential, "select")
    physical = [
        index
        for index, atoms in enumerate(candidates)
        if not min_distance or shortest_distance(atoms, min_distance) >= min_distance
    ]
    kept = [candidates[index] for index in physical]
    selection = select(potential, active, kept, training=training, threads=threads)
    order = sorted(selection.indices, key=lambda index: (-selection.grades[index], index))
    chosen = _dissimilar(potential, active, kept, order, similarity, threads)
    all_grades = np.full(len(candidates), np.nan)
    all_grades[physical] = selection.grades
    return Choice(
        indices=tuple(physical[index] for index in chosen),
        grades=all_grades,
        unphysical=len(candidates) - len(physical),
        redundant=len(physical) - len(order),
        similar=len(order) - len(chosen),
    )


def _dissimilar(
    potential: GradedPotential,
    active: ActiveSet,
    configurations: Sequence[Atoms],
    order: Sequence[int],
    similarity: float,
    threads: int,
) -> list[int]:
    """Go through the configurations and leave out those similar to an earlier one."""
    chosen: list[int] = []
    seen: list[Floats] = []
    for index in order:
        rows, _ = gradient_rows(
            potential,
            [configurations[index]],
            active.mode,
            weight_scaling=active.weight_scaling,
            threads=threads,
        )
        points = rows @ active.inverse
        new = points[grades(rows, active, threads=threads) > 1.0]
        if any(_covered(new, old, similarity) for old in seen):
            continue
        chosen.append(index)
        seen.append(points)
    return chosen


def _covered(new: Floats, old: Floats, distance: float) -> bool:
    """Whether every point of `new` is near one of `old`, in the largest component."""
    return all(np.abs(old - point).max(axis=1).min() < distance for point in new)


def graded(
    potential: GradedPotential, configurations: Sequence[Atoms], *, threads: int = 1
) -> list[Atoms]:
    """Copy configurations and write their extrapolation grades into them.

    Parameters
    ----------
    potential
        With its active set.
    configurations
        Labelled or not; results are kept.
    threads
        OpenMP threads.

    Returns
    -------
    list of Atoms
        ``arrays["extrapolation_grades"]`` holds each atom's grade (neighbourhood mode),
        ``info["extrapolation_grade"]`` the largest, or the configuration's.
    """
    active = _active_set_of(potential, "grade")
    copies = []
    for atoms in configurations:
        rows, _ = gradient_rows(
            potential,
            [atoms],
            active.mode,
            weight_scaling=active.weight_scaling,
            threads=threads,
        )
        values = grades(rows, active, threads=threads)
        copy = atoms.copy()
        copy.calc = atoms.calc
        if active.mode == "neighborhood":
            copy.set_array("extrapolation_grades", values, float)
        copy.info["extrapolation_grade"] = float(values.max())
        copies.append(copy)
    return copies


def _active_set_of(potential: GradedPotential, purpose: str) -> ActiveSet:
    if potential.active_set is None:
        raise ValueError(
            f"{potential.source or 'the potential'} has no active set to {purpose} with: "
            "pescape fit writes one into .almtp and .bpnn files"
        )
    return potential.active_set
