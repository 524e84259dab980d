"""What runs under guards have in common: reasons to end, checkpoints, logs and trajectories."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar

import numpy as np
from ase.io.trajectory import Trajectory
from ase.optimize.optimize import Dynamics
from ase.parallel import world

from pescape.files import atomic
from pescape.plugins.dynamics.guards import StopReason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ase import Atoms

    from pescape.plugins.dynamics.guards import Violation


_META = "__meta__"


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be read, or that belongs to another run."""


def write_checkpoint(
    path: str | Path,
    kind: str,
    arrays: Mapping[str, np.ndarray],
    data: Mapping[str, Any],
    atoms: Atoms | None = None,
) -> None:
    """Write a checkpoint so that a kill at any time leaves either the old file or the new one.

    Parameters
    ----------
    path
        File to replace.
    kind
        Name of the class that will read it back.
    arrays
        Arrays, kept bit for bit.
    data
        What JSON can hold; floats survive exactly.
    atoms
        Atoms that the run is of; their elements and cell are kept.
    """
    members: dict[str, Any] = dict(arrays)
    if atoms is not None:
        members |= {"numbers": atoms.numbers, "cell": atoms.cell.array}
    text = json.dumps({"kind": kind, "data": dict(data)})
    members[_META] = np.frombuffer(text.encode(), dtype=np.uint8)
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **members)


def read_checkpoint(
    path: str | Path, kind: str, atoms: Atoms | None = None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read a checkpoint back.

    Parameters
    ----------
    path
        File that `write_checkpoint` wrote.
    kind
        Name of the class that reads.
    atoms
        Atoms that the run goes on with.

    Returns
    -------
    tuple
        The arrays and the plain data.

    Raises
    ------
    CheckpointError
        If it is no checkpoint, one of another class, or one of other atoms or another cell.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        meta = json.loads(arrays.pop(_META).tobytes().decode())
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{path}: not a checkpoint of this package ({error}); remove it to start afresh"
        ) from error
    if meta["kind"] != kind:
        raise CheckpointError(
            f"{path}: a checkpoint of {meta['kind']}, expected one of {kind}; "
            "name another file for this run"
        )
    if atoms is not None:
        numbers, cell = arrays.pop("numbers"), arrays.pop("cell")
        if not np.array_equal(numbers, atoms.numbers):
            raise CheckpointError(
                f"{path}: a checkpoint of {len(numbers)} atoms that are not these {len(atoms)}; "
                "name another file for this run"
            )
        if not np.array_equal(cell, atoms.cell.array):
            raise CheckpointError(
                f"{path}: the checkpoint's cell is not that of the atoms; "
                "give the atoms that the run began with"
            )
    return arrays, meta["data"]


def count_frames(path: str | Path) -> int:
    """Return the number of frames in a trajectory file of ASE; 0 where there is none.

    Parameters
    ----------
    path
        The file.
    """
    path = Path(path)
    if not path.exists() or path.stat().st_size == 0:
        return 0
    with Trajectory(str(path)) as frames:
        return len(frames)


def keep_frames(path: str | Path, count: int) -> None:
    """Drop the frames of a trajectory file beyond the first ones, where it has more.

    Parameters
    ----------
    path
        Trajectory file of ASE; replaced atomically.
    count
        Number of frames to keep.
    """
    if count_frames(path) <= count:
        return
    with (
        atomic(path) as temporary,
        Trajectory(str(path)) as frames,
        Trajectory(str(temporary), "w") as kept,
    ):
        kept.set_description(frames.description or {})
        for index in range(count):
            kept.write(frames[index])


