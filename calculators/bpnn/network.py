"""The network of one element and all that surrounds it."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pescape.calculators.arrays import frozen
from pescape.calculators.bpnn.scaling import Scaling
from pescape.calculators.bpnn.symmetry import SymmetryFunction, row, typical_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

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
        """Make a layer of the size of its weights."""
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

    def with_parameters(self, theta: Floats) -> ElementModel:
        """Replace all weights and biases."""
        layers, start = [], 0
        for layer in self.layers:
            part = theta[start : start + layer.parameter_count]
            start += layer.parameter_count
            table = part.reshape(layer.inputs + 1, layer.outputs)
            layers.append(dataclasses.replace(layer, weights=table[:-1], bias=table[-1]))
        return dataclasses.replace(self, layers=tuple(layers))

    def randomized(self, rng: np.random.Generator) -> ElementModel:
        """Draw weights and biases; where functions are not scaled, estimate their scale."""
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
        """Return what the kernel is made of for this element."""
        scale, offset = self.scaling.coefficients(len(self.functions))
        return {
            "functions": np.array([row(f, species) for f in self.functions], dtype=float),
            "scale": np.ascontiguousarray(scale),
            "offset": np.ascontiguousarray(offset),
            "layers": [(*layer.trained, ACTIVATIONS[layer.activation]) for layer in self.layers],
            "slope": self.slope,
            "intercept": self.intercept + self.atom_energy,
        }
