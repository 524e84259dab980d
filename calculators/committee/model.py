"""Predicted errors of a potential: its committee, and what calibrates the committee's spread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pescape.calculators.checks import frozen
from pescape.calculators.committee.calibration import energy_spread, force_spread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pescape.calculators.committee.calibration import Calibration
    from pescape.calculators.potential import Potential

    Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ErrorModel:
    """A committee whose members differ from a potential in some parameters, and its calibration.

    Parameters
    ----------
    first
        The parameters that differ are ``potential.parameters[first : first + m]``.
    own
        The potential's own values of them, shape (m,): they tell which potential this belongs to.
    members
        Those of the members, shape (K, m).
    calibration
        Of the members' spread about the potential.
    source
        The file it was read from, for messages.
    """

    first: int
    own: Floats
    members: Floats
    calibration: Calibration
    source: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "own", frozen(self.own, (-1,), "own", float))
        shape = (-1, len(self.own))
        object.__setattr__(self, "members", frozen(self.members, shape, "members", float))
        if not len(self.members):
            raise ValueError("a committee has at least one member")

    def fits(self, potential: Potential) -> bool:
        """Tell whether this is the committee of a potential.

        Parameters
        ----------
        potential
            Any.
        """
        part = slice(self.first, self.first + len(self.own))
        return (
            potential.is_trained
            and potential.species == self.calibration.species
            and np.array_equal(potential.parameters[part], self.own)
        )

    def potentials(self, potential: Potential) -> tuple[Potential, ...]:
        """Make the members.

        Parameters
        ----------
        potential
            That of the committee.

        Raises
        ------
        ValueError
            The committee is of another potential.
        """
        if not self.fits(potential):
            raise ValueError(
                f"{self.source or 'the committee'} belongs to another potential than "
                f"{potential.source or 'this one'}: fit again, or delete the file"
            )
        found = []
        for member in self.members:
            theta = np.array(potential.parameters)
            theta[self.first : self.first + len(member)] = member
            found.append(potential.with_parameters(theta))
        return tuple(found)

    def summary(self) -> dict[str, Any]:
        """Return what it is, for people and JSON."""
        return {"committee": len(self.members), **self.calibration.summary()}


@dataclass(frozen=True, eq=False)
class Predicted:
    """Predicted errors of configurations.

    Parameters
    ----------
    forces
        Bounds of the norms of the errors of atoms' forces, eV/Å, shape (n,).
    energies
        Bounds of the errors of configurations' energies, eV, shape (C,).
    """

    forces: Floats
    energies: Floats


class ErrorPredictor:
    """Predicts errors of a potential, with its compiled members.

    Parameters
    ----------
    model
        The committee and its calibration.
    potential
        That of the committee.
    """

    def __init__(self, model: ErrorModel, potential: Potential) -> None:
        self.model = model
        self._kernels = [one.kernel() for one in model.potentials(potential)]

    def predict(
        self,
        arguments: tuple[Any, ...],
        center: tuple[Floats, Floats],
        first: NDArray[np.int64] | None = None,
    ) -> Predicted:
        """Predict the errors of one or several configurations.

        Parameters
        ----------
        arguments
            What functions of kernels take: positions, species, neighbors, threads.
        center
            The potential's own site energies (n,), eV, and forces (n, 3), eV/Å.
        first
            Where each configuration's atoms begin, shape (C + 1,); by default they are all of one.
        """
        count = len(center[1])
        if not count:
            return Predicted(np.zeros(0), np.zeros(1))
        first = np.array([0, count]) if first is None else first
        found = [kernel.evaluate(*arguments)[:2] for kernel in self._kernels]
        starts = first[:-1]
        energies = np.add.reduceat(np.array([one[0] for one in found]), starts, axis=1)
        own = np.add.reduceat(center[0], starts)
        forces = force_spread(np.array([one[1] for one in found]), center[1])
        calibration = self.model.calibration
        return Predicted(
            calibration.force_errors(forces, arguments[1]),
            calibration.energy_errors(energy_spread(energies, own), np.diff(first)),
        )
