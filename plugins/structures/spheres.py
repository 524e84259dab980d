"""How large a random box has to be for a cut-off (Waters and Rondinelli, appendix B).

The sphere of influence (SOI) of an atom has the cut-off for radius; D is its diameter and L
the edge of a cubic cell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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
        (b) radius within which no neighbour is a periodic image, L - r_cut, over the cut-off.
    unique_soi
        (c) volume of the cube around the atom that holds no images over that of the SOI: a
        lower bound of the share of unique neighbours.
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
        D/L, at most 2: beyond, a neighbour's images lie within the cut-off at any distance.
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
TABLE_A1_RATIOS = {
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
    return {name: sphere_metrics(ratio) for name, ratio in TABLE_A1_RATIOS.items()}


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
        Of the structure to come. When None, D/L is 4/3, where all neighbours within half the
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
        return 2.0 * cutoff / TABLE_A1_RATIOS["inner half of the cut-off is unique"]
    largest = TABLE_A1_RATIOS["unique volume = SOI volume"]
    smallest = TABLE_A1_RATIOS["SOI touches cell edges"]
    ratio = np.interp(volume_fraction, fractions, (largest, smallest))
    return float(2.0 * cutoff / ratio)
