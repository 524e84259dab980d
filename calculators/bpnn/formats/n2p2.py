"""Folders of n2p2 and RuNNer: ``input.nn``, ``scaling.data`` and ``weights.ZZZ.data``.

The rows of ``scaling.data`` and the weights of the first layer follow the programs' own order,
not that of ``input.nn``: elements by atomic number, symmetry functions by kind, cut-off radius,
η, r_s, ζ, λ and neighbors.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

import numpy as np
from ase.data import atomic_numbers

from pescape.calculators.bpnn.data import (
    STATISTICS,
    BPNNData,
    ElementModel,
    Layer,
    Normalization,
    Scaling,
    Units,
    checked_species,
)
from pescape.calculators.bpnn.formats.common import Format, Lines, decoded, shortened
from pescape.calculators.bpnn.formats.n2p2_input import (
    ACTIVATIONS,
    SETTINGS,
    Settings,
    parse_function,
    read_cutoff,
    read_settings,
    sorting_key,
)
from pescape.calculators.bpnn.formats.n2p2_writing import SCALING, weights_name, write_folder
from pescape.calculators.bpnn.symmetry import Cutoff, SymmetryFunction

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_NORMALIZATION = ("mean_energy", "conv_energy", "conv_length")


def _read_folder(folder: Path, length: float | None, energy: float | None) -> BPNNData:
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
    cutoff_kind, alpha = read_cutoff(settings)
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
    return BPNNData(species, tuple(elements), units, name="n2p2", source=str(folder))


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
        count = settings.line(where).integer(given[0], "number_of_elements", 1)
    if len(words) != count:
        settings.fail(f"{count} elements expected, found {len(words)}", number)
    try:
        return checked_species(words)
    except ValueError as error:
        settings.fail(str(error), number)


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
        energies[words[0]] = settings.line(number).real(words[1], "atom_energy")
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
    columns = dict(zip(STATISTICS, table.T, strict=False))
    try:
        return Scaling(kind, low, high, **columns)
    except ValueError as error:
        raise ValueError(f"{path}, element {name}: {error}") from None


def _read_scaling(
    path: Path, species: tuple[str, ...], functions: dict[str, tuple[SymmetryFunction, ...]]
) -> dict[str, Floats]:
    """Return the statistics (D, 3 or 4) of every element."""
    lines = Lines(decoded(path), str(path))
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
    hidden = settings.line(number).integer(words[0], "the number of hidden layers")
    sizes = []
    if hidden:
        number, words = _of_element(settings, "nodes", name)
        if len(words) != hidden:
            settings.fail(f"{hidden} numbers of nodes expected, found {len(words)}", number)
        sizes = [settings.line(number).integer(word, "the number of nodes", 1) for word in words]
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
    lines = Lines(decoded(path), str(path))
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


FORMAT = Format(
    "n2p2",
    "an n2p2 or RuNNer folder",
    lambda path, _: (path / SETTINGS).is_file(),
    _read_folder,
    write_folder,
    is_folder=True,
)
