"""What all formats share: their description, and text as lines of words, which errors name."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from pescape.calculators.bpnn.data import BPNNData

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Format:
    """A format of potential files.

    Parameters
    ----------
    name
        What ``BPNNPotential.write`` calls it.
    description
        What messages call such a file.
    matches
        Whether a file or folder is one, by its path and the start of the file.
    read
        Reads a path. Formats that do not name their units need them, in Å and eV.
    write
        Writes a path, which appears as a whole; None: cannot be written.
    is_folder
        Whether it is one of folders.
    """

    name: str
    description: str
    matches: Callable[[Path, bytes], bool]
    read: Callable[[Path, float | None, float | None], BPNNData]
    write: Callable[[Path, BPNNData], None] | None = None
    is_folder: bool = False


def text_reader(
    parse: Callable[[str, str], BPNNData],
) -> Callable[[Path, float | None, float | None], BPNNData]:
    """Make a format's reader of what parses a text.

    Parameters
    ----------
    parse
        Takes the text and what errors call the file; the numbers are in Å and eV.
    """
    return lambda path, *_units: parse(decoded(path), str(path))


def decoded(path: Path) -> str:
    """Return a file's text.

    Parameters
    ----------
    path
        The file.
    """
    data = path.read_bytes()
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}, line {line}: this is not text (UTF-8)") from None


class Lines:
    """The lines of a text, one after the other, without comments and blank lines.

    Parameters
    ----------
    text
        The text.
    name
        What errors call the file.
    first
        Number of its first line.
    """

    def __init__(self, text: str, name: str, first: int = 1) -> None:
        self.name = name
        self.raw = text.split("\n")
        self.first = first
        self._next = 0
        self._current = 0

    @property
    def number(self) -> int:
        """Number of the line given last."""
        return self._current + self.first

    def fail(self, message: str) -> NoReturn:
        """Raise an error about the line given last.

        Parameters
        ----------
        message
            What is wrong.
        """
        raise ValueError(f"{self.name}, line {self.number}: {message}")

    def peek(self) -> list[str]:
        """Return the words of the next line without going there; none at the end."""
        for index in range(self._next, len(self.raw)):
            words = self.raw[index].partition("#")[0].split()
            if words:
                self._next = index
                return words
        self._next = len(self.raw)
        return []

    def words(self, expected: str) -> list[str]:
        """Return the words of the next line.

        Parameters
        ----------
        expected
            What an error says should follow where the file ends.
        """
        words = self.peek()
        self._current = min(self._next, len(self.raw) - 1)
        if not words:
            self.fail(f"the file ends, but {expected} should follow")
        self._next += 1
        return words

    def keyword(self, keyword: str, count: int | None = None) -> list[str]:
        """Return what follows a keyword on the next line, which must begin with it.

        Parameters
        ----------
        keyword
            The first word.
        count
            How many words must follow it; None: any number.
        """
        words = self.words(repr(keyword))
        if words[0] != keyword:
            self.fail(f"{keyword!r} expected, found {shortened(words[0])!r}")
        if count is not None and len(words) != count + 1:
            self.fail(f"{count} values expected after {keyword!r}, found {len(words) - 1}")
        return words[1:]

    def real(self, word: str, what: str) -> float:
        """Return a finite number.

        Parameters
        ----------
        word
            The number as text.
        what
            What errors call it.
        """
        try:
            value = float(word)
        except ValueError:
            self.fail(f"{what} must be a number, not {shortened(word)!r}")
        if not math.isfinite(value):
            self.fail(f"{what} must be a finite number, not {word}")
        return value

    def integer(self, word: str, what: str, least: int = 0) -> int:
        """Return a whole number.

        Parameters
        ----------
        word
            The number as text.
        what
            What errors call it.
        least
            Lowest value allowed.
        """
        # A longer word is no count of anything, and Python refuses to convert a very long one.
        if not (word.isascii() and word.isdigit()) or len(word) > 12 or int(word) < least:
            self.fail(f"{what} must be a whole number from {least} on, not {shortened(word)!r}")
        return int(word)

    def reals(self, words: list[str], count: int, what: str) -> Floats:
        """Return finite numbers, shape (count,).

        Parameters
        ----------
        words
            The numbers as text.
        count
            How many there must be.
        what
            What errors call them.
        """
        if len(words) != count:
            self.fail(f"{count} numbers expected for {what}, found {len(words)}")
        try:
            values = np.array(list(map(float, words)))
        except ValueError:
            values = np.array([np.nan])
        if not np.isfinite(values).all():  # which one is it?
            values = np.array([self.real(word, what) for word in words])
        return values

    def end(self) -> None:
        """Fail if anything follows."""
        words = self.peek()
        if words:
            self._current = self._next
            self.fail(f"the file should end here, found {shortened(words[0])!r}")


def shortened(word: str, length: int = 40) -> str:
    """Return a word that fits into a message.

    Parameters
    ----------
    word
        The word.
    length
        Most characters.
    """
    return word if len(word) <= length else word[:length] + "…"
