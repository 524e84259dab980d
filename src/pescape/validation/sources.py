"""What a property is computed with: a potential's file or a reference, by value."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pescape.errors import DataError
from pescape.files import file_sha256, fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ase.calculators.calculator import BaseCalculator


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
