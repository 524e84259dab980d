"""From the spread of a committee to a bound of the error: split conformal prediction.

Of held-out data the scores |error| / (spread + floor) are known. Of new data as the held-out one,
a share of 90 % has a lower score than the 90 % quantile q of those, whatever their distribution:
q (spread + floor) bounds 90 % of the errors.

References
----------
J. Lei, M. G'Sell, A. Rinaldo, R. J. Tibshirani and L. Wasserman, J. Am. Stat. Assoc. 113, 1094
(2018), section 5.2 (scores divided by a scale of their own); Y. Hu, J. Musielewicz, Z. W. Ulissi
and A. J. Medford, Mach. Learn.: Sci. Technol. 3, 045028 (2022), for interatomic potentials.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

#: Share of errors that a bound is above.
COVERAGE = 0.9
# Fewer atoms of a species than these are calibrated with all others.
_FEWEST_ATOMS = 100
# Floors to choose from, in units of the median spread.
_FLOORS = np.geomspace(1e-2, 1e2, 33)
# Of the data, from small to large spread.
_PARTS = 5


@dataclass(frozen=True)
class Bound:
    """A bound of the error: factor × (spread + floor).

    Parameters
    ----------
    floor
        In the unit of the error.
    factor
        The quantile of the scores.
    """

    floor: float
    factor: float

    def __post_init__(self) -> None:
        for name in ("floor", "factor"):
            if not 0.0 <= getattr(self, name) < np.inf:
                raise ValueError(f"{name} {getattr(self, name)} is not a number ≥ 0")

    def __call__(self, spread: ArrayLike) -> Floats:
        """Bound errors.

        Parameters
        ----------
        spread
            Of the committee, any shape.
        """
        return self.factor * (np.asarray(spread, dtype=float) + self.floor)


def fitted_bound(errors: Floats, spread: Floats, coverage: float = COVERAGE) -> Bound:
    """Find the bound that covers a share of held-out errors, as evenly as it can.

    The floor is that for which fifths of the data, from small to large spread, are covered alike.

    Parameters
    ----------
    errors
        Absolute values or norms, shape (n,); n is at least 1.
    spread
        Of the committee at the same places, shape (n,).
    coverage
        The share.
    """
    unit = float(np.median(spread)) or float(np.mean(spread))
    if unit == 0.0:  # members that agree say nothing
        floor = float(np.median(errors)) or 1.0
        return Bound(floor, _quantile(errors / floor, coverage))
    place = np.argsort(np.argsort(spread, kind="stable"), kind="stable")
    part = place * _PARTS // len(spread)
    counts = np.maximum(np.bincount(part, minlength=_PARTS), 1)
    found = []
    for floor in unit * _FLOORS:
        one = Bound(float(floor), _quantile(errors / (spread + floor), coverage))
        covered = np.bincount(part, errors <= one(spread), _PARTS) / counts
        found.append((float(np.sum((covered - coverage) ** 2)), one))
    return min(found, key=lambda pair: pair[0])[1]


def _quantile(scores: Floats, coverage: float) -> float:
    """Return the ⌈(n + 1) coverage⌉-th smallest score, the largest of too few."""
    rank = int(np.ceil((len(scores) + 1) * coverage))
    return float(np.sort(scores)[min(rank, len(scores)) - 1])


@dataclass(frozen=True)
class Calibration:
    """What turns the spread of a committee into bounds of errors.

    Parameters
    ----------
    species
        Elements.
    forces
        Of the norm of the error of the force on an atom, for each of the species, eV/Å.
    energy
        Of the error of a configuration's energy per atom, eV.
    configurations
        How many held-out ones were used.
    coverage
        Share of errors that bounds are above.
    """

    species: tuple[str, ...]
    forces: tuple[Bound, ...]
    energy: Bound
    configurations: int
    coverage: float = COVERAGE

    def __post_init__(self) -> None:
        if len(self.forces) != len(self.species):
            raise ValueError(f"{len(self.forces)} bounds of forces for {len(self.species)} species")
        if not 0.0 < self.coverage < 1.0:
            raise ValueError(f"coverage {self.coverage} is not between 0 and 1")

    @classmethod
    def of(
        cls,
        species: Sequence[str],
        energies: tuple[Floats, Floats],
        forces: tuple[Floats, Floats],
        types: NDArray[np.integer[Any]],
        coverage: float = COVERAGE,
    ) -> Calibration:
        """Calibrate a committee on data that it has not seen.

        A species of fewer than 100 atoms is calibrated together with all others.

        Parameters
        ----------
        species
            Elements.
        energies
            Absolute errors per atom and spreads per atom, eV, shapes (C,).
        forces
            Norms of the errors and spreads, eV/Å, shapes (n,).
        types
            Species of the atoms, shape (n,).
        coverage
            Share of errors that bounds are to be above.
        """
        errors, spread = forces
        together = fitted_bound(errors, spread, coverage)
        found = []
        for kind in range(len(species)):
            mine = types == kind
            few = np.count_nonzero(mine) < _FEWEST_ATOMS
            found.append(together if few else fitted_bound(errors[mine], spread[mine], coverage))
        energy = fitted_bound(*energies, coverage=coverage)
        return cls(tuple(species), tuple(found), energy, len(energies[0]), coverage)

    def force_errors(self, spread: Floats, types: NDArray[np.integer[Any]]) -> Floats:
        """Bound the norms of the errors of atoms' forces, eV/Å, shape (n,).

        Parameters
        ----------
        spread
            Of the members' forces, eV/Å, shape (n,).
        types
            Species of the atoms, shape (n,).
        """
        floors = np.array([one.floor for one in self.forces])
        factors = np.array([one.factor for one in self.forces])
        return np.asarray(factors[types] * (spread + floors[types]))

    def energy_errors(self, spread: ArrayLike, sizes: ArrayLike) -> Floats:
        """Bound the errors of configurations' energies, eV.

        Parameters
        ----------
        spread
            Of the members' energies, eV, any shape.
        sizes
            Numbers of atoms, of the same shape.
        """
        atoms = np.asarray(sizes, dtype=float)
        return atoms * self.energy(np.asarray(spread) / atoms)

    def summary(self) -> dict[str, Any]:
        """Return what it is, for people and JSON: the least bounds in eV/Å and eV/atom."""
        pairs = zip(self.species, self.forces, strict=True)
        return {
            "coverage": self.coverage,
            "calibration_configurations": self.configurations,
            "least_force_error": {name: one.factor * one.floor for name, one in pairs},
            "least_energy_error": self.energy.factor * self.energy.floor,
        }


def force_spread(members: Floats, center: Floats) -> Floats:
    """Compute the root mean square length of members' differences from a force, shape (n,).

    Parameters
    ----------
    members
        Forces, eV/Å, shape (K, n, 3).
    center
        What they are compared with, eV/Å, shape (n, 3).
    """
    return np.sqrt(((members - center) ** 2).sum(axis=2).mean(axis=0))


def energy_spread(members: ArrayLike, center: ArrayLike) -> Floats:
    """Compute the root mean square of members' differences from energies, shape (…).

    Parameters
    ----------
    members
        Energies, eV, shape (K, …).
    center
        What they are compared with, eV, shape (…).
    """
    return np.sqrt(((np.asarray(members) - np.asarray(center)) ** 2).mean(axis=0))
