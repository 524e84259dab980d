"""The settings of n2p2 and RuNNer: ``input.nn`` by keyword.

Symmetry functions as n2p2 and RuNNer write them, in units of their files.

Folders of n2p2 and RuNNer: ``input.nn``, ``scaling.data`` and ``weights.ZZZ.data``.

The rows of ``scaling.data`` and the weights of the first layer follow the programs' own order,
not that of ``input.nn``: elements by atomic number, symmetry functions by kind, cut-off radius,
η, r_s, ζ, λ and neighbours.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from ase.data import atomic_numbers

from pescape.calculators.bpnn.formats.lines import Lines, decoded, shortened
from pescape.calculators.bpnn.network import ElementModel, Layer, Scaling
from pescape.calculators.bpnn.potential import BPNNPotential, checked_species
from pescape.calculators.bpnn.symmetry import CUTOFFS, KINDS, NEIGHBORS, Cutoff, SymmetryFunction
from pescape.calculators.bpnn.units import Normalization, Units

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


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


SETTINGS = "input.nn"
SCALING = "scaling.data"
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
_NORMALIZATION = ("mean_energy", "conv_energy", "conv_length")
_CUTOFF_KINDS = {number: kind for kind, number in CUTOFFS.items() if number <= 8}


def weights_name(element: str) -> str:
    """Return the name of the file that holds an element's weights."""
    return f"weights.{atomic_numbers[element]:03d}.data"


def read_folder(folder: Path, length: float | None, energy: float | None) -> BPNNPotential:
    """Read a folder.

    Parameters
    ----------
    folder
        With ``input.nn``, ``scaling.data`` and the weights of all elements.
    length, energy
        Å and eV: its units; not needed where a comment of ours says them.
    """
    settings = read_settings(folder / SETTINGS)
    units = _units(settings, folder, length, energy)
    species = _species(settings)
    cutoff_kind, alpha = _cutoff_kind(settings)
    functions = _functions(settings, species, cutoff_kind, alpha)
    statistics = _read_scaling(folder / SCALING, species, functions)
    slope, intercept = units.energy, 0.0
    if units.normalization is not None:
        slope = units.energy / units.normalization.conv_energy
        intercept = units.ev(units.normalization.mean_energy)
    atom_energies = _atom_energies(settings, species)
    elements = []
    for name in species:
        layers = _read_weights(folder / weights_name(name), _shape(settings, name, functions))
        if settings.has("normalize_nodes"):
            layers = tuple(_normalized(layer) for layer in layers)
        scaling = _scaling(settings, statistics[name], folder / SCALING, name)
        converted = tuple(_in_angstrom(f, units) for f in functions[name])
        atom_energy = units.ev(atom_energies.get(name, 0.0))
        elements.append(ElementModel(converted, layers, scaling, slope, intercept, atom_energy))
    return BPNNPotential(species, tuple(elements), units, name="n2p2", source=str(folder))


def _units(settings: Settings, folder: Path, length: float | None, energy: float | None) -> Units:
    if settings.units is not None:
        length = settings.units[0] if length is None else length
        energy = settings.units[1] if energy is None else energy
    if length is None or energy is None:
        raise ValueError(
            f"{folder} does not say its units: name them, as in length_unit='Bohr', "
            "energy_unit='Hartree' or length_unit='Angstrom', energy_unit='eV' (on the command "
            "line --length-unit and --energy-unit)"
        )
    given = [keyword for keyword in _NORMALIZATION if settings.has(keyword)]
    if not given:
        return Units(length, energy)
    if len(given) != len(_NORMALIZATION):
        missing = next(keyword for keyword in _NORMALIZATION if keyword not in given)
        settings.fail(f"{given[0]} needs {missing} beside it", settings.all(given[0])[0][0])
    try:
        normalization = Normalization(*(settings.number(keyword) for keyword in _NORMALIZATION))
    except ValueError as error:
        if str(error).startswith(str(settings.path)):
            raise
        settings.fail(str(error))
    return Units(length, energy, normalization)


def _species(settings: Settings) -> tuple[str, ...]:
    number, words = settings.one("elements")
    count = len(words)
    if settings.has("number_of_elements"):
        where, given = settings.one("number_of_elements")
        count = settings.integer(given[0], "number_of_elements", where, 1)
    if len(words) != count:
        settings.fail(f"{count} elements expected, found {len(words)}", number)
    try:
        return checked_species(words)
    except ValueError as error:
        settings.fail(str(error), number)


