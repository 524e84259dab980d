"""Point defects and dislocations."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from pescape.plugins.structures import (
    dipole_repeat,
    dislocation_dipole,
    divacancy,
    divacancy_pairs,
    interstitial,
    interstitial_sites,
    repeat_for,
    vacancy,
)
from pescape.structures.base import HostFamily, Repeat

if TYPE_CHECKING:
    from pathlib import Path

    from pescape.structures.base import Plan


class SupercellFamily(HostFamily):
    """Point defects in supercells of the conventional cell."""

    sizes: tuple[PositiveInt, ...] | None = Field(
        None, description="numbers of atoms of the perfect supercells; the most compact are taken"
    )
    repeat: tuple[Repeat, ...] | None = Field(None, description="instead of sizes")

    def repeats(self) -> list[tuple[int, int, int]]:
        """Give the supercells."""
        if (self.sizes is None) == (self.repeat is None):
            raise ValueError("give either sizes = [16, 32] or repeat = [[2, 2, 1]]")
        if self.repeat is not None:
            return list(self.repeat)
        return [repeat_for(self.host, size) for size in self.sizes or ()]


class VacancyStart(SupercellFamily):
    """Crystals without one atom; see `vacancy`."""

    family: Literal["vacancy"]

    def plans(self, folder: Path) -> list[Plan]:  # noqa: ARG002
        """Give what builds the vacancy in each supercell."""
        repeats = self.repeats()
        vacancy(self.host, min(repeats, key=math.prod))
        return [self._plan(vacancy, repeat) for repeat in repeats]


class DivacancyStart(SupercellFamily):
    """Crystals without two atoms; see `divacancy`."""

    family: Literal["divacancy"]
    kinds: tuple[str, ...] | None = Field(
        None, description="basal, out_of_basal, basal_2, … of hcp; first, second, … of others"
    )
    within: PositiveFloat | None = Field(
        None, description="instead of kinds: all pairs up to this distance, Å"
    )

    def plans(self, folder: Path) -> list[Plan]:  # noqa: ARG002
        """Give what builds each kind of pair in each supercell."""
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


class InterstitialStart(SupercellFamily):
    """Crystals with one more atom; see `interstitial`."""

    family: Literal["interstitial"]
    sites: tuple[str, ...] | None = Field(None, description="all that are known if unset")
    extra_element: str | None = Field(None, description="of the atom put in; the host's if unset")
    min_distance: NonNegativeFloat = Field(0.0, description="Å; nearer atoms are pushed apart")

    def plans(self, folder: Path) -> list[Plan]:  # noqa: ARG002
        """Give what puts an atom on each site of each supercell."""
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


class DislocationDipoleStart(HostFamily):
    """Pairs of <a> dislocations in hcp; see `dislocation_dipole`."""

    family: Literal["dislocation_dipole"]
    characters: tuple[Literal["edge", "screw"], ...] = ("edge",)
    planes: tuple[Literal["basal", "prismatic"], ...] = ("basal", "prismatic")
    sizes: tuple[PositiveInt, ...] = Field((512,), description="numbers of atoms")
    arrangement: Literal["quadrupole", "dipole"] = "quadrupole"
    poisson: float = Field(0.33, gt=-1.0, le=0.5, description="Poisson's ratio")

    def plans(self, folder: Path) -> list[Plan]:  # noqa: ARG002
        """Give what builds each character on each plane."""
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
