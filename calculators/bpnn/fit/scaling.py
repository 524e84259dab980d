"""How symmetry functions become inputs of a network that has seen no data yet."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from pescape.calculators.bpnn.data import Layer, Scaling
from pescape.calculators.bpnn.descriptors import SymmetryFunctions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pescape.calculators.bpnn.data import ElementModel
    from pescape.calculators.bpnn.fit.features import Tables
    from pescape.calculators.bpnn.potential import BPNNPotential
    from pescape.calculators.fit.data import TrainingSet

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

#: Å; no input changes by more than about one where atoms move by this.
DISPLACEMENT = 0.1
#: No function is divided by less: one neighbor, or pair of them, adds up to 1 or 2 to it.
SMALLEST = 1e-5
#: What functions are divided by that are constant in the data.
IDLE = 1e-2
# Scaling to a range leaves functions that vary less than this as they are (Amp's rule).
_TOLERANCE = 1e-8
_SAMPLED_ATOMS = 2000


def initial_scaling(tables: Tables, kind: str, slopes: Floats) -> Scaling:
    """Scale the symmetry functions of an element by what they are in the data.

    Where the data is narrow, as in one relaxation, a function may hardly vary, and an input that
    is divided by its standard deviation leaps where atoms move a little. So functions are divided
    by no less than what displacing every atom by `DISPLACEMENT` in each direction changes them
    by. The thermal motion in ordinary data exceeds it.

    Parameters
    ----------
    tables
        The functions (n, D) in the data.
    kind
        "sigma": mean 0 and standard deviation 1. "range": from -1 to 1.
    slopes
        See `displacement_slopes`, shape (D,).
    """
    functions = tables.functions
    low, high = functions.min(axis=0), functions.max(axis=0)
    if kind == "range":
        return Scaling("range", -1.0, 1.0, minimum=low, maximum=high, tolerance=_TOLERANCE)
    sigma = np.maximum(functions.std(axis=0), smallest_divisors(tables, slopes))
    return Scaling("sigma", 0.0, 1.0, low, high, functions.mean(axis=0), sigma)


def smallest_divisors(tables: Tables, slopes: Floats) -> Floats:
    """Return what functions are at least divided by, shape (D,): see `initial_scaling`.

    Parameters
    ----------
    tables
        The functions (n, D) in the data.
    slopes
        See `displacement_slopes`, shape (D,).
    """
    return np.where(_are_idle(tables), IDLE, np.maximum(DISPLACEMENT * slopes, SMALLEST))


def displacement_slopes(potential: BPNNPotential, data: TrainingSet) -> list[Floats]:
    """Return how fast symmetry functions change where atoms are displaced at random, 1/Å.

    That is (Σ_j |∂G_i/∂r_j|²)^½, the root of the mean over atoms i, where j goes over the
    neighbors, images of one atom apart, and the atom itself: in a perfect crystal the sum over
    images of ∂G_i/∂r_j may vanish.

    Parameters
    ----------
    potential
        Its symmetry functions are meant.
    data
        Of which as many configurations are looked at, evenly, as have some 2000 atoms.

    Returns
    -------
    list of array
        Of each element's functions, shape (D,).
    """
    functions = {s: e.functions for s, e in zip(potential.species, potential.elements, strict=True)}
    kernel = SymmetryFunctions(potential.species, functions).potential.kernel()
    squares = [np.zeros(len(element.functions)) for element in potential.elements]
    counts = np.zeros(len(squares))
    for index in range(0, len(data), max(len(data.positions) // _SAMPLED_ATOMS, 1)):
        geometry: Any = data.one(index)
        _, by_pair = kernel.symmetry_function_derivatives(*geometry, 1)
        species, offsets = geometry[1], geometry[2]
        pairs, width = len(by_pair), by_pair.shape[1]
        total = csr_array((np.ones(pairs), np.arange(pairs), offsets), (len(species), pairs))
        by_atom = total @ np.square(by_pair).sum(axis=2)
        sums = total @ by_pair.reshape(pairs, 3 * width)
        by_atom += np.square(sums).reshape(len(species), width, 3).sum(axis=2)
        for kind, square in enumerate(squares):
            mine = by_atom[species == kind, : len(square)]
            np.add(square, mine.sum(axis=0), out=square)
            counts[kind] += np.count_nonzero(species == kind)
    return [np.sqrt(one / max(n, 1)) for one, n in zip(squares, counts, strict=True)]


def _are_idle(tables: Tables) -> Flags:
    """Whether functions are constant in the data, which then says nothing of them, shape (D,)."""
    return np.ptp(tables.functions, axis=0) <= _TOLERANCE * SMALLEST


def widened(scaling: Scaling, tables: Tables) -> Scaling:
    """Return the same map, with ranges that hold what more data has.

    Parameters
    ----------
    scaling
        Of a potential that is trained further. One that divides by its ranges stays as it is.
    tables
        The functions (n, D) in the data.
    """
    if scaling.kind not in ("sigma", "centered", "none"):
        return scaling
    low, high = tables.functions.min(axis=0), tables.functions.max(axis=0)
    if scaling.minimum is not None and scaling.maximum is not None:
        low, high = np.minimum(low, scaling.minimum), np.maximum(high, scaling.maximum)
        if (low == scaling.minimum).all() and (high == scaling.maximum).all():
            return scaling
    return dataclasses.replace(scaling, minimum=low, maximum=high)


def without_idle_inputs(element: ElementModel, tables: Tables) -> ElementModel:
    """Let functions that are constant in the data, which says nothing of them, carry no weight.

    Parameters
    ----------
    element
        With random weights.
    tables
        The functions (n, D) in the data.
    """
    idle = _are_idle(tables)
    if not idle.any():
        return element
    first = element.layers[0]
    weights, bias = first.trained
    kept = Layer(
        first.inputs, first.outputs, first.activation, np.where(idle[:, None], 0, weights), bias
    )
    return dataclasses.replace(element, layers=(kept, *element.layers[1:]))
