"""Writing of folders that n2p2 (and LAMMPS' ``pair_style hdnnp``) reads.

Exactness: a potential from such a folder is written back with the numbers it came with, but
folded ``normalize_nodes``; lengths and energies in other units than Å and eV are written with the
fewest digits that read back to the same double. Whatever n2p2 has no place for becomes an
equivalent, equal up to rounding: an activation, slope or intercept of the output becomes a
further layer, and scaling that differs between elements becomes one to the range -1 to 1.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import secrets
import shutil
from typing import TYPE_CHECKING

import numpy as np
from ase.data import atomic_numbers

from pescape.calculators.bpnn.data import Layer, Scaling
from pescape.calculators.bpnn.formats.n2p2_input import (
    ACTIVATIONS,
    SETTINGS,
    UNITS_COMMENT,
    cutoff_number,
    function_line,
    sorting_key,
)
from pescape.calculators.bpnn.symmetry import CUTOFFS, Cutoff, SymmetryFunction
from pescape.files import write_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pescape.calculators.bpnn.data import BPNNData, ElementModel, Units

    Floats = NDArray[np.float64]

_LETTERS = {name: letter for letter, name in ACTIVATIONS.items()}
_SCALING_KEYWORDS = {
    "none": (),
    "range": ("scale_symmetry_functions",),
    "range-centered": ("scale_symmetry_functions", "center_symmetry_functions"),
    "centered": ("center_symmetry_functions",),
    "sigma": ("scale_symmetry_functions_sigma",),
}
SCALING = "scaling.data"
_RULE = "#" * 80
_DOUBLE_DIGITS = 17
_UNUSED = (CUTOFFS["cosine"], 0.0)  # where all functions are made of windows


def weights_name(element: str) -> str:
    """Return the name of the file that holds an element's weights.

    Parameters
    ----------
    element
        Its symbol.
    """
    return f"weights.{atomic_numbers[element]:03d}.data"


def write_folder(folder: Path, potential: BPNNData) -> None:
    """Write a folder, which appears as a whole; one that is there must be empty.

    Parameters
    ----------
    folder
        Where to.
    potential
        What is written.

    Raises
    ------
    ValueError
        Where n2p2 cannot express the potential.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise FileExistsError(f"{folder} is there already: give the name of a new folder")
    files = _files(potential)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    temporary.mkdir()
    try:
        for name, text in files.items():
            write_bytes(temporary / name, text.encode())
        temporary.replace(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _files(potential: BPNNData) -> dict[str, str]:
    if not potential.is_trained:
        raise ValueError("the potential is untrained: n2p2 has no files for it")
    units = potential.units
    functions = {
        name: [_in_units(f, units) for f in element.functions]
        for name, element in zip(potential.species, potential.elements, strict=True)
    }
    orders = {name: _order(given) for name, given in functions.items()}
    scalings = _scalings(potential)
    networks = _networks(potential)
    files = {
        SETTINGS: _settings(potential, functions, orders, scalings[0], networks),
        SCALING: _scaling_text(potential, orders, scalings),
    }
    for name, (first, *others) in zip(potential.species, networks, strict=True):
        weights, bias = first.trained
        first_sorted = Layer.of(weights[orders[name]], bias, first.activation)
        files[weights_name(name)] = _weights_text([first_sorted, *others])
    return files


def _order(functions: list[SymmetryFunction]) -> NDArray[np.int64]:
    """Return where n2p2's first, second, … function is."""
    keys = [sorting_key(function) for function in functions]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)


def _in_units(function: SymmetryFunction, units: Units) -> SymmetryFunction:
    """Return a function with the numbers that its file had."""

    def length(value: float) -> float:
        return shortest_before(value, units.distance, value / units.length)

    cutoff = function.cutoff
    parameter = length(cutoff.parameter) if cutoff.is_window else cutoff.parameter
    return dataclasses.replace(
        function,
        eta=shortest_before(function.eta, units.eta, function.eta * units.length**2),
        shift=length(function.shift),
        cutoff=Cutoff(cutoff.kind, length(cutoff.radius), parameter),
    )


