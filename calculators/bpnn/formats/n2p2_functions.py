"""Symmetry functions as n2p2 and RuNNer write them, in units of their files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ase.data import atomic_numbers

from pescape.calculators.bpnn.formats.lines import shortened
from pescape.calculators.bpnn.symmetry import CUTOFFS, KINDS, NEIGHBORS, Cutoff, SymmetryFunction

if TYPE_CHECKING:
    from pescape.calculators.bpnn.formats.n2p2_settings import Settings

_KINDS = {number: kind for kind, number in KINDS.items()}
# The words of a function's line behind its neighbours; that in brackets may be left out.
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
    """Read what follows ``symfunction_short ELEMENT`` in a line of ``input.nn``."""
    code = settings.integer(words[0], "the kind of a symmetry function", number)
    if code not in _KINDS:
        known = ", ".join(map(str, _KINDS))
        settings.fail(f"symmetry functions of kind {code} cannot be read, only {known}", number)
    kind = _KINDS[code]
    count = NEIGHBORS[kind]
    needed = [name for name in _COLUMNS[kind] if not name.startswith("[")]
    neighbors, values = words[1 : 1 + count], words[1 + count :]
    if not len(needed) <= len(values) <= len(_COLUMNS[kind]):
        names = ", ".join(name.rstrip("_") for name in needed)
        settings.fail(
            f"a symmetry function of kind {code} needs {count} neighbours and {names}, found "
            f"{len(words) - 1} words",
            number,
        )
    given = dict(zip((name.strip("[]") for name in _COLUMNS[kind]), values, strict=False))
    form = given.pop("form", None)
    if form is not None and form not in _FORMS:
        settings.fail(f"the window {shortened(form)!r} is none of {', '.join(_FORMS)}", number)
    numbers: dict[str, Any] = {
        name: settings.real(word, name.rstrip("_"), number) for name, word in given.items()
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
    """Return what n2p2 sorts the functions of an element by (all have the same cut-off kind)."""
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
    """Return the line of ``input.nn`` for a function in units of the file."""
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
