"""Limits of energy and force from pairs in vacuum (Waters and Rondinelli, section II.D.2).

The energy of a pair is followed up its repulsive wall to a multiple of the binding energy; what
the pair has there, energy and force, is the most that a data set needs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii

from pescape.plugins.structures.pair_scan import PairCurve, scan_pair_curve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ase.calculators.calculator import BaseCalculator

    # A calculator, or a function that makes one for a given structure.
    CalculatorSource = BaseCalculator | Callable[[Atoms], BaseCalculator]


@dataclass(frozen=True)
class PairLimits:
    """The curve of one pair of elements, and what it allows.

    Parameters
    ----------
    elements
        The pair.
    distances
        Å, rising.
    energies
        Relative to two isolated atoms, eV.
    forces
        Along the bond, eV/Å; positive when the atoms repel.
    binding_energy
        eV; None for a pair without a minimum below zero, as are those that follow.
    equilibrium_distance
        Å.
    distance_limit
        Where the repulsive wall reaches the multiple of the binding energy above the
        minimum, Å; None too where the wall of the calculator does not get that high.
    energy_limit
        Energy there, relative to two isolated atoms, eV.
    force_limit
        Force there, eV/Å.
    """

    elements: tuple[str, str]
    distances: tuple[float, ...]
    energies: tuple[float, ...]
    forces: tuple[float, ...]
    binding_energy: float | None = None
    equilibrium_distance: float | None = None
    distance_limit: float | None = None
    energy_limit: float | None = None
    force_limit: float | None = None

    @property
    def name(self) -> str:
        """The pair as ``A-B``."""
        return "-".join(self.elements)


@dataclass(frozen=True)
class EnergyForceLimits:
    """Limits from all pairs of some elements.

    Parameters
    ----------
    pairs
        Curves and limits.
    atom_energies
        Energy of the isolated atom of each element, eV.
    multiple
        Binding energies above the minimum that the limits belong to.
    """

    pairs: tuple[PairLimits, ...]
    atom_energies: dict[str, float]
    multiple: float

    @property
    def radii(self) -> dict[str, float]:
        """Half the equilibrium distance of equal atoms by element, Å, where they bind."""
        return {
            pair.elements[0]: pair.equilibrium_distance / 2.0
            for pair in self.pairs
            if pair.elements[0] == pair.elements[1] and pair.equilibrium_distance is not None
        }

    def pair(self, first: str, second: str) -> PairLimits:
        """Look a pair up, in either order.

        Parameters
        ----------
        first, second
            Chemical symbols.
        """
        for pair in self.pairs:
            if pair.elements in {(first, second), (second, first)}:
                return pair
        known = ", ".join(pair.name for pair in self.pairs)
        raise ValueError(f"no pair {first}-{second}; there are {known}")

    def force_limit(self, pairs: Iterable[tuple[str, str]] | None = None) -> float:
        """Largest force limit, eV/Å, of the pairs that matter (all when None).

        Parameters
        ----------
        pairs
            Pairs of chemical symbols.
        """
        return self._largest("force_limit", pairs)

    def energy_limit(self, pairs: Iterable[tuple[str, str]] | None = None) -> float:
        """Largest energy limit per atom, relative to isolated atoms, eV.

        Parameters
        ----------
        pairs
            Pairs of chemical symbols that matter; all when None.
        """
        return self._largest("energy_limit", pairs) / 2.0

    def as_dict(self) -> dict[str, Any]:
        """Describe the limits as JSON can hold them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> EnergyForceLimits:
        """Make limits from what `as_dict` gave, through JSON or not.

        Parameters
        ----------
        content
            The dictionary.
        """
        pairs = []
        for pair in content["pairs"]:
            values = {k: tuple(v) if isinstance(v, list) else v for k, v in pair.items()}
            pairs.append(PairLimits(**cast("dict[str, Any]", values)))
        return cls(tuple(pairs), dict(content["atom_energies"]), content["multiple"])

    def _largest(self, name: str, pairs: Iterable[tuple[str, str]] | None) -> float:
        chosen = self.pairs if pairs is None else [self.pair(*pair) for pair in pairs]
        known = [getattr(p, name) for p in chosen if getattr(p, name) is not None]
        if not known:
            raise ValueError(f"no {name}: none of {', '.join(p.name for p in chosen)} has one")
        return float(max(known))


