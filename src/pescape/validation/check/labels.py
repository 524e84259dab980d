"""What configurations are labeled with, if they are, and what is known of the data as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from ase.stress import voigt_6_to_full_3x3_stress

from pescape.calculators.neighbors import neighbors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ase import Atoms

    from pescape.validation.property import Floats

    PairDistances = Mapping[tuple[str, str], float]

# Distances up to here are looked for first, Å: every pair of most configurations has one.
_NEAR = 3.5


def _results(atoms: Atoms) -> dict[str, Any]:
    return {} if atoms.calc is None else getattr(atoms.calc, "results", {})


def energy_of(atoms: Atoms) -> float | None:
    """Give the energy (eV) of a label, the free one where there is one, as fits take it.

    Parameters
    ----------
    atoms
        As read from a file.
    """
    found = _results(atoms)
    energy = found.get("free_energy", found.get("energy"))
    return None if energy is None else float(energy)


def forces_of(atoms: Atoms) -> Floats | None:
    """Give the forces (eV/Å) of a label, shape (natoms, 3).

    Parameters
    ----------
    atoms
        As read from a file.
    """
    forces = _results(atoms).get("forces")
    return None if forces is None else np.array(forces, dtype=float)


def stress_of(atoms: Atoms) -> Floats | None:
    """Give the stress (eV/Å³) of a label, shape (3, 3).

    Parameters
    ----------
    atoms
        As read from a file.
    """
    stress = _results(atoms).get("stress")
    if stress is None:
        return None
    array = np.array(stress, dtype=float)
    return array if array.shape == (3, 3) else voigt_6_to_full_3x3_stress(array)


def pairs_of(elements: Sequence[str]) -> list[tuple[str, str]]:
    """List all pairs of some elements, each in alphabetical order.

    Parameters
    ----------
    elements
        Chemical symbols.
    """
    return list(combinations_with_replacement(sorted({*elements}), 2))


@dataclass(frozen=True, eq=False)
class NearestPair:
    """The two nearest atoms of two elements in a configuration.

    Parameters
    ----------
    distance
        Å.
    first, second
        Indices of the atoms.
    way
        From the first to the second, shape (3,), Å.
    """

    distance: float
    first: int
    second: int
    way: Floats


def nearest_pairs(atoms: Atoms, reach: float) -> dict[tuple[str, str], NearestPair]:
    """Give the nearest atoms of any two elements.

    Parameters
    ----------
    atoms
        A configuration.
    reach
        How far to look, Å.
    """
    found = neighbors(atoms, reach)
    center = np.repeat(np.arange(len(atoms)), np.diff(found.offsets))
    ways = atoms.positions[found.indices] + found.shifts - atoms.positions[center]
    lengths = np.linalg.norm(ways, axis=1)
    kinds = np.array([atoms.numbers[center], atoms.numbers[found.indices]])
    kinds.sort(axis=0)
    nearest = {}
    for first, second in np.unique(kinds, axis=1).T:
        of_kind = np.flatnonzero((kinds[0] == first) & (kinds[1] == second))
        entry = int(of_kind[lengths[of_kind].argmin()])
        ends = int(center[entry]), int(found.indices[entry])
        symbols = sorted(str(atoms.symbols[one]) for one in ends)
        nearest[symbols[0], symbols[1]] = NearestPair(float(lengths[entry]), *ends, ways[entry])
    return nearest


@dataclass(frozen=True, eq=False)
class DataFacts:
    """What a data set says about pairs of atoms, energies and compositions.

    Parameters
    ----------
    elements
        All that the potential knows.
    nearest
        Shortest distance of each pair of elements that is in the data, Å.
    nearest_frames
        In which configuration it is.
    element_energies
        Energies per atom (eV) that, added up, come nearest to those of the data.
    lowest
        Least energy of a configuration above that sum, eV/atom; None without energies.
    fractions
        Least and largest share of each element.
    atom_energies
        Labels of isolated atoms, eV.
    filling
        Volume of the atoms' covalent spheres over that of the cell in the configuration of lowest
        energy above that sum, as crystals are; without energies, in the first one.
    """

    elements: tuple[str, ...]
    nearest: dict[tuple[str, str], float]
    nearest_frames: dict[tuple[str, str], int]
    element_energies: dict[str, float]
    lowest: float | None
    fractions: dict[str, tuple[float, float]]
    atom_energies: dict[str, float]
    filling: float | None

    def nearest_of(self, pair: tuple[str, str]) -> float:
        """Shortest distance of a pair, Å; for pairs that are not in the data, of their radii.

        Parameters
        ----------
        pair
            Elements in alphabetical order.
        """
        radii = (covalent_radii[atomic_numbers[one]] for one in pair)
        return self.nearest.get(pair, float(sum(radii)))

    def above_elements(self, atoms: Atoms, energy: float) -> float:
        """Energy above the sum of the elements' energies, eV/atom.

        Parameters
        ----------
        atoms
            The configuration.
        energy
            Its energy, eV.
        """
        known = sum(self.element_energies.get(one, 0.0) for one in atoms.symbols)
        return (energy - known) / len(atoms)


def facts_of(frames: Sequence[Atoms], elements: Sequence[str], cutoff: float) -> DataFacts:
    """Gather what a data set says.

    Parameters
    ----------
    frames
        Its configurations, with or without labels.
    elements
        Of the potential.
    cutoff
        Of the potential, Å: how far apart two atoms are that do not see each other.
    """
    nearest: dict[tuple[str, str], float] = {}
    where: dict[tuple[str, str], int] = {}
    alone: dict[str, float] = {}
    wanted = len(pairs_of(elements))
    for index, atoms in enumerate(frames):
        found = nearest_pairs(atoms, min(_NEAR, cutoff))
        if not found or (len(nearest) < wanted and len(frames) < 10_000):
            found = nearest_pairs(atoms, cutoff)
        for pair, one in found.items():
            if one.distance < nearest.get(pair, np.inf):
                nearest[pair], where[pair] = one.distance, index
        if len(atoms) == 1 and not found and (energy := energy_of(atoms)) is not None:
            alone[str(atoms.symbols[0])] = energy
    shares = np.array(
        [[atoms.symbols.count(one) / len(atoms) for one in elements] for atoms in frames]
    ).reshape(-1, len(elements))
    labels = [energy_of(atoms) for atoms in frames]
    known = [index for index, energy in enumerate(labels) if energy is not None]
    own, above = np.zeros(len(elements)), np.empty(0)
    if known:
        energies = np.array([(labels[index] or 0.0) / len(frames[index]) for index in known])
        own, *_ = np.linalg.lstsq(shares[known], energies, rcond=None)
        above = energies - shares[known] @ own
    return DataFacts(
        elements=tuple(elements),
        nearest=nearest,
        nearest_frames=where,
        element_energies=dict(zip(elements, map(float, own), strict=True)),
        lowest=float(above.min()) if known else None,
        fractions={
            one: (float(share.min(initial=1.0)), float(share.max(initial=0.0)))
            for one, share in zip(elements, shares.T, strict=True)
        },
        atom_energies=alone,
        filling=_filling([frames[known[index]] for index in above.argsort()] or frames),
    )


def _filling(frames: Sequence[Atoms]) -> float | None:
    """Share of the volume that the first bulk configuration's covalent spheres take."""
    for atoms in frames:
        if atoms.pbc.all() and len(atoms) > 1 and atoms.cell.rank == 3:
            spheres = 4.0 / 3.0 * np.pi * covalent_radii[atoms.numbers] ** 3
            return float(spheres.sum() / atoms.get_volume())
    return None
