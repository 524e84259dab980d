"""Images of a search as frames that carry their energy and forces."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.io.trajectory import Trajectory

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms


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
