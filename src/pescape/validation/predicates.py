"""Statements about values that are true or false of a potential, in a small language.

::

    vacancy_migration.basal < vacancy_migration.out_of_basal
    lattice.hcp.a = 3.234 +- 0.02
    0 < elastic.C44 < 2 * reference.elastic.C44 and abs(lattice.bcc.relative - 80) < 10

Numbers, names, ``+ - * /``, parentheses, ``abs``, ``min`` and ``max``; comparisons by ``<``,
``<=``, ``>`` and ``>=``, which may be chained, or by ``= … +- …``; several of these joined by
``and``. Python's parser finds the structure, but Python evaluates nothing of it.
"""

from __future__ import annotations

import ast
import itertools
import math
import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pescape.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

#: Kind, text and place.
_Word = tuple[str, str, int]
_WORD = re.compile(
    r"(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_]\w*(?:\.\w+)*)"
    r"|(?P<sign>\+-|±|<=|>=|[-+*/()<>=,])"
)
# Signs that Python has not, and its operators that bind as these do and are as long.
_AS_PYTHON = {"=": "|", "+-": "^ ", "±": "^"}
# By the comparison that has been begun: what may follow on an operand, and how errors say that.
_ORDER = ("<", "<=", ">", ">=")
_FOLLOWING: dict[str, tuple[tuple[str, ...], str]] = {
    "": ((*_ORDER, "="), "one of < <= > >= ="),
    "<": ((*_ORDER, "and", ""), "'and' or the end"),
    "=": (("+-", "±"), "'+-' and a tolerance (numbers are never equal to the last digit)"),
    "+-": (("and", ""), "'and' or the end"),
}
_STATES = {"=": "=", "+-": "+-", "±": "+-", "and": "", "": ""}
_COMPARED: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_FUNCTIONS: dict[str, Callable[..., float]] = {"abs": abs, "max": max, "min": min}


@dataclass(frozen=True)
class Predicate:
    """A statement about values.

    Parameters
    ----------
    name
        What it is called.
    text
        As it was written.
    clauses
        Its comparisons, all of which have to hold; places in them are those in the text.
    """

    name: str
    text: str
    clauses: tuple[ast.expr, ...]

    @classmethod
    def parse(cls, text: str, name: str | None = None) -> Predicate:
        """Read a predicate.

        Parameters
        ----------
        text
            As it was written.
        name
            What it is called; the text if None.

        Raises
        ------
        ConfigError
            Says where the text makes no sense and what was expected there.
        """
        return cls(name or text, text, _clauses(text))

    @property
    def names(self) -> tuple[str, ...]:
        """Values it is about, in order."""
        found = [
            (node.col_offset, _written(node, self.text))
            for clause in self.clauses
            for node in _operands(clause)
        ]
        return tuple(dict.fromkeys(name for _, name in sorted(found)))

    def holds(self, values: Mapping[str, float | None]) -> bool | None:
        """Whether it is true of values; None where one of them is not there.

        Parameters
        ----------
        values
            By full name.
        """
        there = {name: value for name, value in values.items() if value is not None}
        if any(name not in there for name in self.names):
            return None
        return all(_holds(clause, self.text, there) for clause in self.clauses)

    def check(self, known: Collection[str]) -> None:
        """Refuse a predicate about values that do not exist.

        Parameters
        ----------
        known
            Full names of those that do.

        Raises
        ------
        ConfigError
            Names the first that does not, and the nearest that does.
        """
        for name in self.names:
            if name not in known:
                hint = did_you_mean(name, sorted(known), most=len(known))
                raise ConfigError(f"predicate {self.text!r}: no value {name!r}; {hint}")


def _written(node: ast.expr, text: str) -> str:
    return text[node.col_offset : node.end_col_offset]


def _operands(node: ast.AST) -> Iterator[ast.Name]:
    """Find the names of values; functions are none."""
    if isinstance(node, ast.Name):
        yield node
    parts = node.args if isinstance(node, ast.Call) else ast.iter_child_nodes(node)
    for part in parts:
        yield from _operands(part)


def _holds(clause: ast.expr, text: str, values: Mapping[str, float]) -> bool:
    if isinstance(clause, ast.Compare):
        numbers = [_value(one, text, values) for one in (clause.left, *clause.comparators)]
        signs = [_COMPARED[type(sign)] for sign in clause.ops]
        pairs = itertools.pairwise(numbers)
        return all(sign(*pair) for sign, pair in zip(signs, pairs, strict=True))
    assert isinstance(clause, ast.BinOp)
    assert isinstance(clause.right, ast.BinOp)
    parts = (clause.left, clause.right.left, clause.right.right)
    left, right, tolerance = (_value(one, text, values) for one in parts)
    return abs(left - right) <= tolerance


