"""Pairs of neighbors pushed together inside a crystal: whether they repel each other.

Potentials fitted to configurations near equilibrium may attract at short distances, where no
configuration tells them better: hot or irradiated crystals then fall into these holes.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from ase.data import atomic_numbers
from ase.neighborlist import neighbor_list
from pydantic import Field, PositiveFloat, field_validator
from scipy.signal import find_peaks

from pescape.validation.crystals import AnyCrystal, Repeat, relaxed_crystal, repeat_to_length
from pescape.validation.properties.crystal.phases import for_each
from pescape.validation.properties.soundness.invariances import Energies
from pescape.validation.properties.soundness.scans import Scan, Track, repulsion
from pescape.validation.property import (
    Curve,
    Floats,
    PropertyConfig,
    PropertyError,
    PropertyResult,
    Value,
    register_property,
    snapshot,
)

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator

    from pescape.validation.compounds import Solid

# Supercells are longer than this, Å, unless one is asked for; neighbors are looked for up to half.
_CELL_LENGTH = 10.0
# Digits (Å) to which distances between neighbors are told apart.
_DISTANCE_DIGITS = 5
#: What each pair has, and its unit.
_UNITS = {
    "distance": "Å",
    "minimum": "Å",
    "rise": "eV",
    "drop": "eV",
    "repulsive_to": "Å",
    "shortest_force": "eV/Å",
    "monotonic": "",
    "repulsive": "",
    "holes": "",
}


class PairPushConfig(PropertyConfig):
    """Two neighbors inside a crystal pushed together, the other atoms in their places."""

    kind: Literal["pair_push"] = "pair_push"
    crystal: AnyCrystal
    pair_elements: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        None,
        description="of which all pairs are pushed, in place of atoms of the crystal if it lacks "
        "them; all that the potential names, or else the crystal's, if unset",
    )
    shortest: float = Field(
        0.5, gt=0.0, lt=1.0, description="distance, over that of the neighbors in the crystal"
    )
    spacing: PositiveFloat = Field(0.02, description="between distances, Å")
    repeat: Repeat | None = Field(
        None, description="of the conventional cell; as few that it is 10 Å long if unset"
    )
    tolerance: PositiveFloat = Field(
        0.005, description="fall of the energy, and depth of a hole, from which on it counts, eV"
    )

    @field_validator("pair_elements")
    @classmethod
    def _known(cls, given: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for element in given or ():
            if element not in atomic_numbers:
                raise ValueError(f"element {element!r} is no chemical symbol")
        return given

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives; potentials of more elements give more."""
        pairs = _pairs(self.pair_elements or tuple(self.crystal.composition))
        return tuple(f"{pair}.{name}" for pair in pairs for name in _UNITS)


def _pairs(elements: tuple[str, ...]) -> dict[str, tuple[str, str]]:
    """Pairs by name, the elements of each in alphabetical order."""
    return {"_".join(pair): pair for pair in combinations_with_replacement(sorted({*elements}), 2)}


@dataclass(frozen=True, eq=False)
class Pair:
    """Two atoms of a structure that are pushed together, the others in their places.

    Parameters
    ----------
    atoms
        The structure.
    first, second
        Indices of the two atoms.
    way
        From the first to the second, shape (3,), Å.
    native
        Whether the structure has such a pair by itself.
    """

    atoms: Atoms
    first: int
    second: int
    way: Floats
    native: bool

    @property
    def distance(self) -> float:
        """Between the two atoms, Å."""
        return float(np.linalg.norm(self.way))

    def at(self, distance: float) -> Atoms:
        """Copy the structure with the two atoms at a distance, the middle of the pair kept.

        Parameters
        ----------
        distance
            Å.
        """
        atoms = self.atoms.copy()
        shift = (1.0 - distance / self.distance) / 2.0 * self.way
        atoms.positions[self.first] += shift
        atoms.positions[self.second] -= shift
        return atoms

    def pushed(self, energies: Energies, distance: float) -> tuple[float, float]:
        """Energy (eV) and its slope (eV/Å) at a distance.

        Parameters
        ----------
        energies
            Of the potential.
        distance
            Å.
        """
        axis = self.way / self.distance
        energy, forces = energies(self.at(distance))
        return energy, float((forces[self.first] - forces[self.second]) @ axis) / 2.0


