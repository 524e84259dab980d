"""Contour exploration: walks on a surface of constant, or prescribed, potential energy.

The idea of a potentiostat that follows a contour by its curvature is Waters and Rondinelli's
(J. Phys.: Condens. Matter 33, 445901, 2021). Here the energy at the end of a step is predicted by
a model that interpolates the last few energies and forces, signed curvatures included; the step
is turned out of the tangent plane until the prediction meets the target.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from ase.optimize.optimize import Dynamics

from pescape.plugins.dynamics.checkpoint import (
    CheckpointError,
    read_checkpoint,
    write_checkpoint,
)
from pescape.plugins.dynamics.contour_state import ContourState
from pescape.plugins.dynamics.contour_step import (
    NO_FORCE,
    Frame,
    Proposal,
    StepCap,
    StepLimits,
    correction,
    first_step,
    local_model,
    modelled_step,
)
from pescape.plugins.dynamics.guards import GuardKeeper, Guards, Violation
from pescape.plugins.dynamics.projection import FreeSpace, unit, without
from pescape.plugins.dynamics.reasons import StopReason
from pescape.plugins.dynamics.surface import Surface
from pescape.plugins.dynamics.targets import EnergyTarget, as_target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ase import Atoms

    from pescape.plugins.dynamics.surrogate import LocalModel, Sample

_KIND = "ContourExploration"
# First step per root of the number of free atoms, Å.
_FIRST = 0.004
# Share of each new error in the learned correction of the curvature.
_LEARNING = 0.1
# Steps without progress towards a far target before it counts as out of reach.
_PATIENCE = 50


class ContourExploration(Dynamics):
    """Walk on a contour of the potential energy, with one force call per step.

    Parameters
    ----------
    atoms
        Atoms with any ASE calculator that gives energies and forces. Velocities, where there are
        any, give the first direction; they are left as they are.
    energy_target
        Potential energy of the whole system, eV: a number, a function of the step, or (step,
        energy) points to join by lines. None keeps the first energy.
    angle_limit
        Largest turn of the 3N-dimensional force that a step is meant to bring, degrees.
    maxstep
        Longest step, Å, in the sense of `step_cap`.
    step_cap
        What `maxstep` bounds: "atom", the displacement of any one atom; "rms", the root mean
        square over the atoms that can move; "norm", the 3N-dimensional length.
    drift
        Part of the tangential step that goes in a random direction.
    seed
        Seed, or generator, of this run's own random numbers.
    direction
        First direction, (natoms, 3); instead of velocities or a random one.
    tolerance
        Largest distance from the target, eV/atom, that is left as it is. Beyond it the
        configuration is moved along the force and evaluated again, up to `max_corrections` times.
        None: never.
    max_corrections
        Most corrector calls per step.
    guards
        Limits on energies, forces, distances and displacements. A step that breaks one is taken
        back and tried again, shorter and in another direction; the run ends where that fails.
    remove_translation
        Leave out rigid translations. None: where there are no constraints.
    force_consistent
        Energy to follow: True, the free energy; False, the energy extrapolated to zero
        broadening; None, the free energy where the calculator has it.
    stop
        Called with this object after every step; a text that it returns ends the run.
    restart
        Checkpoint file: read, where it exists, to continue a run exactly, and written every
        `restart_interval` steps and at the end.
    trajectory, logfile, append_trajectory, loginterval, **kwargs
        As for ASE's own dynamics; `loginterval` serves both the trajectory and the log.
    """

    def __init__(
        self,
        atoms: Atoms,
        energy_target: float | EnergyTarget | Sequence[tuple[int, float]] | None = None,
        *,
        angle_limit: float = 20.0,
        maxstep: float = 0.5,
        step_cap: StepCap = "atom",
        drift: float = 0.2,
        seed: int | np.random.SeedSequence | np.random.Generator | None = None,
        direction: np.ndarray | None = None,
        tolerance: float | None = None,
        max_corrections: int = 3,
        guards: Guards | None = None,
        remove_translation: bool | None = None,
        force_consistent: bool | None = None,
        stop: Callable[[ContourExploration], str | None] | None = None,
        restart: str | Path | None = None,
        restart_interval: int = 1,
        trajectory: Any = None,  # noqa: ANN401 -- a path or an open trajectory of any class
        logfile: IO[str] | str | Path | None = None,
        append_trajectory: bool = False,
        loginterval: int = 1,
        **kwargs: Any,  # noqa: ANN401 -- handed on to ASE
    ) -> None:
        _check(angle_limit=angle_limit, maxstep=maxstep, drift=drift, tolerance=tolerance)
        if step_cap not in {"atom", "rms", "norm"}:
            raise ValueError(f"step_cap is {step_cap!r}: one of 'atom', 'rms', 'norm' is needed")
        self.angle_limit, self.maxstep, self.step_cap = angle_limit, maxstep, step_cap
        self.drift, self.tolerance, self.max_corrections = drift, tolerance, max_corrections
        self.guards = guards if guards is not None else Guards()
        self.rng = np.random.default_rng(seed)
        self.stop = stop
        self.restart = None if restart is None else Path(restart)
        self.restart_interval, self.loginterval = restart_interval, loginterval
        self.reason: StopReason | None = None
        self._target = None if energy_target is None else as_target(energy_target)
        self._direction = direction
        self._free = FreeSpace(atoms, remove_translation=remove_translation)
        self._surface = Surface(atoms, self._free, force_consistent=force_consistent)
        self._state: ContourState | None = None
        self._announced = False
        resumed = self.restart is not None and self.restart.exists()
        super().__init__(
            atoms,
            logfile=logfile,
            trajectory=trajectory,
            append_trajectory=append_trajectory or resumed,
            loginterval=loginterval,
            **kwargs,
        )
        if resumed:
            self._read()

    # -- what a run looks like from outside ------------------------------------------------

    @property
    def energy_target(self) -> float:
        """Energy that the present configuration was aimed at, eV."""
        return self.target(self.nsteps)

    @property
    def energy(self) -> float:
        """Potential energy of the last accepted configuration, eV."""
        return self._begun().newest.energy

    @property
    def step_size(self) -> float:
        """Length of the last step, Å."""
        return 0.0 if self._state is None else self._state.size

    @property
    def curvature(self) -> float:
        """Turn of the force per length in the last step, 1/Å."""
        state = self._state
        return state.turn / state.size if state is not None and state.size > 0 else 0.0

    @property
    def phase(self) -> str:
        """What the last step was for: start, contour, climb or descend."""
        return "start" if self._state is None else self._state.phase

    @property
    def force_calls(self) -> int:
        """Configurations evaluated so far, those of continued runs included."""
        return self._surface.calls

    def target(self, step: int) -> float:
        """Return the energy to have after that many steps, eV."""
        if self._target is None:
            return self._begun().start_energy
        return float(self._target(step))

    def todict(self) -> dict[str, Any]:
        """Describe the run for trajectory files."""
        return {
            "type": "contour-exploration",
            "dyn-type": type(self).__name__,
            "angle_limit": self.angle_limit,
            "maxstep": self.maxstep,
            "step_cap": self.step_cap,
            "drift": self.drift,
        }

    def run(self, steps: int = 50) -> StopReason:
        """Run.

        Parameters
        ----------
        steps
            Number of steps.

        Returns
        -------
        StopReason
            Why the run ended; true where it ended as it was meant to.
        """
        for _ in self.irun(steps=steps):
            pass
        assert self.reason is not None
        return self.reason

    def irun(self, steps: int = 50) -> Iterator[bool]:
        """Run as a generator, which yields after every step whether the run has ended."""
        self.reason = None
        self.max_steps = self.nsteps + steps
        self._begun()
        if self.nsteps == 0 and not self._announced:
            self._announce()
        yield self._ended()
        while self.reason is None:
            if self.step():
                self.nsteps += 1
                self.log()
                self.call_observers()
                if self._ended() or self.nsteps % self.restart_interval == 0:
                    self._save()
            yield self._ended()

    def converged(self, *_args: Any, **_kwargs: Any) -> bool:  # noqa: ANN401
        """Return whether the run has ended; a walk has nothing to converge to."""
        return self.reason is not None

    def gradient_converged(self, gradient: np.ndarray | None = None) -> bool:
        """Return whether the run has ended, in ASE's words."""
        del gradient
        return self.reason is not None

    def log(self, *_args: Any, **_kwargs: Any) -> None:  # noqa: ANN401
        """Write one line, every `loginterval` steps."""
        if self.logfile is None or self.nsteps % self.loginterval:
            return
        state, aim = self._begun(), self.energy_target
        if self.nsteps == 0:
            names = ("Target/eV", "Energy/eV", "Error/(eV/atom)", "Step/Å", "Turn/deg")
            head = "".join(f"{name:>17}" for name in names)
            self.logfile.write(f"# Step{head}  Phase\n")
        values = (aim, state.newest.energy, (state.newest.energy - aim) / len(self.atoms))
        line = "".join(f"{value:17.8f}" for value in (*values, state.size))
        turn = np.degrees(state.turn)
        self.logfile.write(f"{self.nsteps:6d}{line}{turn:17.3f}  {state.phase}\n")

    # -- one step --------------------------------------------------------------------------

    def step(self) -> bool:
        """Take one step; on any failure atoms, history and random numbers stay as they were.

        Returns
        -------
        bool
            Whether a step was taken; if not, `reason` says why.
        """
        state = self._begun()
        random_state = self.rng.bit_generator.state
        try:
            violation = self._attempts(state)
        except BaseException:
            self._surface.put_back(state.newest)
            self.rng.bit_generator.state = random_state
            raise
        if violation is None:
            return True
        self._surface.put_back(state.newest)
        self._end(violation)
        return False

    def _attempts(self, state: ContourState) -> Violation | None:
        """Try steps until one keeps all guards; return what the last one broke, if none did."""
        aim = self.target(self.nsteps + 1)
        model = local_model(state.samples)
        violation: Violation | None = None
        for attempt in range(self.guards.retries + 1):
            proposal = self._propose(state, model, aim, 0.5**attempt)
            if isinstance(proposal, Violation):
                return proposal
            sample, violation = self._guarded(state.newest.x + proposal.displacement, aim)
            if sample is None:
                continue
            surprise = sample.energy - state.newest.energy - proposal.change
            if self.tolerance is not None:
                sample, violation = self._corrected(state, sample, aim)
            if sample is not None:
                self._accept(state, proposal, sample, surprise)
                self._watch_progress(state, abs(sample.energy - aim))
                return None
        return violation

    def _guarded(self, x: np.ndarray, aim: float) -> tuple[Sample | None, Violation | None]:
        """Evaluate a point; no point where it breaks a guard."""
        violation = self._keeper.check_positions(x.reshape(-1, 3))
        if violation is None:
            sample, forces = self._surface.move(x)
            violation = self._keeper.check_results(sample.energy, forces, aim)
            if violation is None:
                return sample, None
        return None, violation

    def _propose(
        self, state: ContourState, model: LocalModel | None, aim: float, scale: float
    ) -> Proposal | Violation:
        newest = state.newest
        slope = float(np.sqrt(newest.gradient @ newest.gradient))
        uphill = unit(newest.gradient, floor=NO_FORCE)
        tangent = self._tangent(state.tangent, uphill)
        if tangent is None:
            return Violation("no_direction", "the constraints leave no direction on the contour")
        limits = StepLimits(
            float(np.radians(self.angle_limit)), self.maxstep, self.step_cap, self._free_atoms
        )
        shortest = _FIRST * np.sqrt(self._free_atoms)
        if model is None or uphill is None:
            frame = Frame(tangent, tangent, 0.0 if uphill is None else slope, 0.0, 0.0)
            if uphill is not None:
                frame = Frame(tangent, uphill, slope, aim - newest.energy, 0.0)
            return first_step(frame, scale * shortest, limits)
        frame = Frame(tangent, uphill, slope, aim - newest.energy, state.stiffness)
        size = state.size * state.growth
        if state.phase == "contour" and state.turn > 0:
            ratio = np.sin(limits.angle / 2) / np.sin(state.turn / 2)
            size = min(size, max(state.size * ratio, 0.1 * shortest))
        return modelled_step(model, frame, scale * size, limits, shortest=shortest)

    def _tangent(self, old: np.ndarray, uphill: np.ndarray | None) -> np.ndarray | None:
        """Return the direction along the contour, with its share of drift."""
        along = unit(without(self._free.project(old), uphill), floor=1e-6)
        if along is None:
            return self._random(uphill)
        drift = self._random(uphill, along) if self.drift > 0 else None
        if drift is None:
            return along
        return np.sqrt(1 - self.drift**2) * along + self.drift * drift

    def _random(self, *orthogonal: np.ndarray | None) -> np.ndarray | None:
        """Return a random unit vector in the free directions, orthogonal to those given."""
        vector = self._free.project(self.rng.standard_normal(3 * len(self.atoms)))
        vector = unit(vector)
        if vector is not None:  # twice, against round-off where few directions are free
            vector = unit(without(vector, *orthogonal), floor=1e-6)
        return None if vector is None else unit(without(vector, *orthogonal))

    def _corrected(
        self, state: ContourState, sample: Sample, aim: float
    ) -> tuple[Sample | None, Violation | None]:
        """Move along the force until the energy is within the tolerance."""
        allowed = (self.tolerance or 0.0) * len(self.atoms)
        current: Sample | None = sample
        violation = None
        for _ in range(self.max_corrections):
            if current is None or abs(current.energy - aim) <= allowed:
                break
            longest = float(np.linalg.norm(current.x - state.newest.x))
            move = correction([*state.samples, current], aim - current.energy, longest)
            if move is None:
                break
            current, violation = self._guarded(current.x + move, aim)
        return current, violation

    def _accept(
        self, state: ContourState, proposal: Proposal, sample: Sample, surprise: float
    ) -> None:
        """Make a sample the newest point, and learn from what was not expected of it."""
        newest = state.newest
        reach = float(np.sqrt(newest.gradient @ newest.gradient)) * proposal.size
        error = abs(surprise) / reach if reach > 0 else 0.0
        state.growth = 2.5 if error < 0.05 else (1.25 if error < 0.15 else 0.6)
        if proposal.phase == "contour" and error < 0.15:
            along = proposal.size * np.cos(proposal.angle)
            state.stiffness += _LEARNING * 2 * surprise / along**2
        state.tangent = sample.x - newest.x
        state.size = float(np.sqrt(state.tangent @ state.tangent))
        state.turn = _angle(newest.gradient, sample.gradient)
        state.phase = proposal.phase
        state.append(sample)

    def _watch_progress(self, state: ContourState, gap: float) -> None:
        """End the run where a climb or a descent gets nowhere."""
        if state.phase in {"contour", "start"}:
            state.best_gap, state.stalled = float("inf"), 0
        elif gap < 0.999 * state.best_gap:
            state.best_gap, state.stalled = gap, 0
        else:
            state.stalled += 1
        if state.stalled >= _PATIENCE:
            value = gap / len(self.atoms)
            message = f"the target is {value:.4f} eV/atom away, no nearer for {_PATIENCE} steps"
            self.reason = StopReason("unreachable", message, self.nsteps + 1, value)

    # -- beginnings and ends ---------------------------------------------------------------

    def _begun(self) -> ContourState:
        """Return the state, begun afresh where there is none or where the atoms were moved."""
        if self._state is not None and self._surface.is_at(self._state.newest):
            return self._state
        sample, forces = self._surface.sample()
        if self._state is None:
            self._state = ContourState([sample], self._first_direction(), sample.x, sample.energy)
        else:
            self._state.samples, self._state.size = [sample], 0.0
            self._state.phase = "start"
        self._keep(self._state)
        violation = self._keeper.check_results(sample.energy, forces)
        if violation is None:
            violation = self._keeper.check_positions(sample.x.reshape(-1, 3))
        if violation is not None:
            self._end(violation)
        return self._state

    def _keep(self, state: ContourState) -> None:
        start = state.start.reshape(-1, 3)
        self._keeper = GuardKeeper(self.guards, self.atoms, start, state.start_energy)
        probe = np.arange(3.0 * len(self.atoms)).reshape(-1, 3) % 7 + 1.0
        moves = self._free.project(probe)
        self._free_atoms = max(1, int((np.abs(moves).max(axis=1) > 1e-12).sum()))

    def _first_direction(self) -> np.ndarray:
        direction = self._direction
        if direction is None:
            direction = self.atoms.get_velocities()
        free = self._free.project(np.asarray(direction, dtype=float).ravel())
        direction = unit(free)
        if direction is None:
            direction = self._random()
        return np.zeros_like(free) if direction is None else direction

    def _announce(self) -> None:
        """Log the first configuration, and write it unless a trajectory is being continued."""
        self._announced = True
        self.log()
        if self.trajectory is None or self._traj_is_empty():
            self.call_observers()

    def _end(self, violation: Violation) -> None:
        self.reason = StopReason(
            violation.kind, violation.message, self.nsteps, violation.value, violation.limit
        )
        self._save()

    def _ended(self) -> bool:
        """Return whether the run has ended, and note why."""
        if self.reason is None and self.stop is not None:
            message = self.stop(self)
            if message is not None:
                self.reason = StopReason("asked", message, self.nsteps)
        if self.reason is None and self.nsteps >= self.max_steps:
            self.reason = StopReason("steps", "all steps done", self.nsteps)
        return self.reason is not None

    def _save(self) -> None:
        if self.restart is None or self._state is None or self.comm.rank != 0:
            return
        arrays, data = self._state.to_file()
        arrays |= {"numbers": self.atoms.numbers, "cell": self.atoms.cell.array}
        data |= {
            "nsteps": self.nsteps,
            "force_calls": self._surface.calls,
            "random": self.rng.bit_generator.state,
        }
        write_checkpoint(self.restart, _KIND, arrays, data)

    def _read(self) -> None:
        arrays, data = read_checkpoint(self.restart, _KIND)
        numbers, cell = arrays.pop("numbers"), arrays.pop("cell")
        if not np.array_equal(numbers, self.atoms.numbers):
            raise CheckpointError(
                f"{self.restart}: a checkpoint of {len(numbers)} atoms that are not these "
                f"{len(self.atoms)}; name another file for this run"
            )
        if not np.array_equal(cell, self.atoms.cell.array):
            raise CheckpointError(
                f"{self.restart}: the checkpoint's cell is not that of the atoms; "
                "give the atoms that the run began with"
            )
        self.nsteps = data.pop("nsteps")
        self._surface.calls = data.pop("force_calls")
        self.rng.bit_generator.state = data.pop("random")
        self._state = ContourState.from_file(arrays, data)
        self._announced = True
        self._surface.put_back(self._state.newest)
        self._keep(self._state)


def _angle(a: np.ndarray, b: np.ndarray) -> float:
    """Return the angle between two flat vectors, rad; 0 where one of them is zero."""
    norms = np.sqrt((a @ a) * (b @ b))
    return float(np.arccos(np.clip(a @ b / norms, -1.0, 1.0))) if norms > 0 else 0.0


def _check(*, angle_limit: float, maxstep: float, drift: float, tolerance: float | None) -> None:
    """Raise for settings that make no sense."""
    if not 0 < angle_limit < 90:
        raise ValueError(f"angle_limit is {angle_limit}: degrees between 0 and 90 are needed")
    if not maxstep > 0:
        raise ValueError(f"maxstep is {maxstep}: a positive length in Å is needed")
    if not 0 <= drift < 1:
        raise ValueError(f"drift is {drift}: a fraction of at least 0 and below 1 is needed")
    if tolerance is not None and not tolerance > 0:
        raise ValueError(f"tolerance is {tolerance}: a positive energy in eV/atom is needed")
