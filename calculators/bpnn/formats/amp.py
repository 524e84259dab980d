"""Amp's ``.amp`` files (J. Khorshidi and A. A. Peterson, Comput. Phys. Commun. 207, 310 (2016)).

They are Python literals, read without evaluating anything: strings, numbers, None, True, False,
tuples, lists, dictionaries, and the calls ``dict(key=value, …)``,
``OrderedDict([(key, value), …])``, ``array([…])`` and ``matrix([…])``, which stand for their
contents.
"""

from __future__ import annotations

import ast
import re
import warnings
from itertools import pairwise
from typing import Any, NoReturn

import numpy as np

from pescape.calculators.bpnn.data import BPNNData, ElementModel, Layer, Scaling
from pescape.calculators.bpnn.formats.common import Format, shortened, text_reader
from pescape.calculators.bpnn.symmetry import Cutoff, SymmetryFunction

_MAX_SIZE = 50_000_000  # characters
_MAX_DEPTH = 30
_STRING = r"'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\""
_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_TOKEN = re.compile(
    rf"(?P<skip>\s+)|(?P<string>{_STRING})|(?P<number>{_NUMBER})(?![\w.])"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<mark>[\[\](){},:=])",
    re.DOTALL,
)
_CALLS = ("dict", "OrderedDict", "array", "matrix")
_CONSTANTS = ("None", "True", "False")
_BEFORE_VALUES = ("[", "(", "{", ",", ":", "=")
_OPENING = "opening"  # a place where a value may begin


def _parse_literal(text: str, what: str) -> Any:  # noqa: ANN401
    """Read a literal; errors are "WHAT, line N: ..."."""
    if len(text) > _MAX_SIZE:
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
    plain = _Contents(what).visit(tree)
    try:
        return ast.literal_eval(plain)
    except (ValueError, TypeError) as error:
        reason = shortened(str(error), 60)
        raise ValueError(f"{what}: this is not a Python literal ({reason})") from None


class _Contents(ast.NodeTransformer):
    """Replaces the calls that literals may hold by their contents."""

    def __init__(self, what: str) -> None:
        self.what = what

    def visit_Name(self, node: ast.Name) -> NoReturn:
        self._fail(node, f"the name {node.id} is not allowed: only data is read")

    def visit_Call(self, node: ast.Call) -> ast.expr:
        name = node.func.id if isinstance(node.func, ast.Name) else "a call"
        if name == "dict" and not node.args and all(key.arg for key in node.keywords):
            keys = [ast.copy_location(ast.Constant(key.arg), key) for key in node.keywords]
            return self.visit_Dict(ast.Dict([*keys], [key.value for key in node.keywords]))
        is_array = name in ("array", "matrix")
        if name not in _CALLS or node.keywords or not is_array <= len(node.args) <= 1:
            self._fail(
                node, f"{name}(...) is not allowed: only data is read, and nothing is called"
            )
        return self.visit(node.args[0]) if is_array else self._dictionary(node)

    def _dictionary(self, node: ast.Call) -> ast.expr:
        content = node.args[0] if node.args else ast.List([])
        if isinstance(content, ast.Dict):
            return self.visit_Dict(content)
        items = content.elts if isinstance(content, (ast.List, ast.Tuple)) else [content]
        pairs = [
            item.elts
            for item in items
            if isinstance(item, (ast.List, ast.Tuple)) and len(item.elts) == 2
        ]
        if len(pairs) < len(items):
            self._fail(node, "OrderedDict needs a list of pairs")
        return self.visit_Dict(ast.Dict([key for key, _ in pairs], [value for _, value in pairs]))

    def visit_Dict(self, node: ast.Dict) -> ast.Dict:
        keys = set()
        for key in node.keys:
            if not isinstance(key, ast.Constant):
                self._fail(key or node, "a key must be a string or a number")
            if key.value in keys:
                self._fail(key, f"{shortened(repr(key.value))} is there twice")
            keys.add(key.value)
        node.values = [self.visit(value) for value in node.values]
        return node

    def _fail(self, node: ast.expr, message: str) -> NoReturn:
        raise ValueError(f"{self.what}, line {node.lineno}: {message}")


