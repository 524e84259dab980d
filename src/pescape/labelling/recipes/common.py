"""What the recipes for plane-wave codes share."""

from __future__ import annotations

import shlex
import shutil
from typing import TYPE_CHECKING, Any

from ase.calculators.calculator import Calculator, all_changes

from pescape.errors import ConfigError
from pescape.labelling.reference import LOCAL
from pescape.plugins.structures import kpoint_grid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from ase import Atoms

    from pescape.labelling.reference import LabelPolicy, PlaneWaveConfig, Reference


class PlaneWaveCalculator(Calculator):
    """An ASE calculator that finds its mesh of k-points when it meets its first cell.

    Parameters
    ----------
    reference
        What it computes with.
    directory
        For the program's files.

    Notes
    -----
    The mesh stays, and so does the number of plane waves' cut-off, when the cell deforms: the
    energies of one session are those of one continuous surface. A label has its own session.
    """

    implemented_properties = [  # noqa: RUF012 - so ASE declares it
        "energy",
        "free_energy",
        "forces",
        "stress",
    ]

    def __init__(self, reference: Reference, directory: Path) -> None:
        super().__init__()
        self.settings = reference.settings
        self.local = reference.local
        self.folder = directory
        self.mesh: tuple[int, int, int] | None = None
        #: What the label's record tells of the calculation: version, mesh, steps, …
        self.details: dict[str, Any] = {}

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Compute everything at once."""
        super().calculate(atoms, properties, system_changes)
        if self.atoms.cell.rank < 3:
            raise ValueError("plane waves need a cell with three vectors, also around molecules")
        if self.mesh is None:
            self.mesh = kpoint_grid(self.atoms, self.settings["kpoint_density"])
            self.details["kpoints"] = list(self.mesh)
        self.results = self._compute(self.atoms)

    def _compute(self, atoms: Atoms) -> dict[str, float | np.ndarray]:
        raise NotImplementedError

    def with_moments(self, atoms: Atoms) -> Atoms:
        """Give the atoms their initial magnetic moments, or none."""
        new = atoms.copy()
        moments = self.settings["moments"]
        spin = self.settings["spin"]
        new.set_initial_magnetic_moments(
            [moments.get(symbol, 1.0) for symbol in new.symbols] if spin else None
        )
        return new


def split_settings(config: PlaneWaveConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tell what results depend on from what is this machine's or steers convergence."""
    everything = config.model_dump(mode="json")
    local = {key: everything.pop(key) for key in LOCAL if key in everything}
    return everything, local


def completed(policy: LabelPolicy, config: PlaneWaveConfig, **second: object) -> LabelPolicy:
    """Let the second attempt go more carefully, unless the configuration says how."""
    import dataclasses

    if policy.retry:
        return policy
    steps = {"max_steps": 2 * config.max_steps}
    return dataclasses.replace(policy, retry=({**steps, **second},))


def command_of(local: dict[str, Any], program: str) -> list[str]:
    """Split the command that runs a program, with MPI where more than one rank is asked for."""
    command = shlex.split(local["command"] or program)
    if local["ranks"] > 1:
        command = ["mpiexec", "-n", str(local["ranks"]), *command]
    return command


def check_command(command: list[str], key: str) -> None:
    """Look whether what a command begins with is there."""
    for name in {command[0], _program(command)}:
        if shutil.which(name) is None:
            raise ConfigError(
                f"{key}: no executable {name!r} on this machine; install it or load its "
                f"module, or set {key} to what runs it"
            )


def _program(command: list[str]) -> str:
    """Find the program behind an ``mpiexec -n N``; other launchers stand for themselves."""
    return command[3] if command[:2] == ["mpiexec", "-n"] and len(command) > 3 else command[0]


def zero_smearing(free_energy: float, minus_ts: float, smearing: str) -> float:
    """Extrapolate a free energy to zero width of the smearing.

    Parameters
    ----------
    free_energy
        F = E - TS, eV.
    minus_ts
        -TS, eV.
    smearing
        ``"fermi-dirac"``: F is quadratic in the width, the mean of E and F remains.
        ``"methfessel-paxton"``: of order N = 1, ((N + 1) F + E) / (N + 2).

    Returns
    -------
    float
        eV.
    """
    order = 1 if smearing == "methfessel-paxton" else 0
    return free_energy - minus_ts / (order + 2)
