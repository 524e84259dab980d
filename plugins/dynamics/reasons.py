"""Why a run ended, as an object that says so in words and in numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

StopKind = Literal[
    "steps",  # all steps that were asked for
    "converged",  # a search found what it was looking for
    "asked",  # the caller's own stop function
    "energy",
    "force",
    "distance",
    "displacement",
    "not_finite",
    "calculator",
    "unreachable",
    "no_direction",
    "curvature",
]


@dataclass(frozen=True)
class StopReason:
    """Why a run ended; true in a boolean context when the run ended as it was meant to.

    Attributes
    ----------
    kind
        Machine-readable class of the reason.
    message
        The reason in words.
    step
        Number of accepted steps when the run ended.
    value, limit
        What was measured and what was allowed, where a limit ended the run.
    """

    kind: StopKind
    message: str
    step: int
    value: float | None = None
    limit: float | None = None

    def __bool__(self) -> bool:
        return self.kind in {"steps", "converged", "asked"}

    def __str__(self) -> str:
        return f"step {self.step}: {self.message}"

    def todict(self) -> dict[str, str | float | int | None]:
        """Return the reason as plain data."""
        return asdict(self)
