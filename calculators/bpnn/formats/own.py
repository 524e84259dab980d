"""Our own format: text that describes itself.

Lines are words; what follows a ``#`` is a comment, and so is a blank line. Numbers have as many
digits as it takes to read back the same double. In order:

``pescape-bpnn 1``
    The format and its version.
``name TEXT``; ``species E…``
``units LENGTH ENERGY``
    Å and eV: units of the file it came from. All numbers below are in Å and eV.
``normalization MEAN CONV_ENERGY CONV_LENGTH``
    Only for potentials from a normalised n2p2 folder, in its units.
``element E``, for each of the species
    ``atom_energy X``, ``slope X``, ``intercept X`` (eV)

    ``functions D``, then D lines: kind, two neighbour elements (``-`` where there is none),
    η (1/Å²), shift (Å), λ, ζ, and the cut-off's kind, radius (Å) and parameter; in place of λ
    and ζ the kinds C4, C5, C4W and C5W have their window of angles (degrees)

    ``scaling KIND LOW HIGH TOLERANCE COLUMN…``, then, if there are columns, D lines of them

    ``layers L trained|untrained``, and for each one ``layer INPUTS OUTPUTS ACTIVATION``; then, if
    trained, a line of weights for each input, and one with the biases
``active_set output|all MODE WEIGHT_SCALING N CONFIGURATIONS LINES``
    Only if there is one: N rows of the matrix, N rows of its inverse, N lines of origins
    (configuration, atom), and LINES lines in the format ``.cfg`` with the configurations.
``end``
"""

from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING, Any, NoReturn, cast

import ase.io
import numpy as np

from pescape.calculators.bpnn.formats.common import Format, Lines, text_reader
from pescape.calculators.bpnn.network import (
    STATISTICS,
    BPNNData,
    ElementModel,
    Layer,
    Normalization,
    Scaling,
    Units,
    checked_species,
)
from pescape.calculators.bpnn.symmetry import (
    ANGLE_WINDOWS,
    NEIGHBORS,
    Cutoff,
    SymmetryFunction,
    angular_numbers,
)
from pescape.calculators.doptimality.active_set import UNSET, ActiveSet
from pescape.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ase import Atoms

_HEAD = "pescape-bpnn"
_VERSION = "1"
_NONE = "-"


def _write(path: Path, potential: BPNNData) -> None:
    write_atomically(path, ("\n".join(_lines(potential)) + "\n").encode())


def _lines(potential: BPNNData) -> list[str]:
    if len(potential.name.splitlines()) > 1 or "#" in potential.name:
        raise ValueError(f"a potential's name must be one line without '#': {potential.name!r}")
    units = potential.units
    lines = [
        f"{_HEAD} {_VERSION}",
        f"name {potential.name}".rstrip(),
        f"species {' '.join(potential.species)}",
        f"units {_reals([units.length, units.energy])}  # of the original file, in Å and eV",
    ]
    if units.normalization is not None:
        n = units.normalization
        lines.append(f"normalization {_reals([n.mean_energy, n.conv_energy, n.conv_length])}")
    for name, element in zip(potential.species, potential.elements, strict=True):
        lines += ["", f"element {name}", *_element_lines(element)]
    if potential.active_set is not None:
        lines += ["", *_active_set_lines(potential)]
    return [*lines, "end"]


def _element_lines(element: ElementModel) -> list[str]:
    lines = [
        f"atom_energy {element.atom_energy!r}  # eV",
        f"slope {element.slope!r}  # eV",
        f"intercept {element.intercept!r}  # eV",
        f"functions {len(element.functions)}",
        "# kind neighbours eta(1/Å²) shift(Å) lambda zeta cutoff radius(Å) parameter",
        *map(_function_line, element.functions),
    ]
    scaling = element.scaling
    columns = [name for name in STATISTICS if getattr(scaling, name) is not None]
    numbers = _reals([scaling.low, scaling.high, scaling.tolerance])
    lines.append(" ".join(["scaling", scaling.kind, numbers, *columns]))
    if columns:
        table = np.column_stack([getattr(scaling, name) for name in columns])
        lines += map(_reals, table.tolist())
    lines.append(f"layers {len(element.layers)} {'' if element.is_trained else 'un'}trained")
    for layer in element.layers:
        lines.append(f"layer {layer.inputs} {layer.outputs} {layer.activation}")
        if element.is_trained:
            weights, bias = layer.trained
            lines += map(_reals, [*weights.tolist(), bias.tolist()])
    return lines


