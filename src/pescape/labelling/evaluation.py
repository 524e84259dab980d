"""One attempt at a label: evaluate a reference, here or in a process of its own.

What goes wrong is one of five kinds of failures, which are recorded and never used silently.
The process of its own may crash, hang or be killed:

    python -c "from pescape.labelling.evaluation import main; main()"   # in the request's folder
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import (
    CalculationFailed,
    CalculatorError,
    PropertyNotImplementedError,
    SCFError,
)

from pescape.errors import ConfigError, DataError, PescapeError
from pescape.files import write_json
from pescape.labelling.guard import TIMED_OUT
from pescape.labelling.reference import LabelPolicy, Reference

if TYPE_CHECKING:
    from collections.abc import Mapping

OUTPUT_FILE = "output.txt"
_REQUEST_FILE = "request.json"
_RESULT_FILE = "evaluation.json"
_GUARD = Path(__file__).with_name("guard.py")
# A shell's status after a signal is this much more than its number.
_SIGNALLED = 128

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
class Evaluation:
    """What a calculator has found for a configuration.

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


def evaluate(atoms: Atoms, reference: Reference, directory: Path | None) -> Evaluation:
    """Evaluate a reference for all that a label holds, in this process.

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
    return Evaluation(results, details)


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


def evaluate_isolated(
    atoms: Atoms, reference: Reference, directory: Path, timeout: float | None
) -> Evaluation:
    """Evaluate in another process; it is killed, with all it started, after a time limit.

    Parameters
    ----------
    atoms
        The configuration.
    reference
        The calculator.
    directory
        An empty folder, in which the process works.
    timeout
        Seconds; None for any time.

    Raises
    ------
    AttemptError
        The calculation failed, crashed or took too long.
    """
    write_json(directory / _REQUEST_FILE, _request(atoms, reference))
    status = _run_guarded(directory, timeout)
    result = directory / _RESULT_FILE
    if result.exists():
        return _read_result(json.loads(result.read_text(encoding="utf-8")))
    if status == TIMED_OUT:
        raise AttemptError("timed_out", f"killed after {timeout:g} s")
    how = f"of signal {status - _SIGNALLED}" if status > _SIGNALLED else f"with status {status}"
    raise AttemptError("crashed", f"its process ended {how}")


def _run_guarded(directory: Path, timeout: float | None) -> int:
    mine, theirs = os.pipe()
    command = [sys.executable, "-c", "from pescape.labelling.evaluation import main; main()"]
    try:
        with (directory / OUTPUT_FILE).open("wb") as output:
            guard = subprocess.Popen(
                [sys.executable, "-I", "-S", _GUARD, str(mine), str(timeout or 0.0), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=directory,
                pass_fds=(mine,),
                start_new_session=True,
            )
    finally:
        os.close(mine)
    try:
        return guard.wait()
    finally:
        os.close(theirs)  # tells the guard to end, should this wait have been broken off
        guard.wait()


def _request(atoms: Atoms, reference: Reference) -> dict[str, Any]:
    policy = reference.policy
    return {
        "path": sys.path,
        "numbers": atoms.numbers.tolist(),
        "positions": atoms.positions.tolist(),
        "cell": atoms.cell.array.tolist(),
        "pbc": atoms.pbc.tolist(),
        "moments": atoms.get_initial_magnetic_moments().tolist(),
        "reference": {
            "name": reference.name,
            "version": reference.version,
            "recipe": reference.recipe,
            "settings": reference.settings,
            "local": reference.local,
        },
        "limits": {"max_force": policy.max_force, "energy_limits": policy.energy_limits},
    }


def _read_result(content: Mapping[str, Any]) -> Evaluation:
    if "failure" in content:
        raise AttemptError(content["failure"]["kind"], content["failure"]["message"])
    if "config" in content:
        raise ConfigError(content["config"])
    if "bug" in content:
        raise PescapeError(f"the reference's own code is wrong:\n{content['bug']}")
    results = {
        name: np.array(value) if isinstance(value, list) else value
        for name, value in content["results"].items()
    }
    return Evaluation(results, content["details"])


def main() -> None:
    """Evaluate the request in the current folder: what the process of its own runs."""
    request = json.loads(Path(_REQUEST_FILE).read_text(encoding="utf-8"))
    sys.path[:] = request["path"]
    atoms = Atoms(
        request["numbers"],
        positions=request["positions"],
        cell=request["cell"],
        pbc=request["pbc"],
        magmoms=request["moments"] if any(request["moments"]) else None,
    )
    limits = request["limits"]
    if limits["energy_limits"] is not None:
        limits["energy_limits"] = tuple(limits["energy_limits"])
    reference = Reference(**request["reference"], policy=LabelPolicy(**limits))
    content: dict[str, Any]
    try:
        found = evaluate(atoms, reference, Path.cwd())
        results = {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in found.results.items()
        }
        content = {"results": results, "details": found.details}
    except AttemptError as error:
        content = {"failure": {"kind": error.kind, "message": str(error)}}
    except PescapeError as error:
        content = {"config": str(error)}
    except Exception:  # noqa: BLE001 (the other process reports it)
        content = {"bug": traceback.format_exc()}
    write_json(_RESULT_FILE, content)