def shortest_before(value: float, convert: Callable[[float], float], guess: float) -> float:
    """Return the shortest number that a conversion takes to a value exactly.

    Parameters
    ----------
    value
        What `convert` has to give.
    convert
        The conversion.
    guess
        Its inverse but for rounding; returned if no number is exact.
    """
    for digits in range(_DOUBLE_DIGITS):
        candidate = float(f"{guess:.{digits}e}")
        if convert(candidate) == value:
            return candidate
    for direction in (-math.inf, math.inf):
        candidate = guess
        for _ in range(3):
            candidate = math.nextafter(candidate, direction)
            if convert(candidate) == value:
                return candidate
    return guess


def _cutoff_type(potential: BPNNData) -> tuple[int, float]:
    """Return n2p2's number and inner fraction of the cut-off function, which must be one."""
    numbers = {cutoff_number(f) for element in potential.elements for f in element.functions}
    if len(numbers - {None}) > 1:
        raise ValueError("n2p2 has one cut-off function for all; this potential has several")
    return next((number for number in numbers if number), _UNUSED)


def _scalings(potential: BPNNData) -> list[Scaling]:
    """Return scalings of one kind and range for all elements."""
    given = [element.scaling for element in potential.elements]
    kinds = {(s.kind, s.low, s.high) for s in given}
    if len(kinds) == 1 and not any(s.flat.any() for s in given):
        return given
    return [_as_range(element.scaling, len(element.functions)) for element in potential.elements]


def _as_range(scaling: Scaling, size: int) -> Scaling:
    """Return the same map as a scaling to the range -1 to 1."""
    if (scaling.kind, scaling.low, scaling.high) == ("range", -1.0, 1.0):
        low, high = np.array(scaling.minimum), np.array(scaling.maximum)
        flat = scaling.flat
        low[flat], high[flat] = -1.0, 1.0
        return Scaling("range", -1.0, 1.0, low, high, scaling.mean, scaling.sigma)
    scale, offset = scaling.coefficients(size)
    ends = (-1 - offset) / scale, (1 - offset) / scale
    return Scaling("range", -1.0, 1.0, *ends, scaling.mean, scaling.sigma)


def _networks(potential: BPNNData) -> list[list[Layer]]:
    units = potential.units
    normalized = _is_normalized(potential)
    networks = []
    for element in potential.elements:
        slope, intercept = element.slope / units.energy, element.intercept / units.energy
        layers = _with_output(element, *((1.0, 0.0) if normalized else (slope, intercept)))
        if len(layers) == 1:  # n2p2 wants a hidden layer
            layers.append(Layer.of(np.eye(1), np.zeros(1), "linear"))
        networks.append(layers)
    return networks


def _is_normalized(potential: BPNNData) -> bool:
    """Whether slopes and intercepts are those of the normalization of the file it came from."""
    units = potential.units
    if units.normalization is None:
        return False
    wanted = (
        units.energy / units.normalization.conv_energy,
        units.ev(units.normalization.mean_energy),
    )
    return all((e.slope, e.intercept) == wanted for e in potential.elements)


def _with_output(element: ElementModel, slope: float, intercept: float) -> list[Layer]:
    *hidden, last = element.layers
    if last.activation != "linear":
        output = Layer.of(np.full((1, 1), slope), np.array([intercept]), "linear")
        return [*element.layers, output]
    if (slope, intercept) != (1.0, 0.0):
        weights, bias = last.trained
        last = Layer.of(weights * slope, bias * slope + intercept, "linear")
    return [*hidden, last]


