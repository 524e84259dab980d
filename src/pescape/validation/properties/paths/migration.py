"""Barriers of jumps of vacancies and self-interstitials, by climbing nudged elastic bands.

Vacancies jump in and out of the basal plane of hcp crystals, to a nearest neighbor of cubic ones,
and between the sites of a species in compounds, such as those of oxygen in zirconia;
self-interstitials by BO-BS-BO and BO-O-BO of hcp crystals, as dumbbells of cubic ones.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from ase.constraints import FixAtoms
from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from pescape.config import Strict
from pescape.plugins.structures.crystals import enforce_min_distance
from pescape.plugins.structures.defects import interstitial as interstitial_in
from pescape.validation.crystals import (
    AnyCrystal,
    Crystal,
    Repeat,
    relaxed_crystal,
    repeat_to_length,
)
from pescape.validation.properties.defects.supercells import (
    DefectConfig,
    OneCell,
    cell_of,
    freed_defect,
    relaxed_defect,
    relaxed_host,
)
from pescape.validation.properties.paths.bands import (
    BandConfig,
    migration_result,
    minimum_energy_path,
)
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

    from pescape.plugins.structures.crystals import BulkCrystal
    from pescape.validation.properties.paths.bands import Path


class VacancyMigrationConfig(DefectConfig):
    """Jumps of a vacancy in a cell of fixed shape, by climbing nudged elastic bands."""

    kind: Literal["vacancy_migration"] = "vacancy_migration"
    repeat: OneCell = None
    band: BandConfig = BandConfig()

    @model_validator(mode="after")
    def _lattice(self) -> VacancyMigrationConfig:
        if self.crystal.lattice not in ("bcc", "fcc", "hcp"):
            raise ValueError("vacancies jump in bcc, fcc and hcp here")
        return self

    @property
    def jumps(self) -> tuple[str, ...]:
        """Names of the jumps."""
        return ("basal", "out_of_basal") if self.crystal.lattice == "hcp" else ("barrier",)

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives."""
        return tuple(name for jump in self.jumps for name in (jump, f"{jump}_minima"))


@register_property(VacancyMigrationConfig, heading="Migration of the vacancy")
def vacancy_migration(calculator: BaseCalculator, config: VacancyMigrationConfig) -> PropertyResult:
    """Compute barriers of jumps to neighboring sites.

    Parameters
    ----------
    calculator
        With stress, for the lattice parameters.
    config
        The crystal, the cell and the band.

    Returns
    -------
    PropertyResult
        In hcp crystals ``basal`` and ``out_of_basal``, in cubic ones ``barrier`` (eV); with
        ``_minima`` added, the number of minima between the ends, none for a simple jump. A jump
        whose path is not found is left out, with a warning.
    """
    host, _ = relaxed_host(config.crystal, calculator)
    perfect = host.atoms(repeat=cell_of(config.crystal, config.repeat))

    def relaxed(jumped: int, name: str) -> Atoms:
        atoms = _with_vacancy(perfect, jumped)
        return relaxed_defect(atoms, calculator, config.relaxation, name)

    start = relaxed(0, "vacancy")

    def path(jump: str, neighbor: int) -> Path:
        last = relaxed(neighbor, f"{jump}_end")
        return minimum_energy_path(start, last, calculator, config.band, name=jump)

    jumps = _neighbors(perfect, host, config)
    paths = {jump: functools.partial(path, jump, atom) for jump, atom in jumps.items()}
    return migration_result(config, paths)


def _neighbors(perfect: Atoms, host: BulkCrystal, config: VacancyMigrationConfig) -> dict[str, int]:
    """Find which atom jumps into the vacancy left by atom 0, for each jump."""
    others = np.arange(1, len(perfect))
    vectors = perfect.get_distances(0, others, mic=True, vector=True)
    lengths = np.linalg.norm(vectors, axis=1)
    if config.crystal.lattice != "hcp":
        return {"barrier": int(others[lengths.argmin()])}
    basal = np.abs(vectors[:, 2]) < 0.1 * host.a
    return {
        "basal": int(others[np.where(basal, lengths, np.inf).argmin()]),
        "out_of_basal": int(others[np.where(basal, np.inf, lengths).argmin()]),
    }


def _with_vacancy(perfect: Atoms, jumped: int) -> Atoms:
    """Build a vacancy at site 0, or at that of an atom which has jumped to site 0."""
    atoms = perfect.copy()
    vector = perfect.get_distance(jumped, 0, mic=True, vector=True) if jumped else np.zeros(3)
    atoms.positions[jumped] += vector
    del atoms[0]
    return atoms


#: Jumps by lattice, named by the sites that they pass.
_JUMPS = {"hcp": ("BO_BS_BO", "BO_O_BO"), "fcc": ("dumbbell_100",), "bcc": ("dumbbell_110",)}
# A dumbbell's atom goes to this neighbor (in units of a) and forms one along that direction.
_DUMBBELL_JUMPS = {
    "fcc": ((0.5, 0.5, 0.0), (0.0, 1.0, 0.0)),
    "bcc": ((0.5, 0.5, 0.5), (0.0, 1.0, 1.0)),
}


