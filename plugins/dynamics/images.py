"""Images of a search as frames that carry their energy and forces."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ase.calculators.calculator import PropertyNotImplementedError
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
    except PropertyNotImplementedError:
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


class FrameFile:
    """A file that frames are appended to; `.traj` or any format that ASE appends to.

    Parameters
    ----------
    target
        A path, or an open object with a `write` method.
    append
        Keep what is there.
    """

    def __init__(self, target: object, *, append: bool) -> None:
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
