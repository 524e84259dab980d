"""What a Behler-Parrinello potential holds, as immutable data: networks, scalings, functions."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from pescape.calculators.bpnn.symmetry import SymmetryFunction, kernel_row, typical_value
from pescape.calculators.checks import checked_elements, frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pescape.calculators.doptimality.active_set import ActiveSet

    Floats = NDArray[np.float64]


#: What is needed for each kind of scaling.
KINDS: dict[str, tuple[str, ...]] = {
    "none": (),
    "range": ("minimum", "maximum"),
    "range-centered": ("minimum", "maximum", "mean"),
    "centered": ("mean",),
    "sigma": ("mean", "sigma"),
}
STATISTICS = ("minimum", "maximum", "mean", "sigma")


@dataclass(frozen=True, eq=False)
class Scaling:
    """The linear map of the D symmetry functions of an element.

    With Δ = high - low the input of a network is

    ==============  ==============================================
    none            G
    range           low + Δ (G - minimum) / (maximum - minimum)
    range-centered  low + Δ (G - mean) / (maximum - minimum)
    centered        G - mean
    sigma           low + Δ (G - mean) / sigma
    ==============  ==============================================

    Parameters
    ----------
    kind
        One of these.
    low, high
        The target range.
    minimum, maximum, mean, sigma
        What the training data had (D,); None where it is not known.
    tolerance
        Functions whose range is not larger stay as they are (Amp's rule, 1e-8); 0: none does.
    """

    kind: str = "none"
    low: float = 0.0
    high: float = 1.0
    minimum: Floats | None = None
    maximum: Floats | None = None
    mean: Floats | None = None
    sigma: Floats | None = None
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown scaling {self.kind!r}: it must be one of {', '.join(KINDS)}")
        if not (np.isfinite([self.low, self.high]).all() and self.low != self.high):
            raise ValueError(f"scaling to the range {self.low} to {self.high} is impossible")
        for name in STATISTICS:
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, frozen(value, (-1,), f"{name} of the scaling"))
        for name in KINDS[self.kind]:
            self._column(name)
        if len({len(v) for v in self._given()}) > 1:
            raise ValueError("the statistics of a scaling differ in length")
        self._check_widths()

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)
        self.__post_init__()

    def _given(self) -> list[Floats]:
        values = (getattr(self, name) for name in STATISTICS)
        return [value for value in values if value is not None]

    def _column(self, name: str) -> Floats:
        value = getattr(self, name)
        if value is None:
            raise ValueError(f"scaling {self.kind!r} needs the {name} of all functions")
        return cast("Floats", value)

    def _check_widths(self) -> None:
        width = self._width()
        if width is None or self.tolerance > 0:
            return
        bad = np.flatnonzero(width <= 0)
        if len(bad):
            what = "sigma" if self.kind == "sigma" else "maximum - minimum"
            raise ValueError(
                f"symmetry function {bad[0] + 1} has {what} = {width[bad[0]]:g}: "
                f"scaling {self.kind!r} divides by it"
            )

    @property
    def size(self) -> int | None:
        """Number of functions it is for; None: any number."""
        given = self._given()
        return len(given[0]) if given else None

    def _width(self) -> Floats | None:
        if self.kind in ("none", "centered"):
            return None
        if self.kind == "sigma":
            return self._column("sigma")
        return self._column("maximum") - self._column("minimum")

    @property
    def ranges(self) -> tuple[Floats, Floats, Floats] | None:
        """Smallest and largest values (D,) in the training data, and the widths between them.

        A width is at least the sigma that is divided by. None where the ranges are not known.
        """
        if self.minimum is None or self.maximum is None:
            return None
        width = self.maximum - self.minimum
        if self.kind == "sigma":
            width = np.maximum(width, self._column("sigma"))
        return self.minimum, self.maximum, width

    @property
    def flat(self) -> NDArray[np.bool_]:
        """Which functions (D,) stay as they are because their range is within the tolerance."""
        width = self._width()
        if width is None or self.tolerance == 0:
            return np.zeros(self.size or 0, dtype=bool)
        return ~(width > self.tolerance)

    def coefficients(self, size: int) -> tuple[Floats, Floats]:
        """Return scale and offset (D,), so that the input is ``scale * G + offset``.

        Parameters
        ----------
        size
            D, the number of functions.
        """
        if self.size not in (None, size):
            raise ValueError(f"the scaling is for {self.size} functions, not {size}")
        if self.kind == "none":
            return np.ones(size), np.zeros(size)
        origin = self._column("minimum" if self.kind == "range" else "mean")
        width = self._width()
        if width is None:
            return np.ones(size), -origin
        flat = self.flat
        scale = (self.high - self.low) / np.where(flat, 1.0, width)
        offset = self.low - scale * origin
        return np.where(flat, 1.0, scale), np.where(flat, 0.0, offset)

    def reordered(self, order: NDArray[np.int64]) -> Scaling:
        """Return the scaling of the functions in another order.

        Parameters
        ----------
        order
            Indices of the functions in the new order, shape (D,).
        """
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in STATISTICS:
            if values[name] is not None:
                values[name] = values[name][order]
        return Scaling(**values)


#: Number of each activation for the kernel.
ACTIVATIONS = {
    "linear": 0,
    "tanh": 1,
    "sigmoid": 2,  # 1 / (1 + exp(-x))
    "softplus": 3,  # ln(1 + exp(x))
    "relu": 4,
    "gaussian": 5,  # exp(-x²/2)
    "cosine": 6,
    "exp": 7,  # exp(-x)
    "harmonic": 8,  # x²
    "reverse-sigmoid": 9,  # 1 - sigmoid
}


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer: activation(x @ weights + bias).

    Parameters
    ----------
    inputs, outputs
        Number of nodes before and in it.
    activation
        One of ``ACTIVATIONS``.
    weights, bias
        (inputs, outputs) and (outputs,); None when untrained.
    """

    inputs: int
    outputs: int
    activation: str
    weights: Floats | None = None
    bias: Floats | None = None

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise ValueError(
                f"unknown activation {self.activation!r}: it must be one of "
                f"{', '.join(ACTIVATIONS)}"
            )
        if self.inputs < 1 or self.outputs < 1:
            raise ValueError(f"a layer of {self.inputs} x {self.outputs} nodes is impossible")
        if (self.weights is None) != (self.bias is None):
            raise ValueError("weights and bias belong together: give both or none")
        if self.weights is not None and self.bias is not None:
            shape = self.inputs, self.outputs
            object.__setattr__(self, "weights", frozen(self.weights, shape, "weights"))
            object.__setattr__(self, "bias", frozen(self.bias, shape[1:], "bias"))

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)
        self.__post_init__()

    @classmethod
    def of(cls, weights: Floats, bias: Floats, activation: str) -> Layer:
        """Make a layer of the size of its weights.

        Parameters
        ----------
        weights, bias
            (inputs, outputs) and (outputs,).
        activation
            One of ``ACTIVATIONS``.
        """
        weights = np.asarray(weights, dtype=float)
        if weights.ndim != 2:
            raise ValueError(f"weights have shape {weights.shape}, not (inputs, outputs)")
        return cls(weights.shape[0], weights.shape[1], activation, weights, bias)

    @property
    def parameter_count(self) -> int:
        """Number of weights and biases."""
        return (self.inputs + 1) * self.outputs

    @property
    def trained(self) -> tuple[Floats, Floats]:
        """Weights and bias, which must be there."""
        if self.weights is None or self.bias is None:
            raise ValueError("the network is untrained: it has no weights")
        return self.weights, self.bias


