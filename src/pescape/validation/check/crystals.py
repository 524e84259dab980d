"""Crystals among configurations: perfect lattices, and cells that are strained ones of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.geometry import minkowski_reduce
from ase.neighborlist import neighbor_list
from ase.units import GPa

from pescape.validation.check.labels import energy_of, forces_of, stress_of
from pescape.validation.check.lattices import Deformation, deformation_of
from pescape.validation.compounds import (
    COARSE,
    Geometry,
    StructureFile,
    Symmetry,
    crystal_symmetry,
    primitive_cell,
    standard_primitive,
    value_name,
)
from pescape.validation.crystals import HEXAGONAL, Crystal
from pescape.validation.properties.crystal.elastic import turn_to_axes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ase import Atoms

    from pescape.validation.compounds import Solid

# Distances within which atoms are at the places of a crystal, Å: of relaxed cells, of rattled ones.
_TOLERANCES = (COARSE, 0.1)
# Larger cells are not looked at; more atoms in the primitive cell are hardly a crystal's.
_MAX_ATOMS, _MAX_PRIMITIVE = 500, 24
# A crystal by itself: largest force (eV/Å) and stress (GPa). Forces of rattled supercells, which
# repeat their primitive cell so often, do not count.
_MAX_FORCE, _MAX_STRESS, _REPEATED = 0.05, 5.0, 4
# Stresses (GPa) that differ by less are told apart by symmetry.
_SAME_STRESS = 0.2
# A gap between atoms is vacuum beyond this, Å and nearest distances.
_GAP, _RELATIVE_GAP = 5.0, 2.0
# Most configurations that are looked at, spread evenly.
_MOST = 1000
_LATTICES = {
    (225, 1): "fcc",
    (229, 1): "bcc",
    (221, 1): "sc",
    (227, 2): "diamond",
    (194, 2): "hcp",
    (191, 3): "omega",
}


@dataclass(frozen=True, eq=False)
class StrainedFrame:
    """A configuration that is a crystal's cell, strained or not.

    Parameters
    ----------
    index
        Of the configuration in the data.
    deformation
        Of the crystal's own cell.
    """

    index: int
    deformation: Deformation


@dataclass(frozen=True, eq=False)
class DataCrystal:
    """A crystal of the data.

    Parameters
    ----------
    solid
        For the properties.
    cell
        Its primitive cell in its exact symmetry, a of the conventional one along x.
    symmetry
        Of `cell`.
    reference
        The configuration it was found as: of all its frames the least stressed one.
    frames
        All configurations that are cells of it, strained or not.
    """

    solid: Solid
    cell: Atoms
    symmetry: Symmetry
    reference: int
    frames: tuple[StrainedFrame, ...]

    @property
    def name(self) -> str:
        """What people call it."""
        return self.solid.title.replace("_", " ")


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A configuration with its primitive cell, and from which tolerance on it has it."""

    index: int
    cell: Atoms
    tolerance: float
    perfect: bool
    rank: tuple[float, ...]


def find_crystals(frames: Sequence[Atoms]) -> list[DataCrystal]:
    """Find the crystals of a data set, those of most frames first.

    A crystal begins with the least stressed configuration in which no force acts (or, of rattled
    supercells, with the least stressed one), of two dozen atoms at most in the primitive cell and
    without vacuum; what can be mapped onto it by a strain of 12 % at most is a cell of it.

    Parameters
    ----------
    frames
        Labeled configurations.
    """
    indices = range(len(frames))
    if len(frames) > _MOST:
        indices = np.linspace(0, len(frames) - 1, _MOST).astype(int)  # type: ignore[assignment]
    candidates = [one for index in indices if (one := _candidate(int(index), frames[index]))]
    candidates.sort(key=lambda one: one.rank)
    found: list[tuple[DataCrystal, list[StrainedFrame]]] = []
    waiting = []
    for one in candidates:
        if not (one.perfect and not _assigned(one, found)):
            waiting.append(one)
            continue
        known = [crystal.solid.title for crystal, _ in found]
        crystal = _crystal(one, known)
        if crystal is not None:
            found.append((crystal, [StrainedFrame(one.index, Deformation(np.eye(3), 0.0))]))
    for one in waiting:
        _assigned(one, found, keep=True)
    whole = [
        DataCrystal(one.solid, one.cell, one.symmetry, one.reference, tuple(members))
        for one, members in found
    ]
    return sorted(whole, key=lambda one: -len(one.frames))


