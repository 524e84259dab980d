"""Generalized stacking faults: maps and lines of the energy of one half shifted over the other."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from ase.constraints import FixCartesian
from ase.filters import UnitCellFilter
from ase.units import J, m
from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator
from scipy.ndimage import maximum_filter, minimum_filter
from scipy.optimize import minimize
from scipy.signal import find_peaks

from pescape.plugins.structures.stacking_faults import (
    SLIP,
    SlipLine,
    SlipPlane,
    displacement_symmetries,
)
from pescape.plugins.structures.stacking_faults import stacking_fault as fault_in
from pescape.plugins.structures.surfaces import cut
from pescape.validation.crystals import minimised
from pescape.validation.properties.defects.supercells import DefectConfig, relaxed_host
from pescape.validation.property import (
    Curve,
    Floats,
    Grid,
    PropertyError,
    PropertyResult,
    Value,
    register_property,
    snapshot,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator

    from pescape.plugins.structures.crystals import BulkCrystal

Steps = Annotated[int, Field(ge=4)]

_UNIT = "mJ/m²"
#: Places that are nearer to each other along a period (fractions of it) are the same.
_SAME_PLACE = 0.03
# Where the search for a minimum of a map ends: fractions of its sides, and mJ/m².
_PLACE_TOLERANCE, _ENERGY_TOLERANCE = 5e-3, 0.2
# Decimals to which displacements (fractions of periods) are told apart.
_DECIMALS = 6


class StackingFaultConfig(DefectConfig):
    """Crystals with one fault per period, atoms relaxed normal to the plane alone.

    Without vacuum the period across the plane is tilted by the displacement and its height
    relaxes with the atoms, so that no normal stress is left: a slab is twice the atoms and has
    surfaces, which are harder on a potential than the fault itself.
    """

    kind: Literal["stacking_fault"] = "stacking_fault"
    planes: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        None, description="basal, prismatic of hcp, 111 of fcc, 110, 112 of bcc; all if unset"
    )
    height: PositiveFloat = Field(
        20.0, description="from a fault to its image, Å, rounded up to whole layers"
    )
    convergence: tuple[PositiveFloat, ...] = Field(
        (), description="other heights, Å, of which named faults are computed as well"
    )
    line: Steps = Field(48, description="steps along the period of a line")
    map: bool = Field(True, description="whether to compute the whole plane too")
    grid: tuple[Steps, Steps] = Field((12, 24), description="steps of the map along its sides")
    relaxed: Literal["normal", "none"] = Field(
        "normal", description="whether atoms move along the normal of the plane"
    )
    vacuum: NonNegativeFloat = Field(0.0, description="of slabs, Å; 0 for periodic crystals")
    dip: PositiveFloat = Field(1.0, description="depth from which on a minimum counts, mJ/m²")

    @model_validator(mode="after")
    def _known(self) -> StackingFaultConfig:
        known = [slip.name for slip in SLIP.get(self.crystal.lattice, ())]
        if not known:
            raise ValueError(f"slip planes are known of {', '.join(SLIP)} here")
        for name in self.planes or ():
            if name not in known:
                raise ValueError(
                    f"plane {name!r} of {self.crystal.lattice} is not one of {', '.join(known)}"
                )
        return self

    @property
    def chosen(self) -> tuple[SlipPlane, ...]:
        """The planes to compute."""
        known = SLIP[self.crystal.lattice]
        return tuple(s for s in known if self.planes is None or s.name in self.planes)

    def layers(self, slip: SlipPlane, height: float) -> int:
        """Give how many layers make a height, the same for all potentials.

        Parameters
        ----------
        slip
            The plane.
        height
            Å, rounded up.
        """
        guess = self.crystal.host(self.crystal.primitive())
        return max(2, int(np.ceil(height / cut(guess, slip.indices).spacing)))

    def other_layers(self, slip: SlipPlane) -> tuple[int, ...]:
        """Give the numbers of layers to compare with.

        Parameters
        ----------
        slip
            The plane.
        """
        return tuple(sorted({self.layers(slip, height) for height in self.convergence}))

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives."""
        names = []
        for slip in self.chosen:
            sizes = [f"_{layers}" for layers in self.other_layers(slip)]
            for line in slip.lines:
                for _, fault in line.faults:
                    names += [f"{slip.name}.{fault}{size}" for size in ("", *sizes)]
                each = ["unstable", "minima", "minimum", "minimum_at", "spurious"]
                each += ["missing"] if line.faults else []
                names += [f"{slip.name}.{line.name}.{name}" for name in each]
            if self.map:
                each = ["lowest", "highest", "minima", "stable", "stable_x", "stable_y"]
                each += ["stable_relaxed"] if self.relaxed == "normal" else []
                names += [f"{slip.name}.{name}" for name in each]
        return tuple(names)