def _function_line(function: SymmetryFunction) -> str:
    cutoff = function.cutoff
    neighbors = [*function.neighbors, _NONE, _NONE][:2]
    numbers = [function.eta, function.shift, *angular_numbers(function)]
    tail = _reals([cutoff.radius, cutoff.parameter])
    return " ".join([function.kind, *neighbors, _reals(numbers), cutoff.kind, tail])


def _active_set_lines(potential: BPNNData) -> list[str]:
    active_set = cast("ActiveSet", potential.active_set)
    frames = list(active_set.configurations)
    text = io.StringIO()
    if frames:
        ase.io.write(text, frames, format="mlip-cfg", species=potential.species)
    configurations = text.getvalue().splitlines()
    head = (
        f"active_set {potential.active_parameters} {active_set.mode} "
        f"{float(active_set.weight_scaling)!r} {active_set.size} {len(frames)} "
        f"{len(configurations)}"
    )
    return [
        head,
        "# matrix",
        *map(_reals, active_set.matrix.tolist()),
        "# inverse",
        *map(_reals, active_set.inverse.tolist()),
        "# configuration and atom of each row",
        *(f"{a} {b}" for a, b in active_set.origins.tolist()),
        *configurations,
    ]


def _reals(values: Iterable[float]) -> str:
    return " ".join(repr(float(value)) for value in values)


def _parse(text: str, name: str) -> BPNNData:
    lines = Lines(text, name)
    version = lines.keyword(_HEAD, 1)[0]
    if version != _VERSION:
        lines.fail(f"version {_VERSION} expected, found {version!r}: a newer pescape reads it")
    title = " ".join(lines.keyword("name"))
    species = _parse_species(lines)
    units = _parse_units(lines)
    elements = tuple(_parse_element(lines, element) for element in species)
    potential = BPNNData(species, elements, units, name=title, source=name)
    if lines.peek()[:1] == ["active_set"]:
        potential = _parse_active_set(lines, potential)
    lines.keyword("end", 0)
    lines.end()
    return potential


def _parse_species(lines: Lines) -> tuple[str, ...]:
    try:
        return checked_species(lines.keyword("species"))
    except ValueError as error:
        _again(lines, error)


def _parse_units(lines: Lines) -> Units:
    length, energy = (lines.real(word, "a unit") for word in lines.keyword("units", 2))
    try:
        normalization = None
        if lines.peek()[:1] == ["normalization"]:
            words = lines.keyword("normalization", 3)
            normalization = Normalization(*lines.reals(words, 3, "the normalization").tolist())
        return Units(length, energy, normalization)
    except ValueError as error:
        _again(lines, error)


def _parse_element(lines: Lines, name: str) -> ElementModel:
    found = lines.keyword("element", 1)[0]
    if found != name:
        lines.fail(f"element {name} expected, found {found}")
    numbers = {
        key: lines.real(lines.keyword(key, 1)[0], key)
        for key in ("atom_energy", "slope", "intercept")
    }
    count = lines.integer(lines.keyword("functions", 1)[0], "the number of functions", 1)
    functions = tuple(_parse_function(lines, index + 1, count) for index in range(count))
    scaling = _parse_scaling(lines, count)
    layers = _parse_layers(lines)
    try:
        return ElementModel(functions, layers, scaling, **numbers)
    except ValueError as error:
        _again(lines, error)


def _parse_function(lines: Lines, number: int, count: int) -> SymmetryFunction:
    words = lines.words(f"symmetry function {number} of {count}")
    if len(words) != 10:
        lines.fail(f"10 words expected for a symmetry function, found {len(words)}")
    names = ("eta", "shift", "lambda", "zeta")
    eta, shift, first, second = (
        lines.real(word, what) for word, what in zip(words[3:7], names, strict=True)
    )
    radius, parameter = (lines.real(word, "the cut-off's number") for word in words[8:])
    neighbors = tuple(words[1 : 1 + NEIGHBORS.get(words[0], 2)])
    if any(word != _NONE for word in words[1 + len(neighbors) : 3]):
        lines.fail(f"{words[0]} has {len(neighbors)} neighbour elements; {_NONE!r} stands for none")
    try:
        cutoff = Cutoff(words[7], radius, parameter)
        if words[0] in ANGLE_WINDOWS:
            angles = (first, second)
            return SymmetryFunction(words[0], neighbors, eta, cutoff, shift, angles=angles)
        return SymmetryFunction(words[0], neighbors, eta, cutoff, shift, first, second)
    except ValueError as error:
        _again(lines, error)


