"""Training data as arrays: many configurations in one, with their labels checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from ase.stress import voigt_6_to_full_3x3_stress

from pescape.calculators.neighbors import concatenate, neighbors
from pescape.errors import frame_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ase import Atoms
    from numpy.typing import ArrayLike, NDArray

    from pescape.calculators.neighbors import Neighbors

    Floats = NDArray[np.float64]

EnergyKind = Literal["free_energy", "energy"]

# Most configurations have two atoms so near, Å.
_NEAR = 3.0
#: Entry of ``atoms.info`` that says how much a configuration counts.
WEIGHT = "fit_weight"


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Configurations that do not see each other, one after the other, and their labels.

    Parameters
    ----------
    first
        Configuration c owns atoms ``first[c]`` to ``first[c + 1]``, shape (C + 1,).
    positions, species
        Shapes (n, 3), Å, and (n,), indices into the potential's species.
    offsets, indices, shifts
        The neighbors of atom i are entries ``offsets[i]`` to ``offsets[i + 1]``; the
        vector to neighbor k is ``positions[indices[k]] + shifts[k] - positions[i]``.
    energies
        Shape (C,), eV.
    forces
        Shape (n, 3), eV/Å.
    virials
        Minus stress times volume, Voigt order xx yy zz yz xz xy, shape (C, 6), eV;
        zero where there is none.
    has_virial
        Shape (C,).
    volumes
        Shape (C,), Å³; zero where there is no virial.
    energy_kind
        Which energy the labels are: forces are derivatives of the free energy.
    shortest
        Shortest distance between two atoms, Å.
    factors
        Of each configuration in the loss, shape (C,): how much it counts over the number of
        configurations of the whole data set.
    has_energies
        False where only forces and virials are labels.
    """

    first: NDArray[np.int64]
    positions: Floats
    species: NDArray[np.int32]
    offsets: NDArray[np.int64]
    indices: NDArray[np.int32]
    shifts: Floats
    energies: Floats
    forces: Floats
    virials: Floats
    has_virial: NDArray[np.bool_]
    volumes: Floats
    energy_kind: EnergyKind
    shortest: float
    factors: Floats
    has_energies: bool = True

    def __len__(self) -> int:
        return len(self.first) - 1

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Atoms per configuration, shape (C,)."""
        return np.diff(self.first)

    @cached_property
    def mean_square_forces(self) -> Floats:
        """Mean squared length of the labels of forces by configuration, shape (C,), eV²/Å²."""
        squares = np.einsum("ij,ij->i", self.forces, self.forces)
        return np.add.reduceat(squares, self.first[:-1]) / self.sizes

    @property
    def geometry(self) -> tuple[NDArray[np.generic], ...]:
        """What the kernel's functions take first."""
        return self.positions, self.species, self.offsets, self.indices, self.shifts

    def extent(self, species: int, cutoff: float) -> tuple[Floats, Floats]:
        """Return how near and how densely packed atoms are at most.

        Parameters
        ----------
        species
            S, their number.
        cutoff
            R, Å.

        Returns
        -------
        tuple
            ``nearest``, the shortest distance of each pair of species in Å (S, S), infinite for
            pairs that are nowhere within the cut-off; and ``densest`` (S, S), for each species of
            the central atom and of its neighbors the largest sum of (1 - r²/R²)³ over the latter.
        """
        center = np.repeat(np.arange(len(self.species)), np.diff(self.offsets))
        vectors = self.positions[self.indices] + self.shifts - self.positions[center]
        squares = np.einsum("ij,ij->i", vectors, vectors)
        others = self.species[self.indices]
        nearest = np.full(species**2, np.inf)
        np.minimum.at(nearest, self.species[center] * species + others, squares)
        parts = np.maximum(1.0 - squares / cutoff**2, 0.0) ** 3
        sums = np.bincount(center * species + others, parts, minlength=len(self.species) * species)
        densest = np.zeros((species, species))
        np.maximum.at(densest, self.species, sums.reshape(-1, species))
        return np.sqrt(nearest).reshape(species, species), densest

    def one(self, index: int) -> tuple[NDArray[np.generic], ...]:
        """Geometry of one configuration.

        Parameters
        ----------
        index
            Of the configuration.
        """
        return self.part(index, index + 1).geometry

    def part(self, start: int, stop: int) -> TrainingSet:
        """Take configurations `start` to `stop` (exclusive) by themselves.

        Parameters
        ----------
        start, stop
            Indices of configurations.
        """
        a, b = int(self.first[start]), int(self.first[stop])
        i, j = int(self.offsets[a]), int(self.offsets[b])
        return replace(
            self,
            first=self.first[start : stop + 1] - a,
            positions=self.positions[a:b],
            species=self.species[a:b],
            offsets=self.offsets[a : b + 1] - i,
            indices=self.indices[i:j] - np.int32(a),
            shifts=self.shifts[i:j],
            energies=self.energies[start:stop],
            forces=self.forces[a:b],
            virials=self.virials[start:stop],
            has_virial=self.has_virial[start:stop],
            volumes=self.volumes[start:stop],
            factors=self.factors[start:stop],
        )