def force_energy_limits(
    calculator: CalculatorSource,
    elements: Sequence[str],
    *,
    multiple: float = 2.0,
    distances: Sequence[float] | None = None,
    refinements: int = 2,
    box: float = 20.0,
    pbc: bool = False,
) -> EnergyForceLimits:
    """Compute energy and force against distance for all pairs of elements.

    Parameters
    ----------
    calculator
        Any ASE calculator, or a function that takes the structure and returns one (for
        calculators that need settings of their own for each pair).
    elements
        Chemical symbols.
    multiple
        Binding energies above the minimum where the limits are taken.
    distances
        To compute at first, in sums of the covalent radii; 28 from 0.5 to 2.5 when None. The
        scan goes on inwards where the wall has not been climbed high enough.
    refinements
        Further points at the interpolated minimum and limit, which make them exact.
    box
        Edge of the cubic cell the pair is put in, Å.
    pbc
        Periodic, for calculators that know nothing else.

    Returns
    -------
    EnergyForceLimits
        `pescape.figures.sampling` draws them; `violations` and `split_by_limits` filter data sets.
    """
    chosen = sorted(set(elements), key=list(elements).index)
    unknown = [element for element in chosen if element not in atomic_numbers]
    if unknown or not chosen:
        raise ValueError(f"{unknown[0]!r} is no chemical symbol" if unknown else "no elements")
    if not multiple > 0.0:
        raise ValueError(f"multiple = {multiple} is not above 0")
    grid = np.geomspace(0.5, 2.5, 28) if distances is None else np.unique(distances)
    if len(grid) < 5 or grid[0] <= 0.0:
        raise ValueError("distances: at least five positive numbers are needed")
    alone = {element: energy_of_atom(calculator, element, box, pbc=pbc) for element in chosen}
    pairs = []
    for pair in combinations_with_replacement(chosen, 2):
        bond = bond_of_pair(calculator, pair, alone[pair[0]] + alone[pair[1]], box, pbc=pbc)
        scale = float(sum(covalent_radii[atomic_numbers[element]] for element in pair))
        pairs.append(_pair_limits(pair, scan_pair_curve(bond, scale * grid, multiple, refinements)))
    return EnergyForceLimits(tuple(pairs), alone, float(multiple))


def violations(
    atoms: Atoms,
    limits: EnergyForceLimits,
    *,
    force: float | None = None,
    energy: float | None = None,
    atom_energies: Mapping[str, float] | None = None,
) -> list[str]:
    """Say in which ways a labeled structure goes beyond the limits.

    Parameters
    ----------
    atoms
        With energy and forces from a calculator.
    limits
        From the same reference, for its isolated atoms to be those of the structure.
    force, energy
        Limits of one atom's force (eV/Å) and of the mean energy per atom relative to isolated
        atoms (eV), instead of the largest of all pairs.
    atom_energies
        Energies of isolated atoms by element, eV, instead of those of `limits`.

    Returns
    -------
    list of str
        One line for each limit that is exceeded; empty inside.
    """
    most_force = limits.force_limit() if force is None else force
    most_energy = limits.energy_limit() if energy is None else energy
    alone = limits.atom_energies if atom_energies is None else atom_energies
    missing = sorted(set(atoms.symbols) - set(alone))
    if missing:
        raise ValueError(f"no energy of an isolated atom of {missing[0]}")
    return beyond(atoms, force=most_force, energy=most_energy, atom_energies=alone)


def beyond(
    atoms: Atoms,
    *,
    force: float | None,
    energy: float | None,
    atom_energies: Mapping[str, float],
) -> list[str]:
    """Say in which ways a labeled structure goes beyond two numbers; None lifts a limit.

    Parameters
    ----------
    atoms
        With energy and forces from a calculator.
    force
        Largest force on any atom, eV/Å.
    energy
        Largest mean energy per atom relative to isolated atoms, eV.
    atom_energies
        Of isolated atoms by element, eV; `energy` needs them.

    Returns
    -------
    list of str
        One line for each limit that is exceeded; empty inside.
    """
    found = []
    # Written so that a NaN is beyond every limit.
    if energy is not None:
        total = atoms.get_potential_energy(apply_constraint=False)
        mean = (total - sum(atom_energies[symbol] for symbol in atoms.symbols)) / len(atoms)
        if not mean <= energy:
            found.append(f"energy {mean:.4g} eV/atom above {energy:.4g}")
    if force is not None:
        largest = np.linalg.norm(atoms.get_forces(apply_constraint=False), axis=1).max()
        if not largest <= force:
            found.append(f"force {largest:.4g} eV/Å above {force:.4g}")
    return found


