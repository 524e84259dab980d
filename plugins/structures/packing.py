"""Random structures by insertion of atoms (Waters and Rondinelli, section II.D.4).

And how large their box has to be for a cut-off (appendix B there): the sphere of influence (SOI)
of an atom has the cut-off for radius; D is its diameter and L the edge of a cubic cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.geometry import minkowski_reduce

from pescape.plugins.structures.records import builder, generator, note
from pescape.plugins.structures.spheres import insert, push_apart, radii_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class SphereMetrics:
    """Uniqueness and cost of a cubic cell.

    Parameters
    ----------
    diameter_length
        D/L.
    soi_cell
        (a) volume of the SOI over that of the cell: useful over costly.
    unique_cutoff
        (b) radius within which no neighbor is a periodic image, L - r_cut, over the cut-off.
    unique_soi
        (c) volume of the cube around the atom that holds no images over that of the SOI: a
        lower bound of the share of unique neighbors.
    relative_cell
        (d) volume of the cell over that of the cell with D = L: the cost.
    """

    diameter_length: float
    soi_cell: float
    unique_cutoff: float
    unique_soi: float
    relative_cell: float


def sphere_metrics(diameter_length: float) -> SphereMetrics:
    """Compute the metrics of appendix B.

    Parameters
    ----------
    diameter_length
        D/L, at most 2: beyond, a neighbor's images lie within the cut-off at any distance.
    """
    if not 0.0 < diameter_length <= 2.0:
        raise ValueError(f"D/L = {diameter_length} is not above 0 and at most 2")
    unique = 2.0 / diameter_length - 1.0
    return SphereMetrics(
        diameter_length=diameter_length,
        soi_cell=np.pi / 6.0 * diameter_length**3,
        unique_cutoff=unique,
        unique_soi=6.0 / np.pi * unique**3,
        relative_cell=diameter_length**-3,
    )


#: D/L of the six rows of table A1.
_TABLE_A1_RATIOS = {
    "inscribed sphere": 1.0,
    "unique volume = SOI volume": 2.0 / ((np.pi / 6.0) ** (1 / 3) + 1.0),
    "cell volume = SOI volume": (6.0 / np.pi) ** (1 / 3),
    "inner half of the cut-off is unique": 4.0 / 3.0,
    "SOI touches cell edges": 2.0**0.5,
    "SOI circumscribes cell": 3.0**0.5,
}


def table_a1() -> dict[str, SphereMetrics]:
    """Compute table A1, by description.

    The table prints column (d) of its last two rows as (√2)³ and (√3)³; by the paper's own
    definition, (D/L)⁻³, they are the reciprocals, and that is what is given here.
    """
    return {name: sphere_metrics(ratio) for name, ratio in _TABLE_A1_RATIOS.items()}


def recommended_box(
    cutoff: float,
    *,
    volume_fraction: float | None = None,
    fractions: tuple[float, float] = (0.05, 0.50),
) -> float:
    """Recommend the edge of a cubic random box.

    Appendix B finds D/L from 1.1 to 1.4 reasonable, and proposes large boxes for sparse
    structures, where long-range interactions count, and small ones for dense structures. So
    D/L goes from "unique volume = SOI volume" (1.107) at the lowest volume fraction to "SOI
    touches cell edges" (1.414) at the highest.

    Parameters
    ----------
    cutoff
        Of the potential, Å.
    volume_fraction
        Of the structure to come. When None, D/L is 4/3, where all neighbors within half the
        cut-off are unique.
    fractions
        Volume fractions of the largest and of the smallest box.

    Returns
    -------
    float
        Edge, Å.
    """
    if not cutoff > 0.0:
        raise ValueError(f"cutoff = {cutoff} Å is not above 0")
    if volume_fraction is None:
        return 2.0 * cutoff / _TABLE_A1_RATIOS["inner half of the cut-off is unique"]
    largest = _TABLE_A1_RATIOS["unique volume = SOI volume"]
    smallest = _TABLE_A1_RATIOS["SOI touches cell edges"]
    ratio = np.interp(volume_fraction, fractions, (largest, smallest))
    return float(2.0 * cutoff / ratio)


#: Most of the space that hard spheres may fill; random packings of equal spheres jam at 0.64.
_DENSEST = 0.60

_Bounds = tuple[float, float]


class PackingError(ValueError):
    """The atoms asked for do not fit into the cell."""


@builder()
def random_packing(
    cell: float | Sequence[float] | np.ndarray,
    composition: Mapping[str, float | _Bounds],
    *,
    seed: int | np.random.SeedSequence,
    volume_fraction: float | _Bounds = (0.05, 0.50),
    radii: Mapping[str, float] | None = None,
    hard_ratio: float = 0.9,
    hard_radii: Mapping[str, float] | None = None,
    make_room: bool = True,
    tries: int = 5,
) -> Atoms:
    """Insert atoms at random places of a periodic cell, one after the other.

    Volume fraction and composition are drawn from their ranges. Atoms come in random order,
    so that small atoms do not gather in the gaps between large ones; each is placed with
    uniform density where it is no nearer to other atoms, and to periodic images of its own,
    than the hard radii allow. In dense packings the last ones may find no room: they are put
    where they overlap least, and in the end overlapping atoms are pushed apart.

    Parameters
    ----------
    cell
        Edge of a cube, three edges, or the three cell vectors, Å.
    composition
        Atomic fraction of each element: a number, or the lowest and the highest.
    seed
        Equal seeds give equal structures.
    volume_fraction
        Volume of the atoms' spheres over that of the cell: a number, or the lowest and the
        highest. Up to 0.6 is reliable with the default `hard_ratio`.
    radii
        Radius by element, Å; ASE's covalent radii when None. `force_energy_limits` gives
        those of a calculator.
    hard_ratio
        Hard radii over radii.
    hard_radii
        Hard radius by element, Å, instead of `hard_ratio`.
    make_room
        False never pushes atoms apart; then the default radii fill about 0.4 of a cell when
        sizes are mixed, 0.5 when they are equal.
    tries
        Times to start afresh when atoms do not fit, before giving up.

    Returns
    -------
    Atoms
        Periodic, sorted by element in the order of `composition`. Fractions are within their
        ranges wherever a whole number of atoms near the drawn one allows; ranges too narrow
        for that are met as nearly as whole atoms can.
        ``info["record"]`` tells what was drawn, and `replay` builds it again.

    Raises
    ------
    PackingError
        The atoms do not fit.
    ValueError
        An argument is not possible.
    """
    vectors = _cell_vectors(cell)
    fractions = {element: _bounds(element, value) for element, value in composition.items()}
    filling = _bounds("volume_fraction", volume_fraction)
    soft = radii_of(fractions, radii)
    hard = radii_of(fractions, hard_radii or radii, ratio=1.0 if hard_radii else hard_ratio)
    rng = generator(seed)
    drawn = filling[0] + rng.random() * (filling[1] - filling[0])
    target = _draw_composition(fractions, rng)
    volume = abs(float(np.linalg.det(vectors)))
    counts = _whole_atoms(fractions, filling, drawn, target, _volumes(soft) / volume)
    _refuse_impossible(vectors, counts, hard)
    places, packed = _pack(vectors, counts, np.array(list(hard.values())), make_room, tries, rng)
    atoms = Atoms(np.repeat(list(hard), list(counts)), positions=places, cell=vectors, pbc=True)
    arguments = {
        "cell": vectors.tolist(),
        "composition": {element: list(bounds) for element, bounds in fractions.items()},
        "volume_fraction": list(filling),
        "radii": soft,
        "hard_radii": hard,
        "make_room": make_room,
        "tries": tries,
    }
    done = {
        "target_volume_fraction": drawn,
        "target_composition": dict(zip(fractions, target.tolist(), strict=True)),
        "volume_fraction": float(counts @ _volumes(soft) / volume),
        **packed,
    }
    return note(atoms, done, arguments)


def _cell_vectors(cell: float | Sequence[float] | np.ndarray) -> np.ndarray:
    given = np.asarray(cell, dtype=float)
    if given.shape not in {(), (3,), (3, 3)}:
        raise ValueError(f"a cell is an edge, three edges or three vectors; this has {given.shape}")
    vectors = given if given.ndim == 2 else given * np.eye(3)
    if not np.isfinite(vectors).all() or abs(np.linalg.det(vectors)) < 1e-6:
        raise ValueError(f"cell {given.tolist()} has no volume")
    return vectors


def _bounds(name: str, value: float | _Bounds) -> _Bounds:
    low, high = value if isinstance(value, (tuple, list)) else (value, value)
    if not 0.0 <= low <= high <= 1.0:
        raise ValueError(f"{name}: [{low}, {high}] is no range between 0 and 1")
    return float(low), float(high)


def _volumes(radii: Mapping[str, float]) -> np.ndarray:
    return 4.0 / 3.0 * np.pi * np.array(list(radii.values())) ** 3


def _draw_composition(fractions: Mapping[str, _Bounds], rng: np.random.Generator) -> np.ndarray:
    """Draw fractions within their bounds that add up to one, (elements,).

    Elements take turns in random order. Without bounds the draws are uniform on the simplex:
    the share of the first of m + 1 elements has the distribution 1 - (1 - x)^m.
    """
    low, high = np.array(list(fractions.values())).reshape(-1, 2).T
    if low.sum() > 1.0 + 1e-9 or high.sum() < 1.0 - 1e-9:
        raise ValueError(
            f"composition: the lowest fractions add up to {low.sum():.4g}, the highest to "
            f"{high.sum():.4g}; 1 has to lie between"
        )
    order = np.argsort(rng.random(len(low)))
    drawn = np.zeros(len(low))
    rest = 1.0
    for turn, element in enumerate(order):
        others = order[turn + 1 :]
        least = max(low[element], rest - high[others].sum())
        most = max(least, min(high[element], rest - low[others].sum()))
        if rest > 0.0 and len(others):
            below = [1.0 - (1.0 - min(x / rest, 1.0)) ** len(others) for x in (least, most)]
            share = below[0] + rng.random() * (below[1] - below[0])
            value = rest * (1.0 - (1.0 - share) ** (1.0 / len(others)))
        else:
            value = rest
        drawn[element] = min(max(value, least), most)
        rest = max(rest - drawn[element], 0.0)
    return drawn


def _whole_atoms(
    fractions: Mapping[str, _Bounds],
    filling: _Bounds,
    drawn: float,
    target: np.ndarray,
    shares: np.ndarray,
) -> np.ndarray:
    """Choose whole numbers of atoms near the drawn volume fraction and composition.

    Parameters
    ----------
    fractions, filling
        _Bounds of composition and volume fraction.
    drawn, target
        Volume fraction and composition, (elements,), that were drawn.
    shares
        Volume of one atom of each element over that of the cell, (elements,).
    """
    low, high = np.array(list(fractions.values())).T
    mean = float(target @ shares)
    ideal = drawn / mean
    center, width = round(ideal), max(16, round(ideal) // 10)
    best, least = None, (np.inf, np.inf)
    for total in range(max(1, center - width), center + width + 1):
        counts = _rounded(total, target, low, high)
        outside = total * np.maximum(low - counts / total, counts / total - high).max()
        filled = float(counts @ shares)
        beyond = max(filling[0] - filled, filled - filling[1], 0.0) / mean
        # In atoms; a wrong composition weighs more than a volume fraction off its range.
        penalty = (10.0 * max(outside - 1e-9, 0.0) + beyond, abs(total - ideal))
        if penalty < least:
            best, least = counts, penalty
    if best is None or ideal < 0.5:
        raise ValueError(f"volume fraction {drawn:.4g} of the cell is less than half an atom")
    return best


def _rounded(total: int, target: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Split `total` atoms near the target fractions, within their bounds if that is possible."""
    nearest = np.rint(total * target)
    least = np.ceil(total * low - 1e-9)
    most = np.floor(total * high + 1e-9)
    narrow = least > most
    least, most = np.where(narrow, nearest, least), np.where(narrow, nearest, most)
    counts = np.clip(nearest, least, most)
    while counts.sum() != total:
        step = 1 if counts.sum() < total else -1
        room = counts < most if step > 0 else counts > least
        if not room.any():
            room = counts + step >= 0
        behind = np.where(room, step * (total * target - counts), -np.inf)
        counts[behind.argmax()] += step
    return counts.astype(int)