def _parse_scaling(lines: Lines, count: int) -> Scaling:
    words = lines.keyword("scaling")
    if len(words) < 4:
        lines.fail("'scaling' is followed by its kind, low, high, tolerance and columns")
    low, high, tolerance = (lines.real(word, "a number of the scaling") for word in words[1:4])
    columns = words[4:]
    if [name for name in STATISTICS if name in columns] != columns:
        lines.fail(f"columns must be among {', '.join(STATISTICS)}, in this order")
    here = lines.number
    table = lines.rows(count, len(columns), "the scaling") if columns else np.zeros((count, 0))
    given: dict[str, Any] = dict(zip(columns, table.T, strict=True))
    try:
        return Scaling(words[0], low, high, tolerance=tolerance, **given)
    except ValueError as error:
        raise ValueError(f"{lines.name}, line {here}: {error}") from None


def _parse_layers(lines: Lines) -> tuple[Layer, ...]:
    number, state = lines.keyword("layers", 2)
    count = lines.integer(number, "the number of layers", 1)
    if state not in ("trained", "untrained"):
        lines.fail(f"'trained' or 'untrained' expected, found {state!r}")
    layers = []
    for index in range(count):
        first, second, activation = lines.keyword("layer", 3)
        inputs = lines.integer(first, "the number of inputs", 1)
        outputs = lines.integer(second, "the number of outputs", 1)
        try:
            layer = Layer(inputs, outputs, activation)
            if state == "trained":
                what = f"the weights of layer {index + 1}"
                weights = lines.rows(inputs, outputs, what)
                bias = lines.rows(1, outputs, f"the biases of layer {index + 1}")[0]
                layer = Layer(inputs, outputs, activation, weights, bias)
        except ValueError as error:
            _again(lines, error)
        layers.append(layer)
    return tuple(layers)


def _parse_active_set(lines: Lines, potential: BPNNData) -> BPNNData:
    which, mode, scaling, *counts = lines.keyword("active_set", 6)
    if which not in ("output", "all"):
        lines.fail(f"'output' or 'all' expected, found {which!r}")
    names = ("the number of rows", "the number of configurations", "the number of lines")
    size, frames, length = (
        lines.integer(word, name) for word, name in zip(counts, names, strict=True)
    )
    if size != potential.active_size(cast("Any", which)):
        lines.fail(
            f"{size} rows, but the potential has {potential.active_size(cast('Any', which))} "
            f"parameters of the kind {which!r}"
        )
    weight_scaling = lines.real(scaling, "the weight scaling")
    matrix = lines.rows(size, size, "the active set's matrix")
    inverse = lines.rows(size, size, "the active set's inverse")
    origins = lines.rows(size, 2, "the origins").astype(np.int64)
    here = lines.number
    configurations = _parse_configurations(lines, frames, length, potential.species)
    sizes = [len(atoms) for atoms in configurations]
    for row, (configuration, atom) in enumerate(origins.tolist()):
        if (configuration, atom) == (UNSET, UNSET):
            continue
        if not (0 <= configuration < len(sizes) and 0 <= atom < sizes[configuration]):
            raise ValueError(
                f"{lines.name}, line {here}: row {row + 1} of the active set comes from atom "
                f"{atom} of configuration {configuration}, which the file does not hold"
            )
    try:
        active_set = ActiveSet(
            matrix, inverse, cast("Any", mode), weight_scaling, origins, configurations
        )
        return dataclasses.replace(
            potential, active_set=active_set, active_parameters=cast("Any", which)
        )
    except ValueError as error:
        _again(lines, error)


def _parse_configurations(
    lines: Lines, count: int, length: int, species: tuple[str, ...]
) -> tuple[Atoms, ...]:
    text = lines.raw_lines(length, "the active set's configurations")
    frames: list[Atoms] = []
    if length:
        # Blank lines first, so that the reader's line numbers are those of the whole file.
        padded = "\n" * (lines.number - length) + "\n".join(text) + "\n"
        try:
            frames = cast(
                "list[Atoms]",
                ase.io.read(io.StringIO(padded), index=":", format="mlip-cfg", species=species),
            )
        except ValueError as error:
            separator = ", " if str(error).startswith("line ") else ": "
            raise ValueError(f"{lines.name}{separator}{error}") from None
    if len(frames) != count:
        lines.fail(f"{count} configurations expected, found {len(frames)}")
    return tuple(frames)


def _again(lines: Lines, error: ValueError) -> NoReturn:
    """Raise an error again, saying where, unless it does so itself."""
    if str(error).startswith(f"{lines.name}, line "):
        raise error
    lines.fail(str(error))


FORMAT = Format(
    "pescape",
    "a pescape BPNN file",
    lambda _, start: start.startswith(_HEAD.encode()),
    text_reader(_parse),
    _write,
)