def _check_tokens(text: str, what: str) -> None:
    """Refuse tokens that no literal is made of, before Python's own parser sees them.

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


# Ranges that are not larger leave a fingerprint as it is.
_FLAT = 1e-8
_ACTIVATIONS = ("linear", "tanh", "sigmoid")
_CUTOFFS = {"Cosine": "cosine", "Polynomial": "amp-polynomial"}
_DEFAULT_GAMMA = 4.0


class _Part:
    """A dictionary of the file; errors name where it is and what it lacks."""

    def __init__(self, values: Any, what: str) -> None:  # noqa: ANN401
        if not isinstance(values, dict):
            raise ValueError(f"{what} must be a dictionary, not {shortened(repr(values))}")  # noqa: TRY004
        self.values: dict[Any, Any] = values
        self.what = what

    def __getitem__(self, key: Any) -> Any:  # noqa: ANN401
        if key not in self.values:
            raise ValueError(f"{self.what} has no {key!r}")
        return self.values[key]

    def part(self, key: Any) -> _Part:  # noqa: ANN401
        return _Part(self[key], f"{self.what}, {key}")

    def real(self, key: Any, default: float | None = None) -> float:  # noqa: ANN401
        value = self.values.get(key, default) if default is not None else self[key]
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(  # noqa: TRY004
                f"{self.what}: {key} must be a number, not {shortened(repr(value))}"
            )
        return _float(value, f"{self.what}: {key}")


def _parse(text: str, name: str) -> BPNNData:
    outer = _Part(_parse_literal(text, name), name)
    descriptor = _inner(outer, "descriptor", name)
    model = _inner(outer, "model", name)
    _check_kind(descriptor, ("mode", "atom-centered"), ("importname", "Gaussian"))
    _check_kind(model, ("mode", "atom-centered"), ("importname", "NeuralNetwork"))
    sets = descriptor.part("Gs")
    species = descriptor.values.get("elements") or sorted(map(str, sets.values))
    if not isinstance(species, (list, tuple)) or not all(isinstance(s, str) for s in species):
        raise ValueError(f"{descriptor.what}: elements must be a list of elements")
    cutoff = _cutoff(descriptor)
    elements = []
    for element in species:
        functions = _functions(sets, element, cutoff)
        elements.append(_element(model, element, functions))
    return BPNNData(tuple(species), tuple(elements), name="Amp", source=name)


def _inner(outer: _Part, key: str, name: str) -> _Part:
    text = outer[key]
    what = f"{name}: {key}"
    if isinstance(text, str):
        text = _parse_literal(text, what)
    return _Part(text, what)


def _check_kind(part: _Part, *pairs: tuple[str, str]) -> None:
    for key, wanted in pairs:
        found = part.values.get(key, wanted)
        if not str(found).endswith(wanted):
            raise ValueError(
                f"{part.what} has {key} = {shortened(str(found))!r}; only {wanted!r} can be read"
            )


def _cutoff(descriptor: _Part) -> Cutoff:
    given = descriptor["cutoff"]
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        return Cutoff("cosine", _float(given, "the cut-off"))
    cutoff = descriptor.part("cutoff")
    name, arguments = cutoff["name"], cutoff.part("kwargs")
    if name not in tuple(_CUTOFFS):
        raise ValueError(
            f"{cutoff.what}: the name {shortened(repr(name))} is not Cosine or Polynomial"
        )
    gamma = arguments.real("gamma", _DEFAULT_GAMMA) if name == "Polynomial" else 0.0
    return Cutoff(_CUTOFFS[name], arguments.real("Rc"), gamma)


def _functions(sets: _Part, element: str, cutoff: Cutoff) -> tuple[SymmetryFunction, ...]:
    given = sets[element]
    if not isinstance(given, (list, tuple)):
        raise ValueError(f"{sets.what}, {element}: a list of functions expected")  # noqa: TRY004
    functions = []
    for number, one in enumerate(given, start=1):
        what = f"{sets.what}, function {number} of {element}"
        try:
            functions.append(_function(_Part(one, what), cutoff))
        except ValueError as error:
            message = str(error)
            raise ValueError(message if what in message else f"{what}: {message}") from None
    return tuple(functions)


def _function(one: _Part, cutoff: Cutoff) -> SymmetryFunction:
    # Amp's η has no unit: it is that of (r/Rc)².
    eta = one.real("eta") / cutoff.radius**2
    if one["type"] == "G2":
        shift = one.real("offset", 0.0)
        return SymmetryFunction("G2", (str(one["element"]),), eta, cutoff, shift)
    if one["type"] not in ("G4", "G5"):
        raise ValueError(f"{one.what}: type {shortened(repr(one['type']))} is not G2, G4 or G5")
    pair = one["elements"]
    if not isinstance(pair, (list, tuple)):
        raise ValueError(f"{one.what}: elements must be a list")  # noqa: TRY004
    return SymmetryFunction(
        one["type"],
        tuple(map(str, pair)),
        eta,
        cutoff,
        lambda_=one.real("gamma"),
        zeta=one.real("zeta"),
    )


def _element(model: _Part, element: str, functions: tuple[SymmetryFunction, ...]) -> ElementModel:
    activation = model["activation"]
    if activation not in _ACTIVATIONS:
        raise ValueError(
            f"{model.what} has activation = {shortened(repr(activation))}, which is none of "
            f"{', '.join(_ACTIVATIONS)}"
        )
    if model.values.get("weights") is None:
        raise ValueError(f"{model.what} has no weights: it is untrained")
    scalings = model.part("scalings").part(element)
    sizes = [len(functions), *_hidden(model.part("hiddenlayers"), element), 1]
    weights = model.part("weights").part(element)
    layers = tuple(
        _layer(weights, index, shape, activation)
        for index, shape in enumerate(pairwise(sizes), start=1)
    )
    if len(weights.values) != len(layers):
        raise ValueError(
            f"{weights.what} has {len(weights.values)} layers, but hiddenlayers asks for "
            f"{len(layers)}"
        )
    ranges = _table(model.part("fprange")[element], f"{model.what}, fprange of {element}")
    if ranges.shape != (len(functions), 2):
        raise ValueError(
            f"{model.what}, fprange of {element} has shape {ranges.shape}, not "
            f"{(len(functions), 2)}"
        )
    scaling = Scaling("range", -1.0, 1.0, ranges[:, 0], ranges[:, 1], tolerance=_FLAT)
    slope, intercept = scalings.real("slope"), scalings.real("intercept")
    return ElementModel(functions, layers, scaling, slope, intercept)


def _hidden(layers: _Part, element: str) -> tuple[int, ...]:
    given = layers[element]
    sizes = tuple(given) if isinstance(given, (list, tuple)) else (given,)
    for size in sizes:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"{layers.what}: {shortened(repr(size))} is no number of nodes")
    return sizes


def _layer(weights: _Part, number: int, shape: tuple[int, int], activation: str) -> Layer:
    what = f"{weights.what}, layer {number}"
    table = _table(weights[number], what)
    if table.shape != (shape[0] + 1, shape[1]):
        raise ValueError(f"{what} has shape {table.shape}, not {(shape[0] + 1, shape[1])}")
    # The last row holds the biases; the output node is activated like all others.
    return Layer.of(table[:-1], table[-1], activation)


def _table(rows: Any, what: str) -> np.ndarray[Any, np.dtype[np.float64]]:  # noqa: ANN401
    """Return a list of lists of numbers as an array."""
    if not isinstance(rows, (list, tuple)) or not all(isinstance(r, (list, tuple)) for r in rows):
        raise ValueError(f"{what} must be a list of lists of numbers")
    if len({len(row) for row in rows}) != 1:
        raise ValueError(f"{what} must have rows of one length")
    for row in rows:
        for value in row:
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ValueError(  # noqa: TRY004
                    f"{what} must hold numbers, not {shortened(repr(value))}"
                )
    table = np.array([[_float(value, what) for value in row] for row in rows])
    if not np.isfinite(table).all():
        raise ValueError(f"{what} holds numbers that are not finite")
    return table


def _float(value: float, what: str) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{what} holds a number that is not finite") from None


FORMAT = Format(
    "amp",
    "an Amp file",
    lambda _, start: start.startswith(b"dict(") and (b"descriptor" in start or b"model" in start),
    text_reader(_parse),
)
