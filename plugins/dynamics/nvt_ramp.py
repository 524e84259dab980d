"""Molecular dynamics at a temperature that goes up or down, under guards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np
from ase import units

from pescape.plugins.dynamics.contour.walk import Ramp
from pescape.plugins.dynamics.guards import GuardKeeper, Guards, LimitBroken, Violation
from pescape.plugins.dynamics.runs import CheckpointError, GuardedDynamics, generator
from pescape.plugins.dynamics.surface import FreeSpace, Sample, Surface
from pescape.plugins.dynamics.thermostats import (
    FreeMotion,
    LangevinBath,
    Motion,
    NoseHooverChain,
    Thermostat,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ase import Atoms

    from pescape.plugins.dynamics.guards import StopReason

ThermostatName = Literal["nose-hoover", "langevin"]


@dataclass(frozen=True, eq=False)
class _Accepted:
    """The last accepted configuration: a sample of the surface, and how it moves."""

    sample: Sample
    motion: Motion


class NVTRamp(GuardedDynamics):
    """Molecular dynamics from one temperature to another, with one force call per step.

    Parameters
    ----------
    atoms
        Atoms with any ASE calculator that gives energies and forces. Momenta that are not all
        zero are kept, less the translation; others are drawn at the first temperature.
    temperatures
        First and last temperature, K. The target goes from the one to the other on a straight
        line in `steps` steps, and stays there.
    steps
        Length of the ramp, steps.
    timestep
        Time step, fs.
    thermostat
        "nose-hoover" (ASE's Nosé-Hoover chain) or "langevin" (ASE's Langevin dynamics).
    damping
        Characteristic time of the Nosé-Hoover chain, fs; None: 100 time steps.
    friction
        Friction coefficient of the Langevin dynamics, 1/fs.
    seed
        Seed, or generator, of this run's own random numbers.
    guards
        Limits on energies, forces, distances and displacements, of which `max_deviation` and
        `retries` mean nothing here. A step that breaks one is taken back and ends the run.
    remove_translation
        Keep the center of mass at rest. None: where there are no constraints.
    force_consistent
        Energy to report and to guard: True, the free energy; False, the energy extrapolated to
        zero broadening; None, the free energy where the calculator has it.
    stop
        Called with this object after every step; a text that it returns ends the run.
    restart
        Checkpoint file: read, where it exists, to continue a run exactly, and written every
        `restart_interval` steps and at the end.
    trajectory, logfile, append_trajectory, loginterval, **kwargs
        As for ASE's own dynamics; `loginterval` serves both the trajectory and the log.
    """

    _kind = "NVTRamp"

    def __init__(
        self,
        atoms: Atoms,
        temperatures: tuple[float, float],
        *,
        steps: int,
        timestep: float = 1.0,
        thermostat: ThermostatName = "nose-hoover",
        damping: float | None = None,
        friction: float = 0.01,
        seed: int | np.random.SeedSequence | np.random.Generator | None = None,
        guards: Guards | None = None,
        remove_translation: bool | None = None,
        force_consistent: bool | None = None,
        stop: Callable[[NVTRamp], str | None] | None = None,
        restart: str | Path | None = None,
        restart_interval: int = 1,
        trajectory: Any = None,  # noqa: ANN401 -- a path or an open trajectory of any class
        logfile: IO[str] | str | Path | None = None,
        append_trajectory: bool = False,
        loginterval: int = 1,
        **kwargs: Any,  # noqa: ANN401 -- handed on to ASE
    ) -> None:
        self._ramp = _ramp(temperatures, steps)
        self._timestep = _positive("timestep", timestep, "fs")
        self._free = FreeMotion(atoms, remove_translation=remove_translation)
        self._surface = Surface(
            atoms,
            FreeSpace(atoms, remove_translation=False),
            force_consistent=force_consistent,
        )
        self.guards = guards if guards is not None else Guards()
        self.rng = generator(seed, kwargs.get("comm"))
        self.thermostat = thermostat
        self._thermostat: Thermostat
        step = self._timestep * units.fs
        if thermostat == "nose-hoover":
            damping = 100 * self._timestep if damping is None else damping
            period = _positive("damping", damping, "fs") * units.fs
            self._thermostat = NoseHooverChain(self._free, step, period)
        elif thermostat == "langevin":
            rate = _positive("friction", friction, "1/fs") / units.fs
            self._thermostat = LangevinBath(self._free, atoms, step, rate, self.rng)
        else:
            raise ValueError(f"thermostat is {thermostat!r}: 'nose-hoover' or 'langevin' is needed")
        self._now: _Accepted | None = None
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
    def temperature_target(self) -> float:
        """Temperature to have after the steps made so far, K."""
        return self.target(self.nsteps)

    @property
    def temperature(self) -> float:
        """Temperature of the momenta, for the motions that are free, K."""
        return self._free.temperature(self._begun().motion.momenta)

    @property
    def degrees_of_freedom(self) -> int:
        """Number of free motions: less fixed atoms, and the center of mass where it rests."""
        return self._free.degrees

    @property
    def energy(self) -> float:
        """Potential energy of the last accepted configuration, eV."""
        return self._begun().sample.energy

    @property
    def kinetic_energy(self) -> float:
        """Kinetic energy of the last accepted configuration, eV."""
        return self._free.kinetic_energy(self._begun().motion.momenta)

    @property
    def conserved_energy(self) -> float:
        """Energy of atoms and Nosé-Hoover chain, conserved at a constant temperature, eV.

        Not a number with Langevin dynamics, which conserves nothing.
        """
        return self.energy + self.kinetic_energy + self._thermostat.energy()

    @property
    def force_calls(self) -> int:
        """Configurations evaluated so far, those of continued runs included."""
        return self._surface.calls

    def target(self, step: int) -> float:
        """Return the temperature to have after that many steps, K.

        Parameters
        ----------
        step
            Number of steps.
        """
        return self._ramp(step)

    def get_time(self) -> float:
        """Return the simulated time, in ASE's units."""
        return self.nsteps * self._timestep * units.fs

    def todict(self) -> dict[str, Any]:
        """Describe the run for trajectory files."""
        return {
            "type": "molecular-dynamics",
            "md-type": type(self).__name__,
            "timestep": self._timestep * units.fs,
            "temperatures_K": [self._ramp.first, self._ramp.last],
            "steps": self._ramp.steps,
            "thermostat": self.thermostat,
        }

    def run(self, steps: int | None = None) -> StopReason:
        """Run.

        Parameters
        ----------
        steps
            Number of steps; None: what is left of the ramp.

        Returns
        -------
        StopReason
            Why the run ended; true where it ended as it was meant to.
        """
        return super().run(max(0, self._ramp.steps - self.nsteps) if steps is None else steps)

    def step(self) -> bool:
        """Take one step; on any failure atoms, chain and random numbers stay as they were.

        Returns
        -------
        bool
            Whether a step was taken; if not, `reason` says why.
        """
        now = self._begun()
        if self.reason is not None and not self.reason:
            return False
        reached: list[tuple[Sample, np.ndarray]] = []

        def forces(positions: np.ndarray) -> np.ndarray:
            reached.append(self._evaluate(positions))
            return reached[-1][1]

        try:
            momenta = self._thermostat.step(now.motion, self.target(self.nsteps + 1), forces)
        except LimitBroken as broken:
            self._surface.put_back(now.sample)
            self._end(broken.violation)
            return False
        except BaseException:
            self._surface.put_back(now.sample)
            raise
        self._accept(*reached[-1], self._free.project(momenta))
        return True

    # How it is made

    def _evaluate(self, positions: np.ndarray) -> tuple[Sample, np.ndarray]:
        """Return a new configuration, and the forces on it; raise where it breaks a guard."""
        violation = self._keeper.check_positions(positions)
        if violation is not None:
            raise LimitBroken(violation)
        try:
            sample, forces = self._surface.move(positions.ravel())
        except self.guards.caught as error:
            message = f"{type(error).__name__}: {error}"
            raise LimitBroken(Violation("calculator", message)) from error
        violation = self._keeper.check_results(sample.energy, forces)
        if violation is not None:
            raise LimitBroken(violation)
        return sample, self._free.project(forces)

    def _accept(self, sample: Sample, forces: np.ndarray, momenta: np.ndarray) -> None:
        self._now = _Accepted(sample, Motion(sample.x.reshape(-1, 3), momenta, forces))
        self.atoms.set_momenta(momenta, apply_constraint=False)

    def _begin(self) -> None:
        now = self._begun()
        violation = self._keeper.check_results(now.sample.energy, now.motion.forces)
        violation = violation or self._keeper.check_positions(now.motion.positions)
        if violation is not None:
            self._end(violation)

    def _begun(self) -> _Accepted:
        """Return the last accepted configuration, or the first of atoms that were moved."""
        if self._now is None or not self._surface.is_at(self._now.sample):
            sample, forces = self._surface.sample()
            if self._now is None:
                start = sample.x.reshape(-1, 3)
                self._keeper = GuardKeeper(self.guards, self.atoms, start, sample.energy)
            self._accept(sample, self._free.project(forces), self._first_momenta())
        elif not np.array_equal(self.atoms.get_momenta(), self._now.motion.momenta):
            momenta = self._free.project(self.atoms.get_momenta())
            self._accept(self._now.sample, self._now.motion.forces, momenta)
        assert self._now is not None
        return self._now

    def _first_momenta(self) -> np.ndarray:
        momenta = self.atoms.get_momenta()
        if momenta.any():
            return self._free.project(momenta)
        momenta = self._free.thermal(self.target(self.nsteps), self.rng)
        if self._free.curved:
            self.atoms.set_momenta(momenta)
            momenta = self.atoms.get_momenta()
        return momenta

    def _log_line(self) -> tuple[str, str]:
        names = ("Time/fs", "Target/K", "Temperature/K", "Potential/eV", "Kinetic/eV")
        values = (
            self.nsteps * self._timestep,
            self.temperature_target,
            self.temperature,
            self.energy,
            self.kinetic_energy,
        )
        head = "".join(f"{name:>17}" for name in names)
        return head, "".join(f"{value:17.6f}" for value in values)

    def _state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        if self._now is None:
            return None
        sample, motion = self._now.sample, self._now.motion
        arrays = {
            "x": sample.x,
            "gradient": sample.gradient,
            "momenta": motion.momenta,
            "forces": motion.forces,
            "start": self._keeper.start,
            **self._thermostat.state(),
        }
        data = {
            "thermostat": self.thermostat,
            "energy": sample.energy,
            "start_energy": self._keeper.energy,
            "force_calls": self._surface.calls,
            "random": self.rng.bit_generator.state,
        }
        return arrays, data

    def _resume(self, arrays: dict[str, np.ndarray], data: dict[str, Any]) -> None:
        if data["thermostat"] != self.thermostat:
            raise CheckpointError(
                f"{self.restart}: a checkpoint of thermostat {data['thermostat']!r}, not of "
                f"{self.thermostat!r}; name another file for this run"
            )
        sample = Sample(arrays.pop("x"), data["energy"], arrays.pop("gradient"))
        start = arrays.pop("start")
        self._keeper = GuardKeeper(self.guards, self.atoms, start, data["start_energy"])
        self._surface.calls = data["force_calls"]
        self._surface.put_back(sample)
        self._accept(sample, arrays.pop("forces"), arrays.pop("momenta"))
        self.rng.bit_generator.state = data["random"]
        self._thermostat.resume(arrays)


def _ramp(temperatures: tuple[float, float], steps: int) -> Ramp:
    """Return the target temperature by step, K."""
    try:
        first, last = temperatures
    except TypeError:
        raise ValueError(
            f"temperatures is {temperatures!r}: the first and the last, in K, are needed"
        ) from None
    return Ramp(
        _positive("a temperature", first, "K"), _positive("a temperature", last, "K"), steps
    )


def _positive(name: str, value: float, unit: str) -> float:
    """Return a number that has to be positive."""
    number = float(value)
    if not 0 < number < np.inf:
        raise ValueError(f"{name} is {value}: a positive number in {unit} is needed")
    return number