def _cutoff_kind(settings: Settings) -> tuple[str, float]:
    number, words = settings.one("cutoff_type")
    code = settings.integer(words[0], "the cut-off type", number)
    if code not in _CUTOFF_KINDS:
        settings.fail(f"the cut-off type must be 0 to 8, not {code}", number)
    alpha = 0.0
    if len(words) > 1:
        alpha = settings.real(words[1], "the inner fraction of the cut-off", number)
    elif settings.has("cutoff_alpha"):
        alpha = settings.number("cutoff_alpha")
    if not 0 <= alpha < 1:
        settings.fail(f"the inner fraction of the cut-off must be in [0, 1), not {alpha}", number)
    return _CUTOFF_KINDS[code], alpha


def _functions(
    settings: Settings, species: tuple[str, ...], cutoff_kind: str, alpha: float
) -> dict[str, tuple[SymmetryFunction, ...]]:
    """Return the functions of each element, in units of the file and in the programs' order."""
    found: dict[str, list[SymmetryFunction]] = {name: [] for name in species}
    for number, words in settings.all("symfunction_short"):
        if len(words) < 2 or words[0] not in found:
            settings.fail(
                f"symfunction_short needs one of the elements {' '.join(species)}", number
            )
        function = parse_function(settings, number, words[1:], cutoff_kind, alpha)
        unknown = [name for name in function.neighbors if name not in species]
        if unknown:
            settings.fail(f"{unknown[0]} is not one of the elements {' '.join(species)}", number)
        found[words[0]].append(function)
    for name, functions in found.items():
        if not functions:
            settings.fail(f"{name} has no symfunction_short")
    return {name: tuple(sorted(given, key=sorting_key)) for name, given in found.items()}


def _in_angstrom(function: SymmetryFunction, units: Units) -> SymmetryFunction:
    cutoff = function.cutoff
    parameter = units.distance(cutoff.parameter) if cutoff.is_window else cutoff.parameter
    return dataclasses.replace(
        function,
        eta=units.eta(function.eta),
        shift=units.distance(function.shift),
        cutoff=Cutoff(cutoff.kind, units.distance(cutoff.radius), parameter),
    )


def _atom_energies(settings: Settings, species: tuple[str, ...]) -> dict[str, float]:
    energies = {}
    for number, words in settings.all("atom_energy"):
        if len(words) < 2 or words[0] not in species or words[0] in energies:
            settings.fail(
                f"atom_energy needs a number for one of the elements {' '.join(species)}, once",
                number,
            )
        energies[words[0]] = settings.real(words[1], "atom_energy", number)
    return energies


def _scaling(settings: Settings, table: Floats, path: Path, name: str) -> Scaling:
    scaled, centered = (settings.has(f"{what}_symmetry_functions") for what in ("scale", "center"))
    if settings.has("scale_symmetry_functions_sigma"):
        if scaled or centered:
            settings.fail(
                "scale_symmetry_functions_sigma excludes scale_symmetry_functions and "
                "center_symmetry_functions"
            )
        kind = "sigma"
    else:
        kinds = {(False, False): "none", (True, False): "range", (False, True): "centered"}
        kind = kinds.get((scaled, centered), "range-centered")
    low, high = 0.0, 1.0
    if kind not in ("none", "centered"):
        low = settings.number("scale_min_short", 0.0)
        high = settings.number("scale_max_short", 1.0)
    columns = dict(zip(("minimum", "maximum", "mean", "sigma"), table.T, strict=False))
    try:
        return Scaling(kind, low, high, **columns)
    except ValueError as error:
        raise ValueError(f"{path}, element {name}: {error}") from None