def _refuse_impossible(vectors: np.ndarray, counts: np.ndarray, hard: Mapping[str, float]) -> None:
    shortest = float(np.linalg.norm(minkowski_reduce(vectors)[0], axis=1).min())
    for (element, radius), count in zip(hard.items(), counts, strict=True):
        if count and 2.0 * radius > shortest:
            raise PackingError(
                f"the shortest lattice vector is {shortest:.3f} Å: {element} with hard radius "
                f"{radius:.3f} Å overlaps its own periodic images"
            )
    filled = float(counts @ _volumes(hard)) / abs(float(np.linalg.det(vectors)))
    if filled > _DENSEST:
        raise PackingError(
            f"hard spheres of {_formula(hard, counts)} would fill {filled:.3f} of the cell, "
            f"more than {_DENSEST}: lower volume_fraction or hard_ratio"
        )


def _pack(
    vectors: np.ndarray,
    counts: np.ndarray,
    hard: np.ndarray,
    make_room: bool,
    tries: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, dict[str, int]]:
    """Place all atoms; Cartesian positions sorted by element, (atoms, 3), and what it took."""
    kinds = np.repeat(np.arange(len(counts)), counts)
    most = 0
    for attempt in range(1, tries + 1):
        order = np.argsort(rng.random(len(kinds)))
        inserted = insert(vectors, hard, kinds[order], rng, crowd=make_room)
        crowded = len(inserted.crowded)
        scaled: np.ndarray | None = inserted.scaled
        most = max(most, len(inserted.scaled) - crowded)
        if crowded:
            scaled = push_apart(vectors, inserted.scaled, hard[kinds[order]])
        if scaled is not None and len(scaled) == len(kinds):
            places = np.empty_like(scaled)
            places[order] = scaled
            return places @ vectors, {"attempts": attempt, "crowded": crowded}
    made = "; pushing atoms apart made none for the others" if make_room else ""
    raise PackingError(
        f"only {most} of {len(kinds)} atoms found room in the best of {tries} tries{made}: lower "
        "volume_fraction or hard_ratio, or make the cell larger"
    )


def _formula(elements: Mapping[str, Any], counts: np.ndarray) -> str:
    return "".join(f"{e}{n}" for e, n in zip(elements, counts.tolist(), strict=True) if n)
