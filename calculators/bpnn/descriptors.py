"""Symmetry functions of configurations, and those outside the range of the training data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pescape.calculators.bpnn.data import ElementModel, Layer
from pescape.calculators.bpnn.potential import BPNNPotential
from pescape.calculators.neighbors import neighbors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from pescape.calculators.bpnn.symmetry import SymmetryFunction

    Floats = NDArray[np.float64]


# Widths of a range that an equal value may be beyond it.
_ROUNDING = 1e-9


class SymmetryFunctions:
    """Computes the symmetry functions of configurations.

    Parameters
    ----------
    species
        Elements.
    functions
        The same for all elements or those of each; by default those of Waters & Rondinelli's
        table I (136 for two elements, cut-off 7 Å).
    threads
        OpenMP threads.
    """

    def __init__(
        self,
        species: Sequence[str],
        functions: Sequence[SymmetryFunction]
        | Mapping[str, Sequence[SymmetryFunction]]
        | None = None,
        *,
        threads: int = 1,
    ) -> None:
        untrained = BPNNPotential.untrained(species, functions, hidden=())
        self.potential = untrained.with_elements([_unweighted(e) for e in untrained.elements])
        self.threads = threads

    def __call__(self, atoms: Atoms) -> Floats:
        """Return the functions of every atom, (natoms, D); shorter rows end with zeros."""
        return self.potential.kernel().symmetry_functions(*self._arguments(atoms))

    def derivatives(self, atoms: Atoms) -> tuple[Floats, Floats]:
        """Return the functions, (natoms, D), and their derivatives, (natoms, D, natoms, 3).

        The derivative of function d of atom i by the position of atom j, in 1/Å.

        Parameters
        ----------
        atoms
            The configuration.
        """
        *geometry, offsets, indices, shifts, threads = self._arguments(atoms)
        functions, by_pair = self.potential.kernel().symmetry_function_derivatives(
            *geometry, offsets, indices, shifts, threads
        )
        count, width = functions.shape
        derivatives = np.zeros((count, count, width, 3))
        centers = np.repeat(np.arange(count), np.diff(offsets))
        np.add.at(derivatives, (centers, indices), by_pair)
        np.subtract.at(derivatives, (centers, centers), by_pair)
        return functions, derivatives.transpose(0, 2, 1, 3)

    def _arguments(self, atoms: Atoms) -> tuple[Any, ...]:
        types = self.potential.types_of(atoms.numbers)
        listed = neighbors(atoms, self.potential.cutoff)
        return (np.ascontiguousarray(atoms.positions), types, *listed.arrays, self.threads)


def _unweighted(element: ElementModel) -> ElementModel:
    """Give an element a network without weight: only its functions matter."""
    size = len(element.functions)
    layer = Layer.of(np.zeros((size, 1)), np.zeros(1), "linear")
    return ElementModel(element.functions, (layer,))


@dataclass(frozen=True)
class OutOfRange:
    """A symmetry function of an atom beyond what the training data had.

    Attributes
    ----------
    atom, element
        Index and element of the atom.
    number, function
        The function's place among those of the element, from 0, and the function.
    value
        What it is.
    minimum, maximum, width
        What it was in the training data, and in which width an excess is measured.
    """

    atom: int
    element: str
    number: int
    function: SymmetryFunction
    value: float
    minimum: float
    maximum: float
    width: float

    @property
    def excess(self) -> float:
        """How far beyond, in widths of the range."""
        beyond = max(self.minimum - self.value, self.value - self.maximum)
        return beyond / self.width if self.width > 0 else np.inf

    def __str__(self) -> str:
        return (
            f"atom {self.atom} ({self.element}): symmetry function {self.number} "
            f"({self.function}) is {self.value:.6g}, outside "
            f"{self.minimum:.6g} ... {self.maximum:.6g}"
        )


def out_of_range(
    potential: BPNNPotential, atoms: Atoms, *, tolerance: float = 0.0, threads: int = 1
) -> list[OutOfRange]:
    """List the symmetry functions that are outside the range of the training data.

    Parameters
    ----------
    potential
        With a scaling that knows the ranges, as our fits, Amp's and n2p2's files do.
    atoms
        The configuration.
    tolerance
        How far outside is let pass, in widths of the range.
    threads
        OpenMP threads.

    Returns
    -------
    list of OutOfRange
        The farthest first.

    Raises
    ------
    ValueError
        No element's scaling knows its ranges.
    """
    types, values = _values(potential, atoms, threads)
    found = []
    for kind, element in enumerate(potential.elements):
        if element.scaling.ranges is None:
            continue
        low, high, width = element.scaling.ranges
        mine = np.flatnonzero(types == kind)
        slack = max(tolerance, _ROUNDING) * width
        inside = values[mine, : len(low)]
        outside = ~((inside >= low - slack) & (inside <= high + slack))
        for row, number in zip(*np.nonzero(outside), strict=True):
            found.append(
                OutOfRange(
                    atom=int(mine[row]),
                    element=potential.species[kind],
                    number=int(number),
                    function=element.functions[number],
                    value=float(inside[row, number]),
                    minimum=float(low[number]),
                    maximum=float(high[number]),
                    width=float(width[number]),
                )
            )
    return sorted(found, key=lambda one: -one.excess)


def range_excess(potential: BPNNPotential, atoms: Atoms, *, threads: int = 1) -> Floats:
    """Tell how far each atom is beyond the ranges of the training data.

    Parameters
    ----------
    potential
        With a scaling that knows the ranges, as our fits, Amp's and n2p2's files do.
    atoms
        The configuration.
    threads
        OpenMP threads.

    Returns
    -------
    array
        Of the symmetry function that is farthest outside, in widths of its range; 0 where none
        is, shape (natoms,).

    Raises
    ------
    ValueError
        No element's scaling knows its ranges.
    """
    types, values = _values(potential, atoms, threads)
    return excess_of(potential, types, values)


def excess_of(potential: BPNNPotential, types: NDArray[np.int32], values: Floats) -> Floats:
    """Tell how far atoms are beyond the ranges of the training data, (n,), as `range_excess`.

    Parameters
    ----------
    potential
        Whose ranges they are.
    types
        Species of the atoms, shape (n,).
    values
        Their symmetry functions, shape (n, D); shorter rows end with zeros.
    """
    found = np.zeros(len(values))
    for kind, element in enumerate(potential.elements):
        if element.scaling.ranges is None:
            continue
        low, high, width = element.scaling.ranges
        mine = types[: len(values)] == kind
        inside = values[mine, : len(low)]
        beyond = np.maximum(np.maximum(low - inside, inside - high), 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            excess = np.where(beyond > _ROUNDING * width, beyond / width, 0.0)
        found[mine] = excess.max(axis=1)
    return found


def _values(
    potential: BPNNPotential, atoms: Atoms, threads: int
) -> tuple[NDArray[np.int32], Floats]:
    """Species (n,) and symmetry functions (n, D) of atoms, if ranges to compare with are known."""
    if not potential.knows_ranges:
        raise ValueError(
            f"{potential.source or 'the potential'} does not say which ranges its symmetry "
            "functions had in the training data"
        )
    types = potential.types_of(atoms.numbers)
    listed = neighbors(atoms, potential.cutoff)
    values = potential.kernel().symmetry_functions(
        np.ascontiguousarray(atoms.positions), types, *listed.arrays, threads
    )
    return types, values
