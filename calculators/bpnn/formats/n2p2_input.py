"""The settings of n2p2 and RuNNer, ``input.nn``: keywords and the lines of symmetry functions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from ase.data import atomic_numbers

from pescape.calculators.bpnn.formats.common import Lines, decoded, shortened
from pescape.calculators.bpnn.symmetry import (
    CUTOFFS,
    KIND_NAMES,
    KINDS,
    NEIGHBORS,
    Cutoff,
    SymmetryFunction,
)

if TYPE_CHECKING:
    from pathlib import Path

#: Says the units in folders that we write, which other programs take for a comment.
UNITS_COMMENT = "# pescape units:"
SETTINGS = "input.nn"
ACTIVATIONS = {
    "l": "linear",
    "t": "tanh",
    "s": "sigmoid",
    "p": "softplus",
    "r": "relu",
    "g": "gaussian",
    "c": "cosine",
    "e": "exp",
    "h": "harmonic",
    "S": "reverse-sigmoid",
}
_CUTOFF_KINDS = {number: kind for kind, number in CUTOFFS.items() if number <= 8}
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
        """Raise an error about the file or one of its lines.

        Parameters
        ----------
        message
            What is wrong.
        number
            Of the line.
        """
        where = "" if number is None else f", line {number}"
        raise ValueError(f"{self.path}{where}: {message}")

    def has(self, keyword: str) -> bool:
        """Whether a keyword is there.

        Parameters
        ----------
        keyword
            First word of the line.
        """
        return keyword in self.lines

    def all(self, keyword: str) -> list[tuple[int, list[str]]]:
        """Return number and words of all lines with a keyword.

        Parameters
        ----------
        keyword
            First word of the lines.
        """
        return self.lines.get(keyword, [])

    def one(self, keyword: str) -> tuple[int, list[str]]:
        """Return number and words of the line with a keyword, which must be there.

        Parameters
        ----------
        keyword
            First word of the line.
        """
        if keyword not in self.lines:
            self.fail(f"the keyword {keyword} is missing")
        number, words = self.lines[keyword][0]
        if not words:
            self.fail(f"{keyword} needs a value", number)
        return number, words

    def line(self, number: int) -> Lines:
        """Return a reader of words whose errors name a line.

        Parameters
        ----------
        number
            Of the line.
        """
        return Lines("", str(self.path), number)

    def number(self, keyword: str, default: float | None = None) -> float:
        """Return the number behind a keyword.

        Parameters
        ----------
        keyword
            First word of the line.
        default
            Its value where the keyword is missing; None: it must be there.
        """
        if default is not None and keyword not in self.lines:
            return default
        number, words = self.one(keyword)
        return self.line(number).real(words[0], keyword)


def read_settings(path: Path) -> Settings:
    """Read ``input.nn``; what changes the energy and is not supported is an error.

    Parameters
    ----------
    path
        The file.
    """
    settings = Settings(path)
    text = decoded(path)
    for number, line in enumerate(text.split("\n"), start=1):
        if line.startswith(UNITS_COMMENT):
            words = line[len(UNITS_COMMENT) :].split()
            if len(words) != 4:
                settings.fail("the comment on units must be 'length X energy Y'", number)
            settings.units = (
                settings.line(number).real(words[1], "the unit of length"),
                settings.line(number).real(words[3], "the unit of energy"),
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


def read_cutoff(settings: Settings) -> tuple[str, float]:
    """Return kind and inner fraction of the cut-off function of all symmetry functions.

    Parameters
    ----------
    settings
        Of the folder.
    """
    number, words = settings.one("cutoff_type")
    code = settings.line(number).integer(words[0], "the cut-off type")
    if code not in _CUTOFF_KINDS:
        settings.fail(f"the cut-off type must be 0 to 8, not {code}", number)
    alpha = 0.0
    if len(words) > 1:
        alpha = settings.line(number).real(words[1], "the inner fraction of the cut-off")
    elif settings.has("cutoff_alpha"):
        alpha = settings.number("cutoff_alpha")
    if not 0 <= alpha < 1:
        settings.fail(f"the inner fraction of the cut-off must be in [0, 1), not {alpha}", number)
    return _CUTOFF_KINDS[code], alpha


# The words of a function's line behind its neighbors; that in brackets may be left out.
_RADIAL = ("eta", "shift", "radius")
_POWER = ("eta", "lambda_", "zeta", "radius", "[shift]")
_COLUMNS = {
    "G2": _RADIAL,
    "G2W": _RADIAL,
    "G4": _POWER,
    "G5": _POWER,
    "G4W": ("eta", "shift", "lambda_", "zeta", "radius"),
    **dict.fromkeys(("C2", "C2W"), ("inner", "radius", "form")),
    **dict.fromkeys(("C4", "C5", "C4W", "C5W"), ("inner", "radius", "left", "right", "form")),
}
# What compact functions call their windows.
_FORMS = {f"p{n}": f"window{n}" for n in range(1, 5)} | {
    f"p{n}a": f"skewed{n}" for n in range(1, 5)
}
_LETTERS = {kind: form for form, kind in _FORMS.items()}


def parse_function(
    settings: Settings, number: int, words: list[str], cutoff_kind: str, alpha: float
) -> SymmetryFunction:
    """Return the symmetry function of a line of ``input.nn``, in units of the file.

    Parameters
    ----------
    settings, number
        The settings and the line's number, for errors.
    words
        What follows ``symfunction_short ELEMENT``.
    cutoff_kind, alpha
        Kind and inner fraction of all cut-off functions but windows.
    """
    code = settings.line(number).integer(words[0], "the kind of a symmetry function")
    if code not in KIND_NAMES:
        known = ", ".join(map(str, KIND_NAMES))
        settings.fail(f"symmetry functions of kind {code} cannot be read, only {known}", number)
    kind = KIND_NAMES[code]
    count = NEIGHBORS[kind]
    needed = [name for name in _COLUMNS[kind] if not name.startswith("[")]
    neighbors, values = words[1 : 1 + count], words[1 + count :]
    if not len(needed) <= len(values) <= len(_COLUMNS[kind]):
        names = ", ".join(name.rstrip("_") for name in needed)
        settings.fail(
            f"a symmetry function of kind {code} needs {count} neighbors and {names}, found "
            f"{len(words) - 1} words",
            number,
        )
    given = dict(zip((name.strip("[]") for name in _COLUMNS[kind]), values, strict=False))
    form = given.pop("form", None)
    if form is not None and form not in _FORMS:
        settings.fail(f"the window {shortened(form)!r} is none of {', '.join(_FORMS)}", number)
    numbers: dict[str, Any] = {
        name: settings.line(number).real(word, name.rstrip("_")) for name, word in given.items()
    }
    try:
        if form is None:
            cutoff = Cutoff(cutoff_kind, numbers.pop("radius"), alpha)
        else:
            cutoff = Cutoff(_FORMS[form], numbers.pop("radius"), numbers.pop("inner"))
            numbers["eta"] = 0.0
        if "left" in numbers:
            numbers["angles"] = (numbers.pop("left"), numbers.pop("right"))
        return SymmetryFunction(kind, tuple(neighbors), cutoff=cutoff, **numbers)
    except ValueError as error:
        settings.fail(str(error), number)


def sorting_key(function: SymmetryFunction) -> tuple[float, ...]:
    """Return what n2p2 sorts the functions of an element by.

    Parameters
    ----------
    function
        In units of the file; all have the same kind of cut-off function.
    """
    kind, cutoff = KINDS[function.kind], function.cutoff
    neighbors = sorted(atomic_numbers[name] for name in function.neighbors)
    if function.is_compact:
        # By the form's name: p1, p1a, p2, …
        order = sorted(_FORMS).index(_LETTERS[cutoff.kind])
        angles = function.angles if "left" in _COLUMNS[function.kind] else ()
        return (kind, order, *neighbors, cutoff.radius, cutoff.parameter, *angles)
    power = (function.zeta, function.lambda_) if "zeta" in _COLUMNS[function.kind] else ()
    return (kind, cutoff.radius, function.eta, function.shift, *power, *neighbors)


def function_line(element: str, function: SymmetryFunction) -> str:
    """Return the line of ``input.nn`` for a function.

    Parameters
    ----------
    element
        The central atom's.
    function
        In units of the file.
    """
    cutoff = function.cutoff
    values = {
        "eta": function.eta,
        "shift": function.shift,
        "lambda_": function.lambda_,
        "zeta": function.zeta,
        "radius": cutoff.radius,
        "inner": cutoff.parameter,
        "left": function.angles[0],
        "right": function.angles[1],
    }
    words = [str(KINDS[function.kind]), *function.neighbors]
    for name in _COLUMNS[function.kind]:
        if name == "form":
            words.append(_LETTERS[cutoff.kind])
        elif name != "[shift]":
            words.append(repr(float(values[name])))
        elif function.shift:
            words.append(repr(float(function.shift)))
    return f"symfunction_short {element:<2} {' '.join(words)}"


def cutoff_number(function: SymmetryFunction) -> tuple[int, float] | None:
    """Return number and inner fraction of a cut-off function; None for windows.

    Parameters
    ----------
    function
        The symmetry function.

    Raises
    ------
    ValueError
        If n2p2 does not have it.
    """
    kind, parameter = function.cutoff.kind, function.cutoff.parameter
    if function.cutoff.is_window:
        return None
    if (kind, parameter) == ("amp-polynomial", 2.0):
        return CUTOFFS["poly1"], 0.0
    if kind == "amp-polynomial":
        raise ValueError(f"n2p2 does not have Amp's polynomial cut-off with gamma = {parameter:g}")
    return CUTOFFS[kind], parameter