def training_set(
    configurations: Sequence[Atoms],
    species: Sequence[str],
    cutoff: float,
    *,
    min_dist: float | None = None,
    chosen: range | None = None,
) -> TrainingSet:
    """Check labeled configurations and put them into arrays.

    Parameters
    ----------
    configurations
        Each with energy and forces, and stress if periodic, from its calculator
        (as ``ase.io.read`` leaves them).
    species
        Chemical symbols in the potential's order.
    cutoff
        Of the potential, Å.
    min_dist
        Two atoms nearer than this (Å) are an error.
    chosen
        Put only these into arrays, at least one: a part of the whole.

    Returns
    -------
    TrainingSet
        All configurations count the same.

    Raises
    ------
    ValueError
        Names the frame and what is missing, not finite, unknown or unphysical in it.
    """
    if not configurations:
        raise ValueError("the training data holds no configurations")
    kind = _energy_kind(configurations)
    number_of = {symbol: index for index, symbol in enumerate(species)}
    total = len(configurations)
    chosen = range(total) if chosen is None else chosen
    parts = [
        _one(configurations[index], index, number_of, cutoff, min_dist, kind) for index in chosen
    ]
    configurations = [configurations[index] for index in chosen]
    lists = concatenate([part.neighbors for part in parts])
    return TrainingSet(
        first=np.cumsum([0, *map(len, configurations)]),
        positions=np.concatenate([atoms.positions for atoms in configurations]),
        species=np.concatenate([part.species for part in parts]).astype(np.int32),
        offsets=lists.offsets,
        indices=lists.indices,
        shifts=lists.shifts,
        energies=np.array([part.energy for part in parts]),
        forces=np.concatenate([part.forces for part in parts]),
        virials=np.array([part.virial for part in parts]),
        has_virial=np.array([part.has_virial for part in parts]),
        volumes=np.array([part.volume for part in parts]),
        energy_kind=kind,
        shortest=min(part.shortest for part in parts),
        factors=np.full(len(parts), 1.0 / total),
    )


def configuration_weights(
    configurations: Sequence[Atoms], given: ArrayLike | None = None
) -> Floats:
    """Return how much each configuration counts, shape (C,).

    Parameters
    ----------
    configurations
        Labeled data.
    given
        Takes the place of what the configurations say, ``info["fit_weight"]``, by default 1.
    """
    if given is None:
        given = [atoms.info.get(WEIGHT, 1.0) for atoms in configurations]
    try:
        weights = np.array(given, dtype=float)
    except (TypeError, ValueError):
        raise ValueError(f"weights of configurations ({WEIGHT}) must be numbers") from None
    if weights.shape != (len(configurations),):
        raise ValueError(
            f"{len(configurations)} weights of configurations expected, not shape {weights.shape}"
        )
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0.0)))
    if len(bad):
        name = frame_name(configurations[bad[0]], int(bad[0]))
        raise ValueError(f"{name}: its weight {weights[bad[0]]} is not a number ≥ 0")
    return weights


def within_limits(
    configurations: Sequence[Atoms],
    *,
    force: float | None = None,
    energy: float | None = None,
    atom_energies: Mapping[str, float] | None = None,
) -> list[int]:
    """Return the indices of configurations within limits.

    Parameters
    ----------
    configurations
        With energy and forces.
    force
        Largest force on any atom, eV/Å.
    energy
        Largest mean energy per atom relative to isolated atoms, eV.
    atom_energies
        Of isolated atoms by element, eV; `energy` needs them.
    """
    kind = _energy_kind(configurations)
    kept = []
    for index, atoms in enumerate(configurations):
        name = frame_name(atoms, index)
        total, forces = _energy_and_forces(atoms, name, kind)
        if force is not None and np.linalg.norm(forces, axis=1).max(initial=0.0) > force:
            continue
        if energy is not None:
            missing = sorted(set(atoms.get_chemical_symbols()) - set(atom_energies or {}))
            if missing:
                raise ValueError(
                    f"{name}: a limit of the energy needs the energy of an isolated atom of "
                    f"{missing[0]}"
                )
            alone = sum((atom_energies or {})[symbol] for symbol in atoms.symbols)
            if (total - alone) / len(atoms) > energy:
                continue
        kept.append(index)
    return kept


