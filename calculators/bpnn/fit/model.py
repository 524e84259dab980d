"""The networks of a potential in torch, and a data set as tensors.

All that is fitted is one vector θ: element by element the weights and biases as in the
potential, then, if the output node is not linear, slope and intercept as one more layer.
The data comes in batches of whole configurations.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from pescape.calculators.bpnn.data import ElementModel
    from pescape.calculators.bpnn.fit.features import Features, Layout, Tables
    from pescape.calculators.bpnn.potential import BPNNPotential
    from pescape.calculators.fit.data import TrainingSet

    Floats = NDArray[np.float64]


# Of derivatives in a batch when all of the data is gone through, so that they stay in a cache.
_BATCH_BYTES = 24_000_000


@dataclass(frozen=True, eq=False)
class ElementBatch:
    """Atoms of one element in a batch.

    Parameters
    ----------
    functions
        G, shape (n, D).
    configurations
        Each atom's configuration in the batch, shape (n,).
    derivatives
        ∂G/∂R of m blocks, shape (3 m, D).
    centers, moved
        Each block's central atom (of these n) and moved atom (of the batch's), shape (m,).
    strains
        -Σ r ∂G/∂r, shape (6 n, D).
    first, first_block
        Where each configuration's atoms and blocks begin and end, shape (C + 1,).
    """

    functions: Tensor
    configurations: Tensor
    derivatives: Tensor
    centers: Tensor
    moved: Tensor
    strains: Tensor
    first: tuple[int, ...]
    first_block: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Batch:
    """Configurations `start` to `stop` of a data set.

    Parameters
    ----------
    start, stop
        Which of the data set's.
    atoms
        Their number.
    first
        Where each configuration's atoms begin and end, shape (C + 1,).
    energies, forces, virials
        Labels: (C,), (atoms, 3), (C, 6) in eV and eV/Å.
    elements
        The atoms of each element.
    """

    start: int
    stop: int
    atoms: int
    first: tuple[int, ...]
    energies: Tensor
    forces: Tensor
    virials: Tensor
    elements: tuple[ElementBatch, ...]

    def __len__(self) -> int:
        return self.stop - self.start


def batches(
    data: TrainingSet,
    features: Features,
    *,
    configurations: int | None = None,
    device: str = "cpu",
) -> list[Batch]:
    """Cut a data set into batches.

    Parameters
    ----------
    data, features
        The labels, and the symmetry functions with their derivatives.
    configurations
        How many are in a batch; by default as many as fit into the processor's cache, or all of
        the data on a graphics processor.
    device
        "cpu" or "cuda".
    """
    count = len(data)
    if configurations is None:
        limit = _BATCH_BYTES if device == "cpu" else 100 * _BATCH_BYTES
        edges = _edges_by_size(features, count, limit)
    else:
        edges = [*range(0, count, configurations), count]
    return [_batch(data, features, start, stop, device) for start, stop in pairwise(edges)]


def _edges_by_size(features: Features, count: int, limit: int) -> list[int]:
    sizes = np.zeros(count, dtype=np.int64)
    for layout, tables in zip(features.layouts, features.tables, strict=True):
        sizes += np.diff(layout.first_block) * 3 * layout.functions * tables.derivatives.itemsize
    steps = np.flatnonzero(np.diff(np.cumsum(sizes) // limit)) + 1
    return [0, *steps.tolist(), count]


def _batch(data: TrainingSet, features: Features, start: int, stop: int, device: str) -> Batch:
    a, b = int(data.first[start]), int(data.first[stop])
    elements = tuple(
        _element(layout, tables, start, stop, a, device)
        for layout, tables in zip(features.layouts, features.tables, strict=True)
    )
    return Batch(
        start=start,
        stop=stop,
        atoms=b - a,
        first=tuple((data.first[start : stop + 1] - a).tolist()),
        energies=_tensor(data.energies[start:stop], device),
        forces=_tensor(data.forces[a:b], device),
        virials=_tensor(data.virials[start:stop], device),
        elements=elements,
    )


def _element(
    layout: Layout, tables: Tables, start: int, stop: int, first_atom: int, device: str
) -> ElementBatch:
    first = layout.first[start : stop + 1]
    first_block = layout.first_block[start : stop + 1]
    i, j = int(first[0]), int(first[-1])
    p, q = int(first_block[0]), int(first_block[-1])
    D = layout.functions
    return ElementBatch(
        functions=_tensor(tables.functions[i:j], device),
        configurations=_tensor(np.repeat(np.arange(stop - start), np.diff(first)), device),
        derivatives=_tensor(tables.derivatives[p:q].reshape(3 * (q - p), D), device),
        centers=_tensor(layout.centers[p:q] - i, device),
        moved=_tensor(layout.moved[p:q] - first_atom, device),
        strains=_tensor(tables.strains[i:j].reshape(6 * (j - i), D), device),
        first=tuple((first - i).tolist()),
        first_block=tuple((first_block - p).tolist()),
    )


def _tensor(array: NDArray[Any], device: str) -> Tensor:
    with warnings.catch_warnings():
        # The files are mapped read-only, and no tensor made here is ever written to.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda z: z,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": torch.nn.functional.softplus,
    "gaussian": lambda z: torch.exp(-0.5 * z * z),
    "cosine": torch.cos,
    "exp": lambda z: torch.exp(-z),
    "harmonic": lambda z: z * z,
    "reverse-sigmoid": lambda z: 1.0 - torch.sigmoid(z),
}


@dataclass(frozen=True, eq=False)
class ElementNetwork:
    """What is fixed of the network of one element.

    Parameters
    ----------
    sizes
        Nodes of the inputs and of all layers.
    activations
        Of all layers.
    scale, offset
        Inputs are ``scale * G + offset``, shapes (D,).
    slope, intercept
        The energy of an atom is slope × output + intercept, eV.
    part
        Which entries of θ are its own.
    """

    sizes: tuple[int, ...]
    activations: tuple[str, ...]
    scale: Tensor
    offset: Tensor
    slope: float
    intercept: float
    part: slice

    def layers(self, theta: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return weights (inputs, outputs) and biases (outputs,) of all layers, as views of θ.

        Parameters
        ----------
        theta
            θ of all elements, shape (P,).
        """
        found, start = [], self.part.start
        for inputs, outputs in zip(self.sizes[:-1], self.sizes[1:], strict=True):
            table = theta[start : start + (inputs + 1) * outputs].view(inputs + 1, outputs)
            found.append((table[:-1], table[-1]))
            start += (inputs + 1) * outputs
        return found


