"""Generalized stacking faults: crystals of which one half is shifted along a plane.

Slip planes: the lines of their generalized stacking faults and the symmetry of these.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import spglib

from pescape.plugins.structures.crystals import BulkCrystal, crystal_builder, enforce_min_distance
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


@crystal_builder
def stacking_fault(
    host: BulkCrystal,
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
        enforce_min_distance(atoms, min_distance)
    known: dict[tuple[int, ...], str] = {indices: name for name, indices in SLIP_PLANES.items()}
    where = known.get(tuple(plane), plane_name(plane))
    moved = ", ".join(f"{part:.3f}" for part in displacement)
    crystal = f"{host.lattice} {host.element}{len(atoms)}"
    atoms.info["name"] = f"stacking fault {where} ({moved}) {crystal}"
    return atoms


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


# Distance, Å, by which atoms may miss the positions that symmetry gives them.
_PRECISION = 1e-4


@dataclass(frozen=True)
class SlipLine:
    """A direction in which one half of a crystal is shifted.

    Parameters
    ----------
    name
        The direction as an identifier, with m for minus.
    label
        The shortest period, as papers write it.
    period
        The same in fractions of the two shortest periods within the plane, which `cut` gives.
    faults
        Faults that have a name, by their place along the period.
    """

    name: str
    label: str
    period: tuple[int, int]
    faults: tuple[tuple[float, str], ...] = ()

    def at(self, part: float) -> tuple[float, float]:
        """Return the displacement at a part of the period, as `stacking_fault` takes it.

        Parameters
        ----------
        part
            Of the period, from 0 to 1.
        """
        return part * self.period[0], part * self.period[1]


@dataclass(frozen=True)
class SlipPlane:
    """A plane of which one half of a crystal slips over the other.

    Parameters
    ----------
    name
        As an identifier.
    indices
        Miller indices, or Miller-Bravais.
    lines
        The first two are at right angles.
    """

    name: str
    indices: tuple[int, ...]
    lines: tuple[SlipLine, ...]


#: Slip planes by lattice.
SLIP: dict[str, tuple[SlipPlane, ...]] = {
    "hcp": (
        SlipPlane(
            "basal",
            SLIP_PLANES["basal"],
            (
                SlipLine("1m210", "1/3[1-210]", (1, 0)),
                SlipLine("1m100", "[1-100]", (1, -2), ((1 / 3, "I2"),)),
            ),
        ),
        SlipPlane(
            "prismatic",
            SLIP_PLANES["prismatic"],
            (
                SlipLine("1m210", "1/3[1-210]", (1, 0), ((1 / 2, "fault"),)),
                SlipLine("0001", "[0001]", (0, 1)),
            ),
        ),
    ),
    "fcc": (
        SlipPlane(
            "111",
            (1, 1, 1),
            (
                SlipLine("1m10", "1/2[1-10]", (1, 0)),
                SlipLine("11m2", "1/2[11-2]", (1, -2), ((1 / 3, "intrinsic"),)),
            ),
        ),
    ),
    "bcc": (
        SlipPlane(
            "110",
            (1, 1, 0),
            (
                SlipLine("001", "[001]", (-1, 1)),
                SlipLine("1m10", "[1-10]", (1, 1)),
                SlipLine("1m11", "1/2[1-11]", (1, 0)),
            ),
        ),
        SlipPlane(
            "112",
            (1, 1, 2),
            (
                SlipLine("11m1", "1/2[11-1]", (1, 0)),
                SlipLine("1m10", "[1-10]", (0, 1)),
            ),
        ),
    ),
}


def displacement_symmetries(
    host: BulkCrystal, plane: Sequence[int], termination: int = 0
) -> tuple[np.ndarray, ...]:
    """Find which displacements along a plane make the same fault.

    An operation of the crystal that maps the plane between its halves onto itself maps faults
    onto faults; where it exchanges the halves, the displacement of the upper half against the
    lower one changes its sign.

    Parameters
    ----------
    host, plane, termination
        As of `stacking_fault`.

    Returns
    -------
    tuple of ndarray
        Integer matrices (2, 2) that act on displacements from the left; the identity is one.
        Whole periods are symmetries beside them.
    """
    chosen = cut(host, plane, termination)
    atoms = stack(host, plane, 1, termination=termination)
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of how spglib tells of failures
        found = spglib.get_symmetry(cell, symprec=_PRECISION)
    if found is None:
        return (np.eye(2, dtype=int),)
    between = 1.0 - 0.5 * chosen.gap / chosen.spacing
    near = _PRECISION / chosen.spacing
    matrices = {}
    for rotation, shift in zip(found["rotations"], found["translations"], strict=True):
        side = int(rotation[2, 2])
        off = (side - 1) * between + shift[2]
        if not rotation[2, :2].any() and abs(off - round(off)) < near:
            matrix = side * rotation[:2, :2]
            matrices[tuple(matrix.ravel().tolist())] = matrix
    return tuple(matrices.values())
