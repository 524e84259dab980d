"""A Behler-Parrinello network potential."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from ase.data import atomic_numbers

from pescape.calculators.bpnn.data import BPNNData, ElementModel, Layer, checked_species
from pescape.calculators.bpnn.formats import read_data, write_data
from pescape.calculators.bpnn.symmetry import SymmetryFunction, waters_rondinelli_functions
from pescape.calculators.checks import element_names, types_among
from pescape.calculators.doptimality.active_set import active_set_summary

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from numpy.typing import ArrayLike, NDArray

    from pescape._kernels import BPNNKernel
    from pescape.calculators.bpnn.data import ActiveParameters, Scaling
    from pescape.calculators.doptimality.active_set import ActiveSet
    from pescape.calculators.doptimality.design_matrix import Parameters

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class BPNNPotential(BPNNData):
    """Symmetry functions, scaling and network of every element.

    Numbers are in eV and Å. Arrays are copied and made read-only. Make changed copies with the
    ``with_...`` methods. Its fields are those of `BPNNData`.
    """

    kind: ClassVar[Literal["bpnn"]] = "bpnn"
    description: ClassVar[str] = "Behler-Parrinello network"
    suffixes: ClassVar[tuple[str, ...]] = (".bpnn",)
    nearest: ClassVar[None] = None  # not kept
    repulsion: ClassVar[None] = None

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
            functions = waters_rondinelli_functions(names)
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
        data = read_data(path, length_unit=length_unit, energy_unit=energy_unit)
        return cls(**vars(data))

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
        write_data(path, self, format)

    def element(self, name: str) -> ElementModel:
        """Return what belongs to an element.

        Parameters
        ----------
        name
            The element.
        """
        return self.elements[self.species.index(name)]

    @property
    def species_count(self) -> int:
        """Number of species."""
        return len(self.species)

    @property
    def cutoff(self) -> float:
        """Å; the longest of all symmetry functions."""
        return max(f.cutoff.radius for e in self.elements for f in e.functions)

    @property
    def knows_ranges(self) -> bool:
        """Whether it says which values symmetry functions have in the training data."""
        return any(element.scaling.ranges is not None for element in self.elements)

    @property
    def parameters(self) -> Floats:
        """All weights and biases (P,).

        Element by element and layer by layer, the weights row by row (one row for each input),
        then the biases.
        """
        self._require_weights()
        return np.concatenate([element.parameters for element in self.elements])

    @property
    def _called(self) -> str:
        return self.source or f"the potential {self.name}"

    def _require_weights(self) -> None:
        if not self.is_trained:
            raise ValueError(
                f"{self._called} is untrained: fit it with `pescape fit bpnn`, or give it random "
                "weights with .randomized(seed=...)"
            )

    def with_species(self, species: Sequence[str]) -> BPNNPotential:
        """Return the potential, which names its elements, if they are these.

        Parameters
        ----------
        species
            The elements in any order.

        Raises
        ------
        ValueError
            The potential is for others.
        """
        names = element_names(species)
        if sorted(names) != sorted(self.species):
            raise ValueError(
                f"{self._called} is for the species {' '.join(self.species)}, "
                f"not for {' '.join(names)}"
            )
        return self

    def with_elements(self, elements: Sequence[ElementModel]) -> BPNNPotential:
        """Replace the models of all elements; an active set, which belongs to them, goes.

        Parameters
        ----------
        elements
            One model for each of the species.
        """
        return dataclasses.replace(self, elements=tuple(elements), active_set=None)

    def with_parameters(self, parameters: ArrayLike) -> BPNNPotential:
        """Replace all weights and biases (P,); an active set, which belongs to them, goes.

        Parameters
        ----------
        parameters
            As in `parameters`, shape (P,).
        """
        theta = np.asarray(parameters, dtype=float)
        if theta.shape != (self.parameter_count,):
            raise ValueError(f"{self.parameter_count} parameters wanted, not shape {theta.shape}")
        ends = np.cumsum([element.parameter_count for element in self.elements])
        parts = np.split(theta, ends[:-1])
        return self.with_elements(
            [e.with_parameters(part) for e, part in zip(self.elements, parts, strict=True)]
        )

    def with_scaling(self, scaling: Mapping[str, Scaling]) -> BPNNPotential:
        """Replace the scaling of some elements; an active set, which belongs to it, goes.

        Parameters
        ----------
        scaling
            By element.
        """
        return self._with_each("scaling", scaling)

    def with_output(
        self,
        slope: Mapping[str, float] | None = None,
        intercept: Mapping[str, float] | None = None,
        atom_energy: Mapping[str, float] | None = None,
    ) -> BPNNPotential:
        """Replace what turns the networks' outputs into energies (eV) of some elements.

        Parameters
        ----------
        slope, intercept, atom_energy
            By element, eV.
        """
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
        """Replace the active set, and say which parameters its rows are about.

        Parameters
        ----------
        active_set
            Of rows as `site_gradients` makes them; None for a potential without.
        parameters
            Which ones the rows are about; by default as before.
        """
        which = parameters or self.active_parameters
        return dataclasses.replace(self, active_set=active_set, active_parameters=which)

    def randomized(self, seed: int | np.random.SeedSequence | np.random.Generator) -> BPNNPotential:
        """Return the potential with random weights, and an estimated scaling where it has none.

        Parameters
        ----------
        seed
            Of the random numbers.
        """
        rng = np.random.default_rng(seed)
        return self.with_elements([element.randomized(rng) for element in self.elements])

    def types_of(self, numbers: ArrayLike) -> Integers:
        """Return the species of atoms, shape (n,).

        Parameters
        ----------
        numbers
            Atomic numbers, shape (n,).
        """
        return types_among(self.species, numbers, self._called)

    def site_gradients(self, *arguments: Any) -> Floats:  # noqa: ANN401
        """Return the rows of atoms, (n, active_size()), that active sets are made of.

        Parameters
        ----------
        *arguments
            What functions of the kernel take.
        """
        return self.kernel().site_gradients(*arguments, parameters=self.active_parameters)

    def rows_about(self, parameters: Parameters | None) -> tuple[BPNNPotential, slice]:
        """Return a potential whose rows are about some parameters, and where in a row these are.

        Parameters
        ----------
        parameters
            "all", or those the energy is "linear" in, the output layers'; by default what
            `active_parameters` says.
        """
        if parameters not in (None, "all", "linear"):
            raise ValueError(f"parameters must be 'all' or 'linear', not {parameters!r}")
        if parameters is None:
            return self, slice(None)
        which: ActiveParameters = "output" if parameters == "linear" else "all"
        return self.with_active_set(None, which), slice(None)

    @property
    def grades_by_leverage(self) -> bool:
        """Whether new active sets give grades by leverage."""
        return self.active_parameters == "inputs"

    def parameter_name(self, parameter: int) -> str:
        """Return the name of an entry of a row.

        Parameters
        ----------
        parameter
            Its place in the row.
        """
        rest, which = parameter, self.active_parameters
        for species, element in zip(self.species, self.elements, strict=True):
            layers = list(enumerate(element.layers, start=1))
            if which == "inputs":
                if rest < len(element.functions):
                    return f"{species} input {rest}: {element.functions[rest]}"
                # As if the weights of the first layer were there, which come before its biases.
                rest += element.layers[0].inputs * (element.layers[0].outputs - 1)
            for number, layer in layers[-1:] if which == "output" else layers:
                if rest < layer.parameter_count:
                    if rest >= layer.inputs * layer.outputs:
                        bias = rest - layer.inputs * layer.outputs
                        return f"{species} layer {number}, bias {bias}"
                    source, target = divmod(rest, layer.outputs)
                    return f"{species} layer {number}, weight {source} -> {target}"
                rest -= layer.parameter_count
        raise ValueError(f"the potential has no parameter {parameter}")

    def summary(self) -> dict[str, Any]:
        """Return what the potential is, for people and JSON; lengths in Å."""
        content: dict[str, Any] = {
            "name": self.name,
            "species": " ".join(self.species),
            "trained": self.is_trained,
            "cutoff": self.cutoff,
        }
        for name, element in zip(self.species, self.elements, strict=True):
            kinds = Counter(function.kind for function in element.functions)
            sizes = [len(element.functions), *element.hidden, 1]
            activations = ", ".join(layer.activation for layer in element.layers)
            counts = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
            cutoffs = {function.cutoff.kind for function in element.functions}
            content[f"{name}_functions"] = f"{sizes[0]} ({counts})"
            content[f"{name}_cutoff_functions"] = ", ".join(sorted(cutoffs))
            content[f"{name}_scaling"] = element.scaling.kind
            content[f"{name}_network"] = f"{'-'.join(map(str, sizes))} ({activations})"
        return {
            **content,
            "parameters": self.parameter_count,
            **active_set_summary(self.active_set),
            "active_parameters": None if self.active_set is None else self.active_parameters,
        }

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
