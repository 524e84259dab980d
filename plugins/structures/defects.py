"""Defects of crystals: vacancies, divacancies, self-interstitials and dipoles of dislocations.

Displacements around dislocations are those of isotropic elasticity (Hirth and Lothe, Theory of
Dislocations, 2nd edition, sections 3-2 and 3-4), summed over periodic images. The sum converges
but for a linear field, which is taken out (Cai, Bulatov, Chang, Li and Yip, Phil. Mag. 83, 539,
2003); the cell is then tilted by the plastic strain of the dipole, which leaves no stress on
average.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from ase import Atom
from ase.data import atomic_numbers
from ase.neighborlist import neighbor_list

from pescape.plugins.structures.crystals import BulkCrystal, crystal_builder, enforce_min_distance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

#: Sites of self-interstitials in hcp crystals: octahedral, basal octahedral, tetrahedral, basal
#: tetrahedral, crowdion, basal crowdion, split along c, basal split (Johnson and Beeler).
_HCP_SITES = ("O", "BO", "T", "BT", "C", "BC", "S", "BS")

#: In fcc and bcc crystals; the dumbbells are named by their direction.
_CUBIC_SITES = (
    "octahedral",
    "tetrahedral",
    "crowdion",
    "dumbbell_100",
    "dumbbell_110",
    "dumbbell_111",
)

# In units of a, from an atom.
_CUBIC_OFFSETS = {
    "bcc": {
        "octahedral": (0.5, 0.0, 0.0),
        "tetrahedral": (0.5, 0.25, 0.0),
        "crowdion": (0.25, 0.25, 0.25),
    },
    "fcc": {
        "octahedral": (0.5, 0.0, 0.0),
        "tetrahedral": (0.25, 0.25, 0.25),
        "crowdion": (0.25, 0.25, 0.0),
    },
}
#: Length of a dumbbell in distances of nearest neighbors.
_DUMBBELL = 0.75

#: Characters of dislocations, and arrangements of dipoles.
_CHARACTERS = ("edge", "screw")
_ARRANGEMENTS = ("quadrupole", "dipole")

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


@crystal_builder
def vacancy(host: BulkCrystal, repeat: Sequence[int]) -> Atoms:
    """Remove one atom from a supercell; all are equivalent in the lattices but omega.

    Parameters
    ----------
    host
        The crystal.
    repeat
        Repetitions of its conventional cell; `repeat_for` finds them for a number of atoms.

    Returns
    -------
    Atoms
        Unrelaxed.
    """
    atoms = host.atoms(repeat=repeat)
    if len(atoms) == 1:
        raise ValueError("a supercell of one atom has no room for a vacancy: repeat it")
    del atoms[0]
    atoms.info["name"] = f"vacancy {host.lattice} {host.element}{len(atoms)}"
    return atoms


@dataclass(frozen=True)
class VacancyPair:
    """Two sites of a divacancy.

    Parameters
    ----------
    kind
        ``basal``, ``out_of_basal``, … or the rank of the distance: ``first``, ``second``, …
    vector
        From one site to the other, Å.
    distance
        Its length, Å.
    """

    kind: str
    vector: tuple[float, float, float]
    distance: float


def divacancy_pairs(host: BulkCrystal, within: float | None = None) -> tuple[VacancyPair, ...]:
    """Find inequivalent pairs of sites around an atom.

    Two pairs are equivalent when they are equally long and atoms around lie at the same
    distances from the pair's middle.

    Parameters
    ----------
    host
        The crystal.
    within
        Longest distance, Å; 1.1 distances of nearest neighbors by default.

    Returns
    -------
    tuple of VacancyPair
        By distance, ``basal`` before ``out_of_basal`` where those are the same. Of hcp the
        shortest of either is named so and pairs farther apart are numbered, such as
        ``basal_2``.
    """
    return _pairs(host, 1.1 * host.nearest if within is None else within)


@crystal_builder
def divacancy(host: BulkCrystal, repeat: Sequence[int], kind: str) -> Atoms:
    """Remove two atoms from a supercell.

    Parameters
    ----------
    host
        The crystal.
    repeat
        Repetitions of its conventional cell.
    kind
        Of one of the `divacancy_pairs` up to three distances of nearest neighbors.

    Returns
    -------
    Atoms
        Unrelaxed.
    """
    known = {pair.kind: pair for pair in divacancy_pairs(host, 3.0 * host.nearest)}
    if kind not in known:
        raise ValueError(f"divacancy {kind!r} of {host.lattice} is not one of {', '.join(known)}")
    atoms = host.atoms(repeat=repeat)
    scaled = atoms.cell.scaled_positions(atoms.positions - atoms.positions[0] - known[kind].vector)
    partner = int(np.linalg.norm(scaled - np.round(scaled), axis=1).argmin())
    if partner == 0 or len(atoms) < 3:
        raise ValueError(
            f"the supercell {list(repeat)} of {host.lattice} has no room for a divacancy "
            f"{kind}: take a larger one"
        )
    del atoms[[0, partner]]
    atoms.info["name"] = f"divacancy {kind} {host.lattice} {host.element}{len(atoms)}"
    return atoms


def interstitial_sites(lattice: str) -> tuple[str, ...]:
    """Name the sites of interstitials in a lattice: hcp, bcc or fcc.

    Parameters
    ----------
    lattice
        ``hcp``, ``bcc`` or ``fcc``.
    """
    if lattice == "hcp":
        return _HCP_SITES
    if lattice in _CUBIC_OFFSETS:
        return _CUBIC_SITES
    raise ValueError(f"sites of interstitials are known in bcc, fcc and hcp, not in {lattice}")


@crystal_builder
def interstitial(
    host: BulkCrystal,
    repeat: Sequence[int],
    site: str,
    *,
    extra_element: str | None = None,
    min_distance: float = 0.0,
) -> Atoms:
    """Insert an atom into a supercell.

    Parameters
    ----------
    host
        The crystal.
    repeat
        Repetitions of its conventional cell.
    site
        One of `interstitial_sites`. Two atoms share a site of the lattice in dumbbells and
        splits, 0.75 distances of nearest neighbors apart.
    extra_element
        Of the atom put in, such as O; the host's own by default.
    min_distance
        Atoms nearer than this, Å, are pushed apart: crowdions start at half a distance of
        nearest neighbors.

    Returns
    -------
    Atoms
        The atom put in is the last one; otherwise unrelaxed.
    """
    known = interstitial_sites(host.lattice)
    if site not in known:
        raise ValueError(f"site {site!r} of {host.lattice} is not one of {', '.join(known)}")
    element = host.element if extra_element is None else extra_element
    if element not in atomic_numbers:
        raise ValueError(f"extra_element {element!r} is no chemical symbol")
    atoms = host.atoms(repeat=repeat)
    offset, split = _offset(host, site)
    position = atoms.positions[0] + offset
    if split:
        atoms.positions[0] -= offset
    atoms.append(Atom(element, position))
    if min_distance:
        enforce_min_distance(atoms, min_distance)
    what = "interstitial" if element == host.element else f"{element} interstitial"
    atoms.info["name"] = f"{what} {site} {host.lattice} {atoms.get_chemical_formula()}"
    return atoms


def _offset(host: BulkCrystal, site: str) -> tuple[np.ndarray, bool]:
    """Vector from a lattice site to the atom put in (3,), Å, and whether the site is split."""
    if host.lattice == "hcp":
        return _hcp_offset(host, site)
    if site in _CUBIC_OFFSETS[host.lattice]:
        return host.a * np.array(_CUBIC_OFFSETS[host.lattice][site]), False
    direction = np.array([float(digit) for digit in site[-3:]])
    half = 0.5 * _DUMBBELL * host.nearest
    return half * direction / np.linalg.norm(direction), True


def _hcp_offset(host: BulkCrystal, site: str) -> tuple[np.ndarray, bool]:
    """Sites around an atom of a layer A below a layer B.

    `across` leads within the plane to an atom of B, so its opposite leads to the columns that
    hold no atoms (C). Tetrahedral sites are on the columns of atoms: one atom of A below and
    three of B above are equally far whatever c/a is.
    """
    unit = host.atoms()
    a, c = host.a, float(unit.cell[2, 2])
    across = np.array([0.0, -a / 3**0.5, 0.0])
    up = np.array([0.0, 0.0, c])
    half = 0.5 * _DUMBBELL * host.nearest
    offsets = {
        "O": up / 4.0 - across,
        "BO": -across,
        "T": up * (0.25 + (a / c) ** 2 / 3.0),
        "BT": up / 2.0,
        "C": across / 2.0 + up / 4.0,
        "BC": np.array([a / 2.0, 0.0, 0.0]),
        "S": np.array([0.0, 0.0, half]),
        "BS": np.array([half, 0.0, 0.0]),
    }
    return offsets[site], site in {"S", "BS"}


@functools.lru_cache(maxsize=256)
def _pairs(host: BulkCrystal, within: float) -> tuple[VacancyPair, ...]:
    unit = host.atoms()
    first, vectors = neighbor_list("iD", unit, within + 2.0 * host.nearest)
    around = vectors[first == 0]
    lengths = np.linalg.norm(around, axis=1)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    # Sorted, so that the choice among equivalent pairs hangs on no order of neighbors.
    near = around[lengths <= within * (1.0 + 1e-9)]
    for vector in near[np.lexsort(-near.T.round(6))]:
        own = _environment(around, vector, host.nearest)
        if not any(np.allclose(own, known, rtol=0.0, atol=1e-6) for known, _ in found):
            found.append((own, vector))
    ordered = sorted(
        (vector for _, vector in found),
        key=lambda v: (round(float(np.linalg.norm(v)), 6), round(abs(float(v[2])), 6)),
    )
    return tuple(
        VacancyPair(kind, (float(v[0]), float(v[1]), float(v[2])), float(np.linalg.norm(v)))
        for kind, v in zip(_kinds(host, ordered), ordered, strict=True)
    )


def _environment(around: np.ndarray, vector: np.ndarray, nearest: float) -> np.ndarray:
    """Describe a pair by its length and by sums over distances of atoms from its middle, (4,).

    The sums end smoothly: rounding must not move an atom across an edge.
    """
    square = ((around - vector / 2.0) ** 2).sum(axis=1) / nearest**2
    inside = square[square < 4.0]
    weights = (1.0 - inside / 4.0) ** 2
    sums = [float((weights * np.exp(-power * inside)).sum()) for power in (0.5, 1.0, 2.0)]
    return np.array([np.linalg.norm(vector) / nearest, *sums])


def _kinds(host: BulkCrystal, vectors: Sequence[np.ndarray]) -> list[str]:
    if host.lattice != "hcp":
        ranks = ["first", "second", "third"]
        ranks += [f"{n}th" for n in range(4, len(vectors) + 1)]
        return ranks[: len(vectors)]
    names: list[str] = []
    count = {"basal": 0, "out_of_basal": 0}
    for vector in vectors:
        name = "basal" if abs(vector[2]) < 1e-6 else "out_of_basal"
        count[name] += 1
        names.append(name if count[name] == 1 else f"{name}_{count[name]}")
    return names


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


@crystal_builder
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
    if arrangement not in _ARRANGEMENTS:
        raise ValueError(f"arrangement {arrangement!r} is not one of {', '.join(_ARRANGEMENTS)}")
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
    where = f"{arrangement} {plane} hcp {host.element}{len(atoms)}"
    atoms.info["name"] = f"{character} dislocation {where}"
    return atoms


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
    center = dipole.cores.mean(axis=0) + 0.25 * dipole.periods[1]
    ahead, behind = (
        _images_summed(dipole, center + sign * dipole.periods / 2.0) for sign in (1.0, -1.0)
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
