"""What has to hold whatever a potential describes, and the structures and scans that show it.

Disordered structures, changes of them that must not matter, and energies along one coordinate:
where they jump, and whether they rise where atoms meet.
"""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.neighborlist import neighbor_list
from ase.units import GPa
from scipy.spatial.transform import Rotation

from pescape.plugins.structures import PackingError, random_packing, rattled
from pescape.plugins.structures.crystals import most_compact
from pescape.validation.property import Floats, PropertyError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator

    Changed = tuple[Atoms, Callable[[Floats], Floats]]
    Line = Callable[[float], tuple[float, float]]


# About how many atoms a supercell has; displacements and strains of its atoms and edges.
_SUPERCELL_ATOMS = 12
_STRAIN = 0.03
# Radii of a random packing over half the nearest distance in the crystal, and how full it is:
# neighbours are then no nearer than 0.8 of that distance.
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


# Intervals looked into, of each of two kinds, and how often each is halved: what is left of a
# smooth function in an interval 2e-8 Å wide is nothing.
_SUSPECTS = 5
_HALVINGS = 20
# Changes of energy (eV) and slope (eV/Å) between points that are below anything that matters.
_NEGLIGIBLE_CHANGE = 1e-9


@dataclass(frozen=True, eq=False)
class Scan:
    """Energy and slope along a coordinate.

    Parameters
    ----------
    x
        Shape (n,), rising, Å.
    energy
        Shape (n,), eV.
    slope
        Shape (n,), eV/Å.
    """

    x: Floats
    energy: Floats
    slope: Floats


@dataclass(frozen=True)
class Jump:
    """The largest steps along a scan.

    Parameters
    ----------
    energy
        eV.
    slope
        eV/Å.
    energy_at, slope_at
        Where they are, Å.
    """

    energy: float
    slope: float
    energy_at: float
    slope_at: float


@dataclass(frozen=True, eq=False)
class Track:
    """A coordinate to scan.

    Parameters
    ----------
    name
        What changes along it.
    line
        Energy and slope.
    start
        Where the minimum is expected, Å.
    points
        Where it is scanned, shape (n,), rising, Å.
    """

    name: str
    line: Line
    start: float
    points: Floats

    @functools.cached_property
    def scan(self) -> Scan:
        """Energy and slope at all points where they are finite; evaluated once."""
        found = np.array([self.line(float(one)) for one in self.points]).reshape(-1, 2)
        finite = np.isfinite(found).all(axis=1)
        if finite.sum() < 3:
            raise PropertyError(f"{self.name}: there are hardly any finite energies")
        return Scan(self.points[finite], found[finite, 0], found[finite, 1])

    @property
    def known(self) -> bool:
        """Whether it has been scanned."""
        return "scan" in vars(self)


def largest_jump(line: Line, scan: Scan) -> Jump:
    """Look for steps of energy and slope.

    Intervals in which one of them changes out of line with the intervals on either side are
    halved again and again, so that no step is too small to be told from a steep slope.

    Parameters
    ----------
    line
        The function behind the scan.
    scan
        With a few points at least.
    """
    ends = [(0.0, 0.0, float(scan.x[0])), (0.0, 0.0, float(scan.x[0]))]
    width = np.diff(scan.x)
    kinds = (
        np.diff(scan.energy) - width * (scan.slope[1:] + scan.slope[:-1]) / 2.0,
        np.diff(scan.slope),
    )
    for kind, change in enumerate(kinds):
        suspects = np.argsort(_out_of_line(change))[-_SUSPECTS:]
        ends += [_narrowed(line, scan, int(index), kind) for index in suspects]
    energy = max(ends, key=lambda one: one[0])
    slope = max(ends, key=lambda one: one[1])
    return Jump(energy[0], slope[1], energy[2], slope[2])


def _out_of_line(change: Floats) -> Floats:
    """Tell how much the change in each interval differs from that in its neighbours."""
    padded = np.pad(change, 1, mode="edge")
    before, after = padded[:-2], padded[2:]
    scale = np.abs(before) + np.abs(after) + _NEGLIGIBLE_CHANGE
    return np.asarray(np.abs(change - (before + after) / 2.0) / scale)


def _narrowed(line: Line, scan: Scan, index: int, kind: int) -> tuple[float, float, float]:
    """Halve an interval, keeping the half with the larger step, of energy (0) or slope (1)."""
    low, high = (
        (float(scan.x[i]), float(scan.energy[i]), float(scan.slope[i])) for i in (index, index + 1)
    )
    for _ in range(_HALVINGS):
        middle = (low[0] + high[0]) / 2.0
        between = (middle, *line(middle))
        if not np.isfinite(between).all():
            return 0.0, 0.0, middle  # counted as such elsewhere
        first, second = _steps(low, between)[kind], _steps(between, high)[kind]
        low, high = (low, between) if first > second else (between, high)
    return (*_steps(low, high), low[0])


def _steps(
    low: tuple[float, float, float], high: tuple[float, float, float]
) -> tuple[float, float]:
    """Change of the energy that the slope does not explain, and change of the slope."""
    width = high[0] - low[0]
    return abs(high[1] - low[1] - width * (low[2] + high[2]) / 2.0), abs(high[2] - low[2])


@dataclass(frozen=True)
class Repulsion:
    """What becomes of energy and force on the way in from a minimum.

    Parameters
    ----------
    minimum
        Where it begins, Å.
    drop
        Deepest fall of the energy, eV; 0 where it never falls.
    rise
        Energy of the shortest distance above the minimum, eV.
    repulsive_to
        Distance down to which the force is repulsive all the way, Å.
    """

    minimum: float
    drop: float
    rise: float
    repulsive_to: float


def repulsion(scan: Scan, start: float | None = None) -> Repulsion:
    """See whether the energy rises all the way from a minimum inwards.

    Parameters
    ----------
    scan
        Over distances.
    start
        Where the search for the minimum begins, Å: it goes downhill from there. If None, the
        longest distance is taken for the minimum.
    """
    bottom = len(scan.x) - 1
    if start is not None:
        bottom = int(np.abs(scan.x - start).argmin())
        while bottom + 1 < len(scan.x) and scan.energy[bottom + 1] < scan.energy[bottom]:
            bottom += 1
        while bottom > 0 and scan.energy[bottom - 1] < scan.energy[bottom]:
            bottom -= 1
    inwards = scan.energy[bottom::-1]
    drop = np.maximum.accumulate(inwards) - inwards
    # At the minimum itself the slope may have either sign.
    attractive = np.flatnonzero(scan.slope[:bottom] >= 0.0)
    repulsive_to = float(scan.x[0])
    if len(attractive):
        last = int(attractive[-1])
        before, after = (float(scan.slope[last]), float(min(scan.slope[last + 1], 0.0)))
        share = before / (before - after) if before > after else 0.0
        repulsive_to = float(scan.x[last] + share * (scan.x[last + 1] - scan.x[last]))
    return Repulsion(
        float(scan.x[bottom]), float(drop.max()), float(inwards[-1] - inwards[0]), repulsive_to
    )