def split_by_limits(
    frames: Iterable[Atoms],
    limits: EnergyForceLimits,
    **options: Any,  # noqa: ANN401 (those of `violations`)
) -> tuple[list[Atoms], list[tuple[Atoms, list[str]]]]:
    """Split a data set into structures within the limits and those beyond, with the reasons.

    Parameters
    ----------
    frames
        With energies and forces from calculators.
    limits, **options
        As of `violations`.

    Returns
    -------
    tuple
        The structures within; each one beyond with one line for each limit it exceeds.
    """
    kept, rejected = [], []
    for atoms in frames:
        reasons = violations(atoms, limits, **options)
        if reasons:
            rejected.append((atoms, reasons))
        else:
            kept.append(atoms)
    return kept, rejected


def _pair_limits(elements: tuple[str, str], curve: PairCurve) -> PairLimits:
    return PairLimits(
        elements,
        tuple(curve.distances.tolist()),
        tuple(curve.energies.tolist()),
        tuple(curve.forces.tolist()),
        None if curve.minimum is None else -curve.minimum.energy,
        None if curve.minimum is None else curve.minimum.distance,
        None if curve.limit is None else curve.limit.distance,
        None if curve.limit is None else curve.limit.energy,
        None if curve.limit is None else curve.limit.force,
    )


def bond_of_pair(
    calculator: CalculatorSource, pair: tuple[str, str], alone: float, box: float, *, pbc: bool
) -> Callable[[float], tuple[float, float]]:
    """Make the function of the distance that a pair of atoms in vacuum is.

    Parameters
    ----------
    calculator
        Any ASE calculator, or a function that takes the structure and returns one.
    pair
        Chemical symbols.
    alone
        Energy of the two isolated atoms, eV.
    box
        Edge of the cubic cell the pair is put in, Å.
    pbc
        Periodic, for calculators that know nothing else.

    Returns
    -------
    callable
        Gives energy relative to the isolated atoms (eV) and force (eV/Å, positive when the
        atoms repel) at a distance (Å).
    """

    def energy_and_force(distance: float) -> tuple[float, float]:
        atoms = pair_in_box(pair, distance, box, pbc=pbc)
        atoms.calc = _calculator_for(calculator, atoms)
        forces = atoms.get_forces()
        return float(atoms.get_potential_energy()) - alone, float(forces[1, 0] - forces[0, 0]) / 2.0

    return energy_and_force


def pair_in_box(pair: tuple[str, str], distance: float, box: float, *, pbc: bool) -> Atoms:
    """Put two atoms into the middle of a cubic cell.

    Parameters
    ----------
    pair
        Chemical symbols.
    distance
        Between the atoms, Å.
    box
        Edge of the cell, Å.
    pbc
        Whether it is periodic.
    """
    atoms = Atoms(pair, positions=[[0, 0, 0], [distance, 0, 0]], cell=[box] * 3, pbc=pbc)
    atoms.positions += box / 2.0 - atoms.positions.mean(axis=0)
    return atoms


def energy_of_atom(calculator: CalculatorSource, element: str, box: float, *, pbc: bool) -> float:
    """Compute the energy (eV) of an isolated atom in the middle of a cubic cell.

    Parameters
    ----------
    calculator
        Any ASE calculator, or a function that takes the structure and returns one.
    element
        Chemical symbol.
    box
        Edge of the cell, Å.
    pbc
        Whether it is periodic.
    """
    atoms = Atoms(element, positions=[[box / 2.0] * 3], cell=[box] * 3, pbc=pbc)
    atoms.calc = _calculator_for(calculator, atoms)
    return float(atoms.get_potential_energy())


def _calculator_for(source: CalculatorSource, atoms: Atoms) -> BaseCalculator:
    if hasattr(source, "get_potential_energy"):
        return cast("BaseCalculator", source)
    return cast("Callable[[Atoms], BaseCalculator]", source)(atoms)
