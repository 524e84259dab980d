"""GPAW in plane-wave mode, run by the Python that has it.

GPAW computes in a process of its own, `gpaw_worker.py`, under this interpreter or another
one. Requests and replies are lines of JSON over the process's pipes: unlike the i-PI
protocol they carry both the free energy and the one extrapolated to zero smearing. The
process lives as long as the session: configurations near the last one take a few steps.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import CalculationFailed

from pescape import _mpi
from pescape.errors import ConfigError
from pescape.labelling.evaluation import NotConvergedError
from pescape.labelling.recipes.common import (
    PlaneWaveCalculator,
    command_of,
    split_settings,
    with_careful_retry,
)
from pescape.labelling.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

    from pescape.labelling.reference import LabelPolicy, ReferenceConfig

EXTERNAL = True
LOGS = ("gpaw.txt",)
#: How the lines begin that are replies; MPI libraries like to say something, too.
MARKER = "pescape: "
_WORKER = Path(__file__).with_name("gpaw_worker.py")
# Not PAW, and made without a file or from one that GPAW ships.
_WITHOUT_FILE = {"ae", "ghost", "hgh", "hgh.sc"}
_MIXING = 0.05  # GPAW's own, for periodic cells


def reference(source: ReferenceConfig, folder: Path, policy: LabelPolicy) -> Reference:
    """Refer to GPAW; its interpreter is asked for the version.

    Parameters
    ----------
    source, folder, policy
        See `reference_from`.
    """
    del folder
    assert source.gpaw is not None, "chosen by the configuration"
    settings, local = split_settings(source.gpaw)
    mixing = (source.gpaw.mixing or _MIXING) / 2.0
    return Reference(
        name=f"GPAW {source.gpaw.xc}",
        version=_version(_python(local)),
        recipe="gpaw",
        settings=settings,
        local=local,
        policy=with_careful_retry(policy, source.gpaw, mixing=mixing),
    )


def check(reference: Reference, elements: Sequence[str]) -> None:
    """Look whether GPAW is there and has data sets for the elements.

    Parameters
    ----------
    reference, elements
        See `Reference.check`.
    """
    python = _python(reference.local)
    command = _launcher(reference.local)
    if command and shutil.which(command[0]) is None:
        raise ConfigError(f"reference.gpaw.command: no executable {command[0]!r} on this machine")
    xc, setups = reference.settings["xc"], reference.settings["setups"]
    kinds = {element: setups.get(element, "paw") for element in elements}
    wanted = {
        element: f"{element}.{xc}" if kind == "paw" else f"{element}.{kind}.{xc}"
        for element, kind in kinds.items()
        if kind not in _WITHOUT_FILE
    }
    missing = _described(python, tuple(wanted.values()))["missing"]
    if missing:
        raise ConfigError(
            f"reference.gpaw: {python} finds no data set {missing[0]}; install gpaw-data, set "
            "GPAW_SETUP_PATH, or name another one in setups"
        )


def make(reference: Reference, directory: Path | None) -> GpawCalculator:
    """Make the calculator; its process starts with the first configuration.

    Parameters
    ----------
    reference, directory
        See `Reference.session`.
    """
    return GpawCalculator(reference, Path(directory or "."))


class GpawCalculator(PlaneWaveCalculator):
    """Asks a process that runs GPAW."""

    def __init__(self, reference: Reference, directory: Path) -> None:
        super().__init__(reference, directory)
        self._process: subprocess.Popen[str] | None = None

    def _compute(self, atoms: Atoms) -> dict[str, float | np.ndarray]:
        if self._process is None:
            self._process = self._start(atoms)
        reply = self._ask({"positions": atoms.positions.tolist(), "cell": atoms.cell.tolist()})
        if reply.get("error") == "config":
            raise ConfigError(f"reference.gpaw: GPAW refuses its settings: {reply['message']}")
        if "error" in reply:
            kind = NotConvergedError if reply["error"] == "not_converged" else CalculationFailed
            raise kind(reply["message"])
        self.details |= reply["details"]
        results: dict[str, float | np.ndarray] = {
            "energy": reply["energy"],
            "free_energy": reply["free_energy"],
            "forces": np.array(reply["forces"]),
        }
        if reply["stress"] is not None:
            results["stress"] = np.array(reply["stress"])
        return results

    def _start(self, atoms: Atoms) -> subprocess.Popen[str]:
        start = {
            **self.settings,
            **self.local,
            "numbers": atoms.numbers.tolist(),
            "moments": self.with_moments(atoms).get_initial_magnetic_moments().tolist(),
            "pbc": atoms.pbc.tolist(),
            "mesh": self.mesh,
        }
        python = _python(self.local)
        command = [*_launcher(self.local), python, str(_WORKER)]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=self.folder,
            env=_environment(python),
            text=True,
            preexec_fn=_mpi.end_with_parent(),  # noqa: PLW1509 (one system call)
        )
        _send(process, start)
        return process

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        _send(process, question)
        for line in process.stdout:
            if line.startswith(MARKER):
                return json.loads(line.removeprefix(MARKER))
        status = process.wait()
        raise CalculationFailed(f"GPAW's process ended with status {status}")

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.close()
            process.wait(timeout=10.0)
        except (OSError, subprocess.TimeoutExpired):
            process.kill()
            process.wait()
        process.stdout.close()


def _send(process: subprocess.Popen[str], content: dict[str, Any]) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(content) + "\n")
        process.stdin.flush()
    except BrokenPipeError as error:
        status = process.wait()
        raise CalculationFailed(f"GPAW's process ended with status {status}") from error


def _python(local: dict[str, Any]) -> str:
    return str(local["python"] or sys.executable)


def _launcher(local: dict[str, Any]) -> list[str]:
    """Words before the interpreter: nothing, or how MPI is started."""
    if local["command"] is None and local["ranks"] == 1:
        return []
    if local["command"] is None:
        return ["mpiexec", "-n", str(local["ranks"])]
    return command_of(local | {"ranks": 1}, "")


def _environment(python: str) -> dict[str, str]:
    """Keep this environment's packages from another interpreter, and GPAW to one thread."""
    own = python == sys.executable
    kept = {k: v for k, v in os.environ.items() if own or not k.startswith("PYTHON")}
    return {"OMP_NUM_THREADS": "1", **kept}


def _version(python: str) -> str:
    return f"GPAW {_described(python, ())['version']}"


@functools.cache
def _described(python: str, data_sets: tuple[str, ...]) -> dict[str, Any]:
    """Ask an interpreter for GPAW's version and for the data sets that it does not find."""
    hint = (
        "install it there, or set reference.gpaw.python to the interpreter that has it "
        "(Debian: apt-get install gpaw gpaw-data, then python = '/usr/bin/python3')"
    )
    try:
        done = subprocess.run(
            [python, str(_WORKER), "--describe", *data_sets],
            capture_output=True,
            text=True,
            timeout=120.0,
            env=_environment(python),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"reference.gpaw: {python} cannot be run: {error}; {hint}") from error
    replies = [line for line in done.stdout.splitlines() if line.startswith(MARKER)]
    if done.returncode or not replies:
        last = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        raise ConfigError(f"reference.gpaw: {python} has no gpaw ({last}); {hint}")
    described: dict[str, Any] = json.loads(replies[-1].removeprefix(MARKER))
    return described
