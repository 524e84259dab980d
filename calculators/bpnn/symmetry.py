"""Atom-centered symmetry functions and their cut-off functions, as data.

With r_ij the distance of a neighbor, θ the angle at the central atom and f_c the cut-off
function [1]_:

=====  ======================================================================================
G2     Σ_j exp(-η (r_ij - r_s)²) f_c(r_ij)
G4     2^(1-ζ) Σ_{j<k} (1 + λ cos θ)^ζ exp(-η Σ_p (r_p - r_s)²) Π_p f_c(r_p), p = ij, ik, jk
G5     the same with p = ij, ik only
G2W    as G2, over all elements, each term times the atomic number Z_j [2]_
G4W    as G4, over all elements, each term times Z_j Z_k [2]_
C2     Σ_j C(r_ij), C a window of distances [3]_
C4     Σ_{j<k} A(θ) Π_p C(r_p), p = ij, ik, jk, A a window of angles
C5     the same with p = ij, ik only
C2W …  as C2, C4, C5, over all elements, each term times Z_j or Z_j Z_k
=====  ======================================================================================

`default_functions` and `waters_rondinelli_functions` are sets of them. n2p2 and RuNNer number
them 2, 3 ("narrow"), 9 ("wide"), 12, 13 and 20 to 25.

References
----------
.. [1] J. Behler, J. Chem. Phys. 134, 074106 (2011).
.. [2] M. Gastegger et al., J. Chem. Phys. 148, 241709 (2018).
.. [3] M. P. Bircher, A. Singraber and C. Dellago, Mach. Learn.: Sci. Technol. 2, 035026 (2021).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations_with_replacement, product
from typing import TYPE_CHECKING

import numpy as np
from ase.data import atomic_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence


#: Number of each kind of function, n2p2's, which the kernel uses too.
KINDS = {
    "G2": 2,
    "G4": 3,
    "G5": 9,
    "G2W": 12,
    "G4W": 13,
    "C2": 20,
    "C4": 21,
    "C5": 22,
    "C2W": 23,
    "C4W": 24,
    "C5W": 25,
}
#: How many neighbor elements a function of each kind names.
NEIGHBORS = {kind: 0 if kind.endswith("W") else 1 if kind[1] == "2" else 2 for kind in KINDS}
# Kinds with powers of 1 + λ cos θ, and with windows of angles.
_ANGULAR = ("G4", "G5", "G4W")
_ANGLE_WINDOWS = ("C4", "C5", "C4W", "C5W")

#: Number of each kind of cut-off function: n2p2's, 9 for Amp's polynomial, then windows.
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
    "window1": 10,
    "window2": 11,
    "window3": 12,
    "window4": 13,
    "skewed1": 14,
    "skewed2": 15,
    "skewed3": 16,
    "skewed4": 17,
}
KIND_NAMES = {number: kind for kind, number in KINDS.items()}
CUTOFF_NAMES = {number: kind for kind, number in CUTOFFS.items()}
WINDOWS = tuple(kind for kind, number in CUTOFFS.items() if number >= 10)


@dataclass(frozen=True)
class Cutoff:
    """A cut-off function, zero from its radius on.

    With x = (r - αR)/(R - αR) beyond the inner radius αR, and 1 within it: cosine is
    (1 + cos πx)/2, exp is exp(1 - 1/(1-x²)), poly1 to poly4 are the polynomials of degree 3, 5,
    7, 9 with 1 to 4 vanishing derivatives at both ends. tanh3 is tanh³(1 - r/R), its normalized
    form is 1 at r = 0; amp-polynomial is 1 + γ (r/R)^(γ+1) - (γ+1) (r/R)^γ.

    Compact functions have windows: window1 to window4 are poly1 to poly4 of x = |r - c|/w with c
    the center and w the half width of the interval from the inner radius to R, zero beyond;
    skewed1 to skewed4 are those of x (2 - x). A window of angles is never skewed.

    Parameters
    ----------
    kind
        One of ``CUTOFFS``.
    radius
        R in Å.
    parameter
        The inner fraction α, or γ of Amp's polynomial, or the inner radius of windows in Å, which
        may be negative.
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
        elif self.is_window:
            if not -math.inf < self.parameter < self.radius:
                raise ValueError(
                    f"the inner radius of a window must be below the outer one, {self.radius}, "
                    f"not {self.parameter}"
                )
        elif not 0 <= self.parameter < 1:
            raise ValueError(
                f"the inner fraction of a cut-off must be in [0, 1), not {self.parameter}"
            )

    @property
    def is_window(self) -> bool:
        """Whether it is one of those of compact functions."""
        return self.kind in WINDOWS