@dataclass(frozen=True, eq=False)
class Model:
    """The networks of all elements and what turns θ into a potential and back."""

    potential: BPNNPotential
    networks: tuple[ElementNetwork, ...]

    @classmethod
    def of(cls, potential: BPNNPotential, device: str = "cpu") -> Model:
        """Make the model of a potential: its architecture, scaling and output.

        Parameters
        ----------
        potential
            Trained, or given random weights.
        device
            "cpu" or "cuda".
        """
        networks, start = [], 0
        for element in potential.elements:
            network = _network(element, start, device)
            networks.append(network)
            start = network.part.stop
        return cls(potential, tuple(networks))

    @property
    def size(self) -> int:
        """Number P of fitted parameters."""
        return self.networks[-1].part.stop

    def theta(self) -> Floats:
        """Parameters (P,) of the potential as it is given."""
        parts = []
        for element in self.potential.elements:
            parts.append(element.parameters)
            if _has_output_layer(element):
                parts.append(np.array([element.slope, element.intercept]))
        return np.concatenate(parts)

    def with_theta(self, theta: Floats) -> BPNNPotential:
        """Return the potential with other parameters.

        Parameters
        ----------
        theta
            θ, shape (P,).
        """
        parts, slopes, intercepts = [], {}, {}
        names, elements = self.potential.species, self.potential.elements
        for name, element, network in zip(names, elements, self.networks, strict=True):
            mine = theta[network.part]
            if _has_output_layer(element):
                slopes[name], intercepts[name] = float(mine[-2]), float(mine[-1])
                mine = mine[:-2]
            parts.append(mine)
        fitted = self.potential.with_parameters(np.concatenate(parts))
        return fitted.with_output(slopes, intercepts)

    def penalized(self) -> Floats:
        """Return 1 for weights, which a penalty keeps small, 0 for all others, shape (P,)."""
        mask = np.zeros(self.size)
        for element, network in zip(self.potential.elements, self.networks, strict=True):
            start = network.part.start
            for layer in element.layers:
                mask[start : start + layer.inputs * layer.outputs] = 1.0
                start += layer.parameter_count
        return mask


def _has_output_layer(element: ElementModel) -> bool:
    return element.layers[-1].activation != "linear"