#: What the rows of an active set are made of.
ActiveParameters = Literal["inputs", "output", "all"]


@dataclass(frozen=True, eq=False)
class ElementModel:
    """What gives the energy of an atom of one element: slope · network(x) + intercept + atom.

    Parameters
    ----------
    functions
        The D symmetry functions.
    scaling
        How they become inputs.
    layers
        From D inputs to one output; the last one is the output layer.
    slope, intercept
        eV.
    atom_energy
        eV; the energy of the isolated atom, which some programs keep apart.
    """

    functions: tuple[SymmetryFunction, ...]
    layers: tuple[Layer, ...]
    scaling: Scaling = field(default_factory=Scaling)
    slope: float = 1.0
    intercept: float = 0.0
    atom_energy: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "functions", tuple(self.functions))
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.functions:
            raise ValueError("there are no symmetry functions")
        if not self.layers:
            raise ValueError("the network has no layers")
        size = len(self.functions)
        for number, layer in enumerate(self.layers, start=1):
            if layer.inputs != size:
                raise ValueError(f"layer {number} has {layer.inputs} inputs, not {size}")
            size = layer.outputs
        if size != 1:
            raise ValueError(f"the network has {size} outputs, not 1")
        if len({layer.weights is None for layer in self.layers}) != 1:
            raise ValueError("some layers are trained and some are not")
        if self.scaling.size not in (None, len(self.functions)):
            raise ValueError(
                f"the scaling is for {self.scaling.size} symmetry functions, but there are "
                f"{len(self.functions)}"
            )
        for name in ("slope", "intercept", "atom_energy"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} must be a finite number, not {getattr(self, name)}")

    @property
    def is_trained(self) -> bool:
        """Whether the network has weights."""
        return self.layers[0].weights is not None

    @property
    def hidden(self) -> tuple[int, ...]:
        """Number of nodes of every hidden layer."""
        return tuple(layer.outputs for layer in self.layers[:-1])

    @property
    def parameter_count(self) -> int:
        """Number of weights and biases."""
        return sum(layer.parameter_count for layer in self.layers)

    @property
    def parameters(self) -> Floats:
        """Weights (row by row) and biases of the layers, one after the other."""
        return np.concatenate([part.ravel() for layer in self.layers for part in layer.trained])

    def row_size(self, which: ActiveParameters) -> int:
        """Return the length of the element's part of an active set's rows.

        Parameters
        ----------
        which
            What they are made of.
        """
        if which == "output":
            return self.layers[-1].parameter_count
        if which == "all":
            return self.parameter_count
        first = self.layers[0]
        return self.parameter_count - first.inputs * (first.outputs - 1)

    def with_parameters(self, theta: Floats) -> ElementModel:
        """Replace all weights and biases.

        Parameters
        ----------
        theta
            As in `parameters`.
        """
        layers, start = [], 0
        for layer in self.layers:
            part = theta[start : start + layer.parameter_count]
            start += layer.parameter_count
            table = part.reshape(layer.inputs + 1, layer.outputs)
            layers.append(dataclasses.replace(layer, weights=table[:-1], bias=table[-1]))
        return dataclasses.replace(self, layers=tuple(layers))

    def randomized(self, rng: np.random.Generator) -> ElementModel:
        """Draw weights and biases; where functions are not scaled, estimate their scale.

        Parameters
        ----------
        rng
            Source of randomness.
        """
        layers = []
        for layer in self.layers:
            spread = 1 / math.sqrt(layer.inputs)
            weights = rng.normal(scale=spread, size=(layer.inputs, layer.outputs))
            bias = rng.normal(scale=0.3, size=layer.outputs)
            layers.append(dataclasses.replace(layer, weights=weights, bias=bias))
        scaling = self.scaling
        if scaling.kind == "none":
            # The estimate has no floor in nature: an exponentially rare function stays small.
            typical = np.maximum([typical_value(f) for f in self.functions], 1e-2)
            scaling = Scaling("range", -1.0, 1.0, np.zeros(len(typical)), 2 * typical)
        return dataclasses.replace(self, layers=tuple(layers), scaling=scaling)

    def kernel_arguments(self, species: Sequence[str]) -> dict[str, Any]:
        """Return what the kernel is made of for this element.

        Parameters
        ----------
        species
            The potential's elements.
        """
        scale, offset = self.scaling.coefficients(len(self.functions))
        return {
            "functions": np.array([kernel_row(f, species) for f in self.functions], dtype=float),
            "scale": np.ascontiguousarray(scale),
            "offset": np.ascontiguousarray(offset),
            "layers": [(*layer.trained, ACTIVATIONS[layer.activation]) for layer in self.layers],
            "slope": self.slope,
            "intercept": self.intercept + self.atom_energy,
        }


