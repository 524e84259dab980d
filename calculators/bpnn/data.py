"""What the files of a Behler-Parrinello potential hold, as immutable data."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pescape.calculators.checks import checked_elements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pescape.calculators.bpnn.network import ElementModel
    from pescape.calculators.doptimality.active_set import ActiveSet

#: Which parameters the rows of an active set are derivatives with respect to.
ActiveParameters = Literal["output", "all"]


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

    @property
    def is_trained(self) -> bool:
        """Whether the networks have weights."""
        return self.elements[0].is_trained

    @property
    def parameter_count(self) -> int:
        """Number P of weights and biases of all networks."""
        return sum(element.parameter_count for element in self.elements)

    def active_size(self, which: ActiveParameters | None = None) -> int:
        """Return the number of parameters that the rows of an active set are derivatives by.

        Parameters
        ----------
        which
            "output" or "all"; by default `active_parameters`.
        """
        if (which or self.active_parameters) == "all":
            return self.parameter_count
        return sum(element.layers[-1].parameter_count for element in self.elements)


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
