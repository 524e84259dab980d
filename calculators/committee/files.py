"""The committee of a potential in a text file beside the potential's own.

Beside, because a committee is about a potential and no part of it: other programs go on reading
what they can read. Lines are words; what follows a ``#`` is a comment. In order:

``pescape-errors 1``
    The format and its version.
``species E…``
    Of the potential.
``coverage X``; ``configurations N``
    The share of errors that bounds are above, and how many held-out configurations say so.
``energy FLOOR FACTOR``
    The error of the energy per atom (eV) is below FACTOR × (spread + FLOOR).
``force E FLOOR FACTOR``, for each of the species
    Likewise the norm of the error of the force on an atom (eV/Å).
``first N``
    Members differ in the parameters from the N-th on, counted from 0.
``own X…``
    The potential's own values of these parameters.
``member X…``, for each member
    Those of the member.
``end``
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pescape.calculators.committee.calibration import Bound, Calibration
from pescape.calculators.committee.model import ErrorModel
from pescape.files import write_text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

    from numpy.typing import NDArray

    from pescape.calculators.potential import Potential

#: What the name of the file has after that of the potential's.
SUFFIX = ".errors"
_HEAD = "pescape-errors"
_VERSION = "1"


def error_file(potential: str | PathLike[str]) -> Path:
    """Return the name of the file with a potential's committee.

    Parameters
    ----------
    potential
        The potential's file.
    """
    path = Path(potential)
    return path.with_name(f"{path.name}{SUFFIX}")


def write_errors(path: str | PathLike[str], model: ErrorModel) -> None:
    """Write a committee; the file appears as a whole.

    Parameters
    ----------
    path
        The file, see `error_file`.
    model
        What is written.
    """
    told = model.calibration
    lines = [
        "# Predicted errors of the potential beside this file, made by pescape: a committee, whose",
        "# spread is turned into bounds of errors by what held-out data says.",
        f"{_HEAD} {_VERSION}",
        f"species {' '.join(told.species)}",
        f"coverage {told.coverage!r}",
        f"configurations {told.configurations}  # held out",
        "# floor and factor: bound = factor * (spread + floor)",
        f"energy {told.energy.floor!r} {told.energy.factor!r}  # eV/atom",
    ]
    for name, one in zip(told.species, told.forces, strict=True):
        lines.append(f"force {name} {one.floor!r} {one.factor!r}  # eV/A")
    lines += [f"first {model.first}", f"own {_reals(model.own)}"]
    lines += [f"member {_reals(member)}" for member in model.members]
    write_text(Path(path), "\n".join([*lines, "end"]) + "\n")


def read_errors(path: str | PathLike[str]) -> ErrorModel:
    """Read a committee.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    ValueError
        "FILE, line N: ..." when anything in the file is wrong.
    """
    lines = _Lines(Path(path))
    version = lines.take(_HEAD, 1)[0]
    if version != _VERSION:
        raise lines.error(f"version {version!r} is not {_VERSION}: a newer pescape wrote it")
    species = tuple(lines.take("species"))
    coverage = float(lines.reals(lines.take("coverage", 1))[0])
    configurations = lines.whole(lines.take("configurations", 1)[0])
    energy = lines.bound(lines.take("energy", 2))
    forces = []
    for name in species:
        found, *values = lines.take("force", 3)
        if found != name:
            raise lines.error(f"expected the calibration of {name}, not of {found}")
        forces.append(lines.bound(values))
    first = lines.whole(lines.take("first", 1)[0])
    own = lines.reals(lines.take("own"))
    members = []
    while lines.word == "member":
        members.append(lines.reals(lines.take("member", len(own))))
    if not members:
        raise lines.error(f"expected 'member', not {lines.word!r}")
    lines.take("end", 0)
    try:
        calibration = Calibration(species, tuple(forces), energy, configurations, coverage)
        return ErrorModel(first, own, np.array(members), calibration, str(path))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def errors_beside(potential: Potential) -> ErrorModel | None:
    """Read the committee beside a potential's file; None if there is none.

    Parameters
    ----------
    potential
        Read from a file.

    Raises
    ------
    ValueError
        The file is of another potential, or wrong.
    """
    if not potential.source:
        return None
    path = error_file(potential.source)
    if not path.is_file():
        return None
    model = read_errors(path)
    if not model.fits(potential):
        raise ValueError(
            f"{path} belongs to another potential than {potential.source}: fit again, or delete it"
        )
    return model


def _reals(values: Iterable[float] | NDArray[np.float64]) -> str:
    return " ".join(repr(float(value)) for value in values)


class _Lines:
    """The lines of a file that hold words, one after the other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: not a text file ({error.reason})") from None
        numbered = enumerate((line.partition("#")[0].split() for line in text.splitlines()), 1)
        self._lines = [(number, words) for number, words in numbered if words]
        self._next = 0

    @property
    def word(self) -> str:
        """How the next line begins; nothing at the end of the file."""
        return self._lines[self._next][1][0] if self._next < len(self._lines) else ""

    def take(self, keyword: str, count: int | None = None) -> list[str]:
        """Return the words after the keyword that the next line must begin with.

        Parameters
        ----------
        keyword
            First word of the line.
        count
            How many words follow; None for one or more.
        """
        if self.word != keyword:
            place = self.word or "the end of the file"
            self._next += 1
            raise self.error(f"expected {keyword!r}, not {place!r}")
        words = self._lines[self._next][1][1:]
        self._next += 1
        if (not words and count is None) or (count is not None and len(words) != count):
            wanted = "one word or more" if count is None else f"{count}"
            raise self.error(f"{keyword!r} takes {wanted}, not {len(words)}")
        return words

    def error(self, message: str) -> ValueError:
        """Make an error about the line that was taken last.

        Parameters
        ----------
        message
            What is wrong.
        """
        taken = min(self._next, len(self._lines))
        number = self._lines[taken - 1][0] if taken else 1
        return ValueError(f"{self._path}, line {number}: {message}")

    def reals(self, words: list[str]) -> NDArray[np.float64]:
        """Return finite numbers.

        Parameters
        ----------
        words
            Their text.
        """
        try:
            values = np.array([float(word) for word in words])
        except ValueError:
            raise self.error("expected numbers") from None
        if not np.isfinite(values).all():
            raise self.error("a number is not finite")
        return values

    def whole(self, word: str) -> int:
        """Return a number ≥ 0.

        Parameters
        ----------
        word
            Its text.
        """
        if not word.isdecimal():
            raise self.error(f"expected a whole number, not {word!r}")
        return int(word)

    def bound(self, words: list[str]) -> Bound:
        """Return floor and factor.

        Parameters
        ----------
        words
            Their text.
        """
        values = self.reals(words).tolist()
        try:
            return Bound(*values)
        except ValueError as error:
            raise self.error(str(error)) from None