@dataclass(frozen=True)
class Normalization:
    """n2p2's normalization of a data set, in units of its files.

    A network's output o means the energy o / conv_energy + mean_energy.
    """

    mean_energy: float
    conv_energy: float
    conv_length: float

    def __post_init__(self) -> None:
        values = (self.mean_energy, self.conv_energy, self.conv_length)
        if not all(map(math.isfinite, values)) or self.conv_energy <= 0 or self.conv_length <= 0:
            raise ValueError(
                "mean_energy must be finite, conv_energy and conv_length positive, not "
                f"{self.mean_energy}, {self.conv_energy}, {self.conv_length}"
            )


@dataclass(frozen=True)
class Units:
    """The units of the file that a potential came from, and that it may be written back in.

    Parameters
    ----------
    length
        Å.
    energy
        eV.
    normalization
        Of the data set, if the file has one.
    """

    length: float = 1.0
    energy: float = 1.0
    normalization: Normalization | None = None

    def __post_init__(self) -> None:
        for name, value in (("length", self.length), ("energy", self.energy)):
            if not 0 < value < math.inf:
                raise ValueError(f"the unit of {name} must be a positive number, not {value}")

    def eta(self, value: float) -> float:
        """Convert an exponent to 1/Å².

        Parameters
        ----------
        value
            In units of the file.
        """
        return value / (self.length * self.length)

    def distance(self, value: float) -> float:
        """Convert a length to Å.

        Parameters
        ----------
        value
            In units of the file.
        """
        return value * self.length

    def ev(self, value: float) -> float:
        """Convert an energy to eV.

        Parameters
        ----------
        value
            In units of the file.
        """
        return value * self.energy


