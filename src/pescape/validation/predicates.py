"""Statements about values that are true or false of a potential, in a small language.

::

    vacancy_migration.basal < vacancy_migration.out_of_basal
    lattice.hcp.a = 3.234 +- 0.02
    0 < elastic.C44 < 2 * reference.elastic.C44 and abs(lattice.bcc.relative - 80) < 10

Numbers, names, ``+ - * /``, parentheses, ``abs``, ``min`` and ``max``; comparisons by ``<``,
``<=``, ``>`` and ``>=``, which may be chained, or by ``= … +- …``; several of these joined by
``and``. Nothing of it is handed to Python.
"""

from __future__ import annotations

import math
import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pescape.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_]\w*(?:\.\w+)*)"
    r"|(?P<sign>\+-|±|<=|>=|[-+*/()<>=,]))"
)
_COMPARED: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
_FUNCTIONS: dict[str, Callable[..., float]] = {"abs": abs, "max": max, "min": min}


@dataclass(frozen=True)
class Term:
    """A part of an expression: a number, a name, or something done to others.

    Parameters
    ----------
    what
        The number, the name, the sign or the function.
    parts
        What it is done to; None for a number or a name.
    """

    what: float | str
    parts: tuple[Term, ...] | None = None

    def names(self) -> Iterator[str]:
        """Give all names in it."""
        if self.parts is None and isinstance(self.what, str):
            yield self.what
        for part in self.parts or ():
            yield from part.names()

    def value(self, values: Mapping[str, float]) -> float:
        """Work it out."""
        if isinstance(self.what, float):
            return self.what
        if self.parts is None:
            return values[self.what]
        inner = [part.value(values) for part in self.parts]
        if self.what in _FUNCTIONS:
            return _FUNCTIONS[self.what](*inner)
        try:
            return _ARITHMETIC[self.what](*inner)
        except ZeroDivisionError:
            return math.nan  # which compares with nothing


@dataclass(frozen=True)
class Comparison:
    """Two expressions compared; of equality, with what they may differ by."""

    left: Term
    sign: str
    right: Term
    tolerance: Term | None = None

    def terms(self) -> tuple[Term, ...]:
        """Give its expressions."""
        return tuple(t for t in (self.left, self.right, self.tolerance) if t is not None)

    def holds(self, values: Mapping[str, float]) -> bool:
        """Whether it is true."""
        left, right = self.left.value(values), self.right.value(values)
        if self.tolerance is not None:
            return abs(left - right) <= self.tolerance.value(values)
        return _COMPARED[self.sign](left, right)


@dataclass(frozen=True)
class Predicate:
    """A statement about values.

    Parameters
    ----------
    name
        What it is called.
    text
        As it was written.
    comparisons
        All of which have to hold.
    """

    name: str
    text: str
    comparisons: tuple[Comparison, ...]

    @classmethod
    def parse(cls, text: str, name: str | None = None) -> Predicate:
        """Read a predicate.

        Raises
        ------
        ConfigError
            Says where the text makes no sense and what was expected there.
        """
        return cls(name or text, text, _Parser(text).predicate())

    @property
    def names(self) -> tuple[str, ...]:
        """Values it is about, in order."""
        found = [n for one in self.comparisons for term in one.terms() for n in term.names()]
        return tuple(dict.fromkeys(found))

    def holds(self, values: Mapping[str, float | None]) -> bool | None:
        """Whether it is true of values; None where one of them is not there."""
        there = {name: value for name, value in values.items() if value is not None}
        if any(name not in there for name in self.names):
            return None
        return all(one.holds(there) for one in self.comparisons)

    def check(self, known: Collection[str]) -> None:
        """See to it that all values it is about exist.

        Raises
        ------
        ConfigError
            Names the first that does not, and the nearest that does.
        """
        for name in self.names:
            if name not in known:
                hint = did_you_mean(name, sorted(known), most=len(known))
                raise ConfigError(f"predicate {self.text!r}: no value {name!r}; {hint}")


class _Parser:
    """Reads one predicate by recursive descent."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, str, int]] = []
        position = 0
        while position < len(text.rstrip()):
            found = _TOKEN.match(text, position)
            if found is None:
                start = position + len(text[position:]) - len(text[position:].lstrip())
                raise self._error(start, f"{text[start]!r} means nothing here")
            kind = str(found.lastgroup)
            self.tokens.append((kind, found.group(kind), found.start(kind)))
            position = found.end()
        self.tokens.append(("end", "", len(text)))
        self.index = 0

    def predicate(self) -> tuple[Comparison, ...]:
        found = self._comparisons()
        while self._take("and"):
            found += self._comparisons()
        self._expect("end", "'and' or the end")
        return tuple(found)

    def _comparisons(self) -> list[Comparison]:
        left = self._sum()
        if self._take("="):
            right = self._sum()
            if not (self._take("+-") or self._take("±")):
                raise self._wrong(
                    "'+-' and a tolerance (numbers are never equal to the last digit)"
                )
            return [Comparison(left, "=", right, self._sum())]
        found = []
        while (sign := self._take(*_COMPARED)) is not None:
            right = self._sum()
            found.append(Comparison(left, sign, right))
            left = right
        if not found:
            raise self._wrong("one of < <= > >= =")
        return found

    def _sum(self) -> Term:
        term = self._product()
        while (sign := self._take("+", "-")) is not None:
            term = Term(sign, (term, self._product()))
        return term

    def _product(self) -> Term:
        term = self._factor()
        while (sign := self._take("*", "/")) is not None:
            term = Term(sign, (term, self._factor()))
        return term

    def _factor(self) -> Term:
        kind, text, _ = self.tokens[self.index]
        if self._take("-") is not None:
            return Term("-", (Term(0.0), self._factor()))
        if self._take("(") is not None:
            inner = self._sum()
            self._expect(")", "')'")
            return inner
        if kind == "number":
            self.index += 1
            return Term(float(text))
        if kind != "name" or text == "and":
            raise self._wrong("a number or a name")
        self.index += 1
        return self._call(text) if self._take("(") is not None else Term(text)

    def _call(self, function: str) -> Term:
        if function not in _FUNCTIONS:
            raise self._error(
                self.tokens[self.index - 2][2],
                f"no function {function!r}; there are {', '.join(_FUNCTIONS)}",
            )
        parts = [self._sum()]
        while self._take(",") is not None:
            parts.append(self._sum())
        self._expect(")", "')'")
        # Python's abs takes one argument, its min and max take two or more.
        if (len(parts) == 1) != (function == "abs"):
            raise self._wrong(f"{'one argument' if function == 'abs' else 'two or more'} before")
        return Term(function, tuple(parts))

    def _take(self, *wanted: str) -> str | None:
        text = self.tokens[self.index][1]
        if text in wanted:
            self.index += 1
            return text
        return None

    def _expect(self, wanted: str, told: str) -> None:
        kind, text, _ = self.tokens[self.index]
        if wanted not in (kind, text):
            raise self._wrong(told)
        self.index += 1

    def _wrong(self, expected: str) -> ConfigError:
        _, text, position = self.tokens[self.index]
        found = repr(text) if text else "the end"
        return self._error(position, f"expected {expected}, found {found}")

    def _error(self, position: int, message: str) -> ConfigError:
        return ConfigError(f"predicate {self.text!r}, character {position + 1}: {message}")
