"""Saddle searches for ASE: a dimer that follows the softest mode."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from ase.optimize.optimize import Optimizer

from pescape.plugins.dynamics.dimer_state import HistoryEntry, SearchState
from pescape.plugins.dynamics.guards import GuardKeeper, Guards, Violation
from pescape.plugins.dynamics.images import FrameFile, Image, consistent_energy, frame
from pescape.plugins.dynamics.modes import Seed, free_mode, random_mode
from pescape.plugins.dynamics.projection import FreeSpace, free_components
from pescape.plugins.dynamics.reasons import StopReason
from pescape.plugins.dynamics.ritz import RitzEngine, RitzSettings
from pescape.plugins.dynamics.vtst import VtstEngine, VtstSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ase import Atoms

    from pescape.plugins.dynamics.hessian import SubspaceHessian

Method = Literal["ritz", "vtst"]
_MANY_STEPS = 100_000_000
_CURVATURE_HOLDS = 0.05  # Å of path along which a measured curvature keeps its sign


class _Stopped(Exception):  # noqa: N818
    """A limit was broken."""

    def __init__(self, violation: Violation) -> None:
        super().__init__(violation.message)
        self.violation = violation


class Dimer(Optimizer):
    """Find a first-order saddle point near the atoms.

    Follows ASE's optimizer contract (`run`, `irun`, `attach`, `converged`, `trajectory`,
    `logfile`, `restart`). A search has converged when all forces are below `fmax` and the lowest
    curvature, measured there, is negative.

    Parameters
    ----------
    atoms
        The atoms, with a calculator. Constraints are respected.
    mode
        Direction to start from, (natoms, 3) or flattened; random if None. Left unchanged;
        constrained parts and net translation are taken out of a copy.
    seed
        Seed of the random mode and displacement, of this object alone.
    method
        "ritz": Ritz rotation and reflected Newton steps in a trust region on a limited-memory
        Hessian model that all force calls feed. "vtst": conjugate-gradient rotation and L-BFGS
        on the reflected force, with the settings of Waters and Rondinelli.
    settings
        `RitzSettings` or `VtstSettings`; None takes the method's defaults.
    separation
        Distance of the rotated image from the centre, Å, the norm over all atoms.
    displacement
        Norm of a displacement along the mode before the first force call, Å. None: 1.2 for
        "vtst" without a mode, as in the paper, else 0.
    guards
        Ceilings of energy, force and displacement and the shortest distance; a step that breaks
        one is halved a few times, then the run ends with the reason.
    trajectory
        File or open trajectory for the centres, each with energy and forces.
    images
        File (.traj, .extxyz) for every force call, tagged in ``info["dimer"]`` as "centre",
        "rotation" or "refused".
    logfile
        File or "-" for one line a step.
    restart
        Checkpoint, rewritten after every step; read if it exists, and the search goes on as if
        it had never stopped, bit by bit.
    append_trajectory
        Append to `trajectory` and `images` also at the first step.
    loginterval
        Write every so many steps to the trajectory.
    """

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
        trajectory: object = None,
        images: object = None,
        logfile: object = None,
        restart: str | Path | None = None,
        append_trajectory: bool = False,
        loginterval: int = 1,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(atoms, restart=None, logfile=logfile, trajectory=None, **kwargs)
        self.restart = restart
        self.method = method
        self.settings = _settings(method, settings, separation)
        self.separation = float(separation)
        self.guards = guards or Guards(max_force=100.0)
        self.calls = 0
        self.history: list[HistoryEntry] = []
        self.reason: StopReason | None = None
        self._image: Image | None = None
        self._free, self._atom_of = free_components(atoms)
        resumes = restart is not None and Path(restart).is_file()
        keep = append_trajectory or resumes
        self._images = None if images is None else FrameFile(images, append=keep)
        self.trajectory = trajectory
        if trajectory is not None:
            frames = FrameFile(trajectory, append=keep)
            self.attach(lambda: frames.write(self._frame()), interval=loginterval)
        if displacement is None:
            displacement = 1.2 if method == "vtst" and mode is None else 0.0
        start = random_mode(atoms, seed) if mode is None else free_mode(atoms, mode)
        self._displacement = displacement * start
        engine = RitzEngine if method == "ritz" else VtstEngine
        self._engine = engine(self.settings, start.ravel()[self._free], self._atom_of)
        if resumes:
            self._load()

    # What a user asks for

    @property
    def mode(self) -> np.ndarray:
        """The current mode, (natoms, 3), of norm one."""
        full = np.zeros(3 * len(self.atoms))
        full[self._free] = self._engine.mode
        return full.reshape(-1, 3)

    @property
    def curvature(self) -> float | None:
        """The curvature measured last, eV/Å²; None before the first rotation."""
        return self._engine.curvature

    @property
    def hessian(self) -> SubspaceHessian | None:
        """The model of the Hessian over the free components; None for "vtst"."""
        return self._engine.model if isinstance(self._engine, RitzEngine) else None

    def run(self, fmax: float = 0.001, steps: int = _MANY_STEPS) -> bool:
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

    def irun(self, fmax: float = 0.001, steps: int = _MANY_STEPS) -> Iterator[bool]:
        """Search as a generator that yields, after every step, whether it has converged."""
        self.fmax = fmax
        self.max_steps = self.nsteps + steps
        self.reason = None
        try:
            self._begin()
        except _Stopped as stopped:
            self._end(stopped.violation)
            yield False
            return
        if self.nsteps == 0:
            self._report()
        converged = self.converged()
        yield converged
        while not converged and self.reason is None and self.nsteps < self.max_steps:
            self.step()
            if self.reason is None:
                self.nsteps += 1
                self._report()
                self._save()
                converged = self.converged()
            yield converged
        if self.reason is None:
            kind = "converged" if converged else "steps"
            text = "a saddle was found" if converged else "the number of steps was reached"
            self.reason = StopReason(kind, text, self.nsteps)

    def converged(self, forces: np.ndarray | None = None, **kwargs: Any) -> bool:  # noqa: ANN401
        """Return whether forces are below `fmax` at a place of negative curvature."""
        del kwargs
        largest = self._fmax() if forces is None else float(np.linalg.norm(forces, axis=1).max())
        return largest < self.fmax and self._measured_here() and self._engine.curvature < 0

    def gradient_converged(self, gradient: np.ndarray) -> bool:
        """Return the same for a gradient, (3 natoms,)."""
        return self.converged(-np.reshape(gradient, (-1, 3)))

    def step(self) -> None:
        """Make one step: rotate where needed, then translate."""
        self._begin()
        try:
            if self._fmax() < self.fmax and not self._measured_here():
                self._engine.verify(self._product)
                if self.converged():
                    self._refresh()
                    return
            self._engine.prepare(self._product)
            self._translate()
        except _Stopped as stopped:
            self._end(stopped.violation)
        except BaseException:
            self._place(self._image.positions)
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
        """Write one line to the log file."""
        del gradient
        if self.logfile is None:
            return
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

    # Force calls

    def _place(self, positions: np.ndarray) -> None:
        self.atoms.set_positions(positions, apply_constraint=False)

    def _evaluate(self, positions: np.ndarray) -> Image:
        """Move the atoms, as far as constraints let them, and call the calculator."""
        self.atoms.set_positions(positions)
        forces = np.array(self.atoms.get_forces(apply_constraint=False))
        energy = consistent_energy(self.atoms)
        self.calls += 1
        gradient = -FreeSpace(self.atoms).project(forces).ravel()[self._free]
        return Image(self.atoms.get_positions(), energy, forces, gradient)

    def _keep(self, image: Image, tag: str) -> None:
        if self._images is not None:
            info = {"dimer": tag, "step": self.nsteps, "call": self.calls}
            self._images.write(frame(self.atoms, image, **info))

    def _product(self, vector: np.ndarray) -> np.ndarray:
        """Return the Hessian times a unit vector, (n,), by a forward difference."""
        shift = np.zeros(3 * len(self.atoms))
        shift[self._free] = self.separation * vector
        image = self._evaluate(self._image.positions + shift.reshape(-1, 3))
        violation = None
        if not (np.isfinite(image.energy) and np.all(np.isfinite(image.forces))):
            violation = Violation("not_finite", "the calculator returned numbers not finite")
        self._keep(image, "rotation" if violation is None else "refused")
        if violation is not None:
            raise _Stopped(violation)
        return (image.gradient - self._image.gradient) / self.separation

    # The search

    def _begin(self) -> None:
        """Make sure that the centre's energy and forces are known."""
        if self._image is not None and np.array_equal(self._image.positions, self.atoms.positions):
            return
        fresh = self._image is None
        start = self.atoms.get_positions()
        try:
            image = self._evaluate(start + self._displacement if fresh else start)
        except BaseException:
            self._place(start)
            raise
        keeper = GuardKeeper(Guards(max_force=None), self.atoms, image.positions, image.energy)
        violation = keeper.check_results(image.energy, image.forces)
        if violation is not None:
            raise _Stopped(violation)
        self._image = image
        self._keep(image, "centre")
        self._engine.moved()
        if fresh:
            self._keeper = GuardKeeper(self.guards, self.atoms, image.positions, image.energy)

    def _translate(self) -> None:
        before = self._image
        for _ in range(self.guards.retries + 1):
            proposal = self._engine.propose(before)
            full = np.zeros(3 * len(self.atoms))
            full[self._free] = proposal.step
            positions = before.positions + full.reshape(-1, 3)
            violation = self._keeper.check_positions(positions)
            if violation is None:
                after = self._evaluate(positions)
                violation = self._keeper.check_results(after.energy, after.forces)
                self._keep(after, "centre" if violation is None else "refused")
            if violation is None:
                step = (after.positions - before.positions).ravel()[self._free]
                self._engine.accept(before, after, step, proposal.gradient)
                self._image = after
                return
            self._engine.refuse(proposal.step)
        raise _Stopped(violation)

    def _refresh(self) -> None:
        """Leave the calculator at the centre after a rotation."""
        self._evaluate(self._image.positions)

    def _end(self, violation: Violation) -> None:
        if self._image is not None:
            self._place(self._image.positions)
        self.reason = StopReason(
            violation.kind, violation.message, self.nsteps, violation.value, violation.limit
        )

    def _measured_here(self) -> bool:
        known = self._engine.curvature is not None
        return known and self._engine.path_since_measured < _CURVATURE_HOLDS

    def _fmax(self) -> float:
        squares = np.bincount(self._atom_of, self._image.gradient**2)
        return float(np.sqrt(squares.max()))

    # Records

    def _report(self) -> None:
        entry = HistoryEntry(
            self.nsteps, self.calls, self._image.energy, self._fmax(), self._engine.curvature
        )
        self.history.append(entry)
        self.log()
        self.call_observers()

    def _frame(self) -> Atoms:
        info = {"dimer": "centre", "step": self.nsteps, "call": self.calls}
        if self.curvature is not None:
            info["curvature"] = self.curvature
        return frame(self.atoms, self._image, **info)

    def _save(self) -> None:
        if self.restart is None or self.comm.rank != 0:
            return
        state = SearchState(
            self.method,
            self.atoms.numbers,
            self._image,
            self._keeper.start,
            self._keeper.energy,
            self.nsteps,
            self.calls,
            self.history,
            *self._engine.state(),
        )
        state.write(self.restart)

    def _load(self) -> None:
        state = SearchState.read(self.restart)
        state.check(self.restart, self.method, self.atoms.numbers)
        self._place(state.image.positions)
        self._image = state.image
        self._keeper = GuardKeeper(self.guards, self.atoms, state.start, state.start_energy)
        self.nsteps, self.calls, self.history = state.steps, state.calls, state.history
        self._engine.restore(state.arrays, state.data)


def _settings(
    method: str, settings: RitzSettings | VtstSettings | None, separation: float
) -> RitzSettings | VtstSettings:
    """Return settings that fit the method."""
    classes = {"ritz": RitzSettings, "vtst": VtstSettings}
    if method not in classes:
        raise ValueError(f"method is {method!r}; expected one of {', '.join(classes)}")
    if not separation > 0:
        raise ValueError(f"separation is {separation}; expected a positive length in Å")
    if settings is None:
        return RitzSettings() if method == "ritz" else VtstSettings(separation=separation)
    if not isinstance(settings, classes[method]):
        raise TypeError(
            f"settings of method {method!r} are a {classes[method].__name__}, "
            f"not a {type(settings).__name__}"
        )
    return settings
