"""Settings, progress and result of a fit."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ase.data import atomic_numbers
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from pescape.calculators.fit.data import shortest_distance
from pescape.calculators.fit.errors import errors_from
from pescape.calculators.fit.loss import Weighting, Weights
from pescape.calculators.mtp.contraction import LEVELS
from pescape.calculators.mtp.potential import MTPotential
from pescape.calculators.zbl import ZBL
from pescape.config import Strict
from pescape.errors import frame_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

    from pescape.calculators.fit.errors import Differences, Errors

Method = Literal["auto", "bfgs", "projection"]
_SYNONYMS = {"variable projection": "projection"}
_WEIGHTS = ("energy_weight", "force_weight", "stress_weight", "weighting", "stress_force")


def _check_level(level: int) -> int:
    if level not in LEVELS:
        raise ValueError(f"level {level} is not an even number from {LEVELS[0]} to {LEVELS[-1]}")
    return level


def _check_symbols(species: tuple[str, ...] | None) -> tuple[str, ...] | None:
    unknown = [symbol for symbol in species or () if symbol not in atomic_numbers]
    if unknown:
        raise ValueError(f"species: {unknown[0]!r} is no chemical symbol")
    return species


Level = Annotated[int, AfterValidator(_check_level)]
Species = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_check_symbols)]


class MTPBasis(Strict):
    """What moment tensor potentials of all levels have: elements, distances, radial functions."""

    species: Species | None = Field(
        None, description="elements in order, such as Zr,O; those of the data if unset"
    )
    cutoff: PositiveFloat = Field(5.0, description="Å")
    min_dist: PositiveFloat | None = Field(
        None, description="Å; just below the shortest distance in the data if unset"
    )
    radial_basis_size: PositiveInt = Field(10, description="Chebyshev polynomials")


class MTPArchitecture(MTPBasis):
    """What a moment tensor potential is made of, before it is fitted."""

    level: Level = Field(16, description="even, 2 to 28: how flexible the potential is")

    def untrained(self, species: Sequence[str], configurations: Sequence[Atoms]) -> MTPotential:
        """Make the potential, without coefficients, that a fit begins with.

        Parameters
        ----------
        species
            Elements, where the architecture names none.
        configurations
            The training data, where the architecture has no `min_dist`: it is the shortest distance
            there, rounded down to a tenth of an Ångström.
        """
        return MTPotential.untrained(
            self.level,
            self.species or species,
            self.cutoff,
            self.min_dist or self._shortest(configurations),
            self.radial_basis_size,
        )

    def _shortest(self, configurations: Sequence[Atoms]) -> float:
        found = [
            shortest_distance(atoms, self.cutoff, frame_name(atoms, index))
            for index, atoms in enumerate(configurations)
        ]
        return math.floor(10.0 * min(found)) / 10.0 if math.isfinite(min(found)) else 1.0


class Repulsion(Strict):
    """A wall beside the potential that keeps atoms apart where there is no data (ZBL)."""

    zbl: tuple[float, float] | None = Field(
        None,
        description="Å: the wall (a ZBL repulsion) is switched off between these two distances; "
        "if unset, between those that the shortest distance of each pair in the data asks for",
        json_schema_extra={"metavar": "INNER OUTER"},
    )
    no_zbl: bool = Field(False, description="no wall: for files that MLIP shall run")

    @model_validator(mode="before")
    @classmethod
    def _take_false(cls, given: Any) -> Any:  # noqa: ANN401 (whatever the caller gave)
        """Take ``zbl = false`` as what it says."""
        if isinstance(given, dict) and given.get("zbl") is False:
            return {**given, "zbl": None, "no_zbl": True}
        return given

    @field_validator("zbl")
    @classmethod
    def _check_distances(cls, zbl: tuple[float, float] | None) -> tuple[float, float] | None:
        if zbl is not None:
            ZBL(*zbl)  # which refuses distances that make no sense
        return zbl

    @model_validator(mode="after")
    def _check_one(self) -> Repulsion:
        if self.no_zbl and self.zbl is not None:
            raise ValueError("zbl and no_zbl exclude each other: give one of them")
        return self

    def beside(self, potential: MTPotential) -> MTPotential:
        """Give a potential the repulsion these settings name.

        One that an earlier fit chose from its data goes: `fit_mtp` chooses anew.

        Parameters
        ----------
        potential
            Where the fit starts.
        """
        if self.zbl is not None:
            return potential.with_repulsion(ZBL(*self.zbl))
        chosen = potential.repulsion is not None and potential.repulsion.pairs
        return potential.with_repulsion(None) if self.no_zbl or chosen else potential


class FitOptions(Strict):
    """How a moment tensor potential is fitted, whatever the random start.

    The weights are those of MLIP-3's loss (`pescape.calculators.fit.loss.Weights`). MLIP's are
    1, 0.01 and 0.001. Ours nearly halve errors of the energy for 2 % of the force, and let the
    stresses of cold cells decide the elastic constants. Stresses may not belong to the energies:
    those of plane waves have a Pulay stress, 1 GPa in the copper of Zuo et al. (J. Phys. Chem. A
    124, 731 (2020)), where MLIP's weights double errors of the energy; it is fitted beside.

    Notes
    -----
    "bfgs" is BFGS in all parameters, from a fresh Gauss-Newton matrix in every cycle, with a
    linear solve after it. "projection" is variable projection: the linear coefficients are solved
    for at each step of Levenberg-Marquardt in the radial ones [1]_, in the approximation of
    Kaufman [2]_. "auto" is variable projection from random starts, where its first steps gain
    most; then BFGS, twenty of whose steps cost one of those.

    The size of radial functions (MLIP's ``scaling`` and its search for the best one) makes no
    difference: basis functions are homogeneous in them, and columns of the linear solve are
    scaled to length one.

    References
    ----------
    .. [1] G. H. Golub and V. Pereyra, SIAM J. Numer. Anal. 10, 413 (1973).
    .. [2] L. Kaufman, BIT 15, 49 (1975).
    """

    energy_weight: NonNegativeFloat = Field(10.0, description="of energies in the loss, 1/eV²")
    force_weight: NonNegativeFloat = Field(0.01, description="of forces in the loss, Å²/eV²")
    stress_weight: NonNegativeFloat = Field(8e-3, description="of virials in the loss, 1/eV²")
    stress_force: PositiveFloat | None = Field(
        0.2,
        description="eV/Å: virials of configurations with forces of this mean size count half as "
        "much, of hotter ones less; a large number for all alike",
    )
    pulay: bool = Field(
        True,
        description="fit a constant pressure that the labels' stresses have beyond what their "
        "energies ask for (the Pulay stress of plane waves)",
    )
    weighting: Weighting = Field(
        "vibrations",
        description="how configurations of N atoms count: errors of energy and stress are squared "
        "and divided by N, 1 or N² (vibrations, molecules or structures), those of forces by 1, "
        "1 or N",
    )
    method: Annotated[Method, BeforeValidator(lambda name: _SYNONYMS.get(name, name))] = Field(
        "auto",
        description="bfgs: all parameters; projection: the linear ones solved for at each step",
    )
    ladder: bool = Field(
        True,
        description="fit lower levels first and raise them, where the potential is untrained and "
        "of a level of this program",
    )
    iterations: PositiveInt = Field(2000, description="most iterations on the last level")
    rung_iterations: PositiveInt = Field(180, description="most iterations on each lower level")
    cycle: PositiveInt = Field(
        60, description="iterations between linear solves, from which a fit can be continued"
    )
    tolerance: NonNegativeFloat = Field(
        1e-3, description="a level is done when a cycle lowers the loss by less, relative"
    )
    starts: PositiveInt = Field(4, description="random starts; the best goes on")
    start_iterations: PositiveInt = Field(
        4, description="steps of projection of each start before they are compared; bfgs: 15 times"
    )
    ridge: NonNegativeFloat = Field(
        1e-6,
        description="regularization of linear solves, relative to the largest singular value",
    )
    threads: PositiveInt = Field(1, description="OpenMP threads; last digits depend on them")

    @model_validator(mode="before")
    @classmethod
    def _unpack_weights(cls, given: Any) -> Any:  # noqa: ANN401 (whatever the caller gave)
        """Take ``weights=Weights(…)`` in place of the four fields."""
        if isinstance(given, dict) and isinstance(given.get("weights"), Weights):
            given = dict(given)
            weights = given.pop("weights")
            for name in ("energy", "force", "stress"):
                given[f"{name}_weight"] = getattr(weights, name)
            given["weighting"] = weights.weighting
            given["stress_force"] = weights.stress_force
        return given

    @model_validator(mode="after")
    def _check_weights(self) -> FitOptions:
        _ = self.weights
        return self

    @property
    def weights(self) -> Weights:
        """Weights of the loss."""
        return Weights(
            energy=self.energy_weight,
            force=self.force_weight,
            stress=self.stress_weight,
            weighting=self.weighting,
            stress_force=self.stress_force,
        )


class FitSettings(FitOptions):
    """Settings of one fit."""

    seed: int = Field(0, description="of the random starts")

    def as_record(self) -> dict[str, Any]:
        """Values as result files hold them, and as names of tasks are made of them."""
        record = self.model_dump(exclude={*_WEIGHTS})
        return {"weights": asdict(self.weights), **record}


@dataclass(frozen=True)
class Progress:
    """Where a fit is.

    Parameters
    ----------
    stage
        "start 1 of 4", "level 12" of a ladder, and "fit" on the last level.
    iteration
        Made so far in this stage.
    loss
        After it.
    most
        Iterations the stage may take.
    """

    stage: str
    iteration: int
    loss: float
    most: int


@dataclass(frozen=True, eq=False)
class FitResult:
    """A fitted potential and how it came about.

    Parameters
    ----------
    potential
        Without an active set.
    differences
        Between the potential and its training data.
    loss
        At the end.
    history
        The loss after each iteration, those of the random starts not counted.
    iterations
        How many there were, on all levels.
    converged
        Whether the last cycle lowered the loss by less than the tolerance.
    stress_offset
        eV/Å³, isotropic stress (ASE's sign) of the labels beyond what the potential was fitted to;
        zero where none was fitted.
    """

    potential: MTPotential
    differences: Differences
    loss: float
    history: tuple[float, ...]
    iterations: int
    converged: bool
    stress_offset: float = 0.0

    @property
    def errors(self) -> Errors:
        """Errors of the potential on its training data."""
        return errors_from(self.differences)

    @property
    def energy_kind(self) -> str:
        """Which energies it was trained on, ``"free_energy"`` or ``"energy"``."""
        return self.differences.energy_kind

    def summary(self) -> dict[str, Any]:
        """Return what JSON can hold of it."""
        return {
            "loss": self.loss,
            "iterations": self.iterations,
            "converged": self.converged,
            "energy_kind": self.energy_kind,
            "stress_offset": self.stress_offset,
            "errors": asdict(self.errors),
        }
