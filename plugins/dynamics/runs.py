"""Checkpoint files: arrays and plain data in one NumPy archive, replaced atomically.

Images of a search as frames that carry their energy and forces.

What runs under guards have in common: reasons to end, checkpoints, logs and trajectories.
"""

from __future__ import annotations

import io
import json
import os
import re
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.io.trajectory import Trajectory
from ase.optimize.optimize import Dynamics
from ase.parallel import world

from pescape.plugins.dynamics.guards import StopReason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ase import Atoms

    from pescape.plugins.dynamics.guards import Violation


_META = "__meta__"


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be read, or that belongs to another run."""


def write_checkpoint(
    path: str | Path, kind: str, arrays: Mapping[str, np.ndarray], data: Mapping[str, Any]
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
    """
    path = Path(path)
    text = json.dumps({"kind": kind, "data": dict(data)})
    buffer = io.BytesIO()
    members: dict[str, Any] = {name: np.asarray(array) for name, array in arrays.items()}
    members[_META] = np.frombuffer(text.encode(), dtype=np.uint8)
    np.savez(buffer, **members)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(buffer.getvalue())
        os.replace(name, path)  # noqa: PTH105
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_checkpoint(path: str | Path, kind: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read a checkpoint back.

    Parameters
    ----------
    path
        File that `write_checkpoint` wrote.
    kind
        Name of the class that reads.

    Returns
    -------
    tuple
        The arrays and the plain data.
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
    return arrays, meta["data"]


@dataclass(frozen=True, eq=False)
class Image:
    """One force call.

    Attributes
    ----------
    positions
        Positions, (natoms, 3), Å.
    energy
        The energy whose derivative the forces are, eV.
    forces
        Forces without constraints, (natoms, 3), eV/Å.
    gradient
        Gradient along the free degrees of freedom, (n,), eV/Å.
    """

    positions: np.ndarray
    energy: float
    forces: np.ndarray
    gradient: np.ndarray


def consistent_energy(atoms: Atoms) -> float:
    """Return the energy that belongs to the forces, eV: `free_energy` where there is one."""
    try:
        return float(atoms.get_potential_energy(force_consistent=True))
    except NotImplementedError:  # as ASE's PropertyNotImplementedError is
        return float(atoms.get_potential_energy())


def frame(atoms: Atoms, image: Image, **info: object) -> Atoms:
    """Return a copy of the atoms at an image, with its energy, forces and tags in `info`."""
    copy = atoms.copy()
    copy.arrays["positions"] = image.positions.copy()
    copy.info.update(info)
    copy.calc = SinglePointCalculator(
        copy, energy=image.energy, free_energy=image.energy, forces=image.forces
    )
    return copy


class FrameWriter(Protocol):
    """An open trajectory, or anything else that takes frames."""

    def write(self, atoms: Atoms) -> object:
        """Take a frame."""


FrameTarget = str | Path | FrameWriter


class FrameFile:
    """A file that frames are appended to; `.traj` or any format that ASE appends to.

    Parameters
    ----------
    target
        A path, or an open object with a `write` method.
    append
        Keep what is there.
    """

    def __init__(self, target: FrameTarget, *, append: bool) -> None:
        self.target = Path(target) if isinstance(target, (str, Path)) else target
        if isinstance(self.target, Path) and not append:
            self.target.unlink(missing_ok=True)

    def write(self, atoms: Atoms) -> None:
        """Append a frame."""
        if not isinstance(self.target, Path):
            self.target.write(atoms)
        elif self.target.suffix == ".traj":
            with Trajectory(self.target, "a") as file:
                file.write(atoms)
        else:
            write(self.target, atoms, append=True)

    def drop_after(self, label: str, last: int) -> None:
        """Drop frames at the end whose number in `info` is beyond the last one wanted.

        A search that was killed has written them after its checkpoint and will write them again.
        Files other than `.traj` and `.extxyz` stay as they are.

        Parameters
        ----------
        label
            Name of the number in `info`.
        last
            Largest number to keep.
        """
        if not isinstance(self.target, Path) or not self.target.is_file():
            return
        if self.target.suffix == ".traj":
            _shorten_trajectory(self.target, label, last)
        elif self.target.suffix in {".xyz", ".extxyz"}:
            _shorten_extxyz(self.target, label, last)


def count_frames(path: str | Path) -> int:
    """Return the number of frames in a trajectory file; 0 where there is none."""
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
    path = Path(path)
    if count_frames(path) <= count:
        return
    scratch = path.with_name(f"{path.name}.part")
    with Trajectory(str(path)) as frames, Trajectory(str(scratch), "w") as kept:
        kept.set_description(frames.description or {})
        for index in range(count):
            kept.write(frames[index])
    scratch.replace(path)


def _shorten_trajectory(path: Path, label: str, last: int) -> None:
    with Trajectory(path) as file:
        count = len(file)
        while count and file[count - 1].info.get(label, last) > last:
            count -= 1
    keep_frames(path, count)


def _shorten_extxyz(path: Path, label: str, last: int) -> None:
    """Cut the text at the first of the frames to drop; a frame torn by a kill goes too."""
    lines = path.read_text().splitlines(keepends=True)
    ends, place = [0], 0
    numbers: list[int] = []
    while place < len(lines):
        end = place + int(lines[place]) + 2
        if end > len(lines) or not lines[end - 1].endswith("\n"):
            break
        found = re.search(rf"\b{label}=(\d+)", lines[place + 1])
        numbers.append(int(found[1]) if found else last)
        ends.append(end)
        place = end
    while numbers and numbers[-1] > last:
        numbers.pop()
        ends.pop()
    if ends[-1] < len(lines):
        with path.open("r+") as file:
            file.truncate(len("".join(lines[: ends[-1]]).encode()))


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
            checkpoint = self._read_checkpoint(self.restart, atoms)
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
        self._frames = count_frames(path) if path is not None else _length(trajectory)
        if trajectory is not None:
            self.attach(self._count_frame, interval=loginterval)
        if checkpoint is not None:
            arrays, data = checkpoint
            del data["frames"]
            self.nsteps = data.pop("nsteps")
            self._announced = True
            self._resume(arrays, data)

    # -- what a kind of run brings ---------------------------------------------------------

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

    # -- what a run looks like from outside ------------------------------------------------

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
        """Return whether the run has ended; there is nothing to converge to."""
        return self.reason is not None

    def gradient_converged(self, gradient: np.ndarray | None = None) -> bool:
        """Return whether the run has ended, in ASE's words."""
        del gradient
        return self.reason is not None

    def log(self, *_args: Any, **_kwargs: Any) -> None:  # noqa: ANN401
        """Write one line, every `loginterval` steps."""
        if not self._logs or self.nsteps % self.loginterval:
            return
        head, line = self._log_line()
        if self.nsteps == 0:
            self.logfile.write(f"# Step{head}\n")
        self.logfile.write(f"{self.nsteps:6d}{line}\n")
        if isinstance(self.logfile, io.IOBase):  # before ASE 3.26: an open file
            self.logfile.flush()

    # -- beginnings and ends ---------------------------------------------------------------

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
        arrays |= {"numbers": self.atoms.numbers, "cell": self.atoms.cell.array}
        data |= {"nsteps": self.nsteps, "frames": self._frames}
        write_checkpoint(self.restart, self._kind, arrays, data)

    def _read_checkpoint(
        self, path: Path, atoms: Atoms
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        arrays, data = read_checkpoint(path, self._kind)
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
        return arrays, data


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


def _length(trajectory: object) -> int:
    """Return the number of frames of an open trajectory, as far as it tells."""
    return len(trajectory) if hasattr(trajectory, "__len__") else 0
