"""Slip planes: the lines of their generalised stacking faults and the symmetry of these."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import spglib

from pescape.plugins.structures.stacking_faults import SLIP_PLANES
from pescape.plugins.structures.surfaces import cut, stack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pescape.plugins.structures.hosts import Host

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
        """Give the displacement at a part of the period, for `stacking_fault`."""
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
    host: Host, plane: Sequence[int], termination: int = 0
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
