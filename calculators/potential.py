"""What all potentials have in common, and reading one from any file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from numpy import float64, int32
    from numpy.typing import ArrayLike, NDArray
    from typing_extensions import Self

    from pescape.calculators.doptimality.active_set import ActiveSet
    from pescape.calculators.doptimality.design_matrix import Parameters
    from pescape.calculators.zbl import ZBL

    Floats = NDArray[float64]

_MTP_START = b"MTP"


class Kernel(Protocol):
    """A compiled potential.

    All functions take positions (n, 3) in Å, species (n,), neighbor offsets (n + 1,), indices (m,)
    and shifts (m, 3) in Å, as in `pescape.calculators.neighbors.Neighbors`, and OpenMP threads.
    """

    def evaluate(self, *arguments: Any) -> tuple[Floats, Floats, Floats]:  # noqa: ANN401
        """Return site energies (n,) in eV, forces (n, 3) in eV/Å and site virials (n, 6) in eV."""


class Potential(Protocol):
    """A machine-learned potential: a sum of site energies with parameters θ, immutable."""

    @property
    def kind(self) -> Literal["mtp", "bpnn"]:
        """Name of the kind, as commands and pair styles have it."""

    @property
    def description(self) -> str:
        """What it is, for people."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Suffixes of the files that `write` makes; the last one can hold an active set."""

    @property
    def name(self) -> str:
        """Free text kept in the file."""

    @property
    def source(self) -> str:
        """The file it was read from, for messages; empty if there is none."""

    @property
    def species(self) -> tuple[str, ...]:
        """Element of every species; empty when nobody named them yet."""

    @property
    def species_count(self) -> int:
        """Number of species."""

    @property
    def cutoff(self) -> float:
        """Å; neighbors beyond it do not count."""

    @property
    def nearest(self) -> Floats | None:
        """Å (S, S), shortest distances of pairs in the training data; None where nobody knows."""

    @property
    def repulsion(self) -> ZBL | None:
        """A short-range repulsion beside what is fitted; None for a potential without."""

    @property
    def is_trained(self) -> bool:
        """Whether the parameters have values."""

    @property
    def parameter_count(self) -> int:
        """Number P of fitted parameters."""

    @property
    def parameters(self) -> Floats:
        """All fitted parameters, shape (P,)."""

    @property
    def active_set(self) -> ActiveSet | None:
        """What extrapolation grades are measured against."""

    @property
    def grades_by_leverage(self) -> bool:
        """Whether new active sets give grades by leverage, see `ActiveSet`."""

    def types_of(self, numbers: ArrayLike) -> NDArray[int32]:
        """Return the species of atoms, shape (n,).

        Parameters
        ----------
        numbers
            Atomic numbers, shape (n,).
        """

    def kernel(self) -> Kernel:
        """Compile the potential for evaluation in double precision (cached)."""

    def site_gradients(self, *arguments: Any) -> Floats:  # noqa: ANN401
        """Return the rows ∂E_i/∂θ of atoms, shape (n, parameters), that active sets are made of.

        Parameters
        ----------
        *arguments
            What functions of a `Kernel` take.
        """

    def rows_about(self, parameters: Parameters | None) -> tuple[Self, slice]:
        """Return a potential whose rows hold some parameters, and where in a row these are.

        Parameters
        ----------
        parameters
            "all", or those the energy is "linear" in; by default those of the active set's rows.
        """

    def parameter_name(self, parameter: int) -> str:
        """Return the name of a parameter.

        Parameters
        ----------
        parameter
            Its index in a row.
        """

    def with_species(self, species: Sequence[str]) -> Self:
        """Name the elements; a potential that already does so must agree.

        Parameters
        ----------
        species
            Elements of species 0, 1, ...
        """

    def with_parameters(self, parameters: ArrayLike) -> Self:
        """Replace all parameters; an active set, which belongs to the old ones, goes.

        Parameters
        ----------
        parameters
            Shape (P,).
        """

    def with_active_set(self, active_set: ActiveSet | None) -> Self:
        """Replace the active set.

        Parameters
        ----------
        active_set
            Of rows as `site_gradients` makes them; None for a potential without.
        """

    def write(self, path: str | PathLike[str]) -> None:
        """Write it with its active set; the file appears as a whole.

        Parameters
        ----------
        path
            The file.
        """

    def summary(self) -> dict[str, Any]:
        """Return what the potential is, for people and JSON."""


def potential_kind(path: str | PathLike[str]) -> Literal["mtp", "bpnn"] | None:
    """Return what kind of potential a file or folder holds; None if it is none.

    Parameters
    ----------
    path
        The file, whose content tells the kind, or the folder of an n2p2 or RuNNer network.
    """
    from pescape.calculators.bpnn.formats import detect_format
    from pescape.calculators.mtp.potential import MTPotential

    path = Path(path)
    if path.suffix in MTPotential.suffixes:
        return "mtp"
    if path.is_file():
        with path.open("rb") as file:
            if file.read(len(_MTP_START)) == _MTP_START:
                return "mtp"
    return "bpnn" if path.exists() and detect_format(path) is not None else None


def load(
    path: str | PathLike[str],
    *,
    species: Sequence[str] | None = None,
    length_unit: str | float | None = None,
    energy_unit: str | float | None = None,
) -> Potential:
    """Read a potential of any kind.

    Parameters
    ----------
    path
        A moment tensor potential (``.mtp``, ``.almtp``) or a Behler-Parrinello network: our own
        file, Amp's, SIMPLE-NN's, or a folder of n2p2 or RuNNer.
    species
        Elements of species 0, 1, ... for files that name none; others must agree.
    length_unit, energy_unit
        Units of an n2p2 or RuNNer folder, see `BPNNPotential.read`.

    Raises
    ------
    ValueError
        "FILE, line N: ..." when anything in the file is wrong.
    """
    from pescape.calculators.bpnn.formats import FORMATS
    from pescape.calculators.bpnn.potential import BPNNPotential
    from pescape.calculators.mtp.potential import MTPotential

    kind = potential_kind(path)
    potential: Potential
    if kind is None and Path(path).exists():
        known = ", ".join(["a moment tensor potential", *(one.description for one in FORMATS)])
        raise ValueError(f"{path}: not a potential; known are {known}")
    if kind != "mtp":
        potential = BPNNPotential.read(path, length_unit=length_unit, energy_unit=energy_unit)
    elif length_unit is None and energy_unit is None:
        potential = MTPotential.read(path)
    else:
        raise ValueError(f"{path}: only n2p2 and RuNNer folders have length_unit and energy_unit")
    return potential if species is None else potential.with_species(species)
