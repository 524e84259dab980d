"""Barrier of a vacancy's hop in a compound, such as that of oxygen in zirconia."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from ase.constraints import FixAtoms
from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from pescape.config import Strict
from pescape.validation.crystals import (
    AnyCrystal,
    Crystal,
    Repeat,
    relaxed_crystal,
    repeat_to_length,
)
from pescape.validation.properties.defects.supercells import relaxed_defect
from pescape.validation.properties.paths.bands import BandConfig, minimum_energy_path
from pescape.validation.property import (
    Floats,
    PropertyConfig,
    PropertyResult,
    Relaxation,
    Value,
    register_property,
)

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator

# Sites within this angle of a direction lie along it.
_LEAST_COSINE = np.cos(np.radians(1.0))
# Sites whose distances differ by less than this, Å, are equally far.
_EQUAL_DISTANCE = 1e-3
# Supercells are longer than this, Å, unless one is asked for.
_CELL_LENGTH = 10.0


class FreeAtoms(Strict):
    """Atoms that may move beside the one that hops."""

    element: str
    nearest: NonNegativeInt = Field(
        description="how many of them to either end of the hop, and those as near as the last"
    )


class VacancyHopConfig(PropertyConfig):
    """A vacancy that changes places with an atom, in a cell of fixed shape."""

    kind: Literal["vacancy_hop"] = "vacancy_hop"
    crystal: AnyCrystal = Field(description="a compound")
    species: str = Field(description="of the atom that is missing, and of that which hops")
    site: NonNegativeInt = Field(
        0, description="which of the species' atoms in the conventional cell is missing"
    )
    direction: tuple[int, int, int] | None = Field(
        None, description="in vectors of the conventional cell; any if unset"
    )
    neighbour: PositiveInt = Field(
        1, description="by distance (1: the nearest) among the species' sites in the direction"
    )
    repeat: Repeat | None = Field(
        None, description="of the conventional cell; as few that it is 10 Å long if unset"
    )
    free: FreeAtoms | None = Field(
        None, description="all atoms but these are held in their places; none are if unset"
    )
    relaxation: Relaxation = Relaxation()
    band: BandConfig = BandConfig()

    @field_validator("direction")
    @classmethod
    def _somewhere(cls, direction: tuple[int, int, int] | None) -> tuple[int, int, int] | None:
        if direction is not None and not any(direction):
            raise ValueError("0 0 0 is no direction")
        return direction

    @model_validator(mode="after")
    def _compound(self) -> VacancyHopConfig:
        if isinstance(self.crystal, Crystal):
            problem = "crystal: vacancy_migration is for elements, give a compound"
            raise ValueError(problem)  # noqa: TRY004 (as pydantic wants it)
        held = {"species": self.species} | ({"free": self.free.element} if self.free else {})
        for field, element in held.items():
            if element not in self.crystal.composition:
                known = ", ".join(self.crystal.composition)
                raise ValueError(f"{field}: {self.crystal.title} is of {known}, not {element!r}")
        self.hop(self.supercell(self.crystal.primitive()))
        return self

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives."""
        return ("barrier", "reverse", "minima")

    def supercell(self, relaxed: Atoms) -> Atoms:
        """Repeat the conventional cell.

        Parameters
        ----------
        relaxed
            The relaxed primitive cell.
        """
        # Of the guess, so that the cells of all potentials are equal.
        repeat = self.repeat or repeat_to_length(self._unit, _CELL_LENGTH)
        return self.crystal.conventional(relaxed).repeat(repeat)

    @property
    def _unit(self) -> Atoms:
        return self.crystal.conventional(self.crystal.primitive())

    def hop(self, perfect: Atoms) -> Hop:
        """Find which atom of a supercell is missing, and which hops there.

        Parameters
        ----------
        perfect
            Of `supercell`.
        """
        own = np.flatnonzero(perfect.symbols == self.species)
        count = int((self._unit.symbols == self.species).sum())
        if self.site >= count:
            raise ValueError(
                f"site: the conventional cell of {self.crystal.title} has atoms 0 to {count - 1} "
                f"of {self.species}, not {self.site}"
            )
        # The first copy of the conventional cell comes first in the supercell.
        missing, others = int(own[self.site]), np.delete(own, self.site)
        images = np.array(list(itertools.product((-1, 0, 1), repeat=3))) @ perfect.cell.array
        away = perfect.positions[others] - perfect.positions[missing]
        each = away[:, None] + images
        far = np.linalg.norm(each, axis=2)
        # Farther than its nearest image an atom would hop over another vacancy.
        near = far < far.min(axis=1, keepdims=True) + _EQUAL_DISTANCE
        ways, hoppers = each[near], others[np.nonzero(near)[0]]
        if self.direction is not None:
            along = np.array(self.direction) @ self._unit.cell.array
            cosines = ways @ along / np.linalg.norm(along) / np.linalg.norm(ways, axis=1)
            ways, hoppers = ways[cosines > _LEAST_COSINE], hoppers[cosines > _LEAST_COSINE]
        lengths = np.linalg.norm(ways, axis=1)
        ordered = np.sort(lengths)
        shells = (
            ordered[np.append(True, np.diff(ordered) > _EQUAL_DISTANCE)]
            if len(ordered)
            else ordered
        )
        if self.neighbour > len(shells):
            where = "" if self.direction is None else f" along {list(self.direction)}"
            raise ValueError(
                f"neighbour: there are {len(shells)} distances of {self.species} from the vacancy"
                f"{where}, not {self.neighbour}: take a larger cell or another direction"
            )
        chosen = np.flatnonzero(np.abs(lengths - shells[self.neighbour - 1]) < _EQUAL_DISTANCE)
        # The same of those that are equally far, whatever the order of the atoms is.
        first = chosen[np.lexsort(-ways[chosen].round(3).T)[0]]
        return Hop(missing, int(hoppers[first]), -ways[first])


