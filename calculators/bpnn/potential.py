"""A Behler-Parrinello network potential as immutable data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from ase.data import atomic_numbers

from pescape.calculators.bpnn.network import ElementModel, Layer
from pescape.calculators.bpnn.symmetry import SymmetryFunction, paper_functions
from pescape.calculators.bpnn.units import Units
from pescape.calculators.potential import checked_elements, types_among

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from numpy.typing import ArrayLike, NDArray

    from pescape._kernels import BPNNKernel
    from pescape.calculators.bpnn.network import Scaling
    from pescape.calculators.doptimality.active_set import ActiveSet

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int32]

#: Which parameters the rows of an active set are derivatives with respect to.
ActiveParameters = Literal["output", "all"]


@dataclass(frozen=True, eq=False)
class BPNNPotential:
    """Symmetry functions, scaling and network of every element.

    Numbers are in eV and Å. Arrays are copied and made read-only. Make changed copies with the
    ``with_...`` methods.

    Attributes
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
        Whether the active set's rows are ∂E/∂θ with respect to the weights and biases of the
        output layers, or to all of them.
    name
        Free text (one line) kept in the file.
    source
        The file it was read from, for messages.
    """

    species: tuple[str, ...]
    elements: tuple[ElementModel, ...]
    units: Units = field(default_factory=Units)
    active_set: ActiveSet | None = None
    active_parameters: ActiveParameters = "output"
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
        if self.active_parameters not in ("output", "all"):
            raise ValueError(
                f"active_parameters must be 'output' or 'all', not {self.active_parameters!r}"
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

    @classmethod
    def untrained(
        cls,
        species: Sequence[str],
        functions: Sequence[SymmetryFunction]
        | Mapping[str, Sequence[SymmetryFunction]]
        | None = None,
        *,
        hidden: Sequence[int] = (8,),
        activation: str = "tanh",
        output_activation: str = "linear",
    ) -> BPNNPotential:
        """Make a potential without weights and scaling.

        Parameters
        ----------
        species
            Elements.
        functions
            Symmetry functions, the same for all elements or for each one; by default the 136 (for
            two elements) of Waters & Rondinelli with a cut-off of 7 Å.
        hidden
            Number of nodes of every hidden layer.
        activation, output_activation
            Of the hidden layers and of the output.
        """
        names = checked_species(species)
        if functions is None:
            functions = paper_functions(names)
        given = functions if isinstance(functions, Mapping) else dict.fromkeys(names, functions)
        missing = [name for name in names if name not in given]
        if missing:
            raise ValueError(f"functions has no entry for {missing[0]}")
        elements = []
        for name in names:
            sizes = [len(given[name]), *hidden, 1]
            kinds = [activation] * len(hidden) + [output_activation]
            layers = [
                Layer(*shape, kind) for shape, kind in zip(pairwise(sizes), kinds, strict=True)
            ]
            elements.append(ElementModel(tuple(given[name]), tuple(layers)))
        return cls(names, tuple(elements))

    @staticmethod
    def paper_functions(
        species: Sequence[str], cutoff: float = 7.0
    ) -> tuple[SymmetryFunction, ...]:
        """Return the symmetry functions of Waters & Rondinelli, table I, for a cut-off in Å."""
        return paper_functions(species, cutoff)

    @classmethod
    def read(
        cls,
        path: str | PathLike[str],
        *,
        length_unit: str | float | None = None,
        energy_unit: str | float | None = None,
    ) -> BPNNPotential:
        """Read our own format, Amp's, SIMPLE-NN's, or a folder of n2p2 or RuNNer.

        Parameters
        ----------
        path
            File or folder; its content tells the format.
        length_unit, energy_unit
            Units of an n2p2 or RuNNer folder, which does not name them: "Angstrom" or "Bohr",
            "eV" or "Hartree", or their value in Å and eV.
        """
        from pescape.calculators.bpnn.formats import read_potential

        return read_potential(path, length_unit=length_unit, energy_unit=energy_unit)

    def write(self, path: str | PathLike[str], format: str | None = None) -> None:  # noqa: A002
        """Write a file of our own, or a folder for n2p2.

        Parameters
        ----------
        path
            The file or folder.
        format
            "pescape" or "n2p2"; by default what the path looks like: a name without a suffix, or a
            folder that is there, is n2p2's.
        """
        from pescape.calculators.bpnn.formats import write_potential

        write_potential(path, self, format)

    def element(self, name: str) -> ElementModel:
        """Return what belongs to an element."""
        return self.elements[self.species.index(name)]

    @property
    def cutoff(self) -> float:
        """Å; the longest of all symmetry functions."""
        return max(f.cutoff.radius for e in self.elements for f in e.functions)

    @property
    def is_trained(self) -> bool:
        """Whether the networks have weights."""
        return self.elements[0].is_trained

    @property
    def parameter_count(self) -> int:
        """Number P of weights and biases of all networks."""
        return sum(element.parameter_count for element in self.elements)

    @property
    def parameters(self) -> Floats:
        """All weights and biases (P,).

        Element by element and layer by layer, the weights row by row (one row for each input),
        then the biases.
        """
        self._require_weights()
        return np.concatenate([element.parameters for element in self.elements])

    def active_size(self, which: ActiveParameters | None = None) -> int:
        """Return how many parameters an active set is about."""
        if (which or self.active_parameters) == "all":
            return self.parameter_count
        return sum(element.layers[-1].parameter_count for element in self.elements)

    @property
    def _called(self) -> str:
        return self.source or f"the potential {self.name}"

    def _require_weights(self) -> None:
        if not self.is_trained:
            raise ValueError(
                f"{self._called} is untrained: fit it with `pescape fit bpnn`, or give it random "
                "weights with .randomized(seed=...)"
            )

    def with_elements(self, elements: Sequence[ElementModel]) -> BPNNPotential:
        """Replace the models of all elements; an active set, which belongs to them, goes."""
        return dataclasses.replace(self, elements=tuple(elements), active_set=None)

    def with_parameters(self, parameters: ArrayLike) -> BPNNPotential:
        """Replace all weights and biases (P,); an active set, which belongs to them, goes."""
        theta = np.asarray(parameters, dtype=float)
        if theta.shape != (self.parameter_count,):
            raise ValueError(f"{self.parameter_count} parameters wanted, not shape {theta.shape}")
        ends = np.cumsum([element.parameter_count for element in self.elements])
        parts = np.split(theta, ends[:-1])
        return self.with_elements(
            [e.with_parameters(part) for e, part in zip(self.elements, parts, strict=True)]
        )

    def with_scaling(self, scaling: Mapping[str, Scaling]) -> BPNNPotential:
        """Replace the scaling of some elements; an active set, which belongs to it, goes."""
        return self._with_each("scaling", scaling)

    def with_output(
        self,
        slope: Mapping[str, float] | None = None,
        intercept: Mapping[str, float] | None = None,
        atom_energy: Mapping[str, float] | None = None,
    ) -> BPNNPotential:
        """Replace what turns the networks' outputs into energies (eV) of some elements."""
        changed = self._with_each("slope", slope or {})
        changed = changed._with_each("intercept", intercept or {})  # noqa: SLF001
        return changed._with_each("atom_energy", atom_energy or {})  # noqa: SLF001

    def _with_each(self, name: str, values: Mapping[str, Any]) -> BPNNPotential:
        unknown = [element for element in values if element not in self.species]
        if unknown:
            raise ValueError(f"{unknown[0]} is not one of the species {' '.join(self.species)}")
        return self.with_elements(
            [
                dataclasses.replace(e, **{name: values[s]}) if s in values else e
                for s, e in zip(self.species, self.elements, strict=True)
            ]
        )

    def with_active_set(
        self, active_set: ActiveSet | None, parameters: ActiveParameters | None = None
    ) -> BPNNPotential:
        """Replace the active set, and say which parameters its rows are about."""
        which = parameters or self.active_parameters
        return dataclasses.replace(self, active_set=active_set, active_parameters=which)

    def randomized(self, seed: int | np.random.SeedSequence | np.random.Generator) -> BPNNPotential:
        """Draw all weights at random, and scale functions by an estimate if nothing else does."""
        rng = np.random.default_rng(seed)
        return self.with_elements([element.randomized(rng) for element in self.elements])

    def types_of(self, numbers: ArrayLike) -> Integers:
        """Return the species (n,) of atoms given by their atomic numbers (n,)."""
        return types_among(self.species, numbers, self._called)

    def kernel_arguments(self) -> dict[str, Any]:
        """Return what the kernel is made of: arrays and numbers of every element."""
        self._require_weights()
        return {
            "elements": [element.kernel_arguments(self.species) for element in self.elements],
            "atomic_numbers": [atomic_numbers[name] for name in self.species],
        }

    def kernel(self) -> BPNNKernel:
        """Compile the potential for evaluation (cached)."""
        return self._kernel

    @cached_property
    def _kernel(self) -> BPNNKernel:
        from pescape._kernels import BPNNKernel

        return BPNNKernel(**self.kernel_arguments())

    def __getstate__(self) -> dict[str, Any]:
        """Leave compiled kernels out of pickles and deep copies."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)
        self.__post_init__()


def checked_species(species: Sequence[str]) -> tuple[str, ...]:
    """Return the elements, if there are any, they are known and each one is named once."""
    names = checked_elements(species)
    if not names:
        raise ValueError("a potential needs at least one species")
    return names
