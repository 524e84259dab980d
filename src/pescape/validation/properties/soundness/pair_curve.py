"""Pairs of atoms in vacuum: their curves, how strongly they bind, how they repel."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from pydantic import Field, PositiveFloat, model_validator
from scipy.signal import find_peaks

from pescape.figures.curves import draw_pairs
from pescape.plugins.structures.limits import bond_of_pair, energy_of_atom, pair_in_box
from pescape.plugins.structures.pair_scan import PairCurve, scan_pair_curve
from pescape.validation.properties.crystal.phases import for_each
from pescape.validation.property import (
    Curve,
    Floats,
    PropertyConfig,
    PropertyResult,
    Value,
    register_property,
    snapshot,
)

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator

# Times the interpolated minimum and wall are computed and put into the curve.
_REFINEMENTS = 3
#: What each pair has, and its unit.
_UNITS = {
    "distance": "Å",
    "binding": "eV",
    "wall_distance": "Å",
    "wall_force": "eV/Å",
    "shortest_energy": "eV",
    "shortest_force": "eV/Å",
    "repulsive": "",
    "minima": "",
    "maxima": "",
}


class PairCurveConfig(PropertyConfig):
    """Energy against distance of two atoms in vacuum, for all pairs of some elements."""

    kind: Literal["pair_curve"] = "pair_curve"
    elements: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        None, description="of which all pairs are computed"
    )
    pairs: Annotated[tuple[tuple[str, str], ...], Field(min_length=1)] | None = Field(
        None, description="instead of those of all elements"
    )
    shortest: PositiveFloat = Field(
        0.5, description="distance, in sums of the elements' covalent radii"
    )
    longest: PositiveFloat = Field(8.0, description="distance, Å")
    spacing: PositiveFloat = Field(0.05, description="between distances, Å")
    wall: float = Field(
        2.0,
        gt=1.0,
        description="height above the minimum, in binding energies, at which the repulsive wall "
        "is measured",
    )
    prominence: PositiveFloat = Field(
        0.005, description="least depth of minima and height of maxima that count, eV"
    )
    box: PositiveFloat = Field(20.0, description="edge of the cell, Å")

    @model_validator(mode="after")
    def _pairs(self) -> PairCurveConfig:
        if (self.elements is None) == (self.pairs is None):
            raise ValueError('give elements = ["Zr", ...] or pairs = [["O", "Zr"], ...]')
        given = self.elements or [element for pair in self.pairs or () for element in pair]
        unknown = [element for element in given if element not in atomic_numbers]
        if unknown:
            raise ValueError(f"element {unknown[0]!r} is no chemical symbol")
        if self.longest > self.box / 2.0:
            raise ValueError("longest: images of the pair are nearer than that; make box larger")
        radius = max(covalent_radii[atomic_numbers[element]] for element in given)
        if 2.0 * radius * self.shortest + 4.0 * self.spacing > self.longest:
            raise ValueError("shortest, longest and spacing leave fewer than five distances")
        return self

    @property
    def named_pairs(self) -> dict[str, tuple[str, str]]:
        """Pairs by name, the elements of each in alphabetical order."""
        pairs = self.pairs
        if pairs is None:
            pairs = tuple(combinations_with_replacement(sorted(set(self.elements or ())), 2))
        ordered = ((min(pair), max(pair)) for pair in pairs)
        return {"_".join(pair): pair for pair in ordered}

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives."""
        return tuple(f"{pair}.{name}" for pair in self.named_pairs for name in _UNITS)


@dataclass(frozen=True, eq=False)
class _Pair:
    """The curve of a pair, what it comes to, and the pair at its minimum if it has one."""

    curve: Curve
    numbers: dict[str, float]
    bound: Atoms | None


@register_property(PairCurveConfig, heading="Pair curves", draw=draw_pairs)
def pair_curve(calculator: BaseCalculator, config: PairCurveConfig) -> PropertyResult:
    """Compute curves of isolated pairs of atoms.

    Energies count from two isolated atoms, as the calculator has them.

    Parameters
    ----------
    calculator
        With forces.
    config
        The elements and distances.

    Returns
    -------
    PropertyResult
        For each pair, as ``O_Zr``: ``distance`` (Å) of the deepest minimum and
        ``binding`` (eV), its depth; ``wall_distance`` (Å) and ``wall_force`` (eV/Å) where
        the wall is at its height, by default one binding energy above the isolated atoms (the
        limits of Waters and Rondinelli, section II.D.2); ``shortest_energy`` (eV),
        ``shortest_force`` (eV/Å) and ``repulsive`` (1 or 0) at the shortest distance;
        ``minima`` and ``maxima`` of the curve, 1 and 0 for an ordinary pair. A pair that does
        not bind has no minimum and no wall.
    """

    @functools.cache
    def alone(element: str) -> float:
        # Periodic, for calculators that know nothing else.
        return energy_of_atom(calculator, element, config.box, pbc=True)

    def followed(pair: tuple[str, str]) -> _Pair:
        bond = bond_of_pair(calculator, pair, sum(map(alone, pair)), config.box, pbc=True)
        grid = _grid(pair, config)
        curve = scan_pair_curve(bond, grid, config.wall, _REFINEMENTS)
        bound = None
        if curve.minimum is not None:
            atoms = pair_in_box(pair, curve.minimum.distance, config.box, pbc=True)
            atoms.calc = calculator
            bound = snapshot(atoms, "_".join(pair))
        inside = curve.distances > grid[0] - 1e-9
        return _Pair(
            Curve(curve.distances[inside], curve.energies[inside], "distance (Å)", "energy (eV)"),
            _numbers(curve, inside, config),
            bound,
        )

    found, warnings = for_each(config.named_pairs, followed)
    for name, pair in found.items():
        if "binding" not in pair.numbers:
            warnings.append(f"{name}: the pair does not bind")
        elif "wall_distance" not in pair.numbers:
            warnings.append(f"{name}: the wall does not reach {config.wall:g} binding energies")
    return config.result(
        {
            f"{name}.{what}": Value(number, _UNITS[what])
            for name, pair in found.items()
            for what, number in pair.numbers.items()
        },
        curves={name: pair.curve for name, pair in found.items()},
        structures=[pair.bound for pair in found.values() if pair.bound is not None],
        warnings=warnings,
    )


def _grid(pair: tuple[str, str], config: PairCurveConfig) -> Floats:
    shortest = config.shortest * sum(covalent_radii[atomic_numbers[one]] for one in pair)
    count = int(np.ceil((config.longest - shortest) / config.spacing)) + 1
    return np.linspace(shortest, config.longest, count)


def _numbers(curve: PairCurve, inside: np.ndarray, config: PairCurveConfig) -> dict[str, float]:
    """Give what a curve comes to; `inside` tells which of its points were asked for."""
    numbers: dict[str, float] = {}
    if curve.minimum is not None:
        numbers["distance"] = curve.minimum.distance
        numbers["binding"] = -curve.minimum.energy
    if curve.limit is not None:
        numbers["wall_distance"] = curve.limit.distance
        numbers["wall_force"] = curve.limit.force
    energies, forces = curve.energies[inside], curve.forces[inside]
    minima, _ = find_peaks(-energies, prominence=config.prominence)
    maxima, _ = find_peaks(energies, prominence=config.prominence)
    return numbers | {
        "shortest_energy": float(energies[0]),
        "shortest_force": float(forces[0]),
        "repulsive": float(forces[0] > 0.0),
        "minima": float(len(minima)),
        "maxima": float(len(maxima)),
    }
