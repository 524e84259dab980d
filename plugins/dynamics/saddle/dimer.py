"""Saddle searches for ASE: a dimer that follows the softest mode."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.optimize.optimize import Optimizer

from pescape.plugins.dynamics.guards import (
    GuardKeeper,
    Guards,
    LimitBroken,
    StopReason,
    Violation,
)
from pescape.plugins.dynamics.runs import CheckpointError, read_checkpoint, write_checkpoint
from pescape.plugins.dynamics.saddle.mode_follower import follower_for, settings_for
from pescape.plugins.dynamics.saddle.probe import FrameFile, Image, Probe, finite, frame
from pescape.plugins.dynamics.saddle.rotation import free_mode, random_mode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from ase import Atoms

    from pescape.plugins.dynamics.saddle.hessian import SubspaceHessian
    from pescape.plugins.dynamics.saddle.mode_follower import Method, RitzSettings, VtstSettings
    from pescape.plugins.dynamics.saddle.probe import FrameTarget
    from pescape.plugins.dynamics.saddle.rotation import Seed

_FOLLOWER = "engine_"  # begins the names of its arrays in checkpoints
_MANY_STEPS = 100_000_000
_CURVATURE_HOLDS = 0.05  # Å of path along which a measured curvature keeps its sign
_NEAR = 10.0  # below this multiple of fmax the curvature is measured before the next step
_OFF_RIDGE = 0.1  # Å: from a saddle the ridge is no further than this
_FLAT = 1e-3  # eV/Å²: curvatures nearer to zero are noise, as between fragments out of reach


@dataclass(frozen=True)
class HistoryEntry:
    """One step of a search: energy in eV, largest force in eV/Å, curvature in eV/Å²."""

    step: int
    calls: int
    energy: float
    fmax: float
    curvature: float | None


class Dimer(Optimizer):
    """Find a first-order saddle point near the atoms.

    Follows ASE's optimizer contract (`run`, `irun`, `attach`, `converged`, `trajectory`,
    `logfile`, `restart`). A search has converged when all forces are below `fmax`, the lowest
    curvature, measured there, is negative, and by force and curvature the ridge is within 0.1 Å,
    which the tail of a dissociation is not. Rigid rotations of molecules and clusters count as no
    mode. Images are evaluated strictly one after the other, none twice, and after each step the
    calculator holds the atoms' own energy and forces, as persistent drivers need. The minima at
    both sides of a saddle are found by `relax.connect_to_minima`.

    Parameters
    ----------
    atoms
        The atoms, with a calculator. Constraints are respected.
    mode
        Direction to start from, (natoms, 3) or flattened: a displacement, a vibration, the softest
        mode of a partial Hessian (`rotation.softest_mode`), …; random if None. Left unchanged;
        constrained parts, net translation and rotation are taken out of a copy.
    seed
        Seed of the random mode and displacement, of this object alone.
    method
        "ritz": Ritz rotation and reflected Newton steps in a trust region on a limited-memory
        Hessian model that all force calls feed. "vtst": conjugate-gradient rotation and L-BFGS
        on the reflected force, with the settings of Waters and Rondinelli.
    settings
        `RitzSettings` or `VtstSettings`; None takes the method's defaults.
    separation
        Distance of the rotated image from the center, Å, the norm over all atoms.
    displacement
        Norm of a displacement along the mode before the first force call, Å. None: 1.2 for
        "vtst" without a mode, as in the paper, else 0. From a minimum, 0.3 to 0.6 leads to lower
        saddles in fewer calls than 0.
    guards
        Ceilings of energy, force and displacement and the shortest distance; a step that breaks
        one is halved a few times, then the run ends with the reason. A start above the ceiling of
        forces may come down. None: 100 eV/Å.
    trajectory
        File or open trajectory for the centers, each with energy and forces.
    images
        File (.traj, .extxyz) for every force call, tagged in ``info["dimer"]`` as "centre",
        "rotation" or "refused".
    logfile
        File or "-" for one line a step.
    restart
        Checkpoint, rewritten after every step; read if it exists, and the search goes on as if
        it had never stopped, bit by bit where the calculator remembers nothing. Frames written
        after the checkpoint are dropped from `trajectory` and `images`.
    append_trajectory
        Append to `trajectory` and `images` also at the first step.
    loginterval
        Write every so many steps to the trajectory.
    """

    fmax: float  # type: ignore[assignment]  # ASE's class says None until the first run

    def __init__(
        self,
        atoms: Atoms,
        mode: np.ndarray | None = None,
        *,
        seed: Seed = None,
        method: Method = "ritz",
        settings: RitzSettings | VtstSettings | None = None,
        separation: float = 0.01,
        displacement: float | None = None,
        guards: Guards | None = None,
        trajectory: FrameTarget | None = None,
        images: FrameTarget | None = None,
        logfile: IO[str] | str | Path | None = None,
        restart: str | Path | None = None,
        append_trajectory: bool = False,
        loginterval: int = 1,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(atoms, restart=None, logfile=logfile, trajectory=None, **kwargs)
        self.fmax = 0.001
        self.restart = restart
        self.method = method
        self.settings = settings_for(method, settings, separation)
        self.guards = guards or Guards(max_force=100.0)
        self.history: list[HistoryEntry] = []
        self.reason: StopReason | None = None
        resumes = restart is not None and Path(restart).is_file()
        keep = append_trajectory or resumes
        self._frames = None if trajectory is None else FrameFile(trajectory, append=keep)
        self._images = None if images is None else FrameFile(images, append=keep)
        self.trajectory = trajectory  # type: ignore[assignment]  # ASE's hint lacks open ones
        if self._frames is not None:
            self.attach(self._write_frame, interval=loginterval)
        self._probe = Probe(atoms, float(separation), self._images, self.guards.caught)
        if displacement is None:
            displacement = 1.2 if method == "vtst" and mode is None else 0.0
        start = random_mode(atoms, seed) if mode is None else free_mode(atoms, mode)
        self._displacement = displacement * start
        self._follower = follower_for(
            self.settings, start.ravel()[self._probe.free], self._probe.owners
        )
        if restart is not None and resumes:
            self._load(restart)

    # What a user asks for

    @property
    def mode(self) -> np.ndarray:
        """The current mode, (natoms, 3), of norm one."""
        return self._probe.full(self._follower.mode)

    @property
    def curvature(self) -> float | None:
        """The curvature measured last, eV/Å²; None before the first rotation."""
        return self._follower.curvature

    @property
    def hessian(self) -> SubspaceHessian | None:
        """The model of the Hessian over the free components; None for "vtst"."""
        return self._follower.model

    @property
    def separation(self) -> float:
        """Distance of the rotated image from the center, Å."""
        return self._probe.separation

    @property
    def calls(self) -> int:
        """Force calls so far."""
        return self._probe.calls

    def run(self, fmax: float = 0.001, steps: int = _MANY_STEPS) -> bool:  # type: ignore[override]
        """Search until converged, or until a limit or the number of steps is reached.

        Parameters
        ----------
        fmax
            Largest force on any atom at convergence, eV/Å.
        steps
            Largest number of steps.

        Returns
        -------
        bool
            Whether the atoms are at a saddle; `reason` says why the run ended.
        """
        converged = False
        for converged in self.irun(fmax, steps):  # noqa: B007
            pass
        return converged

    def irun(  # type: ignore[override]
        self, fmax: float = 0.001, steps: int = _MANY_STEPS
    ) -> Iterator[bool]:
        """Search as a generator that yields, after every step, whether it has converged.

        Parameters
        ----------
        fmax, steps
            As for `run`.
        """
        self.fmax = fmax
        self.max_steps = self.nsteps + steps
        self.reason = None
        try:
            self._begin()
        except LimitBroken as broken:
            self._end(broken.violation)
            yield False
            return
        if not self.history:
            self._report()
        converged = self.converged()
        yield converged
        while not converged and self.reason is None and self.nsteps < self.max_steps:
            self.step()
            if self.reason is None:
                self.nsteps += 1
                self._report()
                converged = self.converged()
            yield converged
        if self.reason is None:
            self.reason = (
                StopReason("converged", "a saddle was found", self.nsteps)
                if converged
                else StopReason("steps", "the number of steps was reached", self.nsteps)
            )

    def converged(self, forces: np.ndarray | None = None, **kwargs: Any) -> bool:  # noqa: ANN401
        """Return whether forces are below `fmax` at a place of negative curvature.

        Parameters
        ----------
        forces
            Forces, (natoms, 3), eV/Å; those of the atoms if None.
        **kwargs
            Of no interest here.
        """
        del kwargs
        gradient = self._probe.here.gradient
        if forces is not None:
            gradient = -np.ravel(forces)[self._probe.free]
        curvature = self._follower.curvature
        if curvature is None or not self._measured_here() or not curvature < -_FLAT:
            return False
        to_ridge = abs(float(gradient @ self._follower.mode)) / -curvature
        return self._probe.largest(gradient) < self.fmax and to_ridge < _OFF_RIDGE

    def gradient_converged(self, gradient: np.ndarray) -> bool:
        """Return the same for a gradient.

        Parameters
        ----------
        gradient
            Gradient, (3 natoms,), eV/Å.
        """
        return self.converged(-np.reshape(gradient, (-1, 3)))

    def step(self) -> None:
        """Make one step: rotate where needed, then translate."""
        self._begin()
        probe = self._probe
        probe.step = self.nsteps
        try:
            self._follower.rigid = probe.rotations()
            if probe.largest() < _NEAR * self.fmax and not self._measured_here():
                self._follower.verify(probe.product)
                if self.nsteps == 0 and self.converged():  # started on a saddle: it stays there
                    probe.evaluate(probe.here.positions, "centre")
                    return
            self._follower.prepare(probe.product)
            self._translate()
        except LimitBroken as broken:
            self._end(broken.violation)
        except BaseException:
            probe.place(probe.here.positions)
            raise

    def todict(self) -> dict[str, Any]:
        """Return a description for files."""
        return {
            "type": "optimization",
            "optimizer": "Dimer",
            "method": self.method,
            "separation": self.separation,
            "settings": asdict(self.settings),
        }

    def log(self, gradient: np.ndarray | None = None) -> None:
        """Write one line to the log file.

        Parameters
        ----------
        gradient
            Of no interest here.
        """
        del gradient
        if self.nsteps == 0:
            self.logfile.write(
                f"{'':6s} {'Step':>5s} {'Time':>8s} {'Energy':>15s} {'fmax':>12s} "
                f"{'Curvature':>12s} {'Calls':>6s}\n"
            )
        now = time.strftime("%H:%M:%S")
        last = self.history[-1]
        curvature = "-" if last.curvature is None else f"{last.curvature:.4f}"
        self.logfile.write(
            f"Dimer: {last.step:5d} {now:>8s} {last.energy:15.6f} {last.fmax:12.6f} "
            f"{curvature:>12s} {last.calls:6d}\n"
        )

    # The search

    def _begin(self) -> None:
        """Make sure that the center's energy and forces are known."""
        probe = self._probe
        if probe.is_at_center():
            return
        fresh = probe.center is None
        start = self.atoms.get_positions()
        probe.step = self.nsteps
        try:
            probe.center = probe.evaluate(start + self._displacement if fresh else start, "centre")
        except BaseException:
            probe.place(start)
            raise
        self._follower.moved()
        if fresh:
            center = probe.center
            self._keeper = GuardKeeper(self.guards, self.atoms, center.positions, center.energy)

    def _translate(self) -> None:
        before = self._probe.here
        for attempt in range(self.guards.retries + 1):
            proposal = self._follower.propose(before)
            try:
                after = self._moved(before.positions + self._probe.full(proposal.step))
            except LimitBroken:
                self._follower.refuse(proposal.step)
                if attempt == self.guards.retries:
                    raise
            else:
                step = (after.positions - before.positions).ravel()[self._probe.free]
                self._follower.accept(before, after, step, proposal)
                self._probe.center = after
                return

    def _moved(self, positions: np.ndarray) -> Image:
        """Return the image at positions that keep all limits."""
        violation = self._keeper.check_positions(positions)
        if violation is not None:
            raise LimitBroken(violation)
        return self._probe.evaluate(positions, "centre", self._check)

    def _check(self, image: Image) -> Violation | None:
        violation = finite(image) or self._keeper.check_results(image.energy, image.forces)
        if violation is not None and violation.kind == "force":
            before = np.linalg.norm(self._probe.here.forces, axis=1).max()
            if violation.value is not None and violation.value < before:
                return None  # a start above the ceiling may come down
        return violation

    def _end(self, violation: Violation) -> None:
        if self._probe.center is not None:
            self._probe.place(self._probe.center.positions)
        self.reason = StopReason(
            violation.kind, violation.message, self.nsteps, violation.value, violation.limit
        )

    def _measured_here(self) -> bool:
        return self._follower.path_since_measured < _CURVATURE_HOLDS

    # Records

    def _report(self) -> None:
        energy, largest = self._probe.here.energy, self._probe.largest()
        entry = HistoryEntry(self.nsteps, self.calls, energy, largest, self.curvature)
        self.history.append(entry)
        self.log()
        self.call_observers()
        self._save()

    def _write_frame(self) -> None:
        info: dict[str, object] = {"dimer": "centre", "step": self.nsteps, "call": self.calls}
        if self.curvature is not None:
            info["curvature"] = self.curvature
        if self._frames is not None:
            self._frames.write(frame(self.atoms, self._probe.here, **info))

    def _save(self) -> None:
        if self.restart is None or self.comm.rank != 0:
            return
        probe, keeper = self._probe, self._keeper
        arrays, data = self._follower.state()
        arrays = {_FOLLOWER + name: array for name, array in arrays.items()}
        image = vars(probe.here).copy()
        arrays |= {"free": probe.free, "start": keeper.start}
        arrays |= {name: image.pop(name) for name in ("positions", "forces", "gradient")}
        search = {
            "method": self.method,
            "start_energy": keeper.energy,
            "steps": self.nsteps,
            "calls": self.calls,
            "history": [asdict(entry) for entry in self.history],
            "engine": data,
        }
        write_checkpoint(self.restart, "Dimer", arrays, image | search, self.atoms)

    def _load(self, restart: str | Path) -> None:
        arrays, data = read_checkpoint(restart, "Dimer", self.atoms)
        probe, free = self._probe, arrays.pop("free")
        if data["method"] != self.method:
            raise CheckpointError(
                f"{restart}: written by method {data['method']!r}; this search is "
                f"{self.method!r}; name another restart file"
            )
        if not np.array_equal(free, probe.free):
            raise CheckpointError(
                f"{restart}: {len(free)} components were free to move, now {len(probe.free)} are; "
                "give the constraints that the search began with"
            )
        start = arrays.pop("start")
        image = {name: arrays.pop(name) for name in ("positions", "forces", "gradient")}
        probe.center, probe.calls = Image(energy=data["energy"], **image), data["calls"]
        probe.place(probe.center.positions)
        self._keeper = GuardKeeper(self.guards, self.atoms, start, data["start_energy"])
        self.nsteps = data["steps"]
        self.history = [HistoryEntry(**entry) for entry in data["history"]]
        state = {name.removeprefix(_FOLLOWER): array for name, array in arrays.items()}
        self._follower.restore(state, data["engine"])
        if self._frames is not None:
            self._frames.drop_after("step", self.nsteps)
        if self._images is not None:
            self._images.drop_after("call", self.calls)
