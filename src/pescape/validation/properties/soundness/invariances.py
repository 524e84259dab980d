"""Structures that leave a potential no excuse, and what has to be the same for all of them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.neighborlist import neighbor_list
from ase.units import GPa
from scipy.spatial.transform import Rotation

from pescape.plugins.structures import PackingError, random_packing, rattled
from pescape.plugins.structures.crystals import most_compact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator

    from pescape.validation.property import Floats

    Changed = tuple[Atoms, Callable[[Floats], Floats]]


# About how many atoms a supercell has; displacements and strains of its atoms and edges.
_SUPERCELL_ATOMS = 12
_STRAIN = 0.03
# Radii of a random packing over half the nearest distance in the crystal, and how full it is:
# neighbors are then no nearer than 0.8 of that distance.
_HARD_RATIO = 0.8
_FILLED_FRACTION = 0.4
# Pairs of elements are looked for up to here in crystals, Å.
_PAIR_CUTOFF = 8.0


class Energies:
    """Evaluates structures, and counts those for which it finds no finite number.

    Parameters
    ----------
    calculator
        The energy its forces derive from is the free one, where it knows one.
    """

    def __init__(self, calculator: BaseCalculator) -> None:
        self.calculator = calculator
        self.free = "free_energy" in calculator.implemented_properties
        self.infinite = 0

    def prepared(self, atoms: Atoms) -> Atoms:
        """Copy a structure and give it the calculator.

        Parameters
        ----------
        atoms
            Of any kind.
        """
        new = atoms.copy()
        new.calc = self.calculator
        return new

    def __call__(self, atoms: Atoms) -> tuple[float, Floats]:
        """Give energy (eV) and forces (eV/Å), shape (natoms, 3), of a copy of a structure."""
        atoms = self.prepared(atoms)
        energy = float(atoms.get_potential_energy(force_consistent=self.free))
        forces = np.array(atoms.get_forces())
        self.infinite += not (np.isfinite(energy) and np.isfinite(forces).all())
        return energy, forces

    def force_deviation(self, atoms: Atoms, step: float) -> float:
        """Largest difference between forces and numerical derivatives, eV/Å.

        Parameters
        ----------
        atoms
            Of any kind.
        step
            Displacement of the differences, Å.
        """
        atoms = self.prepared(atoms)
        forces = np.array(atoms.get_forces())
        numerical = calculate_numerical_forces(atoms, eps=step, force_consistent=self.free)
        return float(np.abs(forces - numerical).max())

    def stress_deviation(self, atoms: Atoms, step: float) -> float:
        """Largest difference between stress and numerical derivatives, GPa.

        Parameters
        ----------
        atoms
            Periodic.
        step
            Strain of the differences.
        """
        atoms = self.prepared(atoms)
        stress = np.array(atoms.get_stress())
        numerical = calculate_numerical_stress(atoms, eps=step, force_consistent=self.free)
        return float(np.abs(stress - numerical).max() / GPa)


def shortest_pairs(atoms: Atoms) -> dict[tuple[str, str], float]:
    """Give the shortest distance (Å) between any two elements of a crystal.

    Parameters
    ----------
    atoms
        A cell of the crystal.
    """
    first, second, distances = neighbor_list("ijd", atoms, _PAIR_CUTOFF)
    found: dict[tuple[str, str], float] = {}
    for order in np.argsort(distances)[::-1]:
        one, other = sorted((atoms.symbols[first[order]], atoms.symbols[second[order]]))
        found[one, other] = float(distances[order])
    return found


def disordered(
    crystal: Atoms, name: str, *, rattle: float, distance: float, seed: int
) -> dict[str, Atoms]:
    """Take a crystal apart: strained and rattled, with a vacancy, a cluster, at random.

    Parameters
    ----------
    crystal
        The primitive cell.
    name
        Of the crystal, which the structures' names begin with.
    rattle
        Standard deviation of displacements, Å.
    distance
        Between periodic images of the cluster, Å.
    seed
        Where chance comes from.

    Returns
    -------
    dict of str to Atoms
        Periodic, without calculators.
    """
    rng = np.random.default_rng(seed)
    cells = max(1, round(_SUPERCELL_ATOMS / len(crystal)))
    perfect = crystal.repeat(most_compact(cells, crystal.cell.lengths()))
    small, cell, broken, cluster = (
        rattled(one, rng, rattle=rattle, strain=_STRAIN) for one in (crystal, *[perfect] * 3)
    )
    del broken[0]
    cluster.center(vacuum=distance / 2.0)
    found = {"cell": small, "supercell": cell, "vacancy": broken, "cluster": cluster}
    # Elements of very different size may not fit, but there are enough other structures.
    with contextlib.suppress(PackingError):
        found["random"] = _packed(perfect, seed)
    return {f"{name}_{kind}": atoms for kind, atoms in found.items()}


def _packed(perfect: Atoms, seed: int) -> Atoms:
    """Put the atoms of a cell at random places, none of them too near to another."""
    symbols = list(dict.fromkeys(perfect.symbols))
    share = {one: float(np.mean(np.array(perfect.symbols) == one)) for one in symbols}
    nearest = shortest_pairs(perfect)
    radii = {one: min(d for pair, d in nearest.items() if one in pair) / 2.0 for one in symbols}
    packed = random_packing(
        perfect.cell.array,
        share,
        seed=seed,
        volume_fraction=_FILLED_FRACTION,
        radii=radii,
        hard_ratio=_HARD_RATIO,
    )
    packed.info.clear()
    return packed


def _rotated(atoms: Atoms, rng: np.random.Generator) -> Changed:
    turn = Rotation.random(random_state=rng).as_matrix()
    new = atoms.copy()
    new.set_cell(atoms.cell.array @ turn.T)
    new.positions = atoms.positions @ turn.T
    return new, lambda forces: forces @ turn.T


def _translated(atoms: Atoms, rng: np.random.Generator) -> Changed:
    new = atoms.copy()
    new.positions += rng.uniform(-10.0, 10.0, 3)
    new.wrap()
    return new, lambda forces: forces


def _permuted(atoms: Atoms, rng: np.random.Generator) -> Changed:
    order = rng.permutation(len(atoms))
    return atoms[order], lambda forces: forces[order]


def _inverted(atoms: Atoms, _: np.random.Generator) -> Changed:
    # A lattice is its own inverse: the cell stays, and stays right-handed.
    new = atoms.copy()
    new.positions = -atoms.positions
    return new, lambda forces: -forces


def _repeated(atoms: Atoms, _: np.random.Generator) -> Changed:
    return atoms.repeat(2), lambda forces: np.tile(forces, (8, 1))


#: What changes nothing.
CHANGES: Mapping[str, Callable[[Atoms, np.random.Generator], Changed]] = {
    "rotation": _rotated,
    "translation": _translated,
    "permutation": _permuted,
    "inversion": _inverted,
    "supercell": _repeated,
}


def change_deviation(
    energies: Energies, atoms: Atoms, change: str, rng: np.random.Generator
) -> tuple[float, float]:
    """Compare a structure with itself, changed in a way that must not matter.

    Parameters
    ----------
    energies
        Of the potential.
    atoms
        The structure.
    change
        A name in `CHANGES`.
    rng
        Where chance comes from.

    Returns
    -------
    energy, force : float
        Largest differences, meV/atom and eV/Å.
    """
    energy, forces = energies(atoms)
    new, mapped = CHANGES[change](atoms, rng)
    return _difference(energies(new), energy * len(new) / len(atoms), mapped(forces))


def repetition_deviation(
    energies: Energies, atoms: Atoms, rng: np.random.Generator
) -> tuple[float, float]:
    """Compare a structure with itself, with another one evaluated in between.

    Parameters
    ----------
    energies
        Of the potential.
    atoms
        The structure.
    rng
        Makes the other one.

    Returns
    -------
    energy, force : float
        Largest differences, meV/atom and eV/Å.
    """
    energy, forces = energies(atoms)
    energies(rattled(atoms, rng, rattle=0.01))
    return _difference(energies(atoms), energy, forces)


def separation_deviation(
    energies: Energies, one: Atoms, other: Atoms, distance: float
) -> tuple[float, float]:
    """Compare two clusters far apart with each of them alone.

    Parameters
    ----------
    energies
        Of the potential.
    one, other
        The clusters.
    distance
        Between them, Å.

    Returns
    -------
    energy, force : float
        Largest differences, meV/atom and eV/Å.
    """
    parts = [energies(one), energies(other)]
    moved = other.copy()
    reach = one.positions[:, 0].max() - other.positions[:, 0].min()
    moved.positions[:, 0] += reach + distance
    both = one + moved
    both.center(vacuum=distance / 2.0)
    forces = np.vstack([forces for _, forces in parts])
    return _difference(energies(both), sum(energy for energy, _ in parts), forces)


def box_deviation(energies: Energies, cluster: Atoms) -> tuple[float, float]:
    """Compare a cluster whose periodic images are far away with one that has none.

    Parameters
    ----------
    energies
        Of the potential.
    cluster
        In a large periodic cell.

    Returns
    -------
    energy, force : float
        Largest differences, meV/atom and eV/Å.
    """
    alone = cluster.copy()
    alone.pbc = False
    energy, forces = energies(cluster)
    return _difference(energies(alone), energy, forces)


def _difference(found: tuple[float, Floats], energy: float, forces: Floats) -> tuple[float, float]:
    return (
        1000.0 * abs(found[0] - energy) / len(forces),
        float(np.abs(found[1] - forces).max()),
    )