@register_property(StackingFaultConfig, heading="Stacking faults", seconds=20.0)
def stacking_fault(calculator: BaseCalculator, config: StackingFaultConfig) -> PropertyResult:
    """Compute what it costs to shift one half of a crystal over the other.

    Parameters
    ----------
    calculator
        With stress, for the lattice parameters.
    config
        The crystal, the planes and the displacements.

    Returns
    -------
    PropertyResult
        Of each plane, in mJ/m² where nothing else is said: the energy of faults that have a name
        (``I2`` of basal planes, ``fault`` of prismatic ones at 1/6[1-210], ``intrinsic`` of
        fcc), and ``NAME_N`` with N layers; of each line, ``unstable``, its maximum, or that
        before the fault that has a name; ``minima``, how many there are between the ends, with
        ``minimum`` and ``minimum_at`` (in periods) of the lowest one, which a line without
        minima lacks; ``spurious``, how many of them are no fault that has a name, and
        ``missing``, how many of these are no minimum. Zr is to have I2 alone along [1-100] of
        the basal plane, and a minimum at 1/6[1-210] of the prismatic plane (Clouet, Phys. Rev.
        B 86, 144104 (2012), by DFT). Of the map, ``lowest`` and ``highest``; ``minima``, how
        many there are beside the perfect crystal, and of the lowest of them ``stable``, its
        energy, at ``stable_x`` and ``stable_y`` (in periods), and ``stable_relaxed``, with its
        atoms free in all directions, in the cell of that place.
    """
    host, _ = relaxed_host(config.crystal, calculator)
    found = _Found()
    for slip in config.chosen:
        _plane(found, host, slip, calculator, config)
    if not found.values:
        raise PropertyError("; ".join(found.warnings))
    return config.result(**vars(found))


@dataclass
class _Found:
    """Parts of the result, as they come in."""

    values: dict[str, Value] = field(default_factory=dict)
    structures: list[Atoms] = field(default_factory=list)
    curves: dict[str, Curve] = field(default_factory=dict)
    grids: dict[str, Grid] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def _plane(
    result: _Found,
    host: BulkCrystal,
    slip: SlipPlane,
    calculator: BaseCalculator,
    config: StackingFaultConfig,
) -> None:
    """Compute one plane; what of it does not relax is left out, with a warning."""

    def energies_with(layers: int) -> FaultEnergies:
        return FaultEnergies(
            host,
            slip,
            calculator,
            layers=layers,
            relaxed=config.relaxed == "normal",
            vacuum=config.vacuum,
            **config.relaxation.model_dump(),
        )

    def attempt(what: str, compute: Callable[..., None], *given: object) -> None:
        try:
            compute(result, *given)
        except PropertyError as error:
            result.warnings.append(f"{slip.name}, {what}: {error}")

    energies = energies_with(config.layers(slip, config.height))
    for line in slip.lines:
        attempt(line.name, _faults, energies, line)
        attempt(line.name, _line, energies, line, config)
        for layers in config.other_layers(slip):
            attempt(f"{layers} layers", _faults, energies_with(layers), line, f"_{layers}")
    if config.map:
        attempt("map", _map, energies, config)


def _faults(result: _Found, energies: FaultEnergies, line: SlipLine, suffix: str = "") -> None:
    """Compute the faults of a line that have a name."""
    for place, fault in line.faults:
        name = f"{energies.slip.name}.{fault}{suffix}"
        result.values[name] = Value(energies(line.at(place)), _UNIT)
        result.structures.append(snapshot(energies.structure(line.at(place)), name))


