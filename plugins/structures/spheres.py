"""Hard spheres in periodic cells: radii of elements, contacts, random insertion, pushing apart.

Insertion is sequential. Voxels that are wholly covered by exclusion spheres are left out of the
draws and the others split into eight when draws keep failing (Zhang and Torquato, Phys. Rev. E
88, 053312, 2013): points stay uniform in the free space however little is left. When a sphere
finds no room, it may take the roomiest place found, and overlaps are pushed apart at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

#: Distances are kept by this much more, Å, so that rounding to eight decimals does no harm.
_SLACK = 1e-7

_FIRST_BATCH = 8
_LARGEST_BATCH = 512
_FEWEST_FAILURES = 500
#: Draws of one sphere before it has no room.
_MOST_FAILURES = 5_000
#: Most voxels along a cell vector to start with.
_MOST_VOXELS = 64
#: Points among which a sphere without room looks for the roomiest.
_CROWDED_DRAWS = 512
_PUSHES = 1_000
#: How much farther than needed overlapping spheres are pushed, in the sum of their radii.
_PUSH_MARGIN = 2e-3
#: By how much lists of pairs reach farther than the radii, Å.
_SKIN = 0.4
#: Point-to-atom distances computed at once.
_BLOCK = 2_000_000


def radii_of(
    elements: Iterable[str], given: Mapping[str, float] | None = None, *, ratio: float = 1.0
) -> dict[str, float]:
    """Look up radii of elements.

    Parameters
    ----------
    elements
        Chemical symbols.
    given
        Radius of each element, Å; ASE's covalent radii when None. Radii that belong to a
        potential-energy surface come from `force_energy_limits`.
    ratio
        What they are multiplied with.

    Returns
    -------
    dict
        Radius by element, Å.
    """
    found = {}
    for element in elements:
        if element not in atomic_numbers:
            raise ValueError(f"{element!r} is no chemical symbol")
        if given is not None and element not in given:
            raise ValueError(f"no radius for {element}; there are radii for {', '.join(given)}")
        radius = covalent_radii[atomic_numbers[element]] if given is None else given[element]
        if not (np.isfinite(radius) and radius > 0):
            raise ValueError(f"radius {radius} Å of {element} is not a positive number")
        found[element] = float(radius) * ratio
    return found


def overlaps(atoms: Atoms, hard_radii: Mapping[str, float]) -> bool:
    """Return whether any two atoms are nearer than the sum of their hard radii.

    Periodic images count, those of the atom itself too.

    Parameters
    ----------
    atoms
        Any structure.
    hard_radii
        Radius by element, Å.
    """
    radii = np.array([hard_radii[symbol] for symbol in atoms.symbols])
    return bool(len(pairs_within(atoms, radii)[0]))


def pairs_within(atoms: Atoms, radii: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """List pairs that are nearer than the sum of their radii.

    Parameters
    ----------
    atoms
        Any structure; small cells list images of the atom itself too.
    radii
        Of each atom, (atoms,), Å.

    Returns
    -------
    tuple
        First and second atom of each pair, (pairs,), and the vector from one to the other,
        (pairs, 3), Å. Each pair is listed from both of its ends.
    """
    if not len(atoms):
        return np.empty(0, dtype=int), np.empty(0, dtype=int), np.empty((0, 3))
    reach = 2.0 * float(radii.max())
    points, owners = _with_images(atoms, reach)
    home = points[: len(atoms)]
    near = cKDTree(home).sparse_distance_matrix(cKDTree(points), reach, output_type="ndarray")
    first, point = near["i"], near["j"]
    second = owners[point]
    kept = (point != first) & (near["v"] < radii[first] + radii[second])
    first, second, point = first[kept], second[kept], point[kept]
    return first, second, points[point] - home[first]


def _with_images(atoms: Atoms, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Atoms wrapped into the cell, followed by all images within reach of it.

    Returns points (points, 3), Å, and the atom each belongs to (points,).
    """
    cell = atoms.cell.complete().array
    pbc = atoms.pbc & atoms.cell.any(1)
    inverse = np.linalg.inv(cell)
    margin = reach * np.linalg.norm(inverse, axis=0)
    scaled = atoms.positions @ inverse
    scaled[:, pbc] %= 1.0
    layers = np.where(pbc, np.ceil(margin), 0).astype(int).tolist()
    points, owners = [scaled], [np.arange(len(atoms))]
    for shift in product(*(range(-n, n + 1) for n in layers)):
        if any(shift):
            image = scaled + shift
            near = (~pbc | ((image >= -margin) & (image <= 1.0 + margin))).all(axis=1)
            points.append(image[near])
            owners.append(np.flatnonzero(near))
    return np.concatenate(points) @ cell, np.concatenate(owners)


