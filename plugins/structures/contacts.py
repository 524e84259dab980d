"""Radii of elements, and pairs of atoms that are near for their radii."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ase import Atoms


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
    """Tell whether two atoms are nearer than the sum of their hard radii.

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
