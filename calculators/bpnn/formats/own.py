"""Our own format: text that describes itself.

Lines are words; what follows a ``#`` is a comment, and so is a blank line. Numbers have as many
digits as it takes to read back the same double. In order:

``pescape-bpnn 1``
    The format and its version.
``name TEXT``; ``species E…``
``units LENGTH ENERGY``
    Å and eV: units of the file it came from. All numbers below are in Å and eV.
``normalization MEAN CONV_ENERGY CONV_LENGTH``
    Only for potentials from a normalized n2p2 folder, in its units.
``element E``, for each of the species
    ``atom_energy X``, ``slope X``, ``intercept X`` (eV)

    ``functions D``, then D lines: kind, two neighbor elements (``-`` where there is none),
    η (1/Å²), shift (Å), λ, ζ, and the cut-off's kind, radius (Å) and parameter; in place of λ
    and ζ the kinds C4, C5, C4W and C5W have their window of angles (degrees)

    ``scaling KIND LOW HIGH TOLERANCE COLUMN…``, then, if there are columns, D lines of them

    ``layers L trained|untrained``, and for each one ``layer INPUTS OUTPUTS ACTIVATION``; then, if
    trained, a line of weights for each input, and one with the biases
``active_set inputs|output|all MODE WEIGHT_SCALING N CONFIGURATIONS LINES``
    Only if there is one: N rows of the matrix, N rows of its inverse; where grades are by leverage
    the line ``leverage`` and N rows of the matrix W of grades |b W|²; N lines of origins
    (configuration, atom), and LINES lines in the format ``.cfg`` with the configurations.
``end``
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, cast

import ase.io
import numpy as np

from pescape._kernels import parse_bpnn
from pescape.calculators.bpnn.data import (
    STATISTICS,
    BPNNData,
    ElementModel,
    Layer,
    Normalization,
    Scaling,
    Units,
)
from pescape.calculators.bpnn.formats.common import Format, text_reader
from pescape.calculators.bpnn.symmetry import SymmetryFunction, angular_numbers, from_kernel_row
from pescape.calculators.doptimality.active_set import ActiveSet
from pescape.calculators.doptimality.maxvol import UNSET
from pescape.files import write_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ase import Atoms

_HEAD = "pescape-bpnn"
_VERSION = "1"
_NONE = "-"


def _write(path: Path, potential: BPNNData) -> None:
    write_bytes(path, ("\n".join(_lines(potential)) + "\n").encode())


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
        "# kind neighbors eta(1/Å²) shift(Å) lambda zeta cutoff radius(Å) parameter",
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
    lines = [head, "# matrix", *map(_reals, active_set.matrix.tolist())]
    lines += ["# inverse", *map(_reals, active_set.inverse.tolist())]
    if active_set.leverage is not None:
        lines += ["leverage", *map(_reals, active_set.leverage.tolist())]
    return [
        *lines,
        "# configuration and atom of each row",
        *(f"{a} {b}" for a, b in active_set.origins.tolist()),
        *configurations,
    ]


def _reals(values: Iterable[float]) -> str:
    return " ".join(repr(float(value)) for value in values)


def _parse(text: str, name: str) -> BPNNData:
    data = text.encode()
    try:
        found = parse_bpnn(data)
        species = tuple(found["species"])
        active = found.get("active_set")
        active_set = None if active is None else _active_set(active, data, species)
    except ValueError as error:
        separator = ", " if str(error).startswith("line ") else ": "
        raise ValueError(f"{name}{separator}{error}") from None
    length, energy = found["units"]
    normalization = found.get("normalization")
    return BPNNData(
        species,
        tuple(_element(part, species) for part in found["elements"]),
        Units(length, energy, Normalization(*normalization) if normalization else None),
        active_set,
        "inputs" if active is None else active["parameters"],
        found["name"],
        name,
    )


def _element(found: dict[str, Any], species: tuple[str, ...]) -> ElementModel:
    functions = tuple(from_kernel_row(row, species) for row in found.pop("functions").tolist())
    layers = tuple(Layer(**layer) for layer in found.pop("layers"))
    return ElementModel(functions, layers, Scaling(**found.pop("scaling")), **found)


def _active_set(found: dict[str, Any], data: bytes, species: tuple[str, ...]) -> ActiveSet:
    line, origins = found["configurations_line"], found["origins"].astype(np.int64)
    configurations: list[Atoms] = []
    begin, end = found["configurations"]
    if begin < end:
        # Blank lines first, so that the reader's line numbers are those of the whole file.
        text = "\n" * (line - 1) + data[begin:end].decode()
        configurations = cast(
            "list[Atoms]",
            ase.io.read(io.StringIO(text), index=":", format="mlip-cfg", species=species),
        )
    count = found["configuration_count"]
    if len(configurations) != count:
        raise ValueError(
            f"line {line}: {count} configurations expected, found {len(configurations)}"
        )
    for row, (configuration, atom) in enumerate(origins.tolist(), start=1):
        if (configuration, atom) == (UNSET, UNSET):
            continue
        if not (0 <= configuration < count and 0 <= atom < len(configurations[configuration])):
            raise ValueError(
                f"line {line - 1}: row {row} of the active set comes from atom {atom} of "
                f"configuration {configuration}, which the file does not hold"
            )
    return ActiveSet(
        found["matrix"],
        found["inverse"],
        found["mode"],
        found["weight_scaling"],
        origins,
        tuple(configurations),
        found.get("leverage"),
    )


FORMAT = Format(
    "pescape",
    "a pescape BPNN file",
    lambda _, start: start.startswith(_HEAD.encode()),
    text_reader(_parse),
    _write,
)
