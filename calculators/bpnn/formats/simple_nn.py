"""SIMPLE-NN's ``potential_saved`` (K. Lee et al., Comput. Phys. Commun. 242, 95 (2019))."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pescape.calculators.bpnn.data import BPNNData, ElementModel, Layer, Scaling, checked_species
from pescape.calculators.bpnn.formats.common import Format, Lines, shortened, text_reader
from pescape.calculators.bpnn.symmetry import Cutoff, SymmetryFunction

if TYPE_CHECKING:
    from numpy.typing import NDArray

_KINDS = {"2": "G2", "4": "G4", "5": "G5"}
_ACTIVATIONS = ("linear", "tanh", "sigmoid", "relu")


def _parse(text: str, name: str) -> BPNNData:
    lines = Lines(text, name)
    try:
        species = checked_species(lines.keyword("ELEM_LIST"))
    except ValueError as error:
        if str(error).startswith(name):
            raise
        lines.fail(str(error))
    models: dict[str, ElementModel] = {}
    while len(models) < len(species):
        element = lines.keyword("POT", 2)[0]
        if element not in species or element in models:
            lines.fail(f"one of {' '.join(species)} expected, once, found {shortened(element)!r}")
        models[element] = _element(lines, species)
    lines.end()
    elements = tuple(models[element] for element in species)
    return BPNNData(species, elements, name="SIMPLE-NN", source=name)


def _element(lines: Lines, species: tuple[str, ...]) -> ElementModel:
    count = lines.integer(lines.keyword("SYM", 1)[0], "the number of functions", 1)
    functions = tuple(_function(lines, number, count, species) for number in range(1, count + 1))
    center = lines.reals(lines.keyword("scale1"), count, "scale1")
    width = lines.reals(lines.keyword("scale2"), count, "scale2")
    here = lines.number
    try:
        scaling = Scaling("sigma", mean=center, sigma=width)
    except ValueError as error:
        raise ValueError(f"{lines.name}, line {here}: {error}") from None
    layers = _layers(lines, count)
    try:
        return ElementModel(functions, layers, scaling)
    except ValueError as error:
        lines.fail(str(error))


def _function(lines: Lines, number: int, count: int, species: tuple[str, ...]) -> SymmetryFunction:
    words = lines.words(f"symmetry function {number} of {count}")
    kind = _KINDS.get(words[0])
    if kind is None:
        lines.fail(f"symmetry function of kind 2, 4 or 5 expected, found {shortened(words[0])!r}")
    names = ("the cut-off", "eta", "the third parameter", "the fourth parameter")
    if len(words) < len(names) + 2:
        lines.fail("kind, four numbers and elements expected for a symmetry function")
    radius, eta, third, fourth = (
        lines.real(word, what) for word, what in zip(words[1:5], names, strict=True)
    )
    neighbors = words[5:]
    unknown = [name for name in neighbors if name not in species]
    if unknown:
        lines.fail(f"{shortened(unknown[0])} is not one of {' '.join(species)}")
    try:
        cutoff = Cutoff("cosine", radius)
        if kind == "G2":  # whose third parameter is a shift, and whose fourth is unused
            return SymmetryFunction(kind, tuple(neighbors), eta, cutoff, third)
        return SymmetryFunction(kind, tuple(neighbors), eta, cutoff, lambda_=fourth, zeta=third)
    except ValueError as error:
        lines.fail(str(error))


def _layers(lines: Lines, inputs: int) -> tuple[Layer, ...]:
    words = lines.keyword("NET")
    sizes = [lines.integer(word, "the number of nodes", 1) for word in words[1:]]
    if not words or lines.integer(words[0], "the number of hidden layers") != len(sizes) - 1:
        lines.fail("the number of hidden layers and the nodes of all layers expected after 'NET'")
    layers = []
    for number, outputs in enumerate(sizes):
        head = lines.keyword("LAYER")
        # A principal-component transformation is a linear layer before the others.
        if head not in ([str(number), *head[1:2]], ["0", "linear", "PCA"]) or len(head) < 2:
            lines.fail(f"layer {number} and its activation expected")
        if head[1] not in _ACTIVATIONS:
            lines.fail(
                f"the activation must be one of {', '.join(_ACTIVATIONS)}, "
                f"not {shortened(head[1])!r}"
            )
        weights, bias = _nodes(lines, inputs, outputs)
        layers.append(Layer.of(weights, bias, head[1]))
        inputs = outputs
    return tuple(layers)


def _nodes(
    lines: Lines, inputs: int, outputs: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    columns, bias = [], []
    for node in range(outputs):
        columns.append(lines.reals(lines.keyword(f"w{node}"), inputs, f"the weights w{node}"))
        bias.append(lines.reals(lines.keyword(f"b{node}"), 1, f"the bias b{node}")[0])
    return np.column_stack(columns), np.array(bias)


FORMAT = Format(
    "simple-nn",
    "a SIMPLE-NN file",
    lambda _, start: start.startswith(b"ELEM_LIST"),
    text_reader(_parse),
)
