"""Surfaces and stacking faults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from pescape.plugins.structures import (
    LOW_INDEX_PLANES,
    SLIP_PLANES,
    cuts,
    displacement_grid,
    stack_for,
    stacking_fault,
    surface,
)
from pescape.structures.base import HostFamily

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pescape.structures.base import Plan


def _plane(given: Any) -> Any:  # noqa: ANN401 (whatever stands in the file)
    """Look the indices of a plane up that is given by name."""
    if not isinstance(given, str):
        return given
    if given not in SLIP_PLANES:
        raise ValueError(f"plane is not one of {', '.join(SLIP_PLANES)}, nor a list of indices")
    return SLIP_PLANES[given]


Plane = Annotated[tuple[int, ...], BeforeValidator(_plane)]


class StackFamily(HostFamily):
    """Stacks of lattice planes."""

    sizes: tuple[PositiveInt, ...] | None = Field(
        None, description="numbers of atoms; the most compact stacks are taken"
    )
    layers: tuple[PositiveInt, ...] | None = Field(None, description="lattice planes, not sizes")
    in_plane: tuple[PositiveInt, PositiveInt] | None = Field(
        None, description="repetitions within the plane, with layers; (1, 1) if unset"
    )

    def stacks(self, plane: Sequence[int]) -> list[dict[str, Any]]:
        """Give layers and repetitions of each stack along a plane."""
        if (self.sizes is None) == (self.layers is None):
            raise ValueError("give either sizes = [12, 24] or layers = [6, 12]")
        if self.sizes is not None and self.in_plane is not None:
            raise ValueError("in_plane goes with layers: sizes choose their own")
        if self.layers is not None:
            within = self.in_plane or (1, 1)
            return [{"in_plane": within, "layers": layers} for layers in self.layers]
        found = [stack_for(self.host, plane, size) for size in self.sizes or ()]
        return [{"in_plane": within, "layers": layers} for within, layers in found]


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

    def plans(self, folder: Path) -> list[Plan]:  # noqa: ARG002
        """Give what builds each termination of each plane in each stack."""
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


class StackingFaultStart(StackFamily):
    """Generalised stacking faults; see `stacking_fault`."""

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

    def plans(self, folder: Path) -> list[Plan]:  # noqa: ARG002
        """Give what builds each displacement of each plane and stack."""
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
