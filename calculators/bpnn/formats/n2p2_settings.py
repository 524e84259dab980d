"""The settings of n2p2 and RuNNer: ``input.nn`` by keyword."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from pescape.calculators.bpnn.formats.lines import Lines, decoded, shortened

if TYPE_CHECKING:
    from pathlib import Path

#: Says the units in folders that we write, which other programs take for a comment.
UNITS_COMMENT = "# pescape units:"
_REPEATED = (
    "symfunction_short",
    "atom_energy",
    "element_hidden_layers_short",
    "element_nodes_short",
    "element_activation_short",
)
# What changes the energy in a way that is not in this potential.
_REFUSED = (
    "global_symfunction_short",
    "element_symfunction_short",
    "symfunction_electrostatic",
    "use_electrostatics",
    "electrostatic_type",
    "use_vdw",
)
_SHORT_RANGE = ("2G", "2G-HDNNP", "0", "1", "2")


@dataclass
class Settings:
    """The lines of ``input.nn``.

    Attributes
    ----------
    path
        The file.
    lines
        By keyword: number and words of every line that begins with it.
    units
        Å and eV, if a comment of ours says them.
    """

    path: Path
    lines: dict[str, list[tuple[int, list[str]]]] = field(default_factory=dict)
    units: tuple[float, float] | None = None

    def fail(self, message: str, number: int | None = None) -> NoReturn:
        """Raise an error about the file or one of its lines."""
        where = "" if number is None else f", line {number}"
        raise ValueError(f"{self.path}{where}: {message}")

    def has(self, keyword: str) -> bool:
        """Whether a keyword is there."""
        return keyword in self.lines

    def all(self, keyword: str) -> list[tuple[int, list[str]]]:
        """Return number and words of all lines with a keyword."""
        return self.lines.get(keyword, [])

    def one(self, keyword: str) -> tuple[int, list[str]]:
        """Return number and words of the line with a keyword, which must be there."""
        if keyword not in self.lines:
            self.fail(f"the keyword {keyword} is missing")
        number, words = self.lines[keyword][0]
        if not words:
            self.fail(f"{keyword} needs a value", number)
        return number, words

    def real(self, word: str, what: str, number: int) -> float:
        """Return a finite number that stands in a line."""
        return self._reader(number).real(word, what)

    def integer(self, word: str, what: str, number: int, least: int = 0) -> int:
        """Return a whole number that stands in a line."""
        return self._reader(number).integer(word, what, least)

    def number(self, keyword: str, default: float | None = None) -> float:
        """Return the number behind a keyword."""
        if default is not None and keyword not in self.lines:
            return default
        number, words = self.one(keyword)
        return self.real(words[0], keyword, number)

    def _reader(self, number: int) -> Lines:
        return Lines("", str(self.path), number)


def read_settings(path: Path) -> Settings:
    """Read ``input.nn``; what changes the energy and is not supported is an error."""
    settings = Settings(path)
    text = decoded(path.read_bytes(), str(path))
    for number, line in enumerate(text.split("\n"), start=1):
        if line.startswith(UNITS_COMMENT):
            words = line[len(UNITS_COMMENT) :].split()
            if len(words) != 4:
                settings.fail("the comment on units must be 'length X energy Y'", number)
            settings.units = (
                settings.real(words[1], "the unit of length", number),
                settings.real(words[3], "the unit of energy", number),
            )
        words = line.partition("#")[0].split()
        if not words:
            continue
        keyword = words[0]
        if keyword in settings.lines and keyword not in _REPEATED:
            first = settings.lines[keyword][0][0]
            settings.fail(f"{shortened(keyword)} is given twice, first in line {first}", number)
        settings.lines.setdefault(keyword, []).append((number, words[1:]))
    for keyword in _REFUSED:
        if settings.has(keyword):
            settings.fail(f"{keyword} is not supported", settings.all(keyword)[0][0])
    if settings.has("nnp_type"):
        number, words = settings.one("nnp_type")
        if words[0] not in _SHORT_RANGE:
            settings.fail(f"only short-range networks (2G) can be read, not {words[0]}", number)
    return settings