class GuardedDynamics(Dynamics):
    """A run that ends with a reason and can be taken up again exactly.

    Parameters
    ----------
    atoms
        Atoms with a calculator.
    stop
        Called with this object after every step; a text that it returns ends the run.
    restart
        Checkpoint file: read, where it exists, to continue a run exactly, and written every
        `restart_interval` steps and at the end. Frames that a killed run wrote after its last
        checkpoint are then dropped from a trajectory that is given by its name: the continued run
        writes them again.
    trajectory, logfile, append_trajectory, loginterval, **kwargs
        As for ASE's own dynamics; `loginterval` serves both the trajectory and the log.

    Attributes
    ----------
    reason
        Why the run ended; None while it goes on.
    """

    _kind: ClassVar[str]

    def __init__(
        self,
        atoms: Atoms,
        *,
        stop: Callable[[Any], str | None] | None,
        restart: str | Path | None,
        restart_interval: int,
        trajectory: Any,  # noqa: ANN401 -- a path or an open trajectory of any class
        logfile: IO[str] | str | Path | None,
        append_trajectory: bool,
        loginterval: int,
        **kwargs: Any,  # noqa: ANN401 -- handed on to ASE
    ) -> None:
        for name, value in (("restart_interval", restart_interval), ("loginterval", loginterval)):
            if value < 1:
                raise ValueError(f"{name} is {value}: 1 step or more is needed")
        self.stop = stop
        self.restart = None if restart is None else Path(restart)
        self.restart_interval, self.loginterval = restart_interval, loginterval
        self.reason: StopReason | None = None
        self._announced = False
        self._logs = logfile is not None
        checkpoint = None
        if self.restart is not None and self.restart.exists():
            checkpoint = read_checkpoint(self.restart, self._kind, atoms)
        path = None
        if isinstance(trajectory, (str, os.PathLike)):
            path = trajectory = str(trajectory)
        if checkpoint is not None and path is not None:
            comm = kwargs.get("comm", world)
            if comm.rank == 0:
                keep_frames(path, checkpoint[1]["frames"])
            comm.barrier()
        super().__init__(
            atoms,
            logfile=str(logfile) if isinstance(logfile, os.PathLike) else logfile,
            trajectory=trajectory,
            append_trajectory=append_trajectory or checkpoint is not None,
            loginterval=loginterval,
            **kwargs,
        )
        opened = len(trajectory) if hasattr(trajectory, "__len__") else 0  # an open trajectory
        self._frames = opened if path is None else count_frames(path)
        if trajectory is not None:
            self.attach(self._count_frame, interval=loginterval)
        if checkpoint is not None:
            arrays, data = checkpoint
            del data["frames"]
            self.nsteps = data.pop("nsteps")
            self._announced = True
            self._resume(arrays, data)

    # What a kind of run brings

    def _begin(self) -> None:
        """Evaluate the first configuration, where there is none or where the atoms were moved."""
        raise NotImplementedError

    def _state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Return what a continued run needs; None before the first configuration."""
        raise NotImplementedError

    def _resume(self, arrays: dict[str, np.ndarray], data: dict[str, Any]) -> None:
        """Go on from what `_state` gave."""
        raise NotImplementedError

    def _log_line(self) -> tuple[str, str]:
        """Return the names of the columns and the line of the present step."""
        raise NotImplementedError

    # What a run looks like from outside

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
        """Run as a generator, which yields after every step whether the run has ended.

        Parameters
        ----------
        steps
            Number of steps.
        """
        self.reason = None
        self.max_steps = self.nsteps + steps
        self._begin()
        if self.nsteps == 0 and not self._announced:
            self._announce()
        yield self._ended()
        while self.reason is None:
            if self.step():
                self.nsteps += 1
                self.log()
                self.call_observers()
            ended = self._ended()
            if ended or self.nsteps % self.restart_interval == 0:
                self._save()
            yield ended

    def converged(self, *_args: Any, **_kwargs: Any) -> bool:  # noqa: ANN401
        """Return whether the run has ended; there is nothing to converge to.

        Parameters
        ----------
        *_args, **_kwargs
            What ASE gives its optimizers; of no interest here.
        """
        return self.reason is not None

    def gradient_converged(self, gradient: np.ndarray | None = None) -> bool:
        """Return whether the run has ended, in ASE's words.

        Parameters
        ----------
        gradient
            Of no interest here.
        """
        return self.converged(gradient)

    def log(self, *_args: Any, **_kwargs: Any) -> None:  # noqa: ANN401
        """Write one line, every `loginterval` steps.

        Parameters
        ----------
        *_args, **_kwargs
            What ASE gives its optimizers; of no interest here.
        """
        if not self._logs or self.nsteps % self.loginterval:
            return
        head, line = self._log_line()
        if self.nsteps == 0:
            self.logfile.write(f"# Step{head}\n")
        self.logfile.write(f"{self.nsteps:6d}{line}\n")
        if isinstance(self.logfile, io.IOBase):  # before ASE 3.26: an open file
            self.logfile.flush()

    # Beginnings and ends

    def _announce(self) -> None:
        """Log the first configuration, and write it unless a trajectory is being continued."""
        self._announced = True
        self.log()
        if self._frames == 0:
            self.call_observers()

    def _count_frame(self) -> None:
        self._frames += 1

    def _end(self, violation: Violation, step: int | None = None) -> None:
        step = self.nsteps if step is None else step
        value, limit = violation.value, violation.limit
        self.reason = StopReason(violation.kind, violation.message, step, value, limit)

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
        if self.restart is None or self.comm.rank != 0:
            return
        state = self._state()
        if state is None:
            return
        arrays, data = state
        data |= {"nsteps": self.nsteps, "frames": self._frames}
        write_checkpoint(self.restart, self._kind, arrays, data, self.atoms)


def generator(
    seed: int | np.random.SeedSequence | np.random.Generator | None,
    comm: Any = None,  # noqa: ANN401 -- one of ASE's communicators
) -> np.random.Generator:
    """Return random numbers for a run, the same ones on every MPI rank.

    Parameters
    ----------
    seed
        What NumPy takes; None, a seed of chance that the first rank draws for all.
    comm
        Communicator of the ranks that run together; None, ASE's world.
    """
    comm = world if comm is None else comm
    if seed is None and comm.size > 1:
        drawn = np.random.default_rng().integers(2**62, size=1)
        comm.broadcast(drawn, 0)
        seed = int(drawn[0])
    return np.random.default_rng(seed)