@dataclass(frozen=True)
class SymmetryFunction:
    """One symmetry function, see the table above.

    Parameters
    ----------
    kind
        One of ``KINDS``.
    neighbors
        Elements: one for G2 and C2, two in any order for G4, G5, C4 and C5, none for the weighted.
    eta
        η in 1/Å²; ignored in compact functions.
    cutoff
        The cut-off function, or window, of every distance.
    shift
        r_s in Å; ignored in compact functions.
    lambda_, zeta
        λ in [-1, 1] and ζ >= 1 of G4, G5 and G4W; ignored in the others.
    angles
        Degrees: where the window of angles of C4, C5, C4W and C5W begins and ends; ignored in the
        others. It may reach beyond 0 or 180 if that is its center.
    """

    kind: str
    neighbors: tuple[str, ...]
    eta: float
    cutoff: Cutoff
    shift: float = 0.0
    lambda_: float = 1.0
    zeta: float = 1.0
    angles: tuple[float, float] = (0.0, 180.0)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(
                f"unknown symmetry function {self.kind!r}: it must be one of {', '.join(KINDS)}"
            )
        object.__setattr__(self, "neighbors", tuple(self.neighbors))
        wanted = NEIGHBORS[self.kind]
        if len(self.neighbors) != wanted:
            raise ValueError(
                f"{self.kind} has {wanted} neighbor elements, not {len(self.neighbors)}"
            )
        unknown = [name for name in self.neighbors if atomic_numbers.get(name, 0) < 1]
        if unknown:
            raise ValueError(f"unknown element {unknown[0]!r} in {self.kind}")
        for name, value in (("eta", self.eta), ("shift", self.shift)):
            if not math.isfinite(value):
                raise ValueError(f"{name} of {self.kind} must be a finite number, not {value}")
        if self.is_compact != self.cutoff.is_window:
            raise ValueError(
                f"{self.kind} cannot have the cut-off {self.cutoff.kind!r}: windows belong to "
                "compact functions, and to them alone"
            )
        if self.kind in _ANGULAR:
            self._check_power()
        if self.kind in _ANGLE_WINDOWS:
            self._check_angles()

    def __str__(self) -> str:
        parts = [" ".join([self.kind, *self.neighbors])]
        if not self.is_compact:
            parts.append(f"η = {self.eta:.4g}/Å²")
            parts += [f"r_s = {self.shift:.4g} Å"] if self.shift else []
        if self.kind in _ANGULAR:
            parts.append(f"λ = {self.lambda_:g}, ζ = {self.zeta:g}")
        if self.kind in _ANGLE_WINDOWS:
            parts.append("{:g}° to {:g}°".format(*self.angles))
        inner = f"{self.cutoff.parameter:g} to " if self.is_compact else ""
        return ", ".join([*parts, f"{self.cutoff.kind} {inner}{self.cutoff.radius:.4g} Å"])

    @property
    def is_compact(self) -> bool:
        """Whether it is made of windows."""
        return self.kind.startswith("C")

    def _check_power(self) -> None:
        if not abs(self.lambda_) <= 1:
            raise ValueError(f"lambda of {self.kind} must be in [-1, 1], not {self.lambda_}")
        # Below 1 the forces of collinear atoms are infinite.
        if not 1 <= self.zeta < math.inf:
            raise ValueError(f"zeta of {self.kind} must be at least 1, not {self.zeta}")

    def _check_angles(self) -> None:
        left, right = self.angles
        center = (left + right) / 2
        if not (
            left < right <= left + 360
            and (left >= 0 or center == 0)
            and (right <= 180 or center == 180)
        ):
            raise ValueError(
                f"the angles of {self.kind} must rise, and stay within 0 and 180 unless one of "
                f"these is their center, not {left} to {right}"
            )


