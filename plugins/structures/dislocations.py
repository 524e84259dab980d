"""Dipoles of <a> dislocations in hexagonal close-packed crystals.

Displacements are those of isotropic elasticity (Hirth and Lothe, Theory of Dislocations, 2nd
edition, sections 3-2 and 3-4), summed over periodic images. The sum converges but for a linear
field, which is taken out (Cai, Bulatov, Chang, Li and Yip, Phil. Mag. 83, 539, 2003); the cell
is then tilted by the plastic strain of the dipole, which leaves no stress on average.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from pescape.plugins.structures.crystals import BulkCrystal, finish

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

#: Characters of dislocations, and arrangements of dipoles.
CHARACTERS = ("edge", "screw")
ARRANGEMENTS = ("quadrupole", "dipole")

# Axes of the orthorhombic cell (x = a, y = [01-10], z = c): glide, normal of the plane, line.
# The Burgers vector is a along x: along the glide of edges, along the line of screws.
_AXES = {
    ("edge", "basal"): (0, 2, 1),
    ("edge", "prismatic"): (0, 1, 2),
    ("screw", "basal"): (1, 2, 0),
    ("screw", "prismatic"): (2, 1, 0),
}
#: Images on either side, along either period.
_IMAGES = 12


@dataclass(frozen=True, eq=False)
class _Dipole:
    """Two cores in the plane of p (along glide) and q (along the normal); all in Å."""

    character: str
    burgers: float
    poisson: float
    cores: np.ndarray  # (2, 2)
    periods: np.ndarray  # (2, 2)


def dipole_repeat(host: BulkCrystal, character: str, plane: str, size: int) -> tuple[int, int, int]:
    """Find a supercell of a number of atoms for `dislocation_dipole`.

    Parameters
    ----------
    host
        An hcp crystal.
    character, plane
        As there.
    size
        Number of atoms, such as 512.

    Returns
    -------
    tuple
        Repetitions of the orthorhombic cell: one along the line of an edge, two along that of
        a screw, and an even number along glide, so that dislocations are as far apart as
        can be.
    """
    glide, normal, line = _axes(host, character, plane)
    unit = host.atoms()
    along = 2 if character == "screw" else 1
    smallest = 2 * along * len(unit)
    cells, rest = divmod(size, smallest)
    if rest or not cells:
        raise ValueError(
            f"no {character} dipole on {plane} planes has {size} atoms: give a multiple of "
            f"{smallest}"
        )
    lengths = unit.cell.lengths()

    def apart(pairs: int) -> float:
        return float(min(pairs * lengths[glide], cells // pairs * lengths[normal]))

    pairs = max((n for n in range(1, cells + 1) if cells % n == 0), key=apart)
    repeat = {glide: 2 * pairs, normal: cells // pairs, line: along}
    return repeat[0], repeat[1], repeat[2]


def dislocation_dipole(
    host: BulkCrystal,
    character: str,
    plane: str,
    *,
    repeat: Sequence[int],
    arrangement: str = "quadrupole",
    poisson: float = 0.33,
) -> Atoms:
    """Put two <a> dislocations of opposite sign into an hcp crystal.

    Parameters
    ----------
    host
        An hcp crystal.
    character
        ``edge`` or ``screw``.
    plane
        ``basal`` or ``prismatic``: both dislocations lie on the same glide plane, half a
        period apart, so that atoms are neither put in nor taken out.
    repeat
        Repetitions of the orthorhombic cell (x = a, y = [01-10], z = c); along glide they are
        even. `dipole_repeat` finds them for a number of atoms.
    arrangement
        What lies above a dislocation in the next period along the normal: one of opposite
        sign in a ``quadrupole``, of equal sign in a ``dipole``.
    poisson
        Poisson's ratio, which displacements of edges depend on.

    Returns
    -------
    Atoms
        Unrelaxed, periodic in all directions, the cell tilted by the plastic strain.
    """
    glide, normal, line = _axes(host, character, plane)
    if arrangement not in ARRANGEMENTS:
        raise ValueError(f"arrangement {arrangement!r} is not one of {', '.join(ARRANGEMENTS)}")
    if not -1.0 < poisson <= 0.5:
        raise ValueError(f"poisson = {poisson} is not between -1 and 0.5")
    if repeat[glide] % 2:
        raise ValueError(
            f"repeat = {list(repeat)} is odd along {'xyz'[glide]}, where glide is: make it even"
        )
    atoms = host.atoms(repeat=repeat)
    long, high = atoms.cell.lengths()[[glide, normal]]
    middle = _widest_gap(atoms.positions[:, normal], high)
    lean = long / 2.0 if arrangement == "quadrupole" else 0.0
    dipole = _Dipole(
        character,
        host.a,
        poisson,
        np.array([[0.25 * long, middle], [0.75 * long, middle]]),
        np.array([[long, 0.0], [lean, high]]),
    )
    axes = [glide, normal, line]
    atoms.positions[:, axes] += _displacements(dipole, atoms.positions[:, [glide, normal]])
    tilt = _tilt(dipole)
    atoms.cell[normal, glide] += lean
    atoms.cell[normal, axes] += tilt * high
    arguments = {
        "host": host,
        "character": character,
        "plane": plane,
        "repeat": [int(n) for n in repeat],
        "arrangement": arrangement,
        "poisson": poisson,
    }
    name = f"{character} dislocation {arrangement} {plane} hcp {host.element}{len(atoms)}"
    return finish(atoms, name, "dislocation_dipole", arguments)


def _axes(host: BulkCrystal, character: str, plane: str) -> tuple[int, int, int]:
    if host.lattice != "hcp":
        raise ValueError(f"dislocation dipoles are built in hcp, not in {host.lattice}")
    if (character, plane) not in _AXES:
        known = ", ".join(" ".join(one) for one in _AXES)
        raise ValueError(f"dislocation {character!r} on {plane!r} is not one of {known}")
    return _AXES[character, plane]


def _widest_gap(heights: np.ndarray, period: float) -> float:
    """Middle of the widest gap between atomic planes that is nearest to half the period."""
    levels = np.unique((heights % period).round(4))
    gaps = np.diff(levels, append=levels[0] + period)
    middles = (levels + gaps / 2.0)[gaps > gaps.max() - 1e-3]
    return float(middles[np.abs(middles - period / 2.0).argmin()])


def _displacements(dipole: _Dipole, points: np.ndarray) -> np.ndarray:
    """Displacements along glide, normal and line, (points, 3), Å."""
    # Two points half a period to either side of the dipole's middle tell the linear field.
    centre = dipole.cores.mean(axis=0) + 0.25 * dipole.periods[1]
    ahead, behind = (
        _images_summed(dipole, centre + sign * dipole.periods / 2.0) for sign in (1.0, -1.0)
    )
    linear = np.linalg.solve(dipole.periods, ahead - behind)
    field = _images_summed(dipole, points) - points @ linear
    return field + points[:, 1:] * _tilt(dipole)


def _tilt(dipole: _Dipole) -> np.ndarray:
    """Displacement per height along the normal by which the dipole has sheared the crystal."""
    area = dipole.periods[0, 0] * dipole.periods[1, 1]
    swept = dipole.cores[1, 0] - dipole.cores[0, 0]
    return -swept / area * _burgers(dipole)


def _burgers(dipole: _Dipole) -> np.ndarray:
    along = 0 if dipole.character == "edge" else 2
    return dipole.burgers * np.eye(3)[along]


def _images_summed(dipole: _Dipole, points: np.ndarray) -> np.ndarray:
    """Displacements of the two dislocations and their images, (points, 3), Å."""
    steps = np.array(list(product(range(-_IMAGES, _IMAGES + 1), repeat=2)), dtype=float)
    images = steps @ dipole.periods
    first, second = (points[:, None] - images - core for core in dipole.cores)
    return (_field(dipole, first) - _field(dipole, second)).sum(axis=1)


def _field(dipole: _Dipole, away: np.ndarray) -> np.ndarray:
    """Displacements around one dislocation, (points, images, 3), Å.

    The cut runs from the core along positive p; those of a dipole cancel beyond the second.
    """
    p, q = away[..., 0], away[..., 1]
    angle = np.arctan2(q, p) % (2.0 * np.pi)
    field = np.zeros((*p.shape, 3))
    if dipole.character == "screw":
        field[..., 2] = angle
    else:
        square = p * p + q * q
        rest = 1.0 - dipole.poisson
        field[..., 0] = angle + p * q / (2.0 * rest * square)
        field[..., 1] = -(
            (1.0 - 2.0 * dipole.poisson) / (4.0 * rest) * np.log(square)
            + (p * p - q * q) / (4.0 * rest * square)
        )
    return field * (dipole.burgers / (2.0 * np.pi))
