"""Families of structures to start from: crystals, strained ones, defects, surfaces, faults.

They are what Luo et al. start molecular dynamics from (their table 1), for any element and
lattice parameters.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ase.data import atomic_numbers
from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)
from typing_extensions import override

from pescape.plugins.structures import (
    LOW_INDEX_PLANES,
    SLIP_PLANES,
    cuts,
    deformation_grid,
    deformed,
    dipole_repeat,
    dislocation_dipole,
    displacement_grid,
    divacancy,
    divacancy_pairs,
    interstitial,
    interstitial_sites,
    repeat_for,
    stack_for,
    stacking_fault,
    surface,
    vacancy,
)
from pescape.structures.base import (
    BulkFamily,
    Family,
    Repeat,
    Repeats,
    named_structures,
    named_supercell,
    register,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ase import Atoms

    from pescape.structures.base import Plan


def _scaled(atoms: Atoms, volume: float) -> Atoms:
    new = atoms.copy()
    new.set_cell(atoms.cell.array * volume ** (1 / 3), scale_atoms=True)
    return new


@register
class CrystalStart(BulkFamily):
    """A crystal, in one or several supercells."""

    family: Literal["crystal"] = "crystal"
    cubic: bool = Field(False, description="conventional instead of primitive cell")
    repeat: Repeats = ((1, 1, 1),)

    def check(self) -> None:
        """Raise ValueError where there is no such element; c_over_a may be idle."""
        if self.element not in atomic_numbers:
            raise ValueError(f"{self.element!r} is no chemical symbol")

    @override
    def plans(self, folder: Path) -> list[Plan]:
        return [partial(_scaled, named_supercell(self, repeat)) for repeat in self.repeat]


@register
class DeformedStart(BulkFamily):
    """Crystals under systematic strains; see `deformation_grid`."""

    family: Literal["deformed"]
    cubic: bool = Field(True, description="conventional instead of primitive cell")
    repeat: Repeats = ((1, 1, 1),)
    modes: tuple[str, ...] | None = Field(None, description="by lattice if unset")
    magnitudes: tuple[PositiveFloat, ...] | None = Field(None, description="by lattice if unset")

    @override
    def plans(self, folder: Path) -> list[Plan]:
        return [
            self._plan(deformed, mode, strain, cubic=self.cubic, repeat=repeat)
            for repeat in self.repeat
            for mode, strain in deformation_grid(self.lattice, self.modes, self.magnitudes)
        ]


class SupercellFamily(BulkFamily):
    """Point defects in supercells of the conventional cell."""

    sizes: tuple[PositiveInt, ...] | None = Field(
        None, description="numbers of atoms of the perfect supercells; the most compact are taken"
    )
    repeat: tuple[Repeat, ...] | None = Field(None, description="instead of sizes")

    def repeats(self) -> list[tuple[int, int, int]]:
        """Repetitions of each supercell."""
        if (self.sizes is None) == (self.repeat is None):
            raise ValueError("give either sizes = [16, 32] or repeat = [[2, 2, 1]]")
        if self.repeat is not None:
            return list(self.repeat)
        return [repeat_for(self.host, size) for size in self.sizes or ()]


@register
class VacancyStart(SupercellFamily):
    """Crystals without one atom; see `vacancy`."""

    family: Literal["vacancy"]

    @override
    def plans(self, folder: Path) -> list[Plan]:
        repeats = self.repeats()
        vacancy(self.host, min(repeats, key=math.prod))
        return [self._plan(vacancy, repeat) for repeat in repeats]


@register
class DivacancyStart(SupercellFamily):
    """Crystals without two atoms; see `divacancy`."""

    family: Literal["divacancy"]
    kinds: tuple[str, ...] | None = Field(
        None, description="basal, out_of_basal, basal_2, … of hcp; first, second, … of others"
    )
    within: PositiveFloat | None = Field(
        None, description="instead of kinds: all pairs up to this distance, Å"
    )

    @override
    def plans(self, folder: Path) -> list[Plan]:
        if self.kinds is not None and self.within is not None:
            raise ValueError("give kinds or within, not both")
        host = self.host
        known = [pair.kind for pair in divacancy_pairs(host, self.within)]
        if not known:
            raise ValueError(f"no two atoms are within {self.within:g} Å")
        kinds = known if self.kinds is None else self.kinds
        repeats = self.repeats()
        for kind in kinds:
            divacancy(host, min(repeats, key=math.prod), kind)
        return [self._plan(divacancy, repeat, kind) for repeat in repeats for kind in kinds]


@register
class InterstitialStart(SupercellFamily):
    """Crystals with one more atom; see `interstitial`."""

    family: Literal["interstitial"]
    sites: tuple[str, ...] | None = Field(None, description="all that are known if unset")
    extra_element: str | None = Field(None, description="of the atom put in; the host's if unset")
    min_distance: NonNegativeFloat = Field(0.0, description="Å; nearer atoms are pushed apart")

    @override
    def plans(self, folder: Path) -> list[Plan]:
        known = interstitial_sites(self.lattice)
        sites = known if self.sites is None else self.sites
        for site in sites:
            interstitial(self.host, (1, 1, 1), site, extra_element=self.extra_element)
        options = {"extra_element": self.extra_element, "min_distance": self.min_distance}
        return [
            self._plan(interstitial, repeat, site, **options)
            for repeat in self.repeats()
            for site in sites
        ]


def _plane(given: Any) -> Any:  # noqa: ANN401 (whatever stands in the file)
    """Look the indices of a plane up that is given by name."""
    if not isinstance(given, str):
        return given
    if given not in SLIP_PLANES:
        raise ValueError(f"plane is not one of {', '.join(SLIP_PLANES)}, nor a list of indices")
    return SLIP_PLANES[given]


Plane = Annotated[tuple[int, ...], BeforeValidator(_plane)]


class StackFamily(BulkFamily):
    """Stacks of lattice planes."""

    sizes: tuple[PositiveInt, ...] | None = Field(
        None, description="numbers of atoms; the most compact stacks are taken"
    )
    layers: tuple[PositiveInt, ...] | None = Field(None, description="lattice planes, not sizes")
    in_plane: tuple[PositiveInt, PositiveInt] | None = Field(
        None, description="repetitions within the plane, with layers; (1, 1) if unset"
    )

    def stacks(self, plane: Sequence[int]) -> list[dict[str, Any]]:
        """List layers and repetitions of each stack along a plane.

        Parameters
        ----------
        plane
            Miller or Miller-Bravais indices.
        """
        if (self.sizes is None) == (self.layers is None):
            raise ValueError("give either sizes = [12, 24] or layers = [6, 12]")
        if self.sizes is not None and self.in_plane is not None:
            raise ValueError("in_plane goes with layers: sizes choose their own")
        if self.layers is not None:
            within = self.in_plane or (1, 1)
            return [{"in_plane": within, "layers": layers} for layers in self.layers]
        found = [stack_for(self.host, plane, size) for size in self.sizes or ()]
        return [{"in_plane": within, "layers": layers} for within, layers in found]


@register
class SurfaceStart(StackFamily):
    """Slabs between vacuum; see `surface`."""

    family: Literal["surface"]
    planes: tuple[Plane, ...] | None = Field(
        None, description="Miller or Miller-Bravais indices; low ones by lattice if unset"
    )
    terminations: tuple[NonNegativeInt, ...] | None = Field(
        None, description="of each plane, the widest gap first; all different ones if unset"
    )
    vacuum: PositiveFloat = Field(12.0, description="Å")

    @override
    def plans(self, folder: Path) -> list[Plan]:
        planes = LOW_INDEX_PLANES.get(self.lattice) if self.planes is None else self.planes
        if not planes:
            raise ValueError(f"give planes = [[0, 0, 1]]: {self.lattice} has none of its own")
        plans = []
        for plane in planes:
            known = range(len(cuts(self.host, plane)))
            for stack in self.stacks(plane):
                for termination in known if self.terminations is None else self.terminations:
                    cut_there = {**stack, "vacuum": self.vacuum, "termination": termination}
                    plans.append(self._plan(surface, plane, **cut_there))
            if self.terminations and max(self.terminations) >= len(known):
                raise ValueError(
                    f"terminations: plane {list(plane)} has {len(known)}, counted from 0"
                )
        return plans


@register
class StackingFaultStart(StackFamily):
    """Generalized stacking faults; see `stacking_fault`."""

    family: Literal["stacking_fault"]
    planes: Annotated[tuple[Plane, ...], Field(min_length=1)] = Field(
        description="basal, prismatic, pyramidal, pyramidal_2, or lists of indices"
    )
    termination: NonNegativeInt = Field(0, description="0: in the widest gap between planes")
    grid: PositiveInt = Field(21, description="displacements along either period of the plane")
    ends: bool = Field(False, description="whether the grid holds both ends of the periods")
    displacements: tuple[tuple[float, float], ...] | None = Field(
        None, description="instead of the grid, fractions of the periods"
    )
    count: PositiveInt | None = Field(
        None, description="displacements of each plane and size, evenly spread over the grid"
    )
    vacuum: NonNegativeFloat = Field(0.0, description="Å; 0: a tilted cell without surfaces")
    opening: NonNegativeFloat = Field(0.0, description="of the fault along the normal, Å")
    min_distance: NonNegativeFloat = Field(0.0, description="Å; nearer atoms are pushed apart")

    @override
    def plans(self, folder: Path) -> list[Plan]:
        options: dict[str, Any] = {
            "termination": self.termination,
            "vacuum": self.vacuum,
            "opening": self.opening,
            "min_distance": self.min_distance,
        }
        displacements = self._displacements()
        plans = []
        for plane in self.planes:
            for stack in self.stacks(plane):
                stacking_fault(self.host, plane, (0, 0), **stack, **options)
                plans += [
                    self._plan(stacking_fault, plane, shift, **stack, **options)
                    for shift in displacements
                ]
        return plans

    def _kept(self, plans: list[Plan]) -> list[Plan]:
        """Leave as they are: `count` has thinned the displacements."""
        return plans

    def _displacements(self) -> list[tuple[float, float]]:
        if self.displacements is None:
            rows = displacement_grid(self.grid, ends=self.ends, count=self.count)
            return [(float(first), float(second)) for first, second in rows]
        if self.count is not None:
            raise ValueError("count thins the grid: leave it out beside displacements")
        return list(self.displacements)


@register
class DislocationDipoleStart(BulkFamily):
    """Pairs of <a> dislocations in hcp; see `dislocation_dipole`."""

    family: Literal["dislocation_dipole"]
    characters: tuple[Literal["edge", "screw"], ...] = ("edge",)
    planes: tuple[Literal["basal", "prismatic"], ...] = ("basal", "prismatic")
    sizes: tuple[PositiveInt, ...] = Field((512,), description="numbers of atoms")
    arrangement: Literal["quadrupole", "dipole"] = "quadrupole"
    poisson: float = Field(0.33, gt=-1.0, le=0.5, description="Poisson's ratio")

    @override
    def plans(self, folder: Path) -> list[Plan]:
        options = {"arrangement": self.arrangement, "poisson": self.poisson}
        return [
            self._plan(
                dislocation_dipole,
                character,
                plane,
                repeat=dipole_repeat(self.host, character, plane, size),
                **options,
            )
            for size in self.sizes
            for character in self.characters
            for plane in self.planes
        ]


@register
class FilesStart(Family):
    """Structures as files hold them."""

    family: Literal["files"]
    files: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="in any format of ASE; beside the configuration file"
    )

    def check(self) -> None:
        """Leave what the files hold until they are read."""

    @override
    def plans(self, folder: Path) -> list[Plan]:
        read = [atoms for name in self.files for atoms in named_structures(folder / name)]
        return [partial(_scaled, atoms) for atoms in read]
