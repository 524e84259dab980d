"""The state of a saddle search, and its file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pescape.plugins.dynamics.runs import CheckpointError, Image, read_checkpoint, write_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

_ENGINE = "engine_"


@dataclass(frozen=True)
class HistoryEntry:
    """One step of a search: energy in eV, largest force in eV/Å, curvature in eV/Å²."""

    step: int
    calls: int
    energy: float
    fmax: float
    curvature: float | None


@dataclass(frozen=True, eq=False)
class SearchState:
    """All that a search needs to go on.

    Attributes
    ----------
    method
        Name of the engine.
    numbers
        Atomic numbers, (natoms,).
    cell
        Cell, (3, 3), Å.
    free
        Flat components that could change, (n,).
    image
        The centre.
    start, start_energy
        Positions, (natoms, 3) in Å, and energy (eV) that limits refer to.
    steps, calls
        Steps and force calls so far.
    history
        One entry a step.
    arrays, data
        The engine's own state.
    """

    method: str
    numbers: np.ndarray
    cell: np.ndarray
    free: np.ndarray
    image: Image
    start: np.ndarray
    start_energy: float
    steps: int
    calls: int
    history: list[HistoryEntry]
    arrays: dict[str, np.ndarray]
    data: dict[str, Any]

    def write(self, path: str | Path) -> None:
        """Write a checkpoint, atomically."""
        arrays = {_ENGINE + name: array for name, array in self.arrays.items()}
        arrays |= {
            "numbers": self.numbers,
            "cell": self.cell,
            "free": self.free,
            "positions": self.image.positions,
            "forces": self.image.forces,
            "gradient": self.image.gradient,
            "start": self.start,
        }
        data = {
            "method": self.method,
            "energy": self.image.energy,
            "start_energy": self.start_energy,
            "steps": self.steps,
            "calls": self.calls,
            "history": [asdict(entry) for entry in self.history],
            "engine": self.data,
        }
        write_checkpoint(path, "Dimer", arrays, data)

    @classmethod
    def read(cls, path: str | Path) -> SearchState:
        """Read a checkpoint back."""
        arrays, data = read_checkpoint(path, "Dimer")
        image = Image(arrays["positions"], data["energy"], arrays["forces"], arrays["gradient"])
        engine = {n[len(_ENGINE) :]: a for n, a in arrays.items() if n.startswith(_ENGINE)}
        return cls(
            data["method"],
            arrays["numbers"],
            arrays["cell"],
            arrays["free"],
            image,
            arrays["start"],
            data["start_energy"],
            data["steps"],
            data["calls"],
            [HistoryEntry(**entry) for entry in data["history"]],
            engine,
            data["engine"],
        )

    def check(self, path: str | Path, method: str, atoms: Atoms, free: np.ndarray) -> None:
        """Raise unless the state belongs to a search of this method for these atoms."""
        if self.method != method or not np.array_equal(self.numbers, atoms.numbers):
            raise CheckpointError(
                f"{path}: written by method {self.method!r} for {len(self.numbers)} atoms; this "
                f"search is {method!r} for {len(atoms)}; name another restart file"
            )
        if not np.array_equal(self.free, free):
            raise CheckpointError(
                f"{path}: {len(self.free)} components were free to move, now {len(free)} are; "
                "give the constraints that the search began with"
            )
        if not np.array_equal(self.cell, atoms.cell.array):
            raise CheckpointError(
                f"{path}: the checkpoint's cell is not that of the atoms; "
                "give the atoms that the search began with"
            )
