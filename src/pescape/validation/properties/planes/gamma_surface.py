"""Energies of generalised stacking faults, each computed once, and minima among them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.constraints import FixCartesian
from ase.filters import UnitCellFilter
from ase.units import J, m
from scipy.ndimage import maximum_filter, minimum_filter
from scipy.optimize import minimize
from scipy.signal import find_peaks

from pescape.plugins.structures.stacking_faults import displacement_symmetries, stacking_fault
from pescape.plugins.structures.surfaces import cut
from pescape.validation.crystals import minimised

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator
    from numpy.typing import NDArray

    from pescape.plugins.structures.crystals import BulkCrystal
    from pescape.plugins.structures.stacking_faults import SlipPlane

    Floats = NDArray[np.float64]

#: Places that are nearer to each other along a period (fractions of it) are the same.
SAME = 0.03
# Where the search for a minimum of a map ends: fractions of its sides, and mJ/m².
_PLACED, _FOUND = 5e-3, 0.2
# Decimals to which displacements (fractions of periods) are told apart.
_DECIMALS = 6


class FaultEnergies:
    """Energies of the faults of one plane; equivalent ones are computed once.

    Parameters
    ----------
    host
        The crystal.
    slip
        The plane.
    calculator
        With stress, unless there is vacuum.
    layers
        Along the normal.
    relaxed
        Whether atoms and, without vacuum, the height of the cell relax along the normal.
    vacuum
        Å; 0 for a crystal that is periodic across the plane.
    fmax, steps
        Of relaxations.
    """

    def __init__(
        self,
        host: BulkCrystal,
        slip: SlipPlane,
        calculator: BaseCalculator,
        *,
        layers: int,
        relaxed: bool = True,
        vacuum: float = 0.0,
        fmax: float = 0.005,
        steps: int = 500,
    ) -> None:
        self.host = host
        self.slip = slip
        self.calculator = calculator
        self.layers = layers
        self.relaxed = relaxed
        self.vacuum = vacuum
        self.stop: dict[str, Any] = {"fmax": fmax, "steps": steps}
        self.symmetries = displacement_symmetries(host, slip.indices)
        self.periods = cut(host, slip.indices).layer.cell.array[:2, :2]
        #: Sides of the map in fractions of the periods, shape (2, 2).
        self.sides = np.array([line.period for line in slip.lines[:2]], dtype=float)
        self._known: dict[tuple[float, ...], float] = {}

    def __call__(self, displacement: Sequence[float] | Floats) -> float:
        """Give the energy (mJ/m²) above the perfect crystal, at fractions of the periods."""
        return self._energy(displacement) - self._energy((0.0, 0.0))

    def structure(self, displacement: Sequence[float] | Floats) -> Atoms:
        """Build a fault and relax it."""
        atoms = stacking_fault(
            self.host,
            self.slip.indices,
            [float(part) for part in displacement],
            layers=self.layers,
            vacuum=self.vacuum,
        )
        atoms.calc = self.calculator
        if self.relaxed:
            atoms.set_constraint(FixCartesian(range(len(atoms)), mask=(True, True, False)))
            # The cell may grow along the normal, which leaves the displacement as it is.
            target = None if self.vacuum else UnitCellFilter(atoms, mask=[0, 0, 1, 0, 0, 0])
            where = ", ".join(f"{part:.3f}" for part in displacement)
            minimised(atoms, target, **self.stop, what=f"a fault displaced by ({where})")
            atoms.set_constraint()
        return atoms

    def freed(self, displacement: Sequence[float] | Floats) -> float:
        """Give the energy (mJ/m²) above the perfect crystal with atoms free in all directions."""
        atoms = self.structure(displacement)
        minimised(atoms, **self.stop, what="a fault free in all directions")
        return self._by_area(atoms) - self._energy((0.0, 0.0))

    def images(self, displacement: Sequence[float] | Floats) -> Floats:
        """Give the displacements that symmetry makes the same, each between 0 and 1; (n, 2)."""
        turned = np.array([matrix @ np.asarray(displacement) for matrix in self.symmetries])
        return np.round(turned % 1.0, _DECIMALS) % 1.0

    def _energy(self, displacement: Sequence[float] | Floats) -> float:
        key = min(map(tuple, self.images(displacement).tolist()))
        if key not in self._known:
            self._known[key] = self._by_area(self.structure(key))
        return self._known[key]

    def _by_area(self, atoms: Atoms) -> float:
        area = abs(float(np.linalg.det(self.periods)))
        return 1000.0 * float(atoms.get_potential_energy()) / area / (J / m**2)


def dips(energies: Floats, depth: float) -> list[int]:
    """Find the minima between the ends of a line that are deeper than so much."""
    return [int(index) for index in find_peaks(-energies, prominence=depth)[0]]


def map_minima(energies: FaultEnergies, grid: Floats, depth: float) -> list[tuple[float, Floats]]:
    """Find the local minima of a map, but for the perfect crystal.

    Parameters
    ----------
    energies
        Of faults.
    grid
        The map over one period of either side, ends included, shape (m, n).
    depth
        What the highest of the points around a minimum is above it at least, mJ/m².

    Returns
    -------
    list
        Energy (mJ/m²) and place, as parts of the two sides, of each that symmetry does not make
        the same as another; the lowest first.
    """
    sides = energies.sides
    inner = grid[:-1, :-1]
    steps = 1.0 / np.array(inner.shape[::-1])
    around = {"size": 3, "mode": "wrap"}
    deep = maximum_filter(inner, **around) - inner > depth
    lowest = np.argwhere((inner <= minimum_filter(inner, **around)) & deep)
    starts = {tuple(_folded(energies, row[::-1] * steps)) for row in lowest}
    found: list[tuple[float, Floats]] = []
    for start in sorted(starts - {(0.0, 0.0)}):
        end = minimize(
            lambda place: energies(place @ sides),
            start,
            method="Nelder-Mead",
            options={
                "initial_simplex": np.array(start) + np.diag([0.0, *steps])[:, 1:] / 2.0,
                "xatol": _PLACED,
                "fatol": _FOUND,
            },
        )
        place = _folded(energies, end.x)
        known = [np.zeros(2), *(other for _, other in found)]
        if not any(_near(place, other) for other in known):
            found.append((float(end.fun), place))
    return sorted(found, key=lambda one: one[0])


def _folded(energies: FaultEnergies, place: Floats) -> Floats:
    """Choose the first of the equivalent places, by the first side and then by the second."""
    shifts = np.array(list(itertools.product(range(-2, 3), repeat=2)))
    images = (energies.images(place @ energies.sides)[:, None] + shifts).reshape(-1, 2)
    places = np.round(images @ np.linalg.inv(energies.sides) % 1.0, 3) % 1.0
    return places[np.lexsort(places.T[::-1])[0]]


def _near(place: Floats, other: Floats) -> bool:
    away = place - other
    return bool(np.abs(away - np.round(away)).max() < SAME)