@dataclass(frozen=True, eq=False)
class BPNNData:
    """All that the files of a potential hold, in eV and Å.

    Parameters
    ----------
    species
        The elements.
    elements
        What gives the energy of an atom of each of them, in this order.
    units
        Units of the file it came from, for writing it back.
    active_set
        What extrapolation grades are measured against.
    active_parameters
        What the active set's rows are made of. "output" and "all": ∂E/∂θ with respect to the
        weights and biases of the output layers, or to all of them. "inputs": the network's
        inputs, and ∂E/∂θ with respect to all but the first layer's weights; activations are
        bounded and so are rows about output layers, but inputs are not.
    name
        Free text (one line) kept in the file.
    source
        The file it was read from, for messages.
    """

    species: tuple[str, ...]
    elements: tuple[ElementModel, ...]
    units: Units = field(default_factory=Units)
    active_set: ActiveSet | None = None
    active_parameters: ActiveParameters = "inputs"
    name: str = "BPNN"
    source: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "species", checked_species(self.species))
        object.__setattr__(self, "elements", tuple(self.elements))
        if len(self.elements) != len(self.species):
            raise ValueError(
                f"{len(self.species)} species are named ({' '.join(self.species)}), but there are "
                f"networks of {len(self.elements)}"
            )
        for name, element in zip(self.species, self.elements, strict=True):
            self._check_neighbors(name, element)
        if len({element.is_trained for element in self.elements}) != 1:
            raise ValueError("some elements have a trained network and some have not")
        if self.active_parameters not in ("inputs", "output", "all"):
            raise ValueError(
                "active_parameters must be 'inputs', 'output' or 'all', "
                f"not {self.active_parameters!r}"
            )
        if self.active_set is not None and self.active_set.size != self.active_size():
            raise ValueError(
                f"the active set has {self.active_set.size} rows, but the potential has "
                f"{self.active_size()} parameters of the kind {self.active_parameters!r}"
            )

    def _check_neighbors(self, name: str, element: ElementModel) -> None:
        for number, function in enumerate(element.functions, start=1):
            for neighbor in function.neighbors:
                if neighbor not in self.species:
                    raise ValueError(
                        f"symmetry function {number} of {name} is about {neighbor}, which is not "
                        f"one of the species {' '.join(self.species)}"
                    )

    @property
    def is_trained(self) -> bool:
        """Whether the networks have weights."""
        return self.elements[0].is_trained

    @property
    def parameter_count(self) -> int:
        """Number P of weights and biases of all networks."""
        return sum(element.parameter_count for element in self.elements)

    def active_size(self, which: ActiveParameters | None = None) -> int:
        """Return how long the rows of an active set are.

        Parameters
        ----------
        which
            "inputs", "output" or "all"; by default `active_parameters`.
        """
        return sum(one.row_size(which or self.active_parameters) for one in self.elements)


def checked_species(species: Sequence[str]) -> tuple[str, ...]:
    """Return the elements, if there are any, they are known and each one is named once.

    Parameters
    ----------
    species
        Chemical symbols.
    """
    names = checked_elements(species)
    if not names:
        raise ValueError("a potential needs at least one species")
    return names
