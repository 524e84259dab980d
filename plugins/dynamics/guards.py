"""Limits that a configuration must keep, and why a run ended."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Literal

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list

StopKind = Literal[
    "steps",  # all steps that were asked for
    "converged",  # a search found what it was looking for
    "asked",  # the caller's own stop function
    "energy",
    "force",
    "distance",
    "displacement",
    "not_finite",
    "calculator",
    "unreachable",
    "no_direction",
    "curvature",
]


@dataclass(frozen=True)
class StopReason:
    """Why a run ended; true in a boolean context when the run ended as it was meant to.

    Attributes
    ----------
    kind
        Machine-readable class of the reason.
    message
        The reason in words.
    step
        Number of accepted steps when the run ended.
    value, limit
        What was measured and what was allowed, where a limit ended the run.
    """

    kind: StopKind
    message: str
    step: int
    value: float | None = None
    limit: float | None = None

    def __bool__(self) -> bool:
        return self.kind in {"steps", "converged", "asked"}

    def __str__(self) -> str:
        return f"step {self.step}: {self.message}"


_SKIN = 1.0  # of the neighbor list, Å


@dataclass(frozen=True)
class Guards:
    """Limits that every accepted configuration keeps; None lifts one.

    Attributes
    ----------
    max_force
        Largest force on any atom, eV/Å.
    max_energy
        Largest potential energy above the first configuration's, eV/atom.
    max_deviation
        Largest distance from the energy that was aimed at, eV/atom.
    min_distance
        Shortest distance between two atoms, periodic images included, Å.
    distance_ratio
        Shortest distance as a multiple of the sum of the two covalent radii; the larger of the
        two limits holds.
    max_displacement
        Largest displacement of any atom from the first configuration, Å.
    retries
        How often a step that broke a limit is tried again, with half the length each time,
        before the run ends.
    caught
        Exceptions of the calculator that count as a broken limit; others are raised, once the
        atoms are back where they were.
    """

    max_force: float | None = 30.0
    max_energy: float | None = None
    max_deviation: float | None = None
    min_distance: float | None = None
    distance_ratio: float | None = None
    max_displacement: float | None = None
    retries: int = 4
    caught: tuple[type[Exception], ...] = ()

    def __post_init__(self) -> None:
        energies = ("max_force", "max_energy", "max_deviation")
        for name in (*energies, "min_distance", "distance_ratio", "max_displacement"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}: a positive limit, or None, is needed")
        if self.retries < 0:
            raise ValueError(f"retries is {self.retries}: 0 or more is needed")


@dataclass(frozen=True)
class Violation:
    """A limit that a configuration broke."""

    kind: StopKind
    message: str
    value: float | None = None
    limit: float | None = None


class LimitBroken(Exception):  # noqa: N818 -- it ends no program
    """Raised where a configuration breaks a limit.

    Parameters
    ----------
    violation
        What it broke.
    """

    def __init__(self, violation: Violation) -> None:
        super().__init__(violation.message)
        self.violation = violation


class DistanceWatch:
    """Finds pairs of atoms that are too close, with a neighbor list that is seldom rebuilt.

    Parameters
    ----------
    guards
        The limits.
    atoms
        The atoms that are watched.
    """

    def __init__(self, guards: Guards, atoms: Atoms) -> None:
        self._guards = guards
        self._atoms = atoms
        self._reference: np.ndarray | None = None
        radii = covalent_radii[atoms.numbers]
        self._radii = radii if guards.distance_ratio is not None else np.zeros_like(radii)

    def _rebuild(self, positions: np.ndarray) -> None:
        atoms = Atoms(self._atoms.numbers, positions, cell=self._atoms.cell, pbc=self._atoms.pbc)
        ratio, floor = self._guards.distance_ratio or 0.0, self._guards.min_distance or 0.0
        reach = max(floor, 2 * ratio * float(self._radii.max())) + _SKIN
        first, second, vectors = neighbor_list("ijD", atoms, reach)
        shift = vectors - (positions[second] - positions[first])
        limits = np.maximum(floor, ratio * (self._radii[first] + self._radii[second]))
        self._pairs = first, second, shift, limits
        self._reference = positions.copy()
        self._cell = self._atoms.cell.array.copy()

    def closest(self, positions: np.ndarray) -> Violation | None:
        """Return the worst pair that is too close, if there is one.

        Parameters
        ----------
        positions
            Positions to look at, (natoms, 3), Å.
        """
        if (
            self._reference is None
            or not np.array_equal(self._cell, self._atoms.cell.array)
            or 2 * np.linalg.norm(positions - self._reference, axis=1).max() > _SKIN
        ):
            self._rebuild(positions)
        first, second, shift, limits = self._pairs
        if not len(first):
            return None
        lengths = np.linalg.norm(positions[second] - positions[first] + shift, axis=1)
        worst = int(np.argmin(lengths - limits))
        if lengths[worst] >= limits[worst]:
            return None
        value, limit = float(lengths[worst]), float(limits[worst])
        message = (
            f"atoms {first[worst]} and {second[worst]} are {value:.3f} Å apart; "
            f"the least allowed is {limit:.3f} Å"
        )
        return Violation("distance", message, value, limit)


class GuardKeeper:
    """Checks configurations of one run against its guards.

    Parameters
    ----------
    guards
        The limits.
    atoms
        The atoms that are watched.
    start
        Positions, (natoms, 3), from which displacements count, Å.
    energy
        Energy from which `max_energy` counts, eV.
    """

    def __init__(self, guards: Guards, atoms: Atoms, start: np.ndarray, energy: float) -> None:
        self.guards = guards
        self.start = np.array(start)
        self.energy = float(energy)
        self._natoms = len(atoms)
        watched = guards.min_distance is not None or guards.distance_ratio is not None
        self._distances = DistanceWatch(guards, atoms) if watched else None

    def check_positions(self, positions: np.ndarray) -> Violation | None:
        """Return what positions break, which is known before any force is computed.

        Parameters
        ----------
        positions
            Positions, (natoms, 3), Å.
        """
        limit = self.guards.max_displacement
        if limit is not None:
            value = float(np.linalg.norm(positions - self.start, axis=1).max())
            if value > limit:
                message = f"an atom is {value:.3f} Å from its start; the most allowed is {limit} Å"
                return Violation("displacement", message, value, limit)
        return None if self._distances is None else self._distances.closest(positions)

    def check_results(
        self, energy: float, forces: np.ndarray, aim: float | None = None
    ) -> Violation | None:
        """Return what the calculator's results break.

        Parameters
        ----------
        energy
            Potential energy, eV.
        forces
            Forces, (natoms, 3), eV/Å.
        aim
            Energy aimed at, eV; None where there is none.
        """
        component = float(max(forces.max(), -forces.min()))
        if not (isfinite(energy) and isfinite(component)):
            return Violation("not_finite", "the calculator returned numbers that are not finite")
        limit = self.guards.max_force
        if limit is not None and component * sqrt(3) > limit:
            largest = float(np.sqrt(np.einsum("ij,ij->i", forces, forces).max()))
            if largest > limit:
                message = (
                    f"the largest force is {largest:.2f} eV/Å; the most allowed is {limit} eV/Å"
                )
                return Violation("force", message, largest, limit)
        limit, value = self.guards.max_energy, (energy - self.energy) / self._natoms
        if limit is not None and value > limit:
            message = f"{value:.4f} eV/atom above the start; the most allowed is {limit}"
            return Violation("energy", message, float(value), limit)
        limit = self.guards.max_deviation
        if limit is not None and aim is not None:
            value = abs(energy - aim) / self._natoms
            if value > limit:
                message = f"{value:.4f} eV/atom from the target; the most allowed is {limit}"
                return Violation("energy", message, float(value), limit)
        return None