@dataclass(frozen=True)
class Insertion:
    """Spheres in a cell.

    Parameters
    ----------
    scaled
        Scaled positions in the order of insertion, (placed, 3).
    crowded
        Turns of the spheres that found no room, (crowded,).
    """

    scaled: np.ndarray
    crowded: np.ndarray


def insert(
    cell: np.ndarray,
    hard: np.ndarray,
    kinds: np.ndarray,
    rng: np.random.Generator,
    *,
    crowd: bool = False,
) -> Insertion:
    """Insert spheres one by one, each with uniform density in the space that is free for it.

    Parameters
    ----------
    cell
        Cell vectors, (3, 3), Å.
    hard
        Hard radius of each kind, (kinds,), Å. Each sphere must fit among its own images.
    kinds
        Kind of each sphere in the order of insertion, (spheres,).
    rng
        Where chance comes from.
    crowd
        Put spheres that find no room where they overlap least, instead of stopping there.

    Returns
    -------
    Insertion
        Fewer spheres than asked for when one found no room and `crowd` is not set.
    """
    placed = np.empty((len(kinds), 3))
    present = np.unique(kinds)
    spheres = _Spheres(cell, reach=2.0 * float(hard[present].max()))
    voxels = {kind: _Voxels(cell, float(hard[kind])) for kind in present.tolist()}
    crowded: list[int] = []
    for turn, kind in enumerate(kinds.tolist()):
        place = voxels[kind].draw(spheres, rng)
        if place is None:
            if not crowd:
                return Insertion(placed[:turn], np.array(crowded, dtype=int))
            points = rng.random((_CROWDED_DRAWS, 3))
            place = points[spheres.clearance(points).argmax()]
            crowded.append(turn)
        placed[turn] = place
        spheres.add(place, float(hard[kind]))
    return Insertion(placed, np.array(crowded, dtype=int))


def push_apart(cell: np.ndarray, scaled: np.ndarray, radii: np.ndarray) -> np.ndarray | None:
    """Move overlapping spheres away from each other, each by the same way, until none overlap.

    Parameters
    ----------
    cell
        Cell vectors, (3, 3), Å.
    scaled
        Scaled positions, (spheres, 3).
    radii
        Hard radius of each sphere, (spheres,), Å.

    Returns
    -------
    ndarray or None
        Scaled positions, (spheres, 3); None when overlaps are left after many moves.
    """
    atoms = Atoms(f"H{len(radii)}", scaled_positions=scaled, cell=cell, pbc=True)
    first = second = np.empty(0, dtype=int)
    listed = fixed = None
    for _ in range(_PUSHES):
        positions = atoms.positions
        if listed is None or np.abs(positions - listed).max() > _SKIN / 4.0:
            atoms.wrap()
            first, second, away = pairs_within(atoms, radii + _SKIN / 2.0)
            keep = first != second
            first, second, away = first[keep], second[keep], away[keep]
            listed = atoms.positions.copy()
            fixed = away - listed[second] + listed[first]
        away = fixed + positions[second] - positions[first]
        distances = np.sqrt(np.einsum("ij,ij->i", away, away))
        wanted = radii[first] + radii[second]
        if (distances >= wanted + _SLACK).all():
            return atoms.get_scaled_positions()
        overlap = np.maximum((1.0 + _PUSH_MARGIN) * wanted - distances, 0.0)
        # Each pair is listed from both of its ends.
        step = -0.5 * (overlap / distances)[:, None] * away
        for axis in range(3):
            positions[:, axis] += np.bincount(first, step[:, axis], len(positions))
    return None


