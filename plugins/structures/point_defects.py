"""Vacancies, divacancies and self-interstitials."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase import Atom
from ase.data import atomic_numbers
from ase.neighborlist import neighbor_list

from pescape.plugins.structures.crystals import BulkCrystal, enforce_min_distance, finish

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

#: Sites of self-interstitials in hcp crystals: octahedral, basal octahedral, tetrahedral, basal
#: tetrahedral, crowdion, basal crowdion, split along c, basal split (Johnson and Beeler).
HCP_SITES = ("O", "BO", "T", "BT", "C", "BC", "S", "BS")

#: In fcc and bcc crystals; the dumbbells are named by their direction.
CUBIC_SITES = (
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
#: Length of a dumbbell in distances of nearest neighbours.
_DUMBBELL = 0.75


def vacancy(host: BulkCrystal, repeat: Sequence[int]) -> Atoms:
    """Take one atom out of a supercell; all are equivalent in the lattices but omega.

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
    name = f"vacancy {host.lattice} {host.element}{len(atoms)}"
    return finish(atoms, name, "vacancy", {"host": host, "repeat": list(repeat)})


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
        Longest distance, Å; 1.1 distances of nearest neighbours by default.

    Returns
    -------
    tuple of VacancyPair
        By distance, ``basal`` before ``out_of_basal`` where those are the same. Of hcp the
        shortest of either is named so and pairs farther apart are numbered, such as
        ``basal_2``.
    """
    return _pairs(host, 1.1 * host.nearest if within is None else within)


def divacancy(host: BulkCrystal, repeat: Sequence[int], kind: str) -> Atoms:
    """Take two atoms out of a supercell.

    Parameters
    ----------
    host
        The crystal.
    repeat
        Repetitions of its conventional cell.
    kind
        Of one of the `divacancy_pairs` up to three distances of nearest neighbours.

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
    name = f"divacancy {kind} {host.lattice} {host.element}{len(atoms)}"
    arguments = {"host": host, "repeat": list(repeat), "kind": kind}
    return finish(atoms, name, "divacancy", arguments)


def interstitial_sites(lattice: str) -> tuple[str, ...]:
    """Name the sites of interstitials in a lattice: hcp, bcc or fcc."""
    if lattice == "hcp":
        return HCP_SITES
    if lattice in _CUBIC_OFFSETS:
        return CUBIC_SITES
    raise ValueError(f"sites of interstitials are known in bcc, fcc and hcp, not in {lattice}")


def interstitial(
    host: BulkCrystal,
    repeat: Sequence[int],
    site: str,
    *,
    extra_element: str | None = None,
    min_distance: float = 0.0,
) -> Atoms:
    """Put one more atom into a supercell.

    Parameters
    ----------
    host
        The crystal.
    repeat
        Repetitions of its conventional cell.
    site
        One of `interstitial_sites`. Two atoms share a site of the lattice in dumbbells and
        splits, 0.75 distances of nearest neighbours apart.
    extra_element
        Of the atom put in, such as O; the host's own by default.
    min_distance
        Atoms nearer than this, Å, are pushed apart: crowdions start at half a distance of
        nearest neighbours.

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
    arguments = {
        "host": host,
        "repeat": list(repeat),
        "site": site,
        "extra_element": extra_element,
        "min_distance": min_distance,
    }
    what = "interstitial" if element == host.element else f"{element} interstitial"
    name = f"{what} {site} {host.lattice} {atoms.get_chemical_formula()}"
    return finish(atoms, name, "interstitial", arguments)


def _offset(host: BulkCrystal, site: str) -> tuple[np.ndarray, bool]:
    """Give the way from a lattice site to the atom put in (3,), Å, and whether it is split."""
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
    # Sorted, so that the choice among equivalent pairs hangs on no order of neighbours.
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