def _value(node: ast.expr, text: str, values: Mapping[str, float]) -> float:
    match node:
        case ast.Constant():
            return float(_written(node, text))
        case ast.UnaryOp():
            return -_value(node.operand, text, values)
        case ast.Call():
            inner = [_value(one, text, values) for one in node.args]
            return _FUNCTIONS[_written(node.func, text)](*inner)
        case ast.BinOp():
            inner = [_value(one, text, values) for one in (node.left, node.right)]
            try:
                return _ARITHMETIC[type(node.op)](*inner)
            except ZeroDivisionError:
                return math.nan  # which compares with nothing
    return values[_written(node, text)]


def _clauses(text: str) -> tuple[ast.expr, ...]:
    """Read the comparisons of a predicate; each name and number is where it is in the text."""
    source = [" "] * len(text)
    for kind, word, at in _checked(text):
        # Python would not take all of our names and numbers, but others as long.
        stand_in = "_" if kind == "name" and word != "and" else "1" if kind == "number" else ""
        source[at : at + len(word)] = stand_in * len(word) or _AS_PYTHON.get(word, word)
    indent = len(text) - len(text.lstrip())
    try:
        found = ast.parse("".join(source[indent:]), mode="eval").body
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise _error(text, 0, f"too long or too deep ({error})") from error
    for node in ast.walk(found):
        if isinstance(node, ast.expr):
            node.col_offset += indent
            node.end_col_offset = (node.end_col_offset or 0) + indent
    return tuple(found.values) if isinstance(found, ast.BoolOp) else (found,)


def _words(text: str) -> Iterator[_Word]:
    """Part a text into words; its end is one too."""
    position = 0
    while position < len(text):
        found = _WORD.match(text, position)
        if found is not None:
            yield str(found.lastgroup), found.group(), position
        elif not text[position].isspace():
            raise _error(text, position, f"{text[position]!r} means nothing here")
        position = position + 1 if found is None else found.end()
    yield "end", "", position


def _checked(text: str) -> list[_Word]:
    """Give the words of a text, refusing the first that cannot follow on those before it."""
    words = list(_words(text))
    state = ""  # the comparison that has been begun
    opened: list[list[str]] = []  # of each open parenthesis, what its arguments are of, so often
    expects_operand = True
    for number, (kind, word, _) in enumerate(words):
        before = words[number - 1]
        if expects_operand:
            expects_operand = kind not in ("number", "name") or word == "and"
            if expects_operand and word not in ("(", "-"):
                raise _wrong(text, words[number], "a number or a name")
            if word == "(":
                opened.append([])
        elif word == "(" and before[0] == "name":
            _check_function(text, before)
            opened.append([before[1]])
            expects_operand = True
        elif opened and word == ")":
            _check_arguments(text, opened.pop(), words[number + 1])
        elif opened and opened[-1] and word == ",":
            opened[-1].append(opened[-1][0])
            expects_operand = True
        else:
            allowed, expected = _FOLLOWING[state]
            arithmetic = word != "" and word in "+-*/"
            if word == "+-" or not arithmetic:
                if opened or word not in allowed:
                    raise _wrong(text, words[number], "')'" if opened else expected)
                state = _STATES.get(word, "<")
            expects_operand = True
    return words[:-1]


def _check_function(text: str, word: _Word) -> None:
    if word[1] not in _FUNCTIONS:
        known = ", ".join(_FUNCTIONS)
        raise _error(text, word[2], f"no function {word[1]!r}; there are {known}")


def _check_arguments(text: str, arguments: list[str], following: _Word) -> None:
    # Python's abs takes one argument, its min and max take two or more.
    if arguments and (len(arguments) == 1) != (arguments[0] == "abs"):
        wanted = "one argument" if arguments[0] == "abs" else "two or more"
        raise _wrong(text, following, f"{wanted} before")


def _wrong(text: str, word: _Word, expected: str) -> ConfigError:
    found = repr(word[1]) if word[1] else "the end"
    return _error(text, word[2], f"expected {expected}, found {found}")


def _error(text: str, position: int, message: str) -> ConfigError:
    return ConfigError(f"predicate {text!r}, character {position + 1}: {message}")