class _Voxels:
    """The part of the cell that may still take a sphere of one kind."""

    def __init__(self, cell: np.ndarray, radius: float) -> None:
        self._cell = cell
        self._radius = radius
        edges = np.linalg.norm(cell, axis=1)
        grid = np.clip(np.ceil(edges / (2.0 * radius)), 1, _MOST_VOXELS).astype(int)
        self._size = 1.0 / grid
        self._corners = np.indices(tuple(grid)).reshape(3, -1).T * self._size

    def draw(self, spheres: _Spheres, rng: np.random.Generator) -> np.ndarray | None:
        """Draw scaled positions until one is free; None when there seems to be no room.

        Parameters
        ----------
        spheres
            What is there already.
        rng
            Where chance comes from.
        """
        batch, failures, since = _FIRST_BATCH, 0, 0
        while len(self._corners) and failures < _MOST_FAILURES:
            chosen = (rng.random(batch) * len(self._corners)).astype(int)
            points = (self._corners[chosen] + rng.random((batch, 3)) * self._size) % 1.0
            free = np.flatnonzero(spheres.clearance(points) >= self._radius + _SLACK)
            if len(free):
                return points[free[0]]
            failures, since = failures + batch, since + batch
            batch = min(2 * batch, _LARGEST_BATCH)
            if since >= max(_FEWEST_FAILURES, len(self._corners)):
                self._refine(spheres)
                since = 0
        # Room that was hard to find is not looked for again.
        self._corners = self._corners[:0]
        return None

    def _refine(self, spheres: _Spheres) -> None:
        """Leave out covered voxels, split the others, leave out covered parts."""
        self._drop_covered(spheres)
        self._size = self._size / 2.0
        parts = np.array(list(product((0.0, 1.0), repeat=3))) * self._size
        self._corners = (self._corners[:, None] + parts).reshape(-1, 3)
        self._drop_covered(spheres)

    def _drop_covered(self, spheres: _Spheres) -> None:
        diagonals = (self._size * [[1, 1, 1], [1, 1, -1], [1, -1, 1], [-1, 1, 1]]) @ self._cell
        half = np.linalg.norm(diagonals, axis=1).max() / 2.0
        clearance = spheres.clearance((self._corners + self._size / 2.0) % 1.0)
        self._corners = self._corners[clearance > self._radius + _SLACK - half]


class _Spheres:
    """Spheres with their periodic images, in bins at least as thick as the reach."""

    def __init__(self, cell: np.ndarray, reach: float) -> None:
        self._cell = cell
        heights = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)
        self._margin = reach / heights
        self._bins = np.maximum(1, np.floor(1.0 / self._margin + 1e-12)).astype(int)
        self._layers = np.ceil(self._margin * self._bins - 1e-12).astype(int)
        self._shape = self._bins + 2 * self._layers
        around = [range(-n, n + 1) for n in self._layers.tolist()]
        self._around = self._flat(np.array(list(product(*around))))
        self._filled = np.zeros(int(self._shape.prod()), dtype=int)
        self._slots = self._empty(2)

    def add(self, scaled: np.ndarray, radius: float) -> None:
        """Add a sphere and those of its images that can touch a sphere in the cell.

        Parameters
        ----------
        scaled
            Scaled position, (3,).
        radius
            Å.
        """
        images = scaled + np.array(list(product(*self._image_ranges(scaled))))
        places = self._flat(np.floor(images * self._bins).astype(int) + self._layers)
        positions = images @ self._cell
        for place, position in zip(places.tolist(), positions, strict=True):
            if self._filled[place] == self._slots.shape[1]:
                self._slots = np.concatenate([self._slots, self._empty(2)], axis=1)
            slot = self._slots[place, self._filled[place]]
            slot[:3] = position
            slot[3] = radius
            self._filled[place] += 1

    def clearance(self, points: np.ndarray) -> np.ndarray:
        """Distance from points to the nearest surface of a sphere.

        Parameters
        ----------
        points
            Scaled positions in [0, 1), (n, 3).

        Returns
        -------
        ndarray
            (n,), Å, negative inside a sphere; exact up to the reach less that sphere's radius.
        """
        block = max(1, _BLOCK // (len(self._around) * self._slots.shape[1]))
        found = [self._clearance(points[k : k + block]) for k in range(0, len(points), block)]
        return np.concatenate(found) if found else np.empty(0)

    def _clearance(self, points: np.ndarray) -> np.ndarray:
        home = self._flat(np.minimum(np.floor(points * self._bins), self._bins - 1) + self._layers)
        near = self._slots[home[:, None] + self._around]
        away = near[..., :3] - (points @ self._cell)[:, None, None]
        distances = np.sqrt(np.einsum("...k,...k", away, away))
        return (distances - near[..., 3]).min(axis=(1, 2))

    def _image_ranges(self, scaled: np.ndarray) -> Iterator[range]:
        for value, margin in zip(scaled.tolist(), self._margin.tolist(), strict=True):
            yield range(int(np.ceil(-margin - value)), int(np.floor(1.0 + margin - value)) + 1)

    def _flat(self, bins: np.ndarray) -> np.ndarray:
        return (bins @ [self._shape[1] * self._shape[2], self._shape[2], 1]).astype(int)

    def _empty(self, slots: int) -> np.ndarray:
        empty = np.full((int(self._shape.prod()), slots, 4), np.inf)
        empty[..., 3] = 0.0
        return empty
