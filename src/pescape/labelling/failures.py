"""Labels that could not be had: what went wrong, recorded and never used silently."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ase.calculators.calculator import CalculationFailed

from pescape.errors import DataError

FailureKind = Literal["not_converged", "crashed", "timed_out", "not_finite", "beyond_limits"]


@dataclass(frozen=True)
class LabelFailure:
    """Why a configuration has no label.

    Parameters
    ----------
    kind
        ``"not_converged"``: the self-consistency ended too early. ``"crashed"``: the program
        ended with an error or was killed, or its output makes no sense. ``"timed_out"``: it
        was killed at its time limit. ``"not_finite"``: it gave a NaN or an infinity.
        ``"beyond_limits"``: forces or energy are beyond what the configuration allows.
    message
        What the last attempt said.
    formula, configuration_id
        Of the configuration.
    reference
        Name of the reference.
    attempts
        How many were made.
    seconds
        Wall time of all attempts.
    tail
        The end of what the program of the last attempt wrote.
    """

    kind: FailureKind
    message: str
    formula: str
    configuration_id: str
    reference: str
    attempts: int
    seconds: float
    tail: str = ""

    def __str__(self) -> str:
        made = "one attempt" if self.attempts == 1 else f"{self.attempts} attempts"
        kind = self.kind.replace("_", " ")
        return f"{self.reference} failed on {self.formula} ({kind}, {made}): {self.message}"


class LabelError(DataError):
    """A configuration that the reference could not label.

    Parameters
    ----------
    failure
        What happened.
    """

    def __init__(self, failure: LabelFailure) -> None:
        super().__init__(str(failure))
        self.failure = failure

    def __reduce__(self) -> tuple[type[LabelError], tuple[LabelFailure]]:
        return LabelError, (self.failure,)


class NotConvergedError(CalculationFailed):
    """A calculator's self-consistency cycle ended before it was converged."""
