"""The force calls of a saddle search: its center, the images around it, and their files."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.io.trajectory import Trajectory

from pescape.plugins.dynamics.guards import LimitBroken, Violation
from pescape.plugins.dynamics.runs import keep_frames
from pescape.plugins.dynamics.surface import (
    FreeSpace,
    consistent_energy,
    free_components,
    rigid_rotations,
)

if TYPE_CHECKING:
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


def frame(atoms: Atoms, image: Image, **info: object) -> Atoms:
    """Return a copy of the atoms at an image, with its energy and forces.

    Parameters
    ----------
    atoms
        The atoms.
    image
        The force call.
    **info
        What to tag the copy with.
    """
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
        """Take a frame.

        Parameters
        ----------
        atoms
            The frame, with its results.
        """


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
        """Append a frame.

        Parameters
        ----------
        atoms
            The frame, with its results.
        """
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
            with Trajectory(self.target) as file:
                count = len(file)
                while count and file[count - 1].info.get(label, last) > last:
                    count -= 1
            keep_frames(self.target, count)
        elif self.target.suffix in {".xyz", ".extxyz"}:
            _shorten_extxyz(self.target, label, last)


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


Check = Callable[[Image], Violation | None]


def finite(image: Image) -> Violation | None:
    """Return a violation where the calculator's numbers are not finite.

    Parameters
    ----------
    image
        A force call.
    """
    if np.isfinite(image.energy) and np.all(np.isfinite(image.forces)):
        return None
    return Violation("not_finite", "the calculator returned numbers that are not finite")


class Probe:
    """Moves atoms and calls their calculator, one image after the other.

    Parameters
    ----------
    atoms
        The atoms, with a calculator.
    separation
        Distance of a rotated image from the center, Å, the norm over all atoms.
    images
        File for every image, tagged in ``info["dimer"]``; None keeps none.
    caught
        Exceptions of the calculator that count as a broken limit.

    Attributes
    ----------
    center
        Where the search stands; None before the first call.
    free, owners
        Flat components that can change, and the atom of each, both (n,).
    calls
        Force calls so far.
    step
        Number that frames are labeled with.
    """

    def __init__(
        self,
        atoms: Atoms,
        separation: float,
        images: FrameFile | None = None,
        caught: tuple[type[Exception], ...] = (),
    ) -> None:
        self.atoms = atoms
        self.separation = separation
        self.free, self.owners = free_components(atoms)
        self.center: Image | None = None
        self.calls = 0
        self.step = 0
        self._images = images
        self._caught = caught

    @property
    def here(self) -> Image:
        """The center; an error before the first force call."""
        if self.center is None:
            raise RuntimeError("the search has not begun; call run() or irun() first")
        return self.center

    def is_at_center(self) -> bool:
        """Return whether the atoms are where the center was evaluated."""
        return self.center is not None and np.array_equal(
            self.center.positions, self.atoms.positions
        )

    def full(self, vector: np.ndarray) -> np.ndarray:
        """Return a vector over the free components as one over all atoms, (natoms, 3).

        Parameters
        ----------
        vector
            Its free components, (n,).
        """
        full = np.zeros(3 * len(self.atoms))
        full[self.free] = vector
        return full.reshape(-1, 3)

    def rotations(self) -> np.ndarray:
        """Return the rigid rotations at the atoms' positions, orthonormal rows, (k, n)."""
        return rigid_rotations(self.atoms)[:, self.free]

    def place(self, positions: np.ndarray) -> None:
        """Put the atoms somewhere, exactly.

        Parameters
        ----------
        positions
            Positions, (natoms, 3), Å.
        """
        self.atoms.set_positions(positions, apply_constraint=False)

    def evaluate(self, positions: np.ndarray, tag: str, check: Check = finite) -> Image:
        """Move the atoms, as far as constraints let them, and call the calculator.

        Parameters
        ----------
        positions
            Positions, (natoms, 3), Å.
        tag
            Label of the frame; "refused" where the check finds a violation.
        check
            Returns what the image breaks; then `LimitBroken` is raised.
        """
        self.atoms.set_positions(positions)
        try:
            forces = np.array(self.atoms.get_forces(apply_constraint=False))
            energy = consistent_energy(self.atoms)
        except self._caught as error:
            message = f"the calculator failed: {type(error).__name__}: {error}"
            raise LimitBroken(Violation("calculator", message)) from error
        self.calls += 1
        gradient = -FreeSpace(self.atoms).project(forces).ravel()[self.free]
        image = Image(self.atoms.get_positions(), energy, forces, gradient)
        violation = check(image)
        self._keep(image, tag if violation is None else "refused")
        if violation is not None:
            raise LimitBroken(violation)
        return image

    def product(self, vector: np.ndarray) -> np.ndarray:
        """Return the Hessian times a vector, (n,), by a forward difference from the center.

        Parameters
        ----------
        vector
            Unit vector, (n,).
        """
        center = self.here
        shifted = center.positions + self.separation * self.full(vector)
        image = self.evaluate(shifted, "rotation")
        return (image.gradient - center.gradient) / self.separation

    def largest(self, gradient: np.ndarray | None = None) -> float:
        """Return the largest force on an atom, eV/Å.

        Parameters
        ----------
        gradient
            Gradient, (n,), eV/Å; that of the center if None.
        """
        gradient = self.here.gradient if gradient is None else gradient
        return float(np.sqrt(np.bincount(self.owners, gradient**2).max()))

    def _keep(self, image: Image, tag: str) -> None:
        if self._images is not None:
            info = {"dimer": tag, "step": self.step, "call": self.calls}
            self._images.write(frame(self.atoms, image, **info))