@register_property(PairPushConfig, heading="Pairs pushed together in a crystal", seconds=3.0)
def pair_push(calculator: BaseCalculator, config: PairPushConfig) -> PropertyResult:
    """Push neighbors together inside the relaxed crystal, along the line that joins them.

    Pairs of elements are the nearest ones of the crystal. Where it has no such pair, two nearest
    neighbors are replaced; their distance then is not that of equilibrium, and everything counts
    from the minimum that lies downhill of it.

    Parameters
    ----------
    calculator
        With stress, for the lattice parameters.
    config
        The crystal, the elements and the distances.

    Returns
    -------
    PropertyResult
        For each pair, as ``O_Zr``: ``distance`` of the neighbors in the crystal and ``minimum``,
        from where on the pair is looked at (Å); ``rise`` of the energy from there to the shortest
        distance and ``drop``, its deepest fall on the way in (eV); ``repulsive_to``, the distance
        down to which the force along the pair is repulsive all the way (Å), and
        ``shortest_force`` at the shortest one (eV/Å, positive: repulsive); ``monotonic`` and
        ``repulsive``, 1 if the energy rises and the force repels all the way and 0 if not; and
        ``holes``, the number of local minima on the way in. Curves of the energy and, as
        ``O_Zr.force``, of the force.
    """
    crystal = config.crystal
    perfect = pushed_crystal(crystal, calculator, config.repeat)
    energies = Energies(calculator)
    named = tuple(getattr(getattr(calculator, "potential", None), "species", None) or ())
    elements = config.pair_elements or named or tuple(crystal.composition)

    def pushed(elements: tuple[str, str]) -> tuple[Pair, Scan]:
        pair = placed_pair(perfect, elements)
        count = int(np.ceil((1.0 - config.shortest) * pair.distance / config.spacing)) + 1
        points = np.linspace(config.shortest * pair.distance, pair.distance, max(3, count))
        line = functools.partial(pair.pushed, energies)
        return pair, Track("_".join(elements), line, pair.distance, points).scan

    found, warnings = for_each(_pairs(elements), pushed)
    values: dict[str, Value] = {}
    curves: dict[str, Curve] = {}
    for name, (pair, scan) in found.items():
        numbers = _numbers(pair, scan, config)
        values |= {f"{name}.{what}": Value(one, _UNITS[what]) for what, one in numbers.items()}
        counted = scan.energy - scan.energy[-1]
        curves[name] = Curve(scan.x, counted, "distance (Å)", "energy (eV)")
        curves[f"{name}.force"] = Curve(scan.x, -scan.slope, "distance (Å)", "force (eV/Å)")
        warnings += [f"{name}: {remark}" for remark in _remarks(numbers)]
    if energies.infinite:
        warnings.append(f"{energies.infinite} energies or forces are not finite and are left out")
    starts = {name: energies.prepared(pair.atoms) for name, (pair, _) in found.items()}
    structures = [snapshot(atoms, name) for name, atoms in starts.items()]
    return config.result(values, curves=curves, structures=structures, warnings=warnings)


def pushed_crystal(crystal: Solid, calculator: BaseCalculator, repeat: Repeat | None) -> Atoms:
    """Build the relaxed supercell in which pairs are pushed together.

    Parameters
    ----------
    crystal
        The crystal.
    calculator
        With stress, for the lattice parameters.
    repeat
        Of the conventional cell; as few that it is 10 Å long if None.
    """
    unit = crystal.conventional(crystal.primitive())
    relaxed = crystal.conventional(relaxed_crystal(crystal, calculator))
    perfect = relaxed.repeat(repeat or repeat_to_length(unit, _CELL_LENGTH))
    perfect.set_constraint()
    return perfect


def placed_pair(perfect: Atoms, elements: tuple[str, str]) -> Pair:
    """Find the nearest pair of two elements, or put them in place of two nearest neighbors.

    Parameters
    ----------
    perfect
        The supercell, as `pushed_crystal` makes it.
    elements
        Of the two atoms.
    """
    first, second, ways, lengths = neighbor_list("ijDd", perfect, perfect.cell.lengths().min() / 2)
    symbols = np.array(perfect.get_chemical_symbols())
    native = (symbols[first] == elements[0]) & (symbols[second] == elements[1])
    # Where the crystal lacks the pair, those are nearest that have one of its elements already.
    alike = (symbols[first] == elements[0]).astype(int) + (symbols[second] == elements[1])
    keys = (second, first, -alike, lengths.round(_DISTANCE_DIGITS))
    order = np.lexsort(keys)
    order = order[first[order] != second[order]]
    if native.any():
        order = order[native[order]]
    if not len(order):
        raise PropertyError("the supercell is too small to hold two neighbors: give repeat = ...")
    chosen = order[0]
    one, other = int(first[chosen]), int(second[chosen])
    atoms = perfect.copy()
    atoms.symbols[one], atoms.symbols[other] = elements
    return Pair(atoms, one, other, ways[chosen], bool(native.any()))


def _numbers(pair: Pair, scan: Scan, config: PairPushConfig) -> dict[str, float]:
    """Give what the scan of a pair comes to."""
    wall = repulsion(scan, None if pair.native else pair.distance)
    inside = scan.energy[scan.x <= wall.minimum]
    holes, _ = find_peaks(-inside, prominence=config.tolerance)
    return {
        "distance": pair.distance,
        "minimum": wall.minimum,
        "rise": wall.rise,
        "drop": wall.drop,
        "repulsive_to": wall.repulsive_to,
        "shortest_force": -float(scan.slope[0]),
        "monotonic": float(wall.drop <= config.tolerance and wall.rise > 0.0),
        "repulsive": float(wall.repulsive_to <= scan.x[0] < wall.minimum),
        "holes": float(len(holes)),
    }


def _remarks(numbers: dict[str, float]) -> list[str]:
    """Say where a pair does not repel."""
    remarks = []
    if not numbers["repulsive"]:
        remarks.append(f"the force is not repulsive below {numbers['repulsive_to']:.2f} Å")
    if not numbers["monotonic"]:
        remarks.append(f"the energy falls by {numbers['drop']:.3g} eV on the way in")
    if numbers["holes"]:
        remarks.append(f"{numbers['holes']:.0f} holes on the way in")
    return remarks
