"""Labels that could not be had: what went wrong, recorded and never used silently.

One attempt at a label: ask a calculator, and tell failures apart.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from ase.calculators.calculator import (
    CalculationFailed,
    CalculatorError,
    PropertyNotImplementedError,
    SCFError,
)

from pescape.errors import ConfigError, DataError

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

    from pescape.labelling.reference import LabelPolicy, Reference


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


#: What calculators raise about a configuration; anything else is an error in a program.
_FAILURES = (
    CalculatorError,
    RuntimeError,
    ValueError,
    KeyError,
    ArithmeticError,
    AssertionError,
    OSError,
    subprocess.SubprocessError,
    np.linalg.LinAlgError,
)


@dataclass(frozen=True, eq=False)
class Answer:
    """What a calculator says of a configuration.

    Parameters
    ----------
    results
        energy and free_energy, eV; forces, (N, 3), eV/Å; stress, (6,), eV/Å³, where the
        configuration is periodic.
    details
        For the label's record: version of the program, k-points, steps, …
    """

    results: dict[str, Any]
    details: dict[str, Any] = field(default_factory=dict)


class AttemptError(Exception):
    """An attempt at a label failed.

    Parameters
    ----------
    kind
        See `LabelFailure`.
    message
        What happened.
    """

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def evaluate(atoms: Atoms, reference: Reference, directory: Path | None) -> Answer:
    """Ask the reference for all that a label holds, in this process.

    Parameters
    ----------
    atoms
        The configuration; it is left as it is.
    reference
        The calculator.
    directory
        For its files.

    Raises
    ------
    AttemptError
        It failed on this configuration, or its results are not to be believed.
    """
    new = atoms.copy()
    try:
        with reference.session(directory) as calculator:
            new.calc = calculator
            results = _results(new, reference.name)
            if getattr(calculator, "converged", None) is False:
                raise NotConvergedError("the calculator says that it has not converged")
            details = dict(getattr(calculator, "details", {}))
    except ConfigError:
        raise
    except _FAILURES as error:
        raise AttemptError(_kind(error), f"{error}" or type(error).__name__) from error
    _check(results, reference.policy, len(new))
    return Answer(results, details)


def _kind(error: Exception) -> FailureKind:
    # GPAW and others raise classes of their own, which need not be importable here.
    named = "ConvergenceError" in type(error).__name__
    return (
        "not_converged" if named or isinstance(error, (NotConvergedError, SCFError)) else "crashed"
    )


def _results(new: Atoms, reference: str) -> dict[str, Any]:
    results: dict[str, Any] = {}
    try:
        results["energy"] = float(new.get_potential_energy())
        results["forces"] = np.array(new.get_forces(apply_constraint=False))
        try:
            results["free_energy"] = float(new.get_potential_energy(force_consistent=True))
        except PropertyNotImplementedError:
            results["free_energy"] = results["energy"]
        if new.pbc.all():
            results["stress"] = np.array(new.get_stress(apply_constraint=False))
    except PropertyNotImplementedError as error:
        if "forces" not in results:
            raise DataError(f"{reference} gives no energy or no forces: {error}") from error
    return results


def _check(results: dict[str, Any], policy: LabelPolicy, atoms: int) -> None:
    """Refuse what is not finite or beyond the limits."""
    for name, value in results.items():
        if not np.isfinite(value).all():
            raise AttemptError("not_finite", f"{name} is not finite")
    largest = float(np.linalg.norm(results["forces"], axis=1).max(initial=0.0))
    if policy.max_force is not None and largest > policy.max_force:
        raise AttemptError(
            "beyond_limits",
            f"a force of {largest:.4g} eV/Å is above max_force = {policy.max_force:g}",
        )
    if policy.energy_limits is not None:
        energy = results["free_energy"] / atoms
        low, high = policy.energy_limits
        if not low <= energy <= high:
            raise AttemptError(
                "beyond_limits",
                f"{energy:.6g} eV per atom is not within energy_limits = [{low:g}, {high:g}]",
            )
