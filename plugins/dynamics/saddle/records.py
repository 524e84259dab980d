"""Saddles that searches found: records, what makes two of them one, and a table."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ase import Atoms


@dataclass(frozen=True, eq=False)
class End:
    """A minimum at the foot of a slide.

    Attributes
    ----------
    energy
        Energy above the campaign's minimum, eV.
    distance
        Displacement of the furthest atom from that minimum, Å.
    converged
        Whether the slide reached its force limit.
    positions
        Positions, (natoms, 3), Å.
    """

    energy: float
    distance: float
    converged: bool
    positions: np.ndarray


@dataclass(frozen=True, eq=False)
class Saddle:
    """What one search found.

    Attributes
    ----------
    number
        Number of the start.
    converged
        Whether it is a saddle; all that follows is meaningful only then.
    reason
        Why the search ended.
    calls, calls_rough, slide_calls, index_calls
        Force calls of the search to `fmax` and to 0.01 eV/Å, of the slides, of the index check.
    energy
        Energy above the minimum, eV.
    curvature
        Lowest curvature, eV/Å².
    index
        Negative curvatures of the partial Hessian; None if not looked at.
    positions, mode
        Positions and unit mode, (natoms, 3).
    ends
        The minima at both sides.
    connected
        Whether one of them is the minimum of the campaign.
    fingerprint
        Numbers that agree for saddles which differ by symmetry or by exchange of like atoms.
    multiplicity
        How many searches found this saddle or one like it.
    """

    number: int
    converged: bool
    reason: str
    calls: int
    calls_rough: int | None
    energy: float
    curvature: float | None
    positions: np.ndarray
    mode: np.ndarray
    slide_calls: int = 0
    index_calls: int = 0
    index: int | None = None
    ends: tuple[End, ...] = ()
    connected: bool = False
    fingerprint: np.ndarray = field(default_factory=lambda: np.zeros(0))
    multiplicity: int = 1

    @property
    def barrier(self) -> float | None:
        """Energy above the campaign's minimum if connected to it, eV."""
        return self.energy if self.connected else None

    @property
    def reverse_barrier(self) -> float | None:
        """Energy above the minimum at the other side if connected, eV."""
        if not self.connected:
            return None
        return self.energy - max(self.ends, key=lambda end: end.distance).energy


def fingerprint(atoms: Atoms) -> np.ndarray:
    """Return numbers, (natoms,), that no rotation, translation or exchange of like atoms changes.

    They are the eigenvalues of a matrix of overlaps between the atoms, weighted by element.
    """
    distances = atoms.get_all_distances(mic=bool(atoms.pbc.any()))
    weights = np.sqrt(atoms.numbers / atoms.numbers.max())
    return np.linalg.eigvalsh(np.exp(-((distances / 2.0) ** 2)) * np.outer(weights, weights))


def distinct_saddles(
    saddles: Iterable[Saddle], *, energy: float = 0.003, shape: float = 0.02
) -> list[Saddle]:
    """Merge saddles that agree in energy (eV) and fingerprint; ascending in energy."""
    kept: list[Saddle] = []
    for saddle in saddles:
        if not saddle.converged:
            continue
        for place, other in enumerate(kept):
            alike = abs(saddle.energy - other.energy) < energy
            if alike and np.abs(saddle.fingerprint - other.fingerprint).max() < shape:
                best = saddle if saddle.connected and not other.connected else other
                count = other.multiplicity + saddle.multiplicity
                kept[place] = replace(best, multiplicity=count)
                break
        else:
            kept.append(saddle)
    return sorted(kept, key=lambda saddle: saddle.energy)


def saddle_table(saddles: Sequence[Saddle]) -> str:
    """Return a table in plain text, one line for each saddle."""
    lines = [
        (
            f"{'energy/eV':>10s} {'barrier':>9s} {'reverse':>9s} {'curvature':>10s} "
            f"{'index':>5s} {'found':>5s} {'connected':>9s} {'calls':>6s}"
        )
    ]
    for saddle in saddles:
        barrier, reverse = saddle.barrier, saddle.reverse_barrier
        lines.append(
            f"{saddle.energy:10.4f} {_number(barrier):>9s} {_number(reverse):>9s} "
            f"{_number(saddle.curvature):>10s} {'-' if saddle.index is None else saddle.index:>5} "
            f"{saddle.multiplicity:5d} {'yes' if saddle.connected else 'no':>9s} "
            f"{saddle.calls:6d}"
        )
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
