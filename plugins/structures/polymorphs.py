"""Structures derived from known phases (Waters and Rondinelli, section II.D.3)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from pescape.plugins.structures.records import (
    builder,
    generator,
    note,
    structure_from_dict,
    structure_name,
)
from pescape.plugins.structures.spheres import overlaps, radii_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_STRAIN_TRIES = 10_000


@dataclass(frozen=True)
class Mutations:
    """What is done to a phase; the defaults are the paper's.

    Parameters
    ----------
    size_limit
        Most thickness of the supercell along each cell vector, in cut-off radii: 2 lets the
        sphere of influence fit in.
    deletion
        Chance of each atom to be removed.
    substitution
        Chance of each atom to become another element.
    strain
        Most change of each cell vector, in its own length.
    strain_volume
        Most relative change of the volume by that strain.
    dilation
        Width of the range of the linear dilation that follows.
    tension
        Share of that range which is tension; the rest is compression.
    displacement
        Most displacement of each atom, Å.
    flip
        Chance of each magnetic moment to change its sign.
    """

    size_limit: float = 2.0
    deletion: float = 0.05
    substitution: float = 0.05
    strain: float = 0.10
    strain_volume: float = 0.02
    dilation: float = 0.10
    tension: float = 0.75
    displacement: float = 0.2
    flip: float = 0.0

    def __post_init__(self) -> None:
        for name in ("deletion", "substitution", "tension", "flip"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} = {getattr(self, name)} is not between 0 and 1")
        for name in ("strain", "dilation"):
            if not 0.0 <= getattr(self, name) < 0.5:
                raise ValueError(f"{name} = {getattr(self, name)} is not at least 0 and below 0.5")
        for name in ("size_limit", "strain_volume"):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"{name} = {getattr(self, name)} is not above 0")
        if not 0.0 <= self.displacement < np.inf:
            raise ValueError(f"displacement = {self.displacement} Å is not at least 0")


@builder({"parent": structure_from_dict})
def polymorph_derived(
    parent: Atoms,
    *,
    seed: int | np.random.SeedSequence,
    cutoff: float = 7.0,
    elements: Sequence[str] | None = None,
    hard_radii: Mapping[str, float] | None = None,
    max_atoms: int | None = None,
    tries: int = 100,
    **mutations: float,
) -> Atoms:
    """Derive a structure from a known phase.

    In turn: a random supercell, deletions, substitutions, a random strain that keeps the
    volume within bounds, a dilation, random displacements and flips of magnetic moments.
    A structure with atoms nearer than their hard radii is drawn again.

    Parameters
    ----------
    parent
        The phase, usually its primitive cell; the cell must have a volume. Numbers,
        positions, cell, periodicity and initial magnetic moments are used.
    seed
        Equal seeds give equal structures.
    cutoff
        Of the potential to be made, Å; `Mutations.size_limit` counts in it.
    elements
        What atoms may be substituted by; the parent's elements when None. An atom never
        becomes what it is, so one element alone gives no substitutions.
    hard_radii
        By element, Å; 0.6 of the covalent radii when None.
    max_atoms
        Most atoms of the supercell, before deletions.
    tries
        Structures drawn before giving up.
    **mutations
        Fields of `Mutations`.

    Returns
    -------
    Atoms
        ``info["record"]`` tells what was done, and `replay` does it again; ``info["parent"]``
        names the parent.

    Raises
    ------
    ValueError
        An argument is not possible, or no try was free of overlaps.
    """
    chosen = Mutations(**mutations)
    present = sorted(set(parent.symbols))
    allowed = present if elements is None else sorted(set(elements))
    hard = radii_of(
        sorted({*present, *allowed}), hard_radii, ratio=0.6 if hard_radii is None else 1.0
    )
    repeats = _allowed_repeats(parent, chosen.size_limit * cutoff, max_atoms)
    rng = generator(seed)
    atoms, done = _without_overlaps(parent, repeats, allowed, chosen, hard, tries, rng)
    atoms.info["parent"] = structure_name(parent)
    arguments = {
        "parent": parent,
        "cutoff": float(cutoff),
        "elements": allowed,
        "hard_radii": hard,
        "max_atoms": max_atoms,
        "tries": tries,
        **asdict(chosen),
    }
    return note(atoms, done, arguments)


def _without_overlaps(
    parent: Atoms,
    repeats: Sequence[tuple[int, int, int]],
    elements: Sequence[str],
    chosen: Mutations,
    hard: Mapping[str, float],
    tries: int,
    rng: np.random.Generator,
) -> tuple[Atoms, dict[str, Any]]:
    for attempt in range(1, tries + 1):
        atoms, done = _mutated(parent, repeats, elements, chosen, rng)
        if not overlaps(atoms, hard):
            return atoms, {**done, "attempts": attempt}
    shown = ", ".join(f"{element} {radius:.3f}" for element, radius in hard.items())
    raise ValueError(
        f"{tries} structures drawn from {structure_name(parent)} all had atoms nearer than "
        f"hard radii {shown} Å: lower displacement, strain or the radii"
    )


def _mutated(
    parent: Atoms,
    repeats: Sequence[tuple[int, int, int]],
    elements: Sequence[str],
    chosen: Mutations,
    rng: np.random.Generator,
) -> tuple[Atoms, dict[str, Any]]:
    repeat = repeats[_index(rng, len(repeats))]
    bare = Atoms(parent.numbers, positions=parent.positions, cell=parent.cell, pbc=parent.pbc)
    if parent.has("initial_magmoms"):
        bare.set_initial_magnetic_moments(parent.get_initial_magnetic_moments())
    atoms = bare.repeat(repeat)
    deleted = _deleted(len(atoms), chosen.deletion, rng)
    del atoms[deleted]
    substituted = _substitute(atoms, elements, chosen.substitution, rng)
    cell = _strained(atoms.cell.array, chosen.strain, chosen.strain_volume, rng)
    dilation = chosen.dilation * (rng.random() - (1.0 - chosen.tension))
    atoms.set_cell((1.0 + dilation) * cell, scale_atoms=True)
    atoms.positions += chosen.displacement * _in_unit_ball(len(atoms), rng)
    done = {
        "repeat": list(repeat),
        "deleted": deleted,
        "substituted": substituted,
        "strained_cell": cell.tolist(),
        "dilation": dilation,
        "flipped": _flip(atoms, chosen.flip, rng),
    }
    return atoms, done


def _allowed_repeats(
    parent: Atoms, limit: float, max_atoms: int | None
) -> list[tuple[int, int, int]]:
    """Supercells that are no thicker than `limit` (Å) along periodic directions."""
    if not len(parent):
        raise ValueError("the parent holds no atoms")
    if not parent.cell.rank == 3:
        raise ValueError(f"the cell of {structure_name(parent)} has no volume")
    if not limit > 0.0:
        raise ValueError(f"size_limit * cutoff = {limit} Å is not above 0")
    if max_atoms is not None and len(parent) > max_atoms:
        raise ValueError(f"{structure_name(parent)} has {len(parent)} atoms, max_atoms {max_atoms}")
    heights = 1.0 / np.linalg.norm(np.linalg.inv(parent.cell.array), axis=0)
    most = np.where(parent.pbc, np.maximum(1, np.floor(limit / heights + 1e-9)), 1).astype(int)
    first, second, third = (range(1, n + 1) for n in most.tolist())
    every = product(first, second, third)
    atoms = len(parent)
    return [r for r in every if max_atoms is None or atoms * r[0] * r[1] * r[2] <= max_atoms]


def _deleted(count: int, chance: float, rng: np.random.Generator) -> list[int]:
    draws = rng.random(count)
    # One atom stays whatever chance says.
    return np.flatnonzero((draws < chance) & (np.arange(count) != draws.argmax())).tolist()


def _substitute(
    atoms: Atoms, elements: Sequence[str], chance: float, rng: np.random.Generator
) -> list[list[int | str]]:
    symbols = list(atoms.symbols)
    substituted: list[list[int | str]] = []
    for index in np.flatnonzero(rng.random(len(atoms)) < chance).tolist():
        others = [element for element in elements if element != symbols[index]]
        if others:
            new = others[_index(rng, len(others))]
            substituted.append([index, symbols[index], new])
            symbols[index] = new
    atoms.set_chemical_symbols(symbols)
    return substituted


def _strained(
    cell: np.ndarray, strain: float, volume: float, rng: np.random.Generator
) -> np.ndarray:
    """Change each cell vector by a vector that has no preferred direction.

    Drawn again until the relative change of the volume is at most `volume`.
    """
    lengths = np.linalg.norm(cell, axis=1, keepdims=True)
    before = np.linalg.det(cell)
    for _ in range(_STRAIN_TRIES):
        new = cell + strain * lengths * _in_unit_ball(3, rng)
        if abs(np.linalg.det(new) / before - 1.0) <= volume:
            return new
    raise ValueError(
        f"{_STRAIN_TRIES} strains of up to {strain} all changed the volume by more than "
        f"{volume}: raise strain_volume"
    )


def _in_unit_ball(count: int, rng: np.random.Generator) -> np.ndarray:
    """Points with uniform density in the unit ball, (count, 3): free of any direction."""
    points = np.empty((0, 3))
    while len(points) < count:
        drawn = 2.0 * rng.random((2 * count + 8, 3)) - 1.0
        points = np.concatenate([points, drawn[(drawn**2).sum(axis=1) <= 1.0]])
    return points[:count]


def _flip(atoms: Atoms, chance: float, rng: np.random.Generator) -> list[int]:
    if not chance or not atoms.has("initial_magmoms"):
        return []
    flipped = np.flatnonzero(rng.random(len(atoms)) < chance)
    moments = atoms.get_initial_magnetic_moments()
    moments[flipped] *= -1.0
    atoms.set_initial_magnetic_moments(moments)
    return flipped.tolist()


def _index(rng: np.random.Generator, count: int) -> int:
    return min(int(rng.random() * count), count - 1)
