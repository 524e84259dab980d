"""Atom-centred symmetry functions and their cut-off functions, as data.

With r_ij the distance of a neighbour, θ the angle at the central atom and f_c the cut-off
function [1]_:

=====  ======================================================================================
G2     Σ_j exp(-η (r_ij - r_s)²) f_c(r_ij)
G4     2^(1-ζ) Σ_{j<k} (1 + λ cos θ)^ζ exp(-η Σ_p (r_p - r_s)²) Π_p f_c(r_p), p = ij, ik, jk
G5     the same with p = ij, ik only
G2W    as G2, over all elements, each term times the atomic number Z_j [2]_
G4W    as G4, over all elements, each term times Z_j Z_k [2]_
=====  ======================================================================================

n2p2 and RuNNer number them 2, 3 ("narrow"), 9 ("wide"), 12 and 13.

References
----------
.. [1] J. Behler, J. Chem. Phys. 134, 074106 (2011).
.. [2] M. Gastegger et al., J. Chem. Phys. 148, 241709 (2018).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

from ase.data import atomic_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Number of each kind of function, n2p2's, which the kernel uses too.
KINDS = {"G2": 2, "G4": 3, "G5": 9, "G2W": 12, "G4W": 13}
#: How many neighbour elements a function of each kind names.
NEIGHBORS = {"G2": 1, "G4": 2, "G5": 2, "G2W": 0, "G4W": 0}
ANGULAR = ("G4", "G5", "G4W")

#: Number of each kind of cut-off function: n2p2's, and 9 for Amp's polynomial.
CUTOFFS = {
    "hard": 0,
    "cosine": 1,
    "tanh3": 2,
    "tanh3-normalised": 3,
    "exp": 4,
    "poly1": 5,
    "poly2": 6,
    "poly3": 7,
    "poly4": 8,
    "amp-polynomial": 9,
}


@dataclass(frozen=True)
class Cutoff:
    """A cut-off function, zero from its radius on.

    With x = (r - αR)/(R - αR) beyond the inner radius αR, and 1 within it: cosine is
    (1 + cos πx)/2, exp is exp(1 - 1/(1-x²)), poly1 to poly4 are the polynomials of degree 3, 5,
    7, 9 with 1 to 4 vanishing derivatives at both ends. tanh3 is tanh³(1 - r/R), its normalised
    form is 1 at r = 0; amp-polynomial is 1 + γ (r/R)^(γ+1) - (γ+1) (r/R)^γ.

    Parameters
    ----------
    kind
        One of ``CUTOFFS``.
    radius
        R in Å.
    parameter
        The inner fraction α, or γ of Amp's polynomial.
    """

    kind: str
    radius: float
    parameter: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in CUTOFFS:
            raise ValueError(
                f"unknown cut-off function {self.kind!r}: it must be one of {', '.join(CUTOFFS)}"
            )
        if not 0 < self.radius < math.inf:
            raise ValueError(f"a cut-off radius must be positive, not {self.radius}")
        if self.kind == "amp-polynomial":
            if not 0 < self.parameter < math.inf:
                raise ValueError(f"gamma of Amp's polynomial must be > 0, not {self.parameter}")
        elif not 0 <= self.parameter < 1:
            raise ValueError(
                f"the inner fraction of a cut-off must be in [0, 1), not {self.parameter}"
            )


@dataclass(frozen=True)
class SymmetryFunction:
    """One symmetry function, see the table above.

    Parameters
    ----------
    kind
        One of ``KINDS``.
    neighbors
        Elements: one for G2, two in any order for G4 and G5, none for the weighted ones.
    eta
        η in 1/Å².
    cutoff
        The cut-off function of every distance.
    shift
        r_s in Å.
    lambda_, zeta
        λ in [-1, 1] and ζ >= 1 of the angular kinds; ignored in the others.
    """

    kind: str
    neighbors: tuple[str, ...]
    eta: float
    cutoff: Cutoff
    shift: float = 0.0
    lambda_: float = 1.0
    zeta: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(
                f"unknown symmetry function {self.kind!r}: it must be one of {', '.join(KINDS)}"
            )
        object.__setattr__(self, "neighbors", tuple(self.neighbors))
        wanted = NEIGHBORS[self.kind]
        if len(self.neighbors) != wanted:
            raise ValueError(
                f"{self.kind} has {wanted} neighbour elements, not {len(self.neighbors)}"
            )
        unknown = [name for name in self.neighbors if atomic_numbers.get(name, 0) < 1]
        if unknown:
            raise ValueError(f"unknown element {unknown[0]!r} in {self.kind}")
        for name, value in (("eta", self.eta), ("shift", self.shift)):
            if not math.isfinite(value):
                raise ValueError(f"{name} of {self.kind} must be a finite number, not {value}")
        if self.kind in ANGULAR:
            if not abs(self.lambda_) <= 1:
                raise ValueError(f"lambda of {self.kind} must be in [-1, 1], not {self.lambda_}")
            # Below 1 the forces of collinear atoms are infinite.
            if not 1 <= self.zeta < math.inf:
                raise ValueError(f"zeta of {self.kind} must be at least 1, not {self.zeta}")


def row(function: SymmetryFunction, species: Sequence[str]) -> list[float]:
    """Return the ten numbers that describe a function to the kernel.

    They are the kind, two neighbours (indices in `species`, -1 where there is none), η (1/Å²),
    r_s (Å), λ, ζ, the cut-off radius (Å), kind and parameter.
    """
    neighbors = [species.index(name) for name in function.neighbors] + [-1, -1]
    cutoff = function.cutoff
    return [
        KINDS[function.kind],
        *neighbors[:2],
        function.eta,
        function.shift,
        function.lambda_,
        function.zeta,
        cutoff.radius,
        CUTOFFS[cutoff.kind],
        cutoff.parameter,
    ]


# Table I of Waters & Rondinelli: η in units of 1/R_c², ζ and λ without units.
_PAIR_ETA = (0.781, 1.479, 2.800, 5.300, 10.0324, 18.991, 35.951, 68.056)
_NARROW = ((0.781, 1.665, 3.548, 7.562), (1.0, 2.154, 4.642, 10.0))
_WIDE = ((0.781, 7.562), (1.0, 10.0))


def paper_functions(species: Sequence[str], cutoff: float = 7.0) -> tuple[SymmetryFunction, ...]:
    """Return the set of M. J. Waters and J. M. Rondinelli, table I.

    Parameters
    ----------
    species
        Elements; for two there are 16 G2, 96 G4 and 24 G5, the same for every central atom.
    cutoff
        Å; the widths η are those of the table in units of 1/cutoff².
    """
    fc = Cutoff("cosine", float(cutoff))
    functions = [
        SymmetryFunction("G2", (name,), eta / fc.radius**2, fc)
        for eta in _PAIR_ETA
        for name in species
    ]
    pairs = list(combinations_with_replacement(species, 2))
    for kind, (etas, zetas) in (("G4", _NARROW), ("G5", _WIDE)):
        functions += [
            SymmetryFunction(kind, pair, eta / fc.radius**2, fc, lambda_=sign, zeta=zeta)
            for eta in etas
            for zeta in zetas
            for sign in (-1.0, 1.0)
            for pair in pairs
        ]
    return tuple(functions)


def typical_value(function: SymmetryFunction, density: float = 0.05) -> float:
    """Estimate a function's value in disordered matter of some density (atoms/Å³).

    Good to a factor of a few: it sets the scale of networks that have seen no data.
    """
    closest, count = 2.0, 100
    step = (function.cutoff.radius - closest) / count
    if step <= 0:
        return 1.0
    total = 0.0
    for index in range(count):
        r = closest + (index + 0.5) * step
        decay = 0.5 * (1 + math.cos(math.pi * r / function.cutoff.radius))
        width = min(function.eta * (r - function.shift) ** 2, 700.0)
        total += 4 * math.pi * density * r**2 * math.exp(-width) * decay * step
    if function.kind not in ANGULAR:
        return total
    mean_angle = 2 / (function.zeta + 1)  # of 2^(1-ζ) (1+λ cos θ)^ζ over the sphere
    return 0.5 * mean_angle * total**2
