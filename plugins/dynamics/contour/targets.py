"""Targets to follow by step: energies, or temperatures, that stay, ramp or keep to a schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

EnergyTarget = Callable[[int], float]


@dataclass(frozen=True)
class Constant:
    """The same energy at every step.

    Attributes
    ----------
    energy
        Potential energy of the whole system, eV.
    """

    energy: float

    def __call__(self, step: int) -> float:
        """Return the energy to have after that many steps."""
        del step
        return self.energy


@dataclass(frozen=True)
class Ramp:
    """A straight line from one value to another, then the last one.

    Attributes
    ----------
    first, last
        Values at step 0 and from `steps` on: energies in eV, or temperatures in K.
    steps
        Length of the ramp.
    """

    first: float
    last: float
    steps: int

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}: a ramp has at least one step")

    def __call__(self, step: int) -> float:
        """Return the value to have after that many steps."""
        fraction = min(max(step / self.steps, 0.0), 1.0)
        return (1.0 - fraction) * self.first + fraction * self.last


@dataclass(frozen=True)
class Schedule:
    """Straight lines between given points; constant before the first and after the last.

    Attributes
    ----------
    steps
        Increasing step numbers; the same number twice is a jump.
    energies
        Potential energies of the whole system at these steps, eV.
    """

    steps: tuple[int, ...]
    energies: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(int(s) for s in self.steps))
        object.__setattr__(self, "energies", tuple(float(e) for e in self.energies))
        if len(self.steps) != len(self.energies) or not self.steps:
            raise ValueError(
                f"{len(self.steps)} steps and {len(self.energies)} energies: "
                "a schedule needs as many of the one as of the other, and at least one"
            )
        if any(b < a for a, b in zip(self.steps, self.steps[1:], strict=False)):
            raise ValueError(f"steps {self.steps} do not increase")

    def __call__(self, step: int) -> float:
        """Return the energy to have after that many steps; at a jump, the later energy."""
        place = int(np.searchsorted(self.steps, step, side="right"))
        if place == 0:
            return self.energies[0]
        if place == len(self.steps):
            return self.energies[-1]
        left, right = self.steps[place - 1], self.steps[place]
        fraction = (step - left) / (right - left)
        return (1.0 - fraction) * self.energies[place - 1] + fraction * self.energies[place]


@dataclass(frozen=True)
class PerAtomAbove:
    """A target given in eV/atom above a reference, as one of the whole system.

    Attributes
    ----------
    target
        Energies above the reference by step, eV/atom.
    reference
        Potential energy of the reference, for instance of the relaxed structure, eV.
    natoms
        Number of atoms.
    """

    target: EnergyTarget
    reference: float
    natoms: int

    def __call__(self, step: int) -> float:
        """Return the energy to have after that many steps."""
        return self.reference + self.natoms * self.target(step)


def as_target(target: float | EnergyTarget | Sequence[tuple[int, float]]) -> EnergyTarget:
    """Return a function of the step for what a user may give as a target.

    Parameters
    ----------
    target
        A number (eV), a function of the step, or (step, energy) points to join by lines.
    """
    if callable(target):
        return target
    if isinstance(target, Sequence):
        steps, energies = zip(*target, strict=True)
        return Schedule(steps, energies)
    value = float(target)
    if not np.isfinite(value):
        raise ValueError(f"energy_target is {value}: a finite energy in eV is needed")
    return Constant(value)
