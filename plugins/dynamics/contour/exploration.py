"""Contour exploration: walks on a surface of constant, or prescribed, potential energy.

The idea of a potentiostat that follows a contour by its curvature is Waters and Rondinelli's
(J. Phys.: Condens. Matter 33, 445901, 2021). Here the energy at the end of a step is predicted by
a model that interpolates the last few energies and forces, signed curvatures included; the step
is turned out of the tangent plane until the prediction meets the target.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

import numpy as np

from pescape.plugins.dynamics.contour.walk import (
    ContourState,
    ContourWalk,
    EnergyTarget,
    WalkSettings,
    as_target,
)
from pescape.plugins.dynamics.guards import Guards
from pescape.plugins.dynamics.runs import GuardedDynamics, generator
from pescape.plugins.dynamics.surface import FreeSpace, Sample, Surface

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ase import Atoms

    from pescape.plugins.dynamics.contour.step import StepCap


_SAMPLE = ("x", "energy", "gradient")  # of each point in a checkpoint


class ContourExploration(GuardedDynamics):
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

    _kind = "ContourExploration"

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
        self.settings = WalkSettings(
            angle_limit=angle_limit,
            maxstep=maxstep,
            step_cap=step_cap,
            drift=drift,
            tolerance=tolerance,
            max_corrections=max_corrections,
            guards=guards if guards is not None else Guards(),
        )
        free = FreeSpace(atoms, remove_translation=remove_translation)
        self._surface = Surface(atoms, free, force_consistent=force_consistent)
        self.rng = generator(seed, kwargs.get("comm"))
        self._walk = ContourWalk(self._surface, self.settings, self.rng, direction)
        self._target = None if energy_target is None else as_target(energy_target)
        super().__init__(
            atoms,
            stop=stop,
            restart=restart,
            restart_interval=restart_interval,
            trajectory=trajectory,
            logfile=logfile,
            append_trajectory=append_trajectory,
            loginterval=loginterval,
            **kwargs,
        )

    # What a run looks like from outside

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
        return 0.0 if self._walk.state is None else self._walk.state.size

    @property
    def curvature(self) -> float:
        """Turn of the force per length in the last step, 1/Å."""
        state = self._walk.state
        return state.turn / state.size if state is not None and state.size > 0 else 0.0

    @property
    def phase(self) -> str:
        """What the last step was for: start, contour, climb or descend."""
        return "start" if self._walk.state is None else self._walk.state.phase

    @property
    def force_calls(self) -> int:
        """Configurations evaluated so far, those of continued runs included."""
        return self._surface.calls

    def target(self, step: int) -> float:
        """Return the energy to have after that many steps, eV.

        Parameters
        ----------
        step
            Number of steps.
        """
        if self._target is not None:
            return float(self._target(step))
        return (self._walk.state or self._begun()).start_energy

    def todict(self) -> dict[str, Any]:
        """Describe the run for trajectory files."""
        return {
            "type": "contour-exploration",
            "dyn-type": type(self).__name__,
            "angle_limit": self.settings.angle_limit,
            "maxstep": self.settings.maxstep,
            "step_cap": self.settings.step_cap,
            "drift": self.settings.drift,
        }

    def _log_line(self) -> tuple[str, str]:
        state, aim = self._begun(), self.energy_target
        names = ("Target/eV", "Energy/eV", "Error/(eV/atom)", "Step/Å", "Turn/deg")
        values = (aim, state.newest.energy, (state.newest.energy - aim) / len(self.atoms))
        line = "".join(f"{value:17.8f}" for value in (*values, state.size))
        head = "".join(f"{name:>17}" for name in names) + "  Phase"
        return head, f"{line}{np.degrees(state.turn):17.3f}  {state.phase}"

    def step(self) -> bool:
        """Take one step; on any failure atoms, history and random numbers stay as they were.

        Returns
        -------
        bool
            Whether a step was taken; if not, `reason` says why.
        """
        self._begun()
        if self.reason is not None and not self.reason:
            return False
        aim = self.target(self.nsteps + 1)
        violation = self._walk.step(aim)
        if violation is not None:
            self._end(violation)
            return False
        violation = self._walk.stalled(aim)
        if violation is not None:
            self._end(violation, step=self.nsteps + 1)
        return True

    # Beginnings and ends

    def _begin(self) -> None:
        self._begun()
        violation = self._walk.check()
        if violation is not None:
            self._end(violation)

    def _begun(self) -> ContourState:
        """Return the state, begun afresh where there is none or where the atoms were moved."""
        violation = self._walk.begin()
        if violation is not None:
            self._end(violation)
        assert self._walk.state is not None
        return self._walk.state

    def _state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        if self._walk.state is None:
            return None
        data = dict(vars(self._walk.state))
        samples = data.pop("samples")
        arrays = {n: np.array([getattr(s, n) for s in samples]) for n in _SAMPLE}
        arrays |= {name: data.pop(name) for name in ("tangent", "start")}
        random = self.rng.bit_generator.state
        return arrays, data | {"force_calls": self._surface.calls, "random": random}

    def _resume(self, arrays: dict[str, np.ndarray], data: dict[str, Any]) -> None:
        self._surface.calls = data.pop("force_calls")
        self.rng.bit_generator.state = data.pop("random")
        columns = zip(*(arrays.pop(name) for name in _SAMPLE), strict=True)
        samples = [Sample(x, float(energy), gradient) for x, energy, gradient in columns]
        self._surface.put_back(samples[-1])
        state: dict[str, Any] = arrays | data
        self._walk.resume(ContourState(samples=samples, **state))