def _settings(
    potential: BPNNData,
    functions: dict[str, list[SymmetryFunction]],
    orders: dict[str, NDArray[np.int64]],
    scaling: Scaling,
    networks: list[list[Layer]],
) -> str:
    units = potential.units
    code, alpha = _cutoff_type(potential)
    lines = [
        _RULE,
        "# A neural network potential, written by pescape",
        _RULE,
        f"{UNITS_COMMENT} length {units.length!r} energy {units.energy!r}",
    ]
    if _is_normalized(potential) and units.normalization is not None:
        lines += [
            f"{key:<30} {getattr(units.normalization, key)!r}"
            for key in ("mean_energy", "conv_energy", "conv_length")
        ]
    lines += [
        f"{'number_of_elements':<30} {len(potential.species)}",
        f"{'elements':<30} {' '.join(potential.species)}",
        *_atom_energy_lines(potential),
        f"{'cutoff_type':<30} {code} {alpha!r}",
        *_SCALING_KEYWORDS[scaling.kind],
    ]
    if scaling.kind not in ("none", "centered"):
        lines.append(f"{'scale_min_short':<30} {scaling.low!r}")
        lines.append(f"{'scale_max_short':<30} {scaling.high!r}")
    lines += _network_lines(potential.species, networks)
    for name in potential.species:
        lines += [function_line(name, functions[name][index]) for index in orders[name]]
    return "\n".join(lines) + "\n"


def _atom_energy_lines(potential: BPNNData) -> Iterator[str]:
    units = potential.units
    for name, element in zip(potential.species, potential.elements, strict=True):
        if element.atom_energy != 0:
            guess = element.atom_energy / units.energy
            value = shortest_before(element.atom_energy, units.ev, guess)
            yield f"{'atom_energy':<30} {name:<2} {value!r}"


def _network_lines(species: Sequence[str], networks: list[list[Layer]]) -> Iterator[str]:
    """Describe the networks: the first one's shape for all, others by element."""
    shapes = [
        (
            str(len(layers) - 1),
            " ".join(str(layer.outputs) for layer in layers[:-1]),
            " ".join(_LETTERS[layer.activation] for layer in layers),
        )
        for layers in networks
    ]
    keys = ("hidden_layers", "nodes", "activation")
    for key, value in zip(keys, shapes[0], strict=True):
        keyword = f"global_{key}_short"
        yield f"{keyword:<30} {value}"
    for name, shape in zip(species, shapes, strict=True):
        if shape != shapes[0]:
            for key, value in zip(keys, shape, strict=True):
                keyword = f"element_{key}_short"
                yield f"{keyword:<30} {name:<2} {value}"


def _scaling_text(
    potential: BPNNData, orders: dict[str, NDArray[np.int64]], scalings: list[Scaling]
) -> str:
    lines = [_RULE, "# Symmetry function scaling data.", _RULE]
    lines.append("# e_index sf_index sf_min sf_max sf_mean sf_sigma")
    tables = dict(zip(potential.species, scalings, strict=True))
    known = all(s.sigma is not None for s in scalings)
    for index, name in enumerate(sorted(tables, key=atomic_numbers.__getitem__), start=1):
        scaling = tables[name].reordered(orders[name])
        table = _statistics(scaling, len(orders[name]))
        for number, row in enumerate(table if known else table[:, :3], start=1):
            lines.append(f"{index:10d} {number:10d} " + " ".join(f"{x:24.16E}" for x in row))
    return "\n".join(lines) + "\n"


def _statistics(scaling: Scaling, size: int) -> Floats:
    """Return minimum, maximum, mean and sigma; unknown ones become values without effect."""
    mean = np.zeros(size) if scaling.mean is None else scaling.mean
    sigma = np.ones(size) if scaling.sigma is None else scaling.sigma
    low = mean - sigma if scaling.minimum is None else scaling.minimum
    high = mean + sigma if scaling.maximum is None else scaling.maximum
    return np.column_stack([low, high, mean, sigma])


def _weights_text(layers: list[Layer]) -> str:
    lines = [_RULE, "# Neural network connection values (weights and biases).", _RULE]
    lines.append("# connection t index l_s n_s l_e n_e")
    count = itertools.count(1)
    for number, layer in enumerate(layers, start=1):
        weights, bias = layer.trained
        for (i, j), value in np.ndenumerate(weights):
            lines.append(
                f"{value:24.16E} a {next(count):9d} {number - 1:5d} {i + 1:5d} "
                f"{number:5d} {j + 1:5d}"
            )
        for j, value in enumerate(bias, start=1):
            lines.append(f"{value:24.16E} b {next(count):9d} {number:5d} {j:5d}")
    return "\n".join(lines) + "\n"
