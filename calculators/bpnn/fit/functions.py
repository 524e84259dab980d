"""A set of symmetry functions for those who bring none."""

from __future__ import annotations

from itertools import combinations_with_replacement, product
from typing import TYPE_CHECKING

import numpy as np

from pescape.calculators.bpnn.symmetry import Cutoff, SymmetryFunction

if TYPE_CHECKING:
    from collections.abc import Sequence

# (1 + λ cos θ)^ζ: broad and narrow lobes, in the order in which they are taken.
_ZETAS = (1.0, 4.0, 2.0, 16.0)


def default_functions(
    species: Sequence[str],
    cutoff: float = 6.0,
    *,
    radial: int = 8,
    angular: int = 16,
    closest: float = 1.0,
    kind: str = "cosine",
) -> tuple[SymmetryFunction, ...]:
    """Make a set that resolves distances and angles evenly, the same for all elements.

    Half of the G2 are centred on the atom as in [1]_: with R the cut-off and n + 1 functions,
    η_m = (n^(m/n) / R)². The others are shifted, from max(`closest`, R/5) to 0.85 R in a geometric
    row, each as wide as the distance to the next. The G5 have λ = ±1 and ζ = 1, 4, 2, 16 for each
    of some widths η = (s/R)², s from 1 to 3.

    Parameters
    ----------
    species
        Elements. Each one brings as many G2 as `radial` says, each pair as many G5 as `angular`.
    cutoff
        R in Å.
    radial, angular
        Functions of one neighbour element and of one pair of them; `angular` is even.
    closest
        Å; shifts do not go below it.
    kind
        Of the cut-off function.

    References
    ----------
    .. [1] G. Imbalzano et al., J. Chem. Phys. 148, 241730 (2018).
    """
    if radial < 2 or angular < 0 or angular % 2:
        raise ValueError(
            "default functions: radial must be at least 2 and angular even, "
            f"not {radial} and {angular}"
        )
    fc = Cutoff(kind, float(cutoff))
    widths = [(eta, 0.0) for eta in _centred(fc.radius, radial - radial // 2)]
    widths += _shifted(fc.radius, radial // 2, closest)
    functions = [
        SymmetryFunction("G2", (name,), eta, fc, shift=shift)
        for eta, shift in widths
        for name in species
    ]
    functions += [
        SymmetryFunction("G5", pair, eta, fc, lambda_=sign, zeta=zeta)
        for eta, zeta, sign in _angular(fc.radius, angular)
        for pair in combinations_with_replacement(species, 2)
    ]
    return tuple(functions)


def _centred(radius: float, count: int) -> list[float]:
    """η of functions centred on the atom, the widest as wide as the cut-off."""
    steps = np.arange(count) / max(count - 1, 1)
    return [float((max(count - 1, 1) ** step / radius) ** 2) for step in steps]


def _shifted(radius: float, count: int, closest: float) -> list[tuple[float, float]]:
    """η and shift of functions on shells that grow in a geometric row up to the cut-off."""
    shifts = np.geomspace(max(closest, radius / 5.0), 0.85 * radius, count)
    gaps = np.gradient(shifts) if count > 1 else shifts
    return [(float(1.0 / gap**2), float(shift)) for gap, shift in zip(gaps, shifts, strict=True)]


def _angular(radius: float, count: int) -> list[tuple[float, float, float]]:
    """η, ζ and λ: four ζ for each width, wide first."""
    pairs = count // 2
    zetas = _ZETAS[:pairs]
    wide = -(-pairs // max(len(zetas), 1))
    etas = [float((reach / radius) ** 2) for reach in np.geomspace(1.0, 3.0, wide)]
    shapes = list(product(etas, zetas))[:pairs]
    return [(eta, zeta, sign) for eta, zeta in shapes for sign in (-1.0, 1.0)]
