"""The state of a contour exploration: all that a continued run needs, and its file form."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pescape.plugins.dynamics.contour_step import MEMORY, Phase
from pescape.plugins.dynamics.surrogate import Sample


@dataclass(eq=False)
class ContourState:
    """Where a run stands.

    Attributes
    ----------
    samples
        The last few accepted points, the newest last.
    tangent
        Flat direction along the contour, (n,).
    size
        Length of the last step, Å; 0 before the first.
    turn
        Angle by which the last step turned the force, rad.
    phase
        What the last step was for.
    growth
        Factor by which the next step may be longer than the last.
    stiffness
        Learned correction of the model's curvature along the contour, eV/Å².
    best_gap, stalled
        Smallest distance from the target during a climb or a descent, eV, and the number of steps
        since it shrank.
    start, start_energy
        First positions, (natoms, 3), Å, and their energy, eV.
    """

    samples: list[Sample]
    tangent: np.ndarray
    start: np.ndarray
    start_energy: float
    size: float = 0.0
    turn: float = 0.0
    phase: Phase = "start"
    growth: float = 2.5
    stiffness: float = 0.0
    best_gap: float = field(default=float("inf"))
    stalled: int = 0

    @property
    def newest(self) -> Sample:
        """The last accepted point."""
        return self.samples[-1]

    def append(self, sample: Sample) -> None:
        """Accept a point, and forget the oldest where there are more than needed."""
        self.samples = [*self.samples, sample][-MEMORY:]

    def to_file(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return arrays and plain data that hold the state exactly."""
        arrays = {
            "x": np.array([s.x for s in self.samples]),
            "energy": np.array([s.energy for s in self.samples]),
            "gradient": np.array([s.gradient for s in self.samples]),
            "tangent": self.tangent,
            "start": self.start,
        }
        names = ("start_energy", "size", "turn", "phase", "growth", "stiffness", "best_gap")
        data = {name: getattr(self, name) for name in (*names, "stalled")}
        return arrays, data

    @classmethod
    def from_file(cls, arrays: dict[str, np.ndarray], data: dict[str, Any]) -> ContourState:
        """Return the state that `to_file` gave."""
        samples = [
            Sample(x, float(energy), gradient)
            for x, energy, gradient in zip(
                arrays["x"], arrays["energy"], arrays["gradient"], strict=True
            )
        ]
        return cls(samples=samples, tangent=arrays["tangent"], start=arrays["start"], **data)
