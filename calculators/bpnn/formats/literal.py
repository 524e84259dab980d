"""Python literals as Amp writes them, read without evaluating anything.

Allowed are strings, numbers, None, True, False, tuples, lists, dictionaries, and the calls
``dict(key=value, …)``, ``OrderedDict([(key, value), …])``, ``array([…])`` and ``matrix([…])``,
which stand for their contents.
"""

from __future__ import annotations

import ast
import re
import warnings
from typing import Any, NoReturn

from pescape.calculators.bpnn.formats.lines import shortened

MAX_SIZE = 50_000_000  # characters
_MAX_DEPTH = 30
_STRING = r"'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\""
_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_TOKEN = re.compile(
    rf"(?P<skip>\s+)|(?P<string>{_STRING})|(?P<number>{_NUMBER})(?![\w.])"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<mark>[\[\](){},:=])",
    re.DOTALL,
)
_WRAPPERS = ("array", "matrix")
_CALLS = ("dict", "OrderedDict", *_WRAPPERS)
_CONSTANTS = ("None", "True", "False")
_BEFORE_VALUES = ("[", "(", "{", ",", ":", "=")
_OPENING = "opening"  # a place where a value may begin


def parse_literal(text: str, what: str) -> Any:  # noqa: ANN401
    """Read a literal.

    Parameters
    ----------
    text
        The text.
    what
        What errors call it.

    Raises
    ------
    ValueError
        "WHAT, line N: ..." when it is anything but a literal.
    """
    if len(text) > MAX_SIZE:
        raise ValueError(f"{what}: {len(text)} characters are too many for a potential")
    _check_tokens(text, what)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd backslashes in strings
            tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        line = getattr(error, "lineno", None) or 1
        reason = shortened(getattr(error, "msg", None) or "it is too long or too deep", 60)
        raise ValueError(f"{what}, line {line}: this is not a Python literal ({reason})") from None
    return _value(tree.body, what)


def _check_tokens(text: str, what: str) -> None:
    """Let only what a literal is made of pass, before Python's own parser sees it.

    That parser, and the tree it makes, must not be driven to any depth: no operators, no chains
    of calls or indices, no keywords, and brackets to a limited depth.
    """
    position, depth, last = 0, 0, _OPENING
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            _fail(what, text, position, f"{shortened(text[position:], 20)!r} is not allowed here")
        kind, word = match.lastgroup or "", match.group()
        if kind != "skip":
            if not _may_follow(kind, word, last, _next_character(text, match.end())):
                _fail(what, text, position, f"{shortened(word, 20)!r} is not allowed here")
            depth += (word in ("[", "(", "{")) - (word in ("]", ")", "}"))
            if depth > _MAX_DEPTH:
                _fail(what, text, position, f"brackets are nested more than {_MAX_DEPTH} deep")
            last = _OPENING if word in _BEFORE_VALUES else kind if kind != "name" else word
        position = match.end()


def _next_character(text: str, position: int) -> str:
    while position < len(text) and text[position].isspace():
        position += 1
    return text[position : position + 1]


def _may_follow(kind: str, word: str, last: str, after: str) -> bool:
    if kind == "mark":
        if word == "(" and last in _CALLS:
            return True
        return word not in "[({" or last == _OPENING
    if last != _OPENING:
        return kind == last == "string"
    return kind != "name" or word in _CALLS or word in _CONSTANTS or after == "="


def _fail(what: str, text: str, position: int, message: str) -> NoReturn:
    line = text.count("\n", 0, position) + 1
    raise ValueError(f"{what}, line {line}: {message}")


def _value(node: ast.expr, what: str) -> Any:  # noqa: ANN401
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant):
        number = node.operand.value
        if isinstance(number, (int, float)):
            return -number if isinstance(node.op, ast.USub) else number
    if isinstance(node, ast.Tuple):
        return tuple(_value(item, what) for item in node.elts)
    if isinstance(node, ast.List):
        return [_value(item, what) for item in node.elts]
    if isinstance(node, ast.Dict):
        return _dictionary(node, what)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return _call(node, node.func.id, what)
    kind = f"the name {node.id}" if isinstance(node, ast.Name) else type(node).__name__
    raise ValueError(f"{what}, line {node.lineno}: {kind} is not allowed: only data is read")


def _call(node: ast.Call, name: str, what: str) -> Any:  # noqa: ANN401
    """Give the contents of dict, OrderedDict, array and matrix; nothing is called."""
    if name == "dict" and not node.args and all(k.arg for k in node.keywords):
        pairs = [(ast.Constant(k.arg, lineno=k.lineno), k.value) for k in node.keywords]
        return _pairs(pairs, what)
    if name in ("OrderedDict", "dict") and len(node.args) <= 1 and not node.keywords:
        return _items(node, what)
    if name in _WRAPPERS and len(node.args) == 1 and not node.keywords:
        return _value(node.args[0], what)
    raise ValueError(
        f"{what}, line {node.lineno}: {name}(...) is not allowed: only data is read, and nothing "
        "is called"
    )


def _dictionary(node: ast.Dict, what: str) -> dict[Any, Any]:
    return _pairs([(k, v) for k, v in zip(node.keys, node.values, strict=True) if k], what)


def _items(node: ast.Call, what: str) -> dict[Any, Any]:
    if not node.args:
        return {}
    inner = node.args[0]
    if isinstance(inner, ast.Dict):
        return _dictionary(inner, what)
    pairs = []
    if isinstance(inner, (ast.List, ast.Tuple)):
        pairs = [tuple(p.elts) for p in inner.elts if isinstance(p, (ast.Tuple, ast.List))]
    if not isinstance(inner, (ast.List, ast.Tuple)) or len(pairs) != len(inner.elts):
        raise ValueError(f"{what}, line {node.lineno}: OrderedDict needs a list of pairs")
    return _pairs(pairs, what)


def _pairs(pairs: list[Any], what: str) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for pair in pairs:
        if len(pair) != 2 or not isinstance(pair[0], ast.Constant):
            line = pair[0].lineno if pair else 1
            raise ValueError(f"{what}, line {line}: a key must be a string or a number")
        key = pair[0].value
        if key in found:
            raise ValueError(
                f"{what}, line {pair[0].lineno}: {shortened(repr(key))} is there twice"
            )
        found[key] = _value(pair[1], what)
    return found
