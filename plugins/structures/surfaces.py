"""Crystals cut along lattice planes: oriented periodic stacks and slabs with free surfaces."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from ase.build import make_supercell

from pescape.plugins.structures.crystals import (
    HEXAGONAL,
    BulkCrystal,
    crystal_builder,
    most_compact,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

_CUBIC_PLANES = ((1, 0, 0), (1, 1, 0), (1, 1, 1))
#: Planes of surfaces by lattice.
LOW_INDEX_PLANES: dict[str, tuple[tuple[int, ...], ...]] = {
    "hcp": (
        (0, 0, 0, 1),
        (1, 0, -1, 0),
        (1, 1, -2, 0),
        (1, 0, -1, 1),
        (1, 1, -2, 1),
        (1, 1, -2, 2),
    ),
    "bcc": _CUBIC_PLANES,
    "fcc": _CUBIC_PLANES,
}

#: Largest component of the lattice vectors that span a plane.
_REACH = 5
#: Heights that differ by less, Å, belong to the same atomic plane.
_FLAT = 1e-4


@dataclass(frozen=True)
class Cut:
    """One way to cut a crystal along a plane.

    Parameters
    ----------
    layer
        One period along the normal (z), as thick as lattice planes are apart: the first two
        cell vectors span the plane, the third leads to the next layer. Its lowest atoms are
        at z = 0, the gap that was cut is at its top.
    gap
        Width of the gap between the two atomic planes, Å.
    """

    layer: Atoms
    gap: float

    @property
    def spacing(self) -> float:
        """Thickness of the layer, Å."""
        return float(self.layer.cell[2, 2])


def _miller(host: BulkCrystal, plane: Sequence[int]) -> tuple[int, int, int]:
    """Check the indices of a plane and make three Miller indices of them.

    Parameters
    ----------
    host
        The crystal.
    plane
        Three Miller indices, or four Miller-Bravais ones of hexagonal lattices.
    """
    shown = f"plane {list(plane)}"
    if len(plane) == 4:
        if host.lattice not in HEXAGONAL:
            raise ValueError(f"{shown}: four indices belong to hcp and omega, not {host.lattice}")
        h, k, i, l = plane  # noqa: E741 (its name everywhere)
        if h + k + i:
            raise ValueError(f"{shown}: the first three Miller-Bravais indices do not sum to 0")
        plane = (h, k, l)
    if len(plane) != 3 or not any(plane):
        raise ValueError(f"{shown}: give three Miller indices, or four of hexagonal lattices")
    h, k, l = plane  # noqa: E741
    return int(h), int(k), int(l)


def cuts(host: BulkCrystal, plane: Sequence[int]) -> tuple[Cut, ...]:
    """Find the different ways to cut a crystal along a plane.

    Parameters
    ----------
    host
        The crystal.
    plane
        Miller indices of the conventional cell, or Miller-Bravais indices.

    Returns
    -------
    tuple of Cut
        The widest gap between atomic planes first. hcp has two along (10-10), first and second
        kind, and along (10-11); one along (0001), (11-20), (11-21) and (11-22).
    """
    return _cuts(host, _miller(host, plane))


def cut(host: BulkCrystal, plane: Sequence[int], termination: int = 0) -> Cut:
    """Look one of the `cuts` up, counted from 0.

    Parameters
    ----------
    host, plane
        As of `cuts`.
    termination
        Which of them.
    """
    found = cuts(host, plane)
    if not 0 <= termination < len(found):
        raise ValueError(
            f"termination {termination} of {host.lattice} {plane_name(plane)}: there are "
            f"{len(found)}, counted from 0"
        )
    return found[termination]


def stack_for(host: BulkCrystal, plane: Sequence[int], size: int) -> tuple[tuple[int, int], int]:
    """Find the most compact stack of a number of atoms.

    Parameters
    ----------
    host, plane
        The crystal and the plane.
    size
        Number of atoms.

    Returns
    -------
    tuple
        Repetitions within the plane, and layers. Thickness counts half, since surfaces and
        faults want to be farther apart along the normal than their images within the plane.
    """
    layer = cut(host, plane).layer
    cells, rest = divmod(size, len(layer))
    if rest or not cells:
        raise ValueError(
            f"no stack of {host.lattice} {plane_name(plane)} has {size} atoms: a layer of the "
            f"smallest cell has {len(layer)}"
        )
    first, second = layer.cell.array[:2, :2]
    area = abs(first[0] * second[1] - first[1] * second[0])
    widths = (area / np.linalg.norm(second), area / np.linalg.norm(first))
    *within, layers = most_compact(cells, (*widths, layer.cell[2, 2] / 2.0))
    return (within[0], within[1]), layers


def stack(
    host: BulkCrystal,
    plane: Sequence[int],
    layers: int,
    in_plane: Sequence[int] = (1, 1),
    termination: int = 0,
) -> Atoms:
    """Stack layers of one of the `cuts` to a periodic crystal.

    Parameters
    ----------
    host, plane
        As of `cuts`.
    layers
        Lattice planes along the normal.
    in_plane
        Repetitions within the plane.
    termination
        Which of the `cuts` is at the boundary of the cell.
    """
    cut(host, plane, termination)
    if min(layers, *in_plane) < 1:
        raise ValueError(f"layers = {layers}, in_plane = {list(in_plane)} have to be above 0")
    first, second = in_plane
    return _stack(host, _miller(host, plane), termination, (first, second, layers)).copy()


@crystal_builder
def surface(
    host: BulkCrystal,
    plane: Sequence[int],
    *,
    layers: int,
    in_plane: Sequence[int] = (1, 1),
    vacuum: float = 12.0,
    termination: int = 0,
) -> Atoms:
    """Build a slab between vacuum.

    Parameters
    ----------
    host
        The crystal.
    plane
        Miller or Miller-Bravais indices.
    layers
        Thickness in lattice planes; each has the atoms of the host's primitive cell.
    in_plane
        Repetitions within the plane.
    vacuum
        From the uppermost atoms to the lowest ones of the next image, Å.
    termination
        Which of the `cuts`.

    Returns
    -------
    Atoms
        Unrelaxed, z along the normal, in the middle of the cell, periodic in all directions.
    """
    if not vacuum > 0.0:
        raise ValueError(f"vacuum = {vacuum} Å is not above 0")
    chosen = cut(host, plane, termination)
    atoms = stack(host, plane, layers, in_plane, termination)
    thickness = layers * chosen.spacing - chosen.gap
    atoms.cell[2] = (0.0, 0.0, thickness + vacuum)
    atoms.positions[:, 2] += vacuum / 2.0
    which = f" termination {termination}" if len(cuts(host, plane)) > 1 else ""
    where = f"{host.lattice} {plane_name(plane)}{which}"
    atoms.info["name"] = f"surface {where} {host.element}{len(atoms)}"
    return atoms


def plane_name(plane: Sequence[int]) -> str:
    """Write the indices of a plane, such as (10-10).

    Parameters
    ----------
    plane
        Miller or Miller-Bravais indices.
    """
    return f"({''.join(str(int(index)) for index in plane)})"


@functools.lru_cache(maxsize=64)
def _stack(
    host: BulkCrystal,
    indices: tuple[int, int, int],
    termination: int,
    repeat: tuple[int, int, int],
) -> Atoms:
    return _cuts(host, indices)[termination].layer.repeat(repeat)


@functools.lru_cache(maxsize=256)
def _cuts(host: BulkCrystal, indices: tuple[int, int, int]) -> tuple[Cut, ...]:
    layer = _oriented(host, indices)
    spacing = float(layer.cell[2, 2])
    heights = layer.positions[:, 2] % spacing
    heights[heights > spacing - _FLAT] -= spacing
    heights = np.sort(heights)
    gaps = np.diff(heights, append=heights[0] + spacing)
    found: list[Cut] = []
    for index in np.argsort(-gaps.round(4), kind="stable").tolist():
        if gaps[index] > _FLAT and not any(abs(gaps[index] - one.gap) < _FLAT for one in found):
            lowest = heights[(index + 1) % len(heights)]
            found.append(Cut(_shifted(layer, lowest), float(gaps[index])))
    return tuple(found)


def _shifted(layer: Atoms, lowest: float) -> Atoms:
    """Move a height to z = 0 and wrap the atoms into the layer above it."""
    new = layer.copy()
    new.positions[:, 2] -= lowest
    wraps = np.floor((new.positions[:, 2] + _FLAT) / layer.cell[2, 2])
    new.positions -= wraps[:, None] * layer.cell.array[2]
    return new


def _oriented(host: BulkCrystal, indices: tuple[int, int, int]) -> Atoms:
    """Primitive cell whose first two vectors are the shortest ones within a plane.

    ASE's `surface` makes the third vector normal to the plane, which is no period of most
    lattices; stacks without vacuum need the period.
    """
    primitive = host.atoms(cubic=False)
    plane = _primitive_indices(host, primitive, indices)
    components = np.array(list(product(range(-_REACH, _REACH + 1), repeat=3)))
    vectors = components @ primitive.cell.array
    # Rounded, then by components, so that equal lengths are told apart everywhere alike.
    lengths = np.linalg.norm(vectors, axis=1).round(6)
    order = np.lexsort((*(-components.T), lengths))
    height = components @ plane
    flat = [index for index in order if height[index] == 0 and lengths[index] > 0.0]
    second = (i for i in flat if np.linalg.norm(np.cross(vectors[flat[0]], vectors[i])) > _FLAT)
    third = (index for index in order if height[index] == 1)
    found = [*flat[:1], *(index for index in (next(second, None), next(third, None)) if index)]
    basis = components[found]
    if len(found) < 3 or abs(determinant := round(float(np.linalg.det(basis)))) != 1:
        raise ValueError(
            f"plane {indices} is not spanned by lattice vectors of components up to {_REACH}: "
            "give lower indices"
        )
    basis[1] *= determinant
    atoms = make_supercell(primitive, basis)
    atoms.set_cell(atoms.cell.standard_form()[0], scale_atoms=True)
    return atoms


def _primitive_indices(
    host: BulkCrystal, primitive: Atoms, indices: tuple[int, int, int]
) -> np.ndarray:
    """Find the indices of the same plane in the primitive cell, (3,)."""
    conventional = host.atoms().cell.array if host.lattice not in HEXAGONAL else primitive.cell
    normal = np.linalg.solve(np.asarray(conventional), np.array(indices, dtype=float))
    # Centered cells give halves.
    plane = np.round(2.0 * primitive.cell.array @ normal).astype(int)
    return plane // np.gcd.reduce(plane)