def kernel_row(function: SymmetryFunction, species: Sequence[str]) -> list[float]:
    """Return the ten numbers that describe a function to the kernel.

    Parameters
    ----------
    function
        The function.
    species
        The potential's elements.

    Returns
    -------
    list
        The kind, two neighbors (indices in `species`, -1 where there is none), η (1/Å²), r_s (Å),
        λ and ζ, or the angles where a window of angles begins and ends (degrees), and the
        cut-off's radius (Å), kind and parameter.
    """
    neighbors = [species.index(name) for name in function.neighbors] + [-1, -1]
    cutoff = function.cutoff
    return [
        KINDS[function.kind],
        *neighbors[:2],
        *((0.0, 0.0) if function.is_compact else (function.eta, function.shift)),
        *angular_numbers(function),
        cutoff.radius,
        CUTOFFS[cutoff.kind],
        cutoff.parameter,
    ]


def from_kernel_row(row: Sequence[float], species: Sequence[str]) -> SymmetryFunction:
    """Return the function that ten numbers describe, see `kernel_row`.

    Parameters
    ----------
    row
        The numbers.
    species
        The potential's elements.
    """
    code, *neighbors, eta, shift, first, second, radius, cutoff_code, parameter = row
    kind = KIND_NAMES[int(code)]
    cutoff = Cutoff(CUTOFF_NAMES[int(cutoff_code)], radius, parameter)
    names = tuple(species[int(index)] for index in neighbors if index >= 0)
    if kind in _ANGLE_WINDOWS:
        return SymmetryFunction(kind, names, eta, cutoff, shift, angles=(first, second))
    return SymmetryFunction(kind, names, eta, cutoff, shift, first, second)


def angular_numbers(function: SymmetryFunction) -> tuple[float, float]:
    """Return λ and ζ, or the window of angles (degrees) where there is one instead.

    Parameters
    ----------
    function
        The function.
    """
    if function.kind in _ANGLE_WINDOWS:
        return function.angles
    return function.lambda_, function.zeta


# Table I of Waters & Rondinelli: η in units of 1/R_c², ζ and λ without units.
_PAIR_ETA = (0.781, 1.479, 2.800, 5.300, 10.0324, 18.991, 35.951, 68.056)
_NARROW = ((0.781, 1.665, 3.548, 7.562), (1.0, 2.154, 4.642, 10.0))
_WIDE = ((0.781, 7.562), (1.0, 10.0))


def waters_rondinelli_functions(
    species: Sequence[str], cutoff: float = 7.0
) -> tuple[SymmetryFunction, ...]:
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
    """Estimate a function's value in disordered matter.

    Good to a factor of a few: it sets the scale of networks that have seen no data.

    Parameters
    ----------
    function
        The function.
    density
        Atoms/Å³.
    """
    closest, count = 2.0, 100
    step = (function.cutoff.radius - closest) / count
    if step <= 0:
        return 1.0
    total = 0.0
    for index in range(count):
        r = closest + (index + 0.5) * step
        total += 4 * math.pi * density * r**2 * _typical_decay(function, r) * step
    if function.kind in _ANGULAR:
        # The mean of 2^(1-ζ) (1 + λ cos θ)^ζ over the sphere.
        return total**2 / (function.zeta + 1)
    if function.kind in _ANGLE_WINDOWS:
        return 0.5 * total**2 * (function.angles[1] - function.angles[0]) / 360
    return total


def _typical_decay(function: SymmetryFunction, r: float) -> float:
    """Estimate what a neighbor at a distance (Å) counts."""
    cutoff = function.cutoff
    if cutoff.is_window:
        middle, half = (
            (cutoff.radius + cutoff.parameter) / 2,
            (cutoff.radius - cutoff.parameter) / 2,
        )
        return 0.5 * (1 + math.cos(math.pi * min(abs(r - middle) / half, 1.0)))
    width = min(function.eta * (r - function.shift) ** 2, 700.0)
    return math.exp(-width) * 0.5 * (1 + math.cos(math.pi * r / cutoff.radius))


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

    Half of the G2 are centered on the atom as in [1]_: with R the cut-off and n + 1 functions,
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
        Functions of one neighbor element and of one pair of them; `angular` is even.
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
    widths = [(eta, 0.0) for eta in _centered(fc.radius, radial - radial // 2)]
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


def _centered(radius: float, count: int) -> list[float]:
    """η of functions centered on the atom, the widest as wide as the cut-off."""
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