class InterstitialBandConfig(BandConfig):
    """How paths of interstitials are found: they wind, and leave symmetric ways."""

    images: PositiveInt = Field(7, description="between the ends")
    fmax: PositiveFloat = Field(0.01, description="largest force component left, eV/Å")
    # By symmetry a band may hang on a ridge, where rounding alone decides what becomes of it: those
    # of zirconium that run straight through O do not even converge.
    rattle: NonNegativeFloat = Field(
        0.05,
        description="of the atoms that jump, Å, so that symmetry does not hold the images",
    )


class InterstitialMigrationConfig(DefectConfig):
    """Jumps of a self-interstitial in a cell of fixed shape, by climbing nudged elastic bands."""

    kind: Literal["interstitial_migration"] = "interstitial_migration"
    jumps: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        None, description="BO_BS_BO within, BO_O_BO across basal planes; all if unset"
    )
    repeat: OneCell = None
    min_distance: float = Field(
        0.7, gt=0.0, le=1.0, description="atoms that start nearer are pushed apart; nearest = 1"
    )
    band: InterstitialBandConfig = InterstitialBandConfig()

    @model_validator(mode="after")
    def _known(self) -> InterstitialMigrationConfig:
        lattice = self.crystal.lattice
        if lattice not in _JUMPS:
            raise ValueError(f"interstitials jump in {', '.join(_JUMPS)} here, not in {lattice}")
        for jump in self.jumps or ():
            if jump not in _JUMPS[lattice]:
                known = ", ".join(_JUMPS[lattice])
                raise ValueError(f"jumps: {jump!r} of {lattice} is not one of {known}")
        return self

    @property
    def chosen(self) -> tuple[str, ...]:
        """The jumps to compute."""
        return self.jumps or _JUMPS[self.crystal.lattice]

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives."""
        return tuple(f"{jump}{what}" for jump in self.chosen for what in ("", "_minima", "_span"))


@register_property(InterstitialMigrationConfig, heading="Migration of interstitials")
def interstitial_migration(
    calculator: BaseCalculator, config: InterstitialMigrationConfig
) -> PropertyResult:
    """Compute barriers of jumps between equivalent sites.

    Parameters
    ----------
    calculator
        With stress, for the lattice parameters.
    config
        The crystal, the cell and the band.

    Returns
    -------
    PropertyResult
        By jump the barrier (eV), above the site it begins at; with ``_minima`` added, the number
        of minima between the ends; with ``_span`` added, the height of the saddle above the
        lowest of the path (eV), which is what hinders the jump if that is not the site it begins
        at. A jump whose path is not found is left out, with a warning.
    """
    host, _ = relaxed_host(config.crystal, calculator)
    repeat = cell_of(config.crystal, config.repeat)
    apart = config.min_distance * host.nearest
    site = "BO" if config.crystal.lattice == "hcp" else config.chosen[0]
    start = interstitial_in(host, repeat, site)

    def relaxed(atoms: Atoms, name: str) -> Atoms:
        return relaxed_defect(
            enforce_min_distance(atoms, apart), calculator, config.relaxation, name
        )

    first = relaxed(start.copy(), site)
    _, remarks = freed_defect(
        first, calculator, config.relaxation, rattle=config.band.rattle, seed=config.band.seed
    )

    def path(jump: str) -> Path:
        last = relaxed(_jumped(start, host, repeat, jump), f"{jump}_end")
        return minimum_energy_path(
            first, last, calculator, config.band, name=jump, min_distance=apart
        )

    paths = {jump: functools.partial(path, jump) for jump in config.chosen}
    return migration_result(config, paths, spans=True, remarks=remarks)


def _jumped(start: Atoms, host: BulkCrystal, repeat: Repeat, jump: str) -> Atoms:
    """Move the atoms that jump to where they end; the atom put in is the last one."""
    atoms = start.copy()
    perfect = host.atoms(repeat=repeat)
    if jump == "BO_O_BO":  # up a column that holds no atoms
        atoms.positions[-1, 2] += float(host.atoms().cell[2, 2]) / 2.0
    elif jump == "BO_BS_BO":  # the atom put in takes the site of another, which goes on
        atoms.positions[-1] = perfect.positions[0]
        atoms.positions[0] += [host.a / 2.0, -host.a / 12**0.5, 0.0]
    else:
        way, along = _DUMBBELL_JUMPS[host.lattice]
        site = perfect.positions[0] + host.a * np.array(way)
        half = np.linalg.norm(start.positions[-1] - perfect.positions[0])
        arm = half * np.array(along) / np.linalg.norm(along)
        neighbor = _atom_at(perfect, site)
        atoms.positions[0] = perfect.positions[0]
        atoms.positions[-1] = site - arm
        atoms.positions[neighbor] += arm
    return atoms


def _atom_at(perfect: Atoms, position: np.ndarray) -> int:
    """Find the atom at a place of the periodic crystal."""
    scaled = perfect.cell.scaled_positions(perfect.positions - position)
    return int(np.linalg.norm(scaled - np.round(scaled), axis=1).argmin())


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
