"""Generalised stacking faults: crystals of which one half is shifted along a plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pescape.plugins.structures.hosts import Host, finish, kept_apart
from pescape.plugins.structures.surfaces import cut, plane_name, stack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

#: Slip planes of hexagonal crystals by name.
SLIP_PLANES = {
    "basal": (0, 0, 0, 1),
    "prismatic": (1, 0, -1, 0),
    "pyramidal": (1, 0, -1, 1),
    "pyramidal_2": (1, 1, -2, 2),
}


def displacement_grid(
    points: int = 21, *, ends: bool = False, count: int | None = None
) -> np.ndarray:
    """Lay a grid of displacements over the period of a plane.

    Parameters
    ----------
    points
        Along either vector.
    ends
        Reach 1, which gives the perfect crystal again. Without, the grid is in steps of
        1 / points and all displacements are different; 21 then hits the thirds, such as the
        intrinsic fault I2 of the basal plane, and 20 the halves of prismatic planes.
    count
        Keep so many of them, evenly spread over the plane.

    Returns
    -------
    ndarray
        Fractions of the two vectors, (points², 2) or (count, 2).
    """
    if points < 1 + ends:
        raise ValueError(f"a grid of {points} points is too small")
    steps = np.arange(points) / (points - 1 if ends else points)
    grid = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
    if count is None:
        return grid
    if not 1 <= count <= len(grid):
        raise ValueError(f"count = {count}, but there are {len(grid)} displacements")
    return grid[_spread(grid, count)]


def stacking_fault(
    host: Host,
    plane: Sequence[int],
    displacement: Sequence[float],
    *,
    layers: int,
    in_plane: Sequence[int] = (1, 1),
    termination: int = 0,
    vacuum: float = 0.0,
    opening: float = 0.0,
    min_distance: float = 0.0,
) -> Atoms:
    """Shift one half of a crystal along a plane.

    Parameters
    ----------
    host
        The crystal.
    plane
        Miller or Miller-Bravais indices; one of `SLIP_PLANES`, for instance.
    displacement
        Fractions of the two shortest periods within the plane (`cut` gives them as cell
        vectors of its layer): two of a in basal planes of hcp, a and c in prismatic ones.
    layers
        Lattice planes along the normal.
    in_plane
        Repetitions within the plane.
    termination
        Which of the `cuts` the fault is in: 0 is the widest gap between atomic planes.
    vacuum
        Without, the cell vector across the plane is tilted by the displacement: the crystal
        is periodic with one fault per cell. With vacuum, Å, the upper half of a slab is
        shifted.
    opening
        By how much the fault is opened along the normal, Å.
    min_distance
        Atoms nearer than this, Å, are pushed apart: atoms may come to lie on top of others.

    Returns
    -------
    Atoms
        Unrelaxed, z along the normal.
    """
    chosen = cut(host, plane, termination)
    if layers < (2 if vacuum else 1):
        raise ValueError(f"layers = {layers}: a fault needs {2 if vacuum else 1} at least")
    if vacuum < 0.0:
        raise ValueError(f"vacuum = {vacuum} Å is negative")
    atoms = stack(host, plane, layers, in_plane, termination)
    shift = np.asarray(displacement, dtype=float) @ chosen.layer.cell.array[:2]
    shift[2] += opening
    if vacuum:
        upper = atoms.positions[:, 2] > layers // 2 * chosen.spacing - chosen.gap / 2.0
        atoms.positions[upper] += shift
        thickness = layers * chosen.spacing - chosen.gap + opening
        atoms.cell[2] = (0.0, 0.0, thickness + vacuum)
        atoms.positions[:, 2] += vacuum / 2.0
    else:
        atoms.cell[2] = _untilted(atoms.cell.array[2] + shift, atoms.cell.array[:2])
    if min_distance:
        kept_apart(atoms, min_distance)
    arguments = {
        "host": host,
        "plane": [int(index) for index in plane],
        "displacement": [float(part) for part in displacement],
        "layers": layers,
        "in_plane": list(in_plane),
        "termination": termination,
        "vacuum": vacuum,
        "opening": opening,
        "min_distance": min_distance,
    }
    known: dict[tuple[int, ...], str] = {indices: name for name, indices in SLIP_PLANES.items()}
    where = known.get(tuple(plane), plane_name(plane))
    moved = ", ".join(f"{part:.3f}" for part in displacement)
    name = f"stacking fault {where} ({moved}) {host.lattice} {host.element}{len(atoms)}"
    return finish(atoms, name, "stacking_fault", arguments)


def _untilted(vector: np.ndarray, within: np.ndarray) -> np.ndarray:
    """Shorten a vector by whole periods within the plane; the crystal stays the same."""
    periods = np.linalg.solve(within[:, :2].T, vector[:2])
    return vector - np.round(periods - 1e-9) @ within


def _spread(points: np.ndarray, count: int) -> list[int]:
    """Choose points of a periodic unit square evenly, (count,) indices.

    Each is the free point nearest to one of the additive sequence of the plastic number, any
    number of whose first points lie evenly.
    """
    plastic = 1.324717957244746
    step = np.array([1.0 / plastic, 1.0 / plastic**2])
    chosen: list[int] = []
    for turn in range(count):
        away = points - turn * step
        away -= np.round(away)
        distance = (away**2).sum(axis=1)
        distance[chosen] = np.inf
        chosen.append(int(distance.argmin()))
    return sorted(chosen)