def _assigned(
    one: _Candidate, found: list[tuple[DataCrystal, list[StrainedFrame]]], *, keep: bool = False
) -> bool:
    """Whether a configuration is a cell of a known crystal; it joins the one it is nearest to."""
    matches = [
        (np.linalg.norm(match.strain) + match.displacement, match, members)
        for crystal, members in found
        if (match := deformation_of(crystal.cell, one.cell)) is not None
    ]
    if matches and keep:
        _, match, members = min(matches, key=lambda entry: entry[0])
        members.append(StrainedFrame(one.index, match))
    return bool(matches)


def _candidate(index: int, atoms: Atoms) -> _Candidate | None:
    """Look for a primitive cell in a configuration; None if it cannot be that of a crystal."""
    if not atoms.pbc.all() or not 0 < len(atoms) <= _MAX_ATOMS or not atoms.get_volume() > 0.0:
        return None
    fine, coarse = _TOLERANCES
    tolerance, cell = coarse, primitive_cell(atoms, coarse)
    if len(cell) > _MAX_PRIMITIVE or _has_vacuum(cell):
        return None
    if len(exact := primitive_cell(atoms, fine)) == len(cell):
        tolerance, cell = fine, exact
    stress, forces = stress_of(atoms), forces_of(atoms)
    largest = 0.0 if stress is None else float(np.abs(stress).max() / GPa)
    still = forces is None or float(np.linalg.norm(forces, axis=1).max(initial=0.0)) <= _MAX_FORCE
    repeated = len(atoms) >= _REPEATED * len(cell)
    perfect = (still or repeated) and largest <= _MAX_STRESS
    # Soft crystals are hardly stressed by strains that break their symmetry.
    operations = _operations(cell, tolerance) if perfect else 0
    rank = (largest // _SAME_STRESS, -operations, largest, (energy_of(atoms) or 0.0) / len(atoms))
    return _Candidate(index, cell, tolerance, perfect, rank)


def _operations(cell: Atoms, tolerance: float) -> int:
    """Count the operations of a primitive cell's symmetry."""
    try:
        return len(crystal_symmetry(standard_primitive(cell, tolerance)).rotations)
    except ValueError:
        return 0


def _has_vacuum(cell: Atoms) -> bool:
    """Whether there is a gap between the atoms along some direction of the cell."""
    vectors, _ = minkowski_reduce(cell.cell.array)
    scaled = np.linalg.solve(vectors.T, cell.positions.T).T % 1.0
    heights = 1.0 / np.linalg.norm(np.linalg.inv(vectors), axis=0)
    gaps = np.diff(np.sort(scaled, axis=0), axis=0, append=np.sort(scaled, axis=0)[:1] + 1.0)
    widest = float((gaps.max(axis=0) * heights).max())
    if widest <= _GAP:
        return False
    distances = neighbor_list("d", cell, widest / _RELATIVE_GAP)
    return bool(len(distances))


def _crystal(one: _Candidate, known: Iterable[str]) -> DataCrystal | None:
    """Name a crystal and put it into its symmetry; None if there is none to be found."""
    try:
        cell = standard_primitive(one.cell, one.tolerance)
        symmetry = crystal_symmetry(cell)
        solid = _solid(cell, symmetry, {*known})
        turn_to_axes(cell, symmetry)
    except ValueError:
        return None
    return DataCrystal(solid, cell, symmetry, one.index, ())


def _solid(cell: Atoms, symmetry: Symmetry, known: set[str]) -> Solid:
    elements = {*cell.get_chemical_symbols()}
    lattice = _LATTICES.get((symmetry.number, len(cell))) if len(elements) == 1 else None
    formula = cell.get_chemical_formula("metal", empirical=True)
    title = base = value_name(f"{formula}_{lattice or symmetry.symbol.replace('/', '_')}")
    count = 1
    while title in known:
        count += 1
        title = f"{base}_{count}"
    if lattice is None:
        geometry = Geometry(
            symbols=tuple(cell.get_chemical_symbols()),
            cell=cell.cell.array.tolist(),
            positions=cell.get_scaled_positions().tolist(),
        )
        return StructureFile(name=title, geometry=geometry)
    guess = Crystal(element=formula, lattice=lattice, a=1.0, name=title)  # type: ignore[arg-type]
    found = guess.parameters(cell)
    ratio = found["c"] / found["a"] if lattice in HEXAGONAL else None
    return guess.replace(a=found["a"], c_over_a=ratio)
