"""Where a potential extrapolates: which atom, in which surroundings, in which parameter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pescape.calculators.doptimality.active_set import grades
from pescape.calculators.doptimality.design_matrix import PART_ATOMS, site_gradient_blocks
from pescape.calculators.neighbors import neighbors

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from pescape.calculators.doptimality.active_set import ActiveSet
    from pescape.calculators.potential import Potential

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Extrapolation:
    """A neighborhood that extrapolates, and what is unusual about it.

    Attributes
    ----------
    atom, species
        Index and element of the atom. With an active set of configurations, the atom that
        contributes most to the configuration's grade.
    grade
        Its extrapolation grade, or the configuration's.
    distances
        Of its neighbors within the cut-off, ascending, Å.
    slot
        Of the active set's row in which it has the grade: column of the largest |b A⁻¹|.
    row
        Configuration and atom that this row comes from; (-1, -1) when the slot is unset: no
        training data had anything in that direction.
    parameter, parameter_name
        Index and name of the parameter whose term b_k A⁻¹_kq is the largest in the grade. Terms
        may cancel: it says what the neighborhood is rich in, not what alone it lacks.
    """

    atom: int
    species: str
    grade: float
    distances: tuple[float, ...]
    slot: int
    row: tuple[int, int]
    parameter: int
    parameter_name: str

    @property
    def neighbors(self) -> int:
        """Number of neighbors within the cut-off."""
        return len(self.distances)

    @property
    def nearest(self) -> float:
        """Distance to the nearest neighbor, Å; infinite without one."""
        return self.distances[0] if self.distances else np.inf

    def summary(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            "atom": self.atom,
            "species": self.species,
            "grade": self.grade,
            "neighbors": self.neighbors,
            "distances": [round(one, 4) for one in self.distances],
            "slot": self.slot,
            "row": list(self.row),
            "parameter": self.parameter,
            "parameter_name": self.parameter_name,
        }


def explain(
    potential: Potential,
    atoms: Atoms,
    *,
    threshold: float = 1.0,
    most: int | None = None,
    threads: int = 1,
) -> tuple[Extrapolation, ...]:
    """Find which atoms of a configuration extrapolate, and in what.

    Parameters
    ----------
    potential
        With its active set.
    atoms
        The configuration.
    threshold
        Only grades above this are explained.
    most
        How many at most.
    threads
        OpenMP threads.

    Returns
    -------
    tuple of Extrapolation
        The largest grade first; at most one with an active set of configurations.
    """
    active = potential.active_set
    if active is None:
        raise ValueError(f"{potential.source or 'the potential'} has no active set to explain with")
    find = _atoms_beyond if active.mode == "neighborhood" else _configuration_beyond
    found = find(potential, active, atoms, threshold, threads)[:most]
    if not found:
        return ()
    near = neighbors(atoms, potential.cutoff)
    explained = []
    for atom, grade, slot, parameter in found:
        span = slice(near.offsets[atom], near.offsets[atom + 1])
        vectors = atoms.positions[near.indices[span]] + near.shifts[span] - atoms.positions[atom]
        explained.append(
            Extrapolation(
                atom=atom,
                species=atoms.symbols[atom],
                grade=grade,
                distances=tuple(np.sort(np.linalg.norm(vectors, axis=1)).tolist()),
                slot=slot,
                row=tuple(active.origins[slot].tolist()),
                parameter=parameter,
                parameter_name=potential.parameter_name(parameter),
            )
        )
    return tuple(explained)


# Atom, grade, slot and parameter.
_Found = list[tuple[int, float, int, int]]


def _atoms_beyond(
    potential: Potential, active: ActiveSet, atoms: Atoms, threshold: float, threads: int
) -> _Found:
    found: _Found = []
    first = 0
    for rows in site_gradient_blocks(potential, atoms, PART_ATOMS, threads=threads):
        sizes = np.abs(rows @ active.inverse)
        values = grades(rows, active, threads=threads)
        for row in np.flatnonzero(values > threshold).tolist():
            slot = int(sizes[row].argmax())
            parameter = int(np.abs(rows[row] * active.inverse[:, slot]).argmax())
            found.append((first + row, float(values[row]), slot, parameter))
        first += len(rows)
    return sorted(found, key=lambda one: (-one[1], one[0]))


def _configuration_beyond(
    potential: Potential, active: ActiveSet, atoms: Atoms, threshold: float, threads: int
) -> _Found:
    blocks = list(site_gradient_blocks(potential, atoms, PART_ATOMS, threads=threads))
    scale = max(len(atoms), 1) ** (active.weight_scaling / 2)
    row = sum((block.sum(axis=0) for block in blocks), np.zeros(active.size)) / scale
    sizes = np.abs(row @ active.inverse)
    slot = int(sizes.argmax())
    if not sizes[slot] > threshold:
        return []
    column = active.inverse[:, slot]
    atom = int(np.abs(np.concatenate([block @ column for block in blocks])).argmax())
    return [(atom, float(sizes[slot]), slot, int(np.abs(row * column).argmax()))]
