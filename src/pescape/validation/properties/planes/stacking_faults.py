"""Generalised stacking faults: maps and lines of the energy of one half shifted over the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from pescape.plugins.structures.stacking_faults import SLIP, SlipLine, SlipPlane
from pescape.plugins.structures.surfaces import cut
from pescape.validation.properties.defects.supercells import DefectConfig, relaxed_host
from pescape.validation.properties.planes.gamma_surface import SAME, FaultEnergies, dips, map_minima
from pescape.validation.property import (
    Curve,
    Grid,
    PropertyError,
    PropertyResult,
    Value,
    snapshot,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator

    from pescape.plugins.structures.crystals import BulkCrystal

Steps = Annotated[int, Field(ge=4)]

_UNIT = "mJ/m²"


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
        """Give how many layers make a height, the same for all potentials."""
        guess = self.crystal.host(self.crystal.primitive())
        return max(2, int(np.ceil(height / cut(guess, slip.indices).spacing)))

    def other_layers(self, slip: SlipPlane) -> tuple[int, ...]:
        """Give the numbers of layers to compare with."""
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
    parts = [_plane(host, slip, calculator, config) for slip in config.chosen]
    told = tuple(warning for part in parts for warning in part.warnings)
    if not any(part.values for part in parts):
        raise PropertyError("; ".join(told))
    return PropertyResult(
        "stacking_fault",
        {name: value for part in parts for name, value in part.values.items()},
        tuple(atoms for part in parts for atoms in part.structures),
        {name: curve for part in parts for name, curve in part.curves.items()},
        config.model_dump(mode="json"),
        told,
        {name: grid for part in parts for name, grid in part.grids.items()},
    )


@dataclass
class _Part:
    """What one plane gives, as it comes in."""

    values: dict[str, Value] = field(default_factory=dict)
    structures: list[Atoms] = field(default_factory=list)
    curves: dict[str, Curve] = field(default_factory=dict)
    grids: dict[str, Grid] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def _plane(
    host: BulkCrystal, slip: SlipPlane, calculator: BaseCalculator, config: StackingFaultConfig
) -> _Part:
    """Compute one plane; what of it does not relax is told and left out."""
    part = _Part()

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
            compute(part, *given)
        except PropertyError as error:
            part.warnings.append(f"{slip.name}, {what}: {error}")

    energies = energies_with(config.layers(slip, config.height))
    for line in slip.lines:
        attempt(line.name, _faults, energies, line)
        attempt(line.name, _line, energies, line, config)
        for layers in config.other_layers(slip):
            attempt(f"{layers} layers", _faults, energies_with(layers), line, f"_{layers}")
    if config.map:
        attempt("map", _map, energies, config)
    return part


def _faults(part: _Part, energies: FaultEnergies, line: SlipLine, suffix: str = "") -> None:
    """Compute the faults of a line that have a name."""
    for place, fault in line.faults:
        name = f"{energies.slip.name}.{fault}{suffix}"
        part.values[name] = Value(energies(line.at(place)), _UNIT)
        part.structures.append(snapshot(energies.structure(line.at(place)), name))


def _line(
    part: _Part, energies: FaultEnergies, line: SlipLine, config: StackingFaultConfig
) -> None:
    """Compute a line and look for minima on it."""
    title = f"{energies.slip.name}.{line.name}"
    places = np.linspace(0.0, 1.0, config.line + 1)
    heights = np.array([energies(line.at(place)) for place in places])
    found = dips(heights, config.dip)
    spurious = [i for i in found if all(abs(places[i] - at) > SAME for at, _ in line.faults)]
    missing = [name for at, name in line.faults if all(abs(places[i] - at) > SAME for i in found)]
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
    part.values |= {f"{title}.{name}": value for name, value in values.items()}
    part.curves[title] = Curve(
        places, heights, f"displacement / {line.label}", f"energy ({_UNIT})", line.faults
    )
    if spurious:
        at = ", ".join(f"{places[i]:.2f}" for i in spurious)
        part.warnings.append(f"{title}: minima that are no known fault, at {at}")
    part.warnings += [f"{title}: no minimum at {name}" for name in missing]


def _map(part: _Part, energies: FaultEnergies, config: StackingFaultConfig) -> None:
    """Compute the whole plane and look for minima."""
    title = energies.slip.name
    first, second = energies.slip.lines[:2]
    x, y = (np.linspace(0.0, 1.0, steps + 1) for steps in config.grid)
    heights = np.array([[energies(np.add(first.at(a), second.at(b))) for a in x] for b in y])
    lengths = np.linalg.norm(energies.sides @ energies.periods, axis=1)
    part.grids[title] = Grid(
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
        part.warnings.append(f"{title}: a fault lies {-lowest:.3g} {_UNIT} below the crystal")
    minima = map_minima(energies, heights, config.dip)
    values["minima"] = Value(float(len(minima)))
    if minima:
        height, place = minima[0]
        values["stable"] = Value(height, _UNIT)
        if config.relaxed == "normal":
            freed = energies.freed(place @ energies.sides)
            values["stable_relaxed"] = Value(freed, _UNIT)
        values |= {f"stable_{axis}": Value(float(p)) for axis, p in zip("xy", place, strict=True)}
    part.values |= {f"{title}.{name}": value for name, value in values.items()}