def _network(element: ElementModel, start: int, device: str) -> ElementNetwork:
    sizes = [len(element.functions), *(layer.outputs for layer in element.layers)]
    activations = [layer.activation for layer in element.layers]
    missing = [name for name in activations if name not in ACTIVATIONS]
    if missing:
        raise ValueError(
            f"networks with the activation {missing[0]!r} cannot be fitted: its forces jump"
        )
    slope, intercept, count = element.slope, element.intercept, element.parameter_count
    if _has_output_layer(element):
        sizes, activations, count = [*sizes, 1], [*activations, "linear"], count + 2
        slope, intercept = 1.0, 0.0
    scale, offset = element.scaling.coefficients(len(element.functions))
    return ElementNetwork(
        tuple(sizes),
        tuple(activations),
        torch.tensor(scale, device=device),
        torch.tensor(offset, device=device),
        slope,
        intercept + element.atom_energy,
        slice(start, start + count),
    )


@dataclass(frozen=True, eq=False)
class Predictions:
    """Energies (C,) in eV, forces (n, 3) in eV/Å and virials (C, 6) in eV of a batch."""

    energies: Tensor
    forces: Tensor
    virials: Tensor


def predict(model: Model, theta: Tensor, batch: Batch) -> Predictions:
    """Evaluate the networks on a batch; differentiable with respect to θ.

    Parameters
    ----------
    model, theta
        The networks and their parameters θ, shape (P,).
    batch
        The data.
    """
    energies = theta.new_zeros(len(batch))
    forces = theta.new_zeros(batch.atoms, 3)
    virials = theta.new_zeros(len(batch), 6)
    for network, atoms in zip(model.networks, batch.elements, strict=True):
        if not len(atoms.functions):
            continue
        sites, sums, weights = _site_energies(network, theta, atoms)
        (delta,) = torch.autograd.grad(
            sites, sums, torch.ones_like(sites), create_graph=torch.is_grad_enabled()
        )
        energies = energies.index_add(0, atoms.configurations, sites)
        # Small products, one for each block, are several times faster than ∂G/∂R times the
        # weights at once, whose derivative is a tall and thin product.
        pull = (delta @ weights.T).to(atoms.derivatives.dtype)
        by_block = _times(atoms.derivatives.view(len(atoms.centers), 3, -1), pull[atoms.centers])
        forces = forces.index_add(0, atoms.moved, -by_block.to(theta.dtype))
        by_atom = _times(atoms.strains.view(len(pull), 6, -1), pull)
        virials = virials.index_add(0, atoms.configurations, by_atom.to(theta.dtype))
    return Predictions(energies, forces, virials)


def _times(matrices: Tensor, vectors: Tensor) -> Tensor:
    return torch.bmm(matrices, vectors.unsqueeze(2)).squeeze(2)


def _site_energies(
    network: ElementNetwork, theta: Tensor, atoms: ElementBatch
) -> tuple[Tensor, Tensor, Tensor]:
    """Energies (n,), the first layer's sums (n, H), and its weights for unscaled G (D, H)."""
    layers = network.layers(theta)
    weights, bias = layers[0]
    inputs = torch.addcmul(network.offset, atoms.functions, network.scale)
    with torch.enable_grad():
        first = inputs @ weights + bias
        if not first.requires_grad:
            first.requires_grad_()
        sums = first
        for (after, shift), name in zip(layers[1:], network.activations[:-1], strict=True):
            sums = ACTIVATIONS[name](sums) @ after + shift
        output = ACTIVATIONS[network.activations[-1]](sums).squeeze(1)
        return output * network.slope + network.intercept, first, network.scale[:, None] * weights


def all_predictions(
    model: Model, theta: Floats, data: Sequence[Batch], device: str = "cpu"
) -> tuple[Floats, Floats, Floats]:
    """Return energies (C,), forces (n, 3) and virials (C, 6) of a whole data set.

    Parameters
    ----------
    model, theta
        The networks and their parameters θ, shape (P,).
    data
        All batches.
    device
        Where they are.
    """
    vector = torch.tensor(theta, device=device)
    with torch.no_grad():
        found = [predict(model, vector, batch) for batch in data]
    return (
        torch.cat([one.energies for one in found]).cpu().numpy(),
        torch.cat([one.forces for one in found]).cpu().numpy(),
        torch.cat([one.virials for one in found]).cpu().numpy(),
    )
