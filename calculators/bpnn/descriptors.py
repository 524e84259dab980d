"""Symmetry functions of configurations, as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pescape.calculators.bpnn.network import ElementModel, Layer
from pescape.calculators.bpnn.potential import BPNNPotential
from pescape.calculators.neighbors import neighbors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from pescape.calculators.bpnn.symmetry import SymmetryFunction

    Floats = NDArray[np.float64]


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
        """
        *geometry, offsets, indices, shifts, threads = self._arguments(atoms)
        functions, by_pair = self.potential.kernel().symmetry_function_derivatives(
            *geometry, offsets, indices, shifts, threads
        )
        count, width = functions.shape
        derivatives = np.zeros((count, count, width, 3))
        centres = np.repeat(np.arange(count), np.diff(offsets))
        np.add.at(derivatives, (centres, indices), by_pair)
        np.subtract.at(derivatives, (centres, centres), by_pair)
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