def _line(
    result: _Found, energies: FaultEnergies, line: SlipLine, config: StackingFaultConfig
) -> None:
    """Compute a line and look for minima on it."""
    title = f"{energies.slip.name}.{line.name}"
    places = np.linspace(0.0, 1.0, config.line + 1)
    heights = np.array([energies(line.at(place)) for place in places])
    found = dips(heights, config.dip)
    spurious = [i for i in found if all(abs(places[i] - at) > _SAME_PLACE for at, _ in line.faults)]
    missing = [
        name for at, name in line.faults if all(abs(places[i] - at) > _SAME_PLACE for i in found)
    ]
    before = heights[places <= line.faults[0][0]] if line.faults else heights
    values = {
        "unstable": Value(float(before.max()), _UNIT),
        "minima": Value(float(len(found))),
        "spurious": Value(float(len(spurious))),
    }
    if found:
        lowest = min(found, key=heights.__getitem__)
        values["minimum"] = Value(float(heights[lowest]), _UNIT)
        values["minimum_at"] = Value(float(places[lowest]))
    if line.faults:
        values["missing"] = Value(float(len(missing)))
    result.values |= {f"{title}.{name}": value for name, value in values.items()}
    result.curves[title] = Curve(
        places, heights, f"displacement / {line.label}", f"energy ({_UNIT})", line.faults
    )
    if spurious:
        at = ", ".join(f"{places[i]:.2f}" for i in spurious)
        result.warnings.append(f"{title}: minima that are no known fault, at {at}")
    result.warnings += [f"{title}: no minimum at {name}" for name in missing]


def _map(result: _Found, energies: FaultEnergies, config: StackingFaultConfig) -> None:
    """Compute the whole plane and look for minima."""
    title = energies.slip.name
    first, second = energies.slip.lines[:2]
    x, y = (np.linspace(0.0, 1.0, steps + 1) for steps in config.grid)
    heights = np.array([[energies(np.add(first.at(a), second.at(b))) for a in x] for b in y])
    lengths = np.linalg.norm(energies.sides @ energies.periods, axis=1)
    result.grids[title] = Grid(
        x * lengths[0],
        y * lengths[1],
        heights,
        f"along {first.label} (Å)",
        f"along {second.label} (Å)",
        f"energy ({_UNIT})",
    )
    lowest, highest = float(heights.min()), float(heights.max())
    values = {"lowest": Value(lowest, _UNIT), "highest": Value(highest, _UNIT)}
    if lowest < -config.dip:
        result.warnings.append(f"{title}: a fault lies {-lowest:.3g} {_UNIT} below the crystal")
    minima = map_minima(energies, heights, config.dip)
    values["minima"] = Value(float(len(minima)))
    if minima:
        height, place = minima[0]
        values["stable"] = Value(height, _UNIT)
        if config.relaxed == "normal":
            freed = energies.freed(place @ energies.sides)
            values["stable_relaxed"] = Value(freed, _UNIT)
        values |= {f"stable_{axis}": Value(float(p)) for axis, p in zip("xy", place, strict=True)}
    result.values |= {f"{title}.{name}": value for name, value in values.items()}


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
        """Build a fault and relax it.

        Parameters
        ----------
        displacement
            Shape (2,), in fractions of the plane's periods.
        """
        atoms = fault_in(
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
        """Give the energy (mJ/m²) above the perfect crystal with atoms free in all directions.

        Parameters
        ----------
        displacement
            Shape (2,), in fractions of the plane's periods.
        """
        atoms = self.structure(displacement)
        minimised(atoms, **self.stop, what="a fault free in all directions")
        return self._by_area(atoms) - self._energy((0.0, 0.0))

    def images(self, displacement: Sequence[float] | Floats) -> Floats:
        """Give the displacements that symmetry makes the same, each between 0 and 1; (n, 2).

        Parameters
        ----------
        displacement
            Shape (2,), in fractions of the plane's periods.
        """
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
    """Find the minima between the ends of a line.

    Parameters
    ----------
    energies
        Shape (n,), mJ/m².
    depth
        Least depth of a minimum, mJ/m².
    """
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
                "xatol": _PLACE_TOLERANCE,
                "fatol": _ENERGY_TOLERANCE,
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
    return bool(np.abs(away - np.round(away)).max() < _SAME_PLACE)
