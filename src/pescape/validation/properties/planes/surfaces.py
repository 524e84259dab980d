"""Surface energies, and whether they depend on the size of the slab."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from ase.units import J, m
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from pescape.figures.crystals import draw_surfaces
from pescape.plugins.structures.surfaces import LOW_INDEX_PLANES, cuts, plane_name
from pescape.plugins.structures.surfaces import surface as slab_of
from pescape.validation.crystals import minimised
from pescape.validation.properties.defects.supercells import DefectConfig, relaxed_host
from pescape.validation.property import (
    Curve,
    Floats,
    PropertyError,
    PropertyResult,
    Value,
    register_property,
    snapshot,
)

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator

    from pescape.plugins.structures.crystals import BulkCrystal

Plane = tuple[int, ...]

_PER_PLANE = ("energy", "direct", "unrelaxed", "bulk_difference", "spread", "stable", "rank")


class SurfaceConfig(DefectConfig):
    """Slabs of the potential's relaxed crystal between vacuum, all their atoms relaxed."""

    kind: Literal["surface"] = "surface"
    planes: Annotated[tuple[Plane, ...], Field(min_length=1)] | None = Field(
        None,
        description="Miller indices, or Miller-Bravais of hcp; those of low indices if unset",
    )
    thicknesses: Annotated[tuple[PositiveFloat, ...], Field(min_length=2)] = Field(
        (12.0, 16.0, 20.0, 24.0), description="of the slabs, Å, rounded up to whole layers"
    )
    in_plane: tuple[PositiveInt, PositiveInt] = Field(
        (2, 2), description="repetitions of the thinnest slab in the check of the size"
    )
    rattle: NonNegativeFloat = Field(
        0.02, description="of the repeated slab, Å, which frees it from the small cell's symmetry"
    )
    vacuum: PositiveFloat = Field(12.0, description="Å; more than the potential reaches")
    tolerance: PositiveFloat = Field(
        0.02, description="J/m², by which a stable surface's energy may vary with the size"
    )

    @model_validator(mode="after")
    def _planes(self) -> SurfaceConfig:
        if self.planes is None and self.crystal.lattice not in LOW_INDEX_PLANES:
            raise ValueError(f"planes: give those of {self.crystal.lattice}, none are preset")
        titles = [plane_title(plane) for plane in self.chosen]
        if len(set(titles)) < len(titles):
            raise ValueError("planes: one is given twice")
        for plane in self.chosen:
            if len(self.layers_of(plane)) < 2:
                raise ValueError(
                    f"thicknesses: all are {self.layers_of(plane)[0]} layers of "
                    f"{plane_name(plane)}, but at least two sizes are needed"
                )
        return self

    @property
    def chosen(self) -> tuple[Plane, ...]:
        """The planes to compute."""
        return self.planes or LOW_INDEX_PLANES[self.crystal.lattice]

    @property
    def _guess(self) -> BulkCrystal:
        return self.crystal.host(self.crystal.primitive())

    def layers_of(self, plane: Plane) -> tuple[int, ...]:
        """Give the thicknesses of slabs in layers, rising, the same for all potentials.

        Parameters
        ----------
        plane
            Miller or Miller-Bravais indices.
        """
        spacing = cuts(self._guess, plane)[0].spacing
        return tuple(sorted({max(2, int(np.ceil(t / spacing))) for t in self.thicknesses}))

    def terminations(self, plane: Plane) -> int:
        """Count the ways to cut along a plane.

        Parameters
        ----------
        plane
            Miller or Miller-Bravais indices.
        """
        return len(cuts(self._guess, plane))

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives."""
        names = []
        for plane in self.chosen:
            count = self.terminations(plane)
            each = tuple(f"energy_{n + 1}" for n in range(count)) if count > 1 else ()
            names += [f"{plane_title(plane)}.{name}" for name in (*_PER_PLANE, *each)]
        return tuple(names)


def plane_title(plane: Plane) -> str:
    """Write a plane in names of values: 10m10 for (10-10).

    Parameters
    ----------
    plane
        Miller or Miller-Bravais indices.
    """
    return "".join(f"m{-index}" if index < 0 else str(index) for index in plane)


@dataclass(frozen=True, eq=False)
class _Termination:
    """Energies of slabs cut in one way.

    Parameters
    ----------
    thickness
        From the first to the last lattice plane, and half a layer beyond either, Å; shape (n,).
    direct
        Against the bulk crystal, J/m²; shape (n,).
    repeated
        The same of the thinnest slab, repeated in its plane and rattled.
    unrelaxed
        Of the thickest slab, J/m².
    energy
        From the line through the energies of all thicknesses, J/m².
    bulk_difference
        The slope of this line less the energy of the bulk crystal, meV/atom.
    slab
        The thickest, relaxed.
    """

    thickness: Floats
    direct: Floats
    repeated: float
    unrelaxed: float
    energy: float
    bulk_difference: float
    slab: Atoms

    @property
    def spread(self) -> float:
        """By how much the energy varies with the size, J/m²."""
        return float(np.ptp([*self.direct, self.repeated]))


@register_property(SurfaceConfig, heading="Surfaces", draw=draw_surfaces)
def surface(calculator: BaseCalculator, config: SurfaceConfig) -> PropertyResult:
    """Compute what it costs to cut a crystal.

    Parameters
    ----------
    calculator
        With stress, for the lattice parameters.
    config
        The crystal, the planes and the slabs.

    Returns
    -------
    PropertyResult
        For each plane, of the termination of lowest energy: ``energy`` (J/m²), half of what is
        left at no atoms on the line through the energies of slabs against their atoms, so that
        no bulk energy is needed; ``bulk_difference`` (meV/atom), its slope less the bulk
        crystal's energy; ``direct`` and ``unrelaxed`` (J/m²), of the thickest slab against the
        bulk crystal; ``spread`` (J/m²), by how much the direct energy varies with thickness and
        in-plane repetition; ``stable``, 1 if that is within the tolerance and 0 if not; and
        ``rank`` from 1, the plane of lowest energy. With terminations to choose between,
        ``energy_1`` and so on, from the widest gap that is cut to the narrowest.
    """
    host, bulk = relaxed_host(config.crystal, calculator)
    values: dict[str, Value] = {}
    curves, structures = {}, []
    warnings: list[str] = []
    energies: dict[str, float] = {}
    for plane in config.chosen:
        title = plane_title(plane)
        slabs = _Slabs(host, plane, bulk, calculator, config)
        found = {}
        for number in range(config.terminations(plane)):
            try:
                found[number] = slabs.termination(number)
            except PropertyError as error:  # noqa: PERF203 (as costly as nothing beside it)
                warnings.append(f"{title}, termination {number + 1}: {error}")
        if not found:
            continue
        lowest = min(found.values(), key=lambda one: one.energy)
        energies[title] = lowest.energy
        values |= _values(title, lowest, config)
        if config.terminations(plane) > 1:
            values |= {f"{title}.energy_{n + 1}": Value(o.energy, "J/m²") for n, o in found.items()}
        if lowest.spread > config.tolerance:
            warnings.append(
                f"{title} is unstable: its energy varies by {lowest.spread:.2g} J/m² with the "
                "size of the slab"
            )
        curves[title] = Curve(
            lowest.thickness, lowest.direct, "thickness (Å)", "surface energy (J/m²)"
        )
        structures.append(snapshot(lowest.slab, title))
    if not values:
        raise PropertyError("; ".join(warnings))
    order = sorted(energies, key=energies.__getitem__)
    values |= {f"{title}.rank": Value(float(n)) for n, title in enumerate(order, 1)}
    return config.result(values, curves=curves, structures=structures, warnings=warnings)


def _values(title: str, one: _Termination, config: SurfaceConfig) -> dict[str, Value]:
    numbers = {
        "energy": Value(one.energy, "J/m²"),
        "direct": Value(float(one.direct[-1]), "J/m²"),
        "unrelaxed": Value(one.unrelaxed, "J/m²"),
        "bulk_difference": Value(one.bulk_difference, "meV/atom"),
        "spread": Value(one.spread, "J/m²"),
        "stable": Value(float(one.spread <= config.tolerance)),
    }
    return {f"{title}.{name}": value for name, value in numbers.items()}


@dataclass(frozen=True, eq=False)
class _Slabs:
    """Slabs of one plane of a crystal, whose energy per atom is `bulk` (eV)."""

    host: BulkCrystal
    plane: Plane
    bulk: float
    calculator: BaseCalculator
    config: SurfaceConfig

    def termination(self, number: int) -> _Termination:
        """Relax slabs of all thicknesses cut in one way, and the thinnest one repeated.

        Parameters
        ----------
        number
            Of the way to cut.
        """
        thicknesses = self.config.layers_of(self.plane)
        counts, energies, direct = [], [], []
        for layers in thicknesses:
            atoms = self._built(layers, number)
            unrelaxed = self._excess(atoms)
            self._relax(atoms, f"a slab of {layers} layers")
            counts.append(len(atoms))
            energies.append(float(atoms.get_potential_energy()))
            direct.append(self._excess(atoms))
        slope, rest = np.polyfit(counts, energies, 1)
        return _Termination(
            thickness=np.array(thicknesses) * cuts(self.host, self.plane)[number].spacing,
            direct=np.array(direct),
            repeated=self._repeated(number),
            unrelaxed=unrelaxed,
            energy=float(rest) / (2.0 * _area(atoms)) / (J / m**2),
            bulk_difference=1000.0 * (float(slope) - self.bulk),
            slab=atoms,
        )

    def _repeated(self, number: int) -> float:
        """Compute the energy (J/m²) of the thinnest slab, repeated in its plane and rattled."""
        layers = self.config.layers_of(self.plane)[0]
        atoms = self._built(layers, number, in_plane=self.config.in_plane)
        atoms.rattle(self.config.rattle, seed=0)
        self._relax(atoms, "a slab repeated in its plane")
        return self._excess(atoms)

    def _built(self, layers: int, number: int, in_plane: tuple[int, int] = (1, 1)) -> Atoms:
        atoms = slab_of(
            self.host,
            self.plane,
            layers=layers,
            in_plane=in_plane,
            vacuum=self.config.vacuum,
            termination=number,
        )
        atoms.calc = self.calculator
        return atoms

    def _relax(self, atoms: Atoms, what: str) -> None:
        minimised(atoms, **self.config.relaxation.model_dump(), what=what)

    def _excess(self, slab: Atoms) -> float:
        """Energy (J/m²) of a slab above that of as many atoms of the crystal, by area."""
        excess = float(slab.get_potential_energy()) - len(slab) * self.bulk
        return excess / (2.0 * _area(slab)) / (J / m**2)


def _area(slab: Atoms) -> float:
    return float(np.linalg.norm(np.cross(slab.cell[0], slab.cell[1])))
