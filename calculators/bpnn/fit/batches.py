"""A data set as torch tensors, in batches of whole configurations."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from pescape.calculators.bpnn.fit.cache import Features
    from pescape.calculators.bpnn.fit.features import Layout, Tables
    from pescape.calculators.fitting.data import TrainingSet

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
    centres, moved
        Each block's central atom (of these n) and moved atom (of the batch's), shape (m,).
    strains
        -Σ r ∂G/∂r, shape (6 n, D).
    first, first_block
        Where each configuration's atoms and blocks begin and end, shape (C + 1,).
    """

    functions: Tensor
    configurations: Tensor
    derivatives: Tensor
    centres: Tensor
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
        centres=_tensor(layout.centres[p:q] - i, device),
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