def _read_scaling(
    path: Path, species: tuple[str, ...], functions: dict[str, tuple[SymmetryFunction, ...]]
) -> dict[str, Floats]:
    """Return the statistics (D, 3 or 4) of every element."""
    lines = Lines(decoded(path.read_bytes(), str(path)), str(path))
    tables = {}
    width = len(lines.peek())
    for index, name in enumerate(sorted(species, key=atomic_numbers.__getitem__), start=1):
        rows = []
        count = len(functions[name])
        for number in range(1, count + 1):
            words = lines.words(f"function {number} of {count} of {name}")
            if len(words) not in (5, 6) or len(words) != width:
                lines.fail(
                    "5 or 6 columns expected (element, function, minimum, maximum, mean, sigma), "
                    f"found {len(words)}"
                )
            if words[:2] != [str(index), str(number)]:
                lines.fail(
                    f"element {index} ({name}), function {number} expected, found "
                    f"{shortened(words[0])}, {shortened(words[1])}: {SETTINGS} has {count} "
                    f"functions for {name}"
                )
            rows.append(lines.reals(words[2:], len(words) - 2, "the scaling"))
        tables[name] = np.array(rows)
    # RuNNer adds a line with the lowest and highest energy of its data.
    if len(lines.peek()) == 2:
        lines.words("")
    lines.end()
    return tables


def _shape(
    settings: Settings, name: str, functions: dict[str, tuple[SymmetryFunction, ...]]
) -> list[tuple[int, int, str]]:
    """Return inputs, outputs and activation of every layer."""
    number, words = _of_element(settings, "hidden_layers", name)
    hidden = settings.integer(words[0], "the number of hidden layers", number)
    sizes = []
    if hidden:
        number, words = _of_element(settings, "nodes", name)
        if len(words) != hidden:
            settings.fail(f"{hidden} numbers of nodes expected, found {len(words)}", number)
        sizes = [settings.integer(word, "the number of nodes", number, 1) for word in words]
    number, letters = _of_element(settings, "activation", name)
    if len(letters) not in (hidden, hidden + 1):
        settings.fail(f"{hidden + 1} activations expected, found {len(letters)}", number)
    unknown = [letter for letter in letters if letter not in ACTIVATIONS]
    if unknown:
        settings.fail(
            f"the activation {shortened(unknown[0])!r} is none of {' '.join(ACTIVATIONS)}", number
        )
    if letters[hidden:] not in ([], ["l"]):
        settings.fail(
            f"the output's activation is {letters[hidden]!r}, which n2p2 takes for linear and "
            "RuNNer does not: write l if that is meant",
            number,
        )
    nodes = [len(functions[name]), *sizes, 1]
    kinds = [ACTIVATIONS[letter] for letter in letters[:hidden]] + ["linear"]
    return list(zip(nodes, nodes[1:], kinds, strict=False))


def _of_element(settings: Settings, what: str, name: str) -> tuple[int, list[str]]:
    """Return a setting of an element's network, or that of all."""
    for number, words in settings.all(f"element_{what}_short"):
        if words[:1] == [name] and len(words) > 1:
            return number, words[1:]
    return settings.one(f"global_{what}_short")


def _read_weights(path: Path, shape: list[tuple[int, int, str]]) -> tuple[Layer, ...]:
    lines = Lines(decoded(path.read_bytes(), str(path)), str(path))
    layers = []
    for number, (inputs, outputs, activation) in enumerate(shape, start=1):
        what = f"layer {number} ({inputs} inputs, {outputs} nodes)"
        weights = _read_column(lines, inputs * outputs, "a", f"weight of {what}")
        bias = _read_column(lines, outputs, "b", f"bias of {what}")
        layers.append(Layer.of(weights.reshape(inputs, outputs), bias, activation))
    if lines.peek():
        lines.words("")
        lines.fail(f"the file should end here: {SETTINGS} asks for no more weights")
    return tuple(layers)


def _read_column(lines: Lines, count: int, letter: str, what: str) -> Floats:
    values = []
    for index in range(count):
        words = lines.words(f"{what}, {index + 1} of {count},")
        if len(words) > 1 and re.fullmatch("[ab]", words[1]) and words[1] != letter:
            lines.fail(
                f"{what}, {index + 1} of {count}, expected, which column 2 calls {letter!r}, "
                f"not {words[1]!r}: {SETTINGS} and this file differ"
            )
        values.append(lines.real(words[0], what))
    return np.array(values)


def _normalized(layer: Layer) -> Layer:
    """Divide by the number of nodes before, which ``normalize_nodes`` asks for."""
    weights, bias = layer.trained
    return Layer.of(weights / layer.inputs, bias / layer.inputs, layer.activation)
