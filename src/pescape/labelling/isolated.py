"""Evaluate a reference in a process of its own, which a crash or a time limit may end.

python -m pescape.labelling.isolated        # in the folder of the request
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from pescape.errors import ConfigError, PescapeError
from pescape.files import write_json
from pescape.labelling.evaluation import Answer, AttemptError, evaluate
from pescape.labelling.guard import TIMED_OUT
from pescape.labelling.reference import LabelPolicy, Reference

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUEST_FILE = "request.json"
ANSWER_FILE = "answer.json"
OUTPUT_FILE = "output.txt"
_GUARD = Path(__file__).with_name("guard.py")
_SIGNALLED = 128


def evaluate_isolated(
    atoms: Atoms, reference: Reference, directory: Path, timeout: float | None
) -> Answer:
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
    write_json(directory / REQUEST_FILE, _request(atoms, reference))
    status = _run_guarded(directory, timeout)
    answer = directory / ANSWER_FILE
    if answer.exists():
        return _read_answer(json.loads(answer.read_text(encoding="utf-8")))
    if status == TIMED_OUT:
        raise AttemptError("timed_out", f"killed after {timeout:g} s")
    how = f"of signal {status - _SIGNALLED}" if status > _SIGNALLED else f"with status {status}"
    raise AttemptError("crashed", f"its process ended {how}")


def _run_guarded(directory: Path, timeout: float | None) -> int:
    mine, theirs = os.pipe()
    command = [sys.executable, "-c", "from pescape.labelling.isolated import main; main()"]
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


def _read_answer(answer: Mapping[str, Any]) -> Answer:
    if "failure" in answer:
        raise AttemptError(answer["failure"]["kind"], answer["failure"]["message"])
    if "config" in answer:
        raise ConfigError(answer["config"])
    if "bug" in answer:
        raise PescapeError(f"the reference's own code is wrong:\n{answer['bug']}")
    results = {
        name: np.array(value) if isinstance(value, list) else value
        for name, value in answer["results"].items()
    }
    return Answer(results, answer["details"])


def _plain(answer: Answer) -> dict[str, Any]:
    results = {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in answer.results.items()
    }
    return {"results": results, "details": answer.details}


def main() -> None:
    """Answer the request in the current folder; what the process of its own runs."""
    request = json.loads(Path(REQUEST_FILE).read_text(encoding="utf-8"))
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
    try:
        answer = _plain(evaluate(atoms, reference, Path.cwd()))
    except AttemptError as error:
        answer = {"failure": {"kind": error.kind, "message": str(error)}}
    except PescapeError as error:
        answer = {"config": str(error)}
    except Exception:  # noqa: BLE001 (the other process tells)
        answer = {"bug": traceback.format_exc()}
    write_json(ANSWER_FILE, answer)
