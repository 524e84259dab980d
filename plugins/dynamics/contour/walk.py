"""A walk on an energy contour, step after step, without anything of how a run looks outside.

Its targets by step are energies or temperatures that stay, ramp or keep to a schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import acos, cos, inf, radians, sin, sqrt
from typing import TYPE_CHECKING

import numpy as np

from pescape.plugins.dynamics.contour.step import (
    MEMORY,
    NO_FORCE,
    Frame,
    Phase,
    Proposal,
    StepCap,
    StepLimits,
    correction,
    first_step,
    local_model,
    modelled_step,
)
from pescape.plugins.dynamics.guards import GuardKeeper, Guards, Violation
from pescape.plugins.dynamics.surface import unit, without

if TYPE_CHECKING:
    from pescape.plugins.dynamics.contour.step import LocalModel
    from pescape.plugins.dynamics.surface import Sample, Surface


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


@dataclass(eq=False)
class ContourState:
    """Where a walk stands: all that a continued run needs.

    Attributes
    ----------
    samples
        The last few accepted points, the newest last.
    tangent
        Flat direction along the contour, (n,).
    size
        Length of the last step, Å; 0 before the first.
    turn
        Angle by which the last step turned the force, rad.
    phase
        What the last step was for.
    growth
        Factor by which the next step may be longer than the last.
    stiffness
        Learned correction of the model's curvature along the contour, eV/Å².
    best_gap, stalled
        Smallest distance from the target during a climb or a descent, eV, and the number of steps
        since it shrank.
    start, start_energy
        First positions, (natoms, 3), Å, and their energy, eV.
    """

    samples: list[Sample]
    tangent: np.ndarray
    start: np.ndarray
    start_energy: float
    size: float = 0.0
    turn: float = 0.0
    phase: Phase = "start"
    growth: float = 2.5
    stiffness: float = 0.0
    best_gap: float = inf
    stalled: int = 0

    @property
    def newest(self) -> Sample:
        """The last accepted point."""
        return self.samples[-1]


# First step per root of the number of free atoms, Å.
_FIRST = 0.004
# Least share of drift in a climb: it spreads the energy over all atoms.
_CLIMB_DRIFT = 0.5
# Share of each new error in the learned correction of the curvature.
_LEARNING = 0.1
# Steps without progress towards a far target before it counts as out of reach.
_PATIENCE = 50


@dataclass(frozen=True)
class WalkSettings:
    """How a walk is to be made; see `ContourExploration` for the meaning of each setting."""

    angle_limit: float = 20.0
    maxstep: float = 0.5
    step_cap: StepCap = "atom"
    drift: float = 0.2
    tolerance: float | None = None
    max_corrections: int = 3
    guards: Guards = field(default_factory=Guards)

    def __post_init__(self) -> None:
        if not 0 < self.angle_limit < 90:
            raise ValueError(f"angle_limit is {self.angle_limit}: between 0 and 90 degrees needed")
        if not self.maxstep > 0:
            raise ValueError(f"maxstep is {self.maxstep}: a positive length in Å is needed")
        if self.step_cap not in {"atom", "rms", "norm"}:
            raise ValueError(f"step_cap is {self.step_cap!r}: 'atom', 'rms' or 'norm' is needed")
        if not 0 <= self.drift < 1:
            raise ValueError(f"drift is {self.drift}: at least 0 and below 1 is needed")
        if self.tolerance is not None and not self.tolerance > 0:
            raise ValueError(f"tolerance is {self.tolerance}: a positive eV/atom is needed")


class ContourWalk:
    """Takes steps, keeps guards, and leaves everything as it was where a step fails.

    Parameters
    ----------
    surface
        Where energies and forces come from.
    settings
        How to walk.
    rng
        Source of the random directions.
    direction
        First direction, (natoms, 3); None: that of the velocities, or a random one.

    Attributes
    ----------
    state
        Where the walk stands; None before it has begun.
    """

    def __init__(
        self,
        surface: Surface,
        settings: WalkSettings,
        rng: np.random.Generator,
        direction: np.ndarray | None = None,
    ) -> None:
        self.surface = surface
        self.settings = settings
        self.rng = rng
        self.state: ContourState | None = None
        self._direction = direction
        self._natoms = len(surface.atoms)

    def begin(self) -> Violation | None:
        """Evaluate the first point; or, where the atoms were moved meanwhile, a new first point.

        Returns
        -------
        Violation or None
            What this point breaks.
        """
        if self.state is not None and self.surface.is_at(self.state.newest):
            return None
        sample, _ = self.surface.sample()
        if self.state is None:
            state = ContourState([sample], self._first_direction(), sample.x, sample.energy)
            self.resume(state)
        else:
            self.state.samples, self.state.size, self.state.phase = [sample], 0.0, "start"
        return self.check()

    def check(self) -> Violation | None:
        """Return what the last accepted point breaks: the first one may."""
        assert self.state is not None
        newest = self.state.newest
        violation = self._keeper.check_results(newest.energy, newest.gradient.reshape(-1, 3))
        return violation or self._keeper.check_positions(newest.x.reshape(-1, 3))

    def resume(self, state: ContourState) -> None:
        """Go on from a state.

        Parameters
        ----------
        state
            That of a new walk, or one that a checkpoint kept.
        """
        self.state = state
        start = state.start.reshape(-1, 3)
        self._keeper = GuardKeeper(
            self.settings.guards, self.surface.atoms, start, state.start_energy
        )
        probe = np.arange(3.0 * self._natoms).reshape(-1, 3) % 7 + 1.0
        moves = self.surface.free.project(probe)
        self._free_atoms = max(1, int((np.abs(moves).max(axis=1) > 1e-12).sum()))

    def step(self, aim: float) -> Violation | None:
        """Take one step.

        Parameters
        ----------
        aim
            Energy to have after it, eV.

        Returns
        -------
        Violation or None
            Why no step was taken; the atoms are back where they were then.
        """
        assert self.state is not None
        random_state = self.rng.bit_generator.state
        try:
            violation = self._attempts(self.state, aim)
        except BaseException:
            self.surface.put_back(self.state.newest)
            self.rng.bit_generator.state = random_state
            raise
        if violation is not None:
            self.surface.put_back(self.state.newest)
        return violation

    def stalled(self, aim: float) -> Violation | None:
        """Return a violation where a climb or a descent has long got nowhere.

        Parameters
        ----------
        aim
            Energy that was aimed at, eV.
        """
        if self.state is None or self.state.stalled < _PATIENCE:
            return None
        gap = abs(self.state.newest.energy - aim) / self._natoms
        message = f"the target is {gap:.4f} eV/atom away, no nearer for {_PATIENCE} steps"
        return Violation("unreachable", message, gap)

    def _attempts(self, state: ContourState, aim: float) -> Violation | None:
        """Try steps until one keeps all guards; return what the last one broke, if none did."""
        model = local_model(state.samples)
        violation: Violation | None = None
        for attempt in range(self.settings.guards.retries + 1):
            proposal = self._propose(state, model, aim, 0.5**attempt)
            if isinstance(proposal, Violation):
                return proposal
            sample, violation = self._guarded(state.newest.x + proposal.displacement, aim)
            if sample is None:
                continue
            surprise = sample.energy - state.newest.energy - proposal.change
            if self.settings.tolerance is not None:
                sample, violation = self._corrected(state, sample, aim)
            if sample is not None:
                _accept(state, proposal, sample, surprise)
                _watch_progress(state, abs(sample.energy - aim))
                return None
        return violation

    def _guarded(self, x: np.ndarray, aim: float) -> tuple[Sample | None, Violation | None]:
        """Evaluate a point; no point where it breaks a guard."""
        violation = self._keeper.check_positions(x.reshape(-1, 3))
        if violation is None:
            try:
                sample, forces = self.surface.move(x)
            except self.settings.guards.caught as error:
                return None, Violation("calculator", f"{type(error).__name__}: {error}")
            violation = self._keeper.check_results(sample.energy, forces, aim)
            if violation is None:
                return sample, None
        return None, violation

    def _propose(
        self, state: ContourState, model: LocalModel | None, aim: float, scale: float
    ) -> Proposal | Violation:
        newest = state.newest
        slope = sqrt(newest.gradient @ newest.gradient)
        uphill = unit(newest.gradient, floor=NO_FORCE)
        settings = self.settings
        drift = max(settings.drift, _CLIMB_DRIFT) if state.phase == "climb" else settings.drift
        tangent = self._tangent(state.tangent, uphill, drift)
        if tangent is None:
            return Violation("no_direction", "the constraints leave no direction on the contour")
        angle = radians(settings.angle_limit)
        limits = StepLimits(angle, settings.maxstep, settings.step_cap, self._free_atoms)
        shortest = _FIRST * sqrt(self._free_atoms)
        if uphill is None:
            return first_step(Frame(tangent, tangent, 0.0, 0.0, 0.0), scale * shortest, limits)
        frame = Frame(tangent, uphill, slope, aim - newest.energy, state.stiffness)
        if model is None:
            return first_step(frame, scale * shortest, limits)
        size = state.size * state.growth
        if state.phase == "contour" and state.turn > 0:
            ratio = sin(limits.angle / 2) / sin(state.turn / 2)
            size = min(size, max(state.size * ratio, 0.1 * shortest))
        return modelled_step(model, frame, scale * size, limits, shortest=shortest)

    def _tangent(
        self, old: np.ndarray, uphill: np.ndarray | None, share: float
    ) -> np.ndarray | None:
        """Return the direction along the contour, with its share of drift."""
        if self.surface.atoms.constraints:  # others than linear ones differ from place to place
            old = self.surface.free.project(old)
        along = unit(without(old, uphill), floor=1e-6)
        if along is None:
            return self._random(uphill)
        drift = self._random(uphill, along) if share > 0 else None
        if drift is None:
            return along
        return sqrt(1 - share**2) * along + share * drift

    def _random(self, *orthogonal: np.ndarray | None) -> np.ndarray | None:
        """Return a random unit vector in the free directions, orthogonal to those given."""
        vector = self.surface.free.project(self.rng.standard_normal(3 * self._natoms))
        length2 = vector @ vector
        rest = without(vector, *orthogonal)
        if rest @ rest < 0.01 * length2:  # few directions are free: again, against round-off
            rest = without(rest, *orthogonal)
        return unit(rest, floor=1e-6 * sqrt(length2))

    def _corrected(
        self, state: ContourState, sample: Sample, aim: float
    ) -> tuple[Sample | None, Violation | None]:
        """Move along the force until the energy is within the tolerance."""
        allowed = (self.settings.tolerance or 0.0) * self._natoms
        current: Sample | None = sample
        violation = None
        for _ in range(self.settings.max_corrections):
            if current is None or abs(current.energy - aim) <= allowed:
                break
            longest = float(np.linalg.norm(current.x - state.newest.x))
            move = correction([*state.samples, current], aim - current.energy, longest)
            if move is None:
                break
            current, violation = self._guarded(current.x + move, aim)
        return current, violation

    def _first_direction(self) -> np.ndarray:
        direction = self._direction
        if direction is None:
            direction = self.surface.atoms.get_velocities()
        free = self.surface.free.project(np.asarray(direction, dtype=float).ravel())
        direction = unit(free)
        if direction is None:
            direction = self._random()
        return np.zeros_like(free) if direction is None else direction


def _accept(state: ContourState, proposal: Proposal, sample: Sample, surprise: float) -> None:
    """Make a sample the newest point, and learn from what was not expected of its energy."""
    newest = state.newest
    reach = sqrt(newest.gradient @ newest.gradient) * proposal.size
    error = abs(surprise) / reach if reach > 0 else 0.0
    state.growth = 2.5 if error < 0.05 else (1.25 if error < 0.15 else 0.6)
    if proposal.phase == "contour" and error < 0.15:
        along = proposal.size * cos(proposal.angle)
        state.stiffness += _LEARNING * 2 * surprise / along**2
    state.tangent = sample.x - newest.x
    state.size = sqrt(state.tangent @ state.tangent)
    state.turn = _angle(newest.gradient, sample.gradient)
    state.phase = proposal.phase
    state.samples = [*state.samples, sample][-MEMORY:]


def _watch_progress(state: ContourState, gap: float) -> None:
    """Count the steps of a climb or a descent that bring the energy no nearer."""
    if state.phase in {"contour", "start"}:
        state.best_gap, state.stalled = inf, 0
    elif gap < 0.999 * state.best_gap:
        state.best_gap, state.stalled = gap, 0
    else:
        state.stalled += 1


def _angle(a: np.ndarray, b: np.ndarray) -> float:
    """Return the angle between two flat vectors, rad; 0 where one of them is zero."""
    norms = sqrt((a @ a) * (b @ b))
    return acos(min(max(float(a @ b) / norms, -1.0), 1.0)) if norms > 0 else 0.0
