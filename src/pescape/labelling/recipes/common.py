"""What the recipes for plane-wave codes share."""

from __future__ import annotations

import shlex
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import Calculator, all_changes

from pescape.errors import ConfigError
from pescape.files import file_sha256
from pescape.labelling.reference import LOCAL

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ase import Atoms

    from pescape.labelling.reference import LabelPolicy, PlaneWaveConfig, Reference


# Axes whose spacings differ by less than this, relatively, are refined together.
_EQUAL = 1e-6


def kpoint_grid(
    atoms: Atoms, density: float = 10_000.0, *, even: bool = False
) -> tuple[int, int, int]:
    """Find the most even grid of k-points that has at least a density.

    ASE's `kptdensity2monkhorstpack` takes a density along each axis for itself, rounds up on each,
    and so overshoots; here the number of k-points is what is asked for.

    The axis with the largest spacing in reciprocal space is refined until the product of
    k-points and cell volume reaches the density; axes with equal spacing are refined together,
    so the grid is as symmetric as the cell.

    Parameters
    ----------
    atoms
        A structure whose cell has a volume; axes that are not periodic get one k-point.
    density
        k-points times volume, Å³. The paper's is 10 000.
    even
        Even numbers only, along periodic axes.

    Returns
    -------
    tuple of int
        Subdivisions along the three reciprocal vectors.
    """
    if not 0.0 < density < np.inf:
        raise ValueError(f"density = {density} Å³ is not a positive number")
    if atoms.cell.rank < 3:
        raise ValueError("a density of k-points needs a cell with a volume")
    periodic = np.asarray(atoms.pbc)
    volume = atoms.get_volume()
    step = 2 if even else 1
    lengths = np.linalg.norm(atoms.cell.reciprocal().array, axis=1)
    grid = np.where(periodic, step, 1)
    while periodic.any() and grid.prod() * volume < density * (1.0 - 1e-12):
        spacings = np.where(periodic, lengths / grid, 0.0)
        grid = grid + step * (spacings >= spacings.max() * (1.0 - _EQUAL))
    first, second, third = grid.tolist()
    return first, second, third


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
        """Compute everything at once.

        Parameters
        ----------
        atoms, properties, system_changes
            See `ase.calculators.calculator.Calculator.calculate`.
        """
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
        """Return atoms with initial magnetic moments as configured, or none.

        Parameters
        ----------
        atoms
            They are left as they are.
        """
        new = atoms.copy()
        moments = self.settings["moments"]
        spin = self.settings["spin"]
        new.set_initial_magnetic_moments(
            [moments.get(symbol, 1.0) for symbol in new.symbols] if spin else None
        )
        return new


def split_settings(config: PlaneWaveConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Separate what results depend on from what is this machine's or steers convergence.

    Parameters
    ----------
    config
        Of a recipe.
    """
    everything = config.model_dump(mode="json")
    local = {key: everything.pop(key) for key in LOCAL if key in everything}
    return everything, local


def with_careful_retry(
    policy: LabelPolicy, config: PlaneWaveConfig, **second: object
) -> LabelPolicy:
    """Make the second attempt more careful, unless the configuration says how.

    Parameters
    ----------
    policy
        As configured.
    config
        Of the recipe.
    **second
        What changes at the second attempt, besides the number of steps.
    """
    import dataclasses

    if policy.retry:
        return policy
    steps = {"max_steps": 2 * config.max_steps}
    return dataclasses.replace(policy, retry=({**steps, **second},))


def command_of(local: dict[str, Any], program: str) -> list[str]:
    """Split the command that runs a program, with MPI where more than one rank is asked for.

    Parameters
    ----------
    local
        A reference's settings of this machine.
    program
        What is run if they name nothing.
    """
    command = shlex.split(local["command"] or program)
    if local["ranks"] > 1:
        command = ["mpiexec", "-n", str(local["ranks"]), *command]
    return command


def digest_of_data(path: Path, key: str, hint: str = "") -> str:
    """Return the SHA-256 of the file that holds a pseudopotential.

    Parameters
    ----------
    path
        The file.
    key, hint
        Of the configuration, and how to mend it, for messages.

    Raises
    ------
    ConfigError
        It is not there.
    """
    if not path.is_file():
        raise ConfigError(f"{key}: no file {path}{hint}")
    return file_sha256(path)


def check_data(reference: Reference, elements: Sequence[str], key: str, example: str) -> None:
    """Look whether every element has a pseudopotential.

    Parameters
    ----------
    reference
        Knows those that there are.
    elements
        Chemical symbols.
    key, example
        Of the configuration, and what it could hold for an element {}, for messages.

    Raises
    ------
    ConfigError
        Names the first element without one.
    """
    for element in elements:
        if element not in reference.settings["pseudopotentials"]:
            named = example.format(element)
            raise ConfigError(f"{key}: none for {element}; add {element} = {named!r}")


def check_command(command: list[str], key: str) -> None:
    """Look whether what a command begins with is there.

    Parameters
    ----------
    command
        Program and arguments.
    key
        Of the configuration, for messages.

    Raises
    ------
    ConfigError
        It is not.
    """
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
