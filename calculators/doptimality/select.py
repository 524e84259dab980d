"""Which risky configurations are worth a label, and the grades that say so.

What was labeled before is known by its neighborhoods: one is a point p = b A⁻¹, and the distance of
two is max |Δp|, in units of the extrapolation grade. Rotations, permutations and supercells of a
configuration have the same points. What extrapolates has a component beyond one, and a counterpart
of it must have nearly the same: few of the points of a data set, which an active set made of it
keeps within one, come into question, and only those are compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.neighborlist import neighbor_list

from pescape.calculators.doptimality.active_set import grades, select
from pescape.calculators.doptimality.design_matrix import (
    PART_ATOMS,
    ROW_MEMORY,
    DesignRows,
    site_gradient_blocks,
)
from pescape.errors import frame_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ase import Atoms
    from numpy.typing import NDArray

    from pescape.calculators.doptimality.active_set import ActiveSet, Selection
    from pescape.calculators.doptimality.search import Progress
    from pescape.calculators.potential import Potential

    Floats = NDArray[np.float64]


# By how many components points are sifted before they are compared in all.
_SIEVES = 4
# Numbers in the differences that are held at once.
_AT_ONCE = 4_000_000


class NoveltyFilter:
    """Neighborhoods that are known, as points b A⁻¹ of one active set.

    Made once for a data set, it serves any number of selections with the same potential.

    Parameters
    ----------
    active_set
        The A⁻¹ of the points.
    distance
        Points nearer to one another than this are the same; in grades.
    """

    def __init__(self, active_set: ActiveSet, distance: float) -> None:
        if not distance >= 0.0:
            raise ValueError(f"similarity {distance} is not a distance: 0 or more is")
        self.active_set = active_set
        self.distance = distance
        self._chunks: list[NDArray[np.float32]] = []

    @classmethod
    def of(
        cls,
        potential: Potential,
        configurations: Iterable[Atoms],
        distance: float = 0.5,
        *,
        threads: int = 1,
    ) -> NoveltyFilter:
        """Make the filter of a data set, block by block; anything to iterate over will do.

        Parameters
        ----------
        potential
            With its active set.
        configurations
            The data set. Of its neighborhoods those are kept, in single precision, that
            come near enough to grade one to be a counterpart of one that extrapolates.
        distance
            Points nearer to one another than this are the same; in grades.
        threads
            OpenMP threads.
        """
        active = potential.active_set
        if active is None:
            raise ValueError(f"{potential.source or 'the potential'} has no active set")
        seen = cls(active, distance)
        stream = DesignRows(
            potential,
            configurations,
            active.mode,
            weight_scaling=active.weight_scaling,
            threads=threads,
            memory=0,
        )
        for block in stream:
            seen.add(block.rows @ active.inverse)
        return seen

    def __len__(self) -> int:
        """Return how many points are kept."""
        return sum(map(len, self._chunks))

    def add(self, points: Floats) -> None:
        """Add neighborhoods that are known.

        Parameters
        ----------
        points
            Shape (m, n).
        """
        near = points[np.abs(points).max(axis=1, initial=0.0) > 1.0 - self.distance]
        if len(near):
            self._chunks.append(near.astype(np.float32))

    def contains(self, points: Floats) -> bool:
        """Return whether each of some points that extrapolate has a counterpart.

        Parameters
        ----------
        points
            Shape (m, n).
        """
        return all(any(self._has(chunk, point) for chunk in self._chunks) for point in points)

    def _has(self, chunk: NDArray[np.float32], point: Floats) -> bool:
        """Whether a point is near one of a chunk, sifting by its largest components first."""
        rows = np.arange(len(chunk))
        for column in np.argsort(-np.abs(point))[:_SIEVES]:
            rows = rows[np.abs(chunk[rows, column] - point[column]) < self.distance]
            if not rows.size:
                return False
        step = max(_AT_ONCE // len(point), 1)
        return any(
            bool(
                np.abs(chunk[rows[first : first + step]] - point).max(axis=1).min() < self.distance
            )
            for first in range(0, len(rows), step)
        )


@dataclass(frozen=True, eq=False)
class LabelSelection:
    """What is labeled out of candidates, and why the rest is not.

    Every candidate is either chosen or counted once, by the first reason in this order.

    Parameters
    ----------
    indices
        Of the chosen candidates, the largest grade first.
    grades
        Largest grade of each candidate, shape (candidates,); NaN for unphysical ones.
    unphysical
        Candidates with atoms too near to each other, at no finite place, or without atoms.
    redundant
        Candidates that MaxVol does not need, or that do not extrapolate.
    similar
        Candidates too similar to chosen ones.
    known
        Candidates too similar to what was labeled before.
    configurations
        The chosen candidates themselves, in the order of `indices`.
    """

    indices: tuple[int, ...]
    grades: Floats
    unphysical: int
    redundant: int
    similar: int
    known: int = 0
    configurations: tuple[Atoms, ...] = ()


def select_for_labelling(
    potential: Potential,
    candidates: Iterable[Atoms],
    *,
    training: Iterable[Atoms] = (),
    seen: NoveltyFilter | None = None,
    min_distance: float = 0.0,
    similarity: float = 0.5,
    threads: int = 1,
    memory: int = ROW_MEMORY,
    progress: Progress | None = None,
) -> LabelSelection:
    """Choose the candidates that teach the potential most.

    Unphysical candidates go first. Of the rest, MaxVol takes those that enlarge the
    volume of the active set. They are gone through by falling grade, and those left out that
    are similar to labeled data or to candidates already chosen.

    Parameters
    ----------
    potential
        With its active set.
    candidates
        Configurations without labels; anything to iterate over again and again, such as a
        `pescape.data.configurations.Configurations`, which may be larger than memory. An iterator
        is read once, with the weaker guarantee of
        `pescape.calculators.doptimality.active_set.select`.
    training
        The data the active set was chosen from.
    seen
        All that was labeled before, if that is more than `training`.
    min_distance
        Candidates with atoms nearer than this (Å) are unphysical.
    similarity
        A configuration is similar to others if each of its extrapolating neighborhoods
        (or it itself, when the active set is of configurations) has a counterpart among
        theirs whose row b differs by less than this in max |Δb A⁻¹|: in units of the grade.
        Rotations, permutations and supercells of a configuration are similar to it. What a
        grade of more than 1 + `similarity` sets apart has no counterpart in the data that
        the active set was chosen from, only in data labeled since.
    threads
        OpenMP threads.
    memory
        Bytes of rows that may be kept between passes over the candidates and the data.
    progress
        Called after each block with the pass, its configurations so far and all swaps.

    Returns
    -------
    LabelSelection
    """
    active = _active_set_of(potential, "select")
    if isinstance(training, Iterator):
        raise TypeError("training is gone through several times, an iterator allows but one")
    if seen is not None and seen.active_set is not active:
        raise ValueError("what was seen is told in points of another active set: make it anew")
    labelled = NoveltyFilter(active, similarity)
    selection = select(
        potential,
        active,
        candidates,
        training=training,
        accept=lambda atoms: _is_physical(atoms, min_distance),
        observe=lambda block: labelled.add(block.rows @ active.inverse),
        threads=threads,
        memory=memory,
        progress=progress,
    )
    unphysical = int(np.isnan(selection.grades).sum())
    labelled = labelled if seen is None else seen
    chosen, similar, known = _dissimilar(active, selection, labelled, similarity)
    return LabelSelection(
        indices=tuple(selection.indices[place] for place in chosen),
        grades=selection.grades,
        unphysical=unphysical,
        redundant=len(selection.grades) - unphysical - len(chosen) - similar - known,
        similar=similar,
        known=known,
        configurations=tuple(selection.configurations[place] for place in chosen),
    )


def _is_physical(atoms: Atoms, min_distance: float) -> bool:
    if not len(atoms) or not np.isfinite(atoms.positions).all():
        return False
    if not min_distance:
        return True
    nearer = neighbor_list("d", atoms, min_distance)
    return bool(nearer.min(initial=np.inf) >= min_distance)


def _dissimilar(
    active: ActiveSet, selection: Selection, seen: NoveltyFilter, similarity: float
) -> tuple[list[int], int, int]:
    """Go through a selection by falling grade and leave out what is no news.

    Returns
    -------
    tuple
        Places of the others in the selection; numbers of similar and of known ones.
    """
    largest = selection.grades[list(selection.indices)]
    order = sorted(range(len(largest)), key=lambda place: (-largest[place], place))
    chosen: list[int] = []
    similar = known = 0
    selected = NoveltyFilter(active, similarity)
    for place in order:
        points = selection.rows[place] @ active.inverse
        new = points[np.abs(points).max(axis=1) > 1.0]
        if not len(new):
            continue
        if seen.contains(new):
            known += 1
        elif selected.contains(new):
            similar += 1
        else:
            chosen.append(place)
            selected.add(points)
    return chosen, similar, known


def graded(
    potential: Potential, configurations: Iterable[Atoms], *, threads: int = 1
) -> list[Atoms]:
    """Copy configurations and write their extrapolation grades into them; see `grade_each`.

    Parameters
    ----------
    potential, configurations, threads
        As `grade_each` takes them.
    """
    return list(grade_each(potential, configurations, threads=threads))


def grade_each(
    potential: Potential, configurations: Iterable[Atoms], *, threads: int = 1
) -> Iterator[Atoms]:
    """Copy configurations, one by one, and write their extrapolation grades into them.

    Parameters
    ----------
    potential
        With its active set.
    configurations
        Labeled or not; results are kept.
    threads
        OpenMP threads.

    Yields
    ------
    Atoms
        ``arrays["extrapolation_grades"]`` holds each atom's grade (neighborhood mode),
        ``info["extrapolation_grade"]`` the largest, or the configuration's.
    """
    active = _active_set_of(potential, "grade")
    for index, atoms in enumerate(configurations):
        try:
            values = _grades_of(potential, active, atoms, threads)
        except ValueError as error:
            raise ValueError(f"{frame_name(atoms, index)}: {error}") from error
        copy = atoms.copy()
        copy.calc = atoms.calc
        if active.mode == "neighborhood":
            copy.set_array("extrapolation_grades", values, float)
        copy.info["extrapolation_grade"] = float(values.max())
        yield copy


def _grades_of(potential: Potential, active: ActiveSet, atoms: Atoms, threads: int) -> Floats:
    """Grades of atoms, or of the configuration as the only one."""
    if not len(atoms):
        raise ValueError("a configuration without atoms has no grade")
    blocks = site_gradient_blocks(potential, atoms, PART_ATOMS, threads=threads)
    if active.mode == "neighborhood":
        return np.concatenate([grades(rows, active, threads=threads) for rows in blocks])
    total = sum((rows.sum(axis=0) for rows in blocks), np.zeros(active.size))
    return grades(total[None] / len(atoms) ** (active.weight_scaling / 2), active)


def _active_set_of(potential: Potential, purpose: str) -> ActiveSet:
    if potential.active_set is None:
        raise ValueError(
            f"{potential.source or 'the potential'} has no active set to {purpose} with: "
            "pescape fit writes one into .almtp and .bpnn files"
        )
    return potential.active_set
