"""Training data as arrays: many configurations in one, with their labels checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from ase.stress import voigt_6_to_full_3x3_stress

from pescape.calculators.neighbors import neighbors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

EnergyKind = Literal["free_energy", "energy"]


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
        The neighbours of atom i are entries ``offsets[i]`` to ``offsets[i + 1]``; the
        vector to neighbour k is ``positions[indices[k]] + shifts[k] - positions[i]``.
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

    def __len__(self) -> int:
        return len(self.first) - 1

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Atoms per configuration, shape (C,)."""
        return np.diff(self.first)

    @property
    def geometry(self) -> tuple[NDArray[np.generic], ...]:
        """What the kernel's functions take first."""
        return self.positions, self.species, self.offsets, self.indices, self.shifts

    def one(self, index: int) -> tuple[NDArray[np.generic], ...]:
        """The geometry of one configuration."""
        a, b = self.first[index], self.first[index + 1]
        i, j = self.offsets[a], self.offsets[b]
        return (
            self.positions[a:b],
            self.species[a:b],
            self.offsets[a : b + 1] - i,
            (self.indices[i:j] - a).astype(np.int32),
            self.shifts[i:j],
        )


def frame_name(atoms: Atoms, index: int) -> str:
    """How messages call a configuration: its file and frame if it knows them."""
    return str(atoms.info.get("source_frame", f"configuration {index}"))


def training_set(
    configurations: Sequence[Atoms],
    species: Sequence[str],
    cutoff: float,
    *,
    min_dist: float | None = None,
) -> TrainingSet:
    """Check labelled configurations and put them into arrays.

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

    Returns
    -------
    TrainingSet

    Raises
    ------
    ValueError
        Names the frame and what is missing, not finite, unknown or unphysical in it.
    """
    if not configurations:
        raise ValueError("the training data holds no configurations")
    kind = _energy_kind(configurations)
    number_of = {symbol: index for index, symbol in enumerate(species)}
    parts = [
        _one(atoms, index, number_of, cutoff, min_dist, kind)
        for index, atoms in enumerate(configurations)
    ]
    sizes = np.array([len(atoms) for atoms in configurations])
    first = np.concatenate(([0], np.cumsum(sizes)))
    pairs = np.concatenate(([0], np.cumsum([len(part["indices"]) for part in parts])))
    return TrainingSet(
        first=first,
        positions=np.concatenate([part["positions"] for part in parts]),
        species=np.concatenate([part["species"] for part in parts]).astype(np.int32),
        offsets=np.concatenate(
            [part["offsets"][:-1] + start for part, start in zip(parts, pairs, strict=False)]
            + [pairs[-1:]]
        ).astype(np.int64),
        indices=np.concatenate(
            [part["indices"] + start for part, start in zip(parts, first, strict=False)]
        ).astype(np.int32),
        shifts=np.concatenate([part["shifts"] for part in parts]),
        energies=np.array([part["energy"] for part in parts]),
        forces=np.concatenate([part["forces"] for part in parts]),
        virials=np.array([part["virial"] for part in parts]),
        has_virial=np.array([part["has_virial"] for part in parts]),
        volumes=np.array([part["volume"] for part in parts]),
        energy_kind=kind,
        shortest=min(part["shortest"] for part in parts),
    )


def _results(atoms: Atoms) -> dict[str, object]:
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
) -> dict[str, object]:
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
    shortest = _shortest(atoms, near, name, min_dist)
    labels = _labels(atoms, name, kind)
    return {
        "positions": atoms.positions,
        "species": np.array([number_of[s] for s in atoms.get_chemical_symbols()]),
        "offsets": near.offsets,
        "indices": near.indices,
        "shifts": near.shifts,
        "shortest": shortest,
        **labels,
    }


def _labels(atoms: Atoms, name: str, kind: EnergyKind) -> dict[str, object]:
    results = _results(atoms)
    for key, shape in ((kind, ()), ("forces", (len(atoms), 3))):
        value = results.get(key)
        if value is None:
            raise ValueError(f"{name} has no {key}: label it first (pescape label)")
        if np.shape(value) != shape:
            raise ValueError(f"{name}: {key} has shape {np.shape(value)}, not {shape}")
    stress = results.get("stress") if atoms.pbc.all() else None
    virial, volume = np.zeros(6), 0.0
    if stress is not None:
        stress = np.asarray(stress, dtype=float)
        if stress.shape == (3, 3):
            stress = stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        if stress.shape != (6,):
            raise ValueError(f"{name}: stress has shape {stress.shape}, not (6,)")
        volume = float(atoms.get_volume())
        virial = -stress * volume
    labels = {"energy": float(results[kind]), "forces": np.array(results["forces"], dtype=float)}
    for key, value in (*labels.items(), ("stress", virial)):
        if not np.isfinite(value).all():
            raise ValueError(f"{name}: {key} is not finite")
    return labels | {"virial": virial, "has_virial": stress is not None, "volume": volume}


def _shortest(atoms: Atoms, near: object, name: str, min_dist: float | None) -> float:
    if not len(near.indices):
        return np.inf
    centre = np.repeat(np.arange(len(atoms)), np.diff(near.offsets))
    vectors = atoms.positions[near.indices] + near.shifts - atoms.positions[centre]
    distances = np.linalg.norm(vectors, axis=1)
    k = int(distances.argmin())
    if min_dist is not None and distances[k] < min_dist:
        raise ValueError(
            f"{name}: atoms {centre[k]} and {near.indices[k]} are {distances[k]:.3f} Å apart, "
            f"nearer than min_dist = {min_dist} Å: lower min_dist or leave the frame out"
        )
    return float(distances[k])


def full(voigt: Floats) -> Floats:
    """Voigt components (…, 6) as symmetric matrices (…, 3, 3)."""
    return voigt_6_to_full_3x3_stress(voigt)