@dataclass(frozen=True, eq=False)
class _Part:
    """What one configuration adds."""

    neighbors: Neighbors
    species: NDArray[np.int64]
    shortest: float
    energy: float
    forces: Floats
    virial: Floats
    has_virial: bool
    volume: float


def _results(atoms: Atoms) -> dict[str, Any]:
    return {} if atoms.calc is None else atoms.calc.results


def _energy_kind(configurations: Sequence[Atoms]) -> EnergyKind:
    """Free energies if the data has them; a data set with both kinds is an error."""
    with_free = [_results(atoms).get("free_energy") is not None for atoms in configurations]
    if all(with_free):
        return "free_energy"
    if any(with_free):
        with_it, without = with_free.index(True), with_free.index(False)
        raise ValueError(
            f"{frame_name(configurations[with_it], with_it)} has a free_energy and "
            f"{frame_name(configurations[without], without)} has none: they differ by up to "
            "20 meV/atom in metals and cannot be mixed; give all of the data the same"
        )
    return "energy"


def _one(
    atoms: Atoms,
    index: int,
    number_of: dict[str, int],
    cutoff: float,
    min_dist: float | None,
    kind: EnergyKind,
) -> _Part:
    """Check one configuration and give its arrays."""
    name = frame_name(atoms, index)
    if len(atoms) == 0:
        raise ValueError(f"{name} has no atoms")
    unknown = sorted(set(atoms.get_chemical_symbols()) - set(number_of))
    if unknown:
        raise ValueError(
            f"{name} holds {', '.join(unknown)}; the potential knows {', '.join(number_of)}"
        )
    if not np.isfinite(atoms.positions).all() or not np.isfinite(atoms.cell.array).all():
        raise ValueError(f"{name}: positions or cell are not finite")
    near = neighbors(atoms, cutoff)
    energy, forces = _energy_and_forces(atoms, name, kind)
    virial = _virial(atoms, name)
    return _Part(
        neighbors=near,
        species=np.array([number_of[s] for s in atoms.get_chemical_symbols()]),
        shortest=_shortest(atoms, near, name, min_dist),
        energy=energy,
        forces=forces,
        virial=np.zeros(6) if virial is None else virial,
        has_virial=virial is not None,
        volume=0.0 if virial is None else float(atoms.get_volume()),
    )


def _energy_and_forces(atoms: Atoms, name: str, kind: EnergyKind) -> tuple[float, Floats]:
    values = []
    for key, shape in ((kind, ()), ("forces", (len(atoms), 3))):
        value = _results(atoms).get(key)
        if value is None:
            raise ValueError(f"{name} has no {key}: label it first (pescape label)")
        array = np.array(value, dtype=float)
        if array.shape != shape:
            raise ValueError(f"{name}: {key} has shape {array.shape}, not {shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: {key} is not finite")
        values.append(array)
    return float(values[0]), values[1]


def _virial(atoms: Atoms, name: str) -> Floats | None:
    """Minus stress times volume, eV, if there is a stress and a volume."""
    stress = _results(atoms).get("stress")
    if stress is None or not atoms.pbc.all():
        return None
    array = np.array(stress, dtype=float)
    if array.shape == (3, 3):
        array = array[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    if array.shape != (6,):
        raise ValueError(f"{name}: stress has shape {array.shape}, not (6,)")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: stress is not finite")
    return -array * atoms.get_volume()


def shortest_distance(atoms: Atoms, cutoff: float, name: str) -> float:
    """Return the shortest distance between two atoms, Å; infinite if none are within the cut-off.

    Parameters
    ----------
    atoms
        The configuration.
    cutoff
        How far to look, Å.
    name
        What messages call the configuration.
    """
    for reach in (min(_NEAR, cutoff), cutoff):
        try:
            near = neighbors(atoms, reach)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        if len(near.indices):
            break
    return _shortest(atoms, near, name, None)


def _shortest(atoms: Atoms, near: Neighbors, name: str, min_dist: float | None) -> float:
    if not len(near.indices):
        return np.inf
    center = np.repeat(np.arange(len(atoms)), np.diff(near.offsets))
    vectors = atoms.positions[near.indices] + near.shifts - atoms.positions[center]
    distances = np.linalg.norm(vectors, axis=1)
    k = int(distances.argmin())
    if min_dist is not None and distances[k] < min_dist:
        raise ValueError(
            f"{name}: atoms {center[k]} and {near.indices[k]} are {distances[k]:.3f} Å apart, "
            f"nearer than min_dist = {min_dist} Å: lower min_dist or leave the frame out"
        )
    return float(distances[k])


def full(voigt: Floats) -> Floats:
    """Return Voigt components (…, 6) as symmetric matrices (…, 3, 3).

    Parameters
    ----------
    voigt
        In the order xx yy zz yz xz xy.
    """
    return voigt_6_to_full_3x3_stress(voigt)