@dataclass(frozen=True, eq=False)
class Hop:
    """What hops where.

    Parameters
    ----------
    missing, hopper
        Numbers of the atom that is missing at first and of that which takes its place.
    way
        Of the hopper, Å, shape (3,).
    """

    missing: int
    hopper: int
    way: Floats


@register_property(VacancyHopConfig, heading="Hops of vacancies in compounds")
def vacancy_hop(calculator: BaseCalculator, config: VacancyHopConfig) -> PropertyResult:
    """Compute the barrier of a vacancy's hop by a climbing nudged elastic band.

    Parameters
    ----------
    calculator
        With stress, for the lattice parameters.
    config
        The crystal, the hop, the cell and the band.

    Returns
    -------
    PropertyResult
        ``barrier``, and ``reverse`` of the hop back (eV), which is the same where the sites are
        equivalent; ``minima`` between the ends.
    """
    primitive = relaxed_crystal(config.crystal, calculator)
    perfect = config.supercell(primitive)
    perfect.set_constraint()
    hop = config.hop(perfect)
    start = _relaxed(perfect, hop, calculator, config, "vacancy")
    jumped = perfect.copy()
    jumped.positions[hop.hopper] += hop.way
    last = _relaxed(jumped, hop, calculator, config, "vacancy_end")
    # Across half a cell the way back is as short, but need not be the same.
    path = minimum_energy_path(start, last, calculator, config.band, name="hop", wrapped=False)
    values = {
        "barrier": Value(path.barrier, "eV"),
        "reverse": Value(path.reverse, "eV"),
        "minima": Value(float(path.minima)),
    }
    return config.result(
        values, curves={"hop": path.curve}, structures=path.images, warnings=path.remarks
    )


def _relaxed(
    sites: Atoms, hop: Hop, calculator: BaseCalculator, config: VacancyHopConfig, name: str
) -> Atoms:
    """Take the missing atom out and relax what may move."""
    atoms = sites.copy()
    if config.free is not None:
        atoms.set_constraint(FixAtoms(_held(sites, hop, config.free)))
    del atoms[hop.missing]
    relaxed = relaxed_defect(atoms, calculator, config.relaxation, name)
    relaxed.set_constraint(atoms.constraints)
    return relaxed


def _held(sites: Atoms, hop: Hop, free: FreeAtoms) -> list[int]:
    """List the atoms that stay in their places."""
    loose = {hop.hopper}
    own = np.flatnonzero(sites.symbols == free.element)
    own = own[~np.isin(own, (hop.missing, hop.hopper))]
    for end in (hop.missing, hop.hopper) if free.nearest else ():
        lengths = sites.get_distances(end, own, mic=True)
        farthest = np.sort(lengths)[: free.nearest][-1]
        loose |= set(own[lengths < farthest + _EQUAL_DISTANCE].tolist())
    return [index for index in range(len(sites)) if index not in loose]
