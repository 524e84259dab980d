"""A moment tensor potential as immutable data."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers

from pescape.calculators.checks import checked_elements, element_names, frozen, types_among
from pescape.calculators.doptimality.active_set import active_set_summary
from pescape.calculators.mtp.basis import moment_graph
from pescape.calculators.mtp.files import errors_naming, read_fields, write_potential

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from numpy.typing import ArrayLike, NDArray

    from pescape._kernels import MTPKernel
    from pescape.calculators.doptimality.active_set import ActiveSet
    from pescape.calculators.doptimality.design_matrix import Parameters
    from pescape.calculators.zbl import ZBL

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int32]

MAX_SPECIES = 10
PRECISIONS = ("double", "single")


@dataclass(frozen=True, eq=False)
class MTPotential:
    """The graph, the coefficients and the active set of a moment tensor potential.

    Arrays are copied and made read-only. Make changed copies with the ``with_...`` methods.

    Attributes
    ----------
    species
        Element of every species; empty when nobody named them yet.
    species_count
        Number of species S.
    min_dist, cutoff
        Å; where the radial Chebyshev argument is -1 and +1. Neighbors beyond the cut-off do not
        count.
    scaling
        Factor of all radial functions.
    radial_basis_size, radial_funcs_count
        Number N of Chebyshev polynomials and M of radial functions.
    basic
        (mu, a, b, c) of the basic moments (nb, 4), which are moments 0 .. nb-1.
    products
        (left, right, multiplicity, out) of the contraction list (nt, 4).
    scalar_moments
        Moment of every basis function (ns,).
    moments_count
        Number of moments.
    radial_coeffs
        (S, S, M, N), of central and neighboring species; None when untrained.
    species_coeffs
        eV (S,), the energy of an isolated atom; None when untrained.
    moment_coeffs
        eV (ns,); None when untrained.
    active_set
        What extrapolation grades are measured against.
    repulsion
        Added to what is fitted. With it, radial functions come to rest (within 5 %) just below
        the shortest distance of the training data instead of growing as polynomials do, so that
        the repulsion wins at all shorter distances. Grades still tell how short a distance is.
    nearest
        Å (S, S), shortest distance of each pair of species in the training data, the cut-off for
        pairs that are not there; None where nobody knows, which stands for min_dist.
    densest
        Shape (S, S), how densely atoms of a species are surrounded by those of another at most in
        the training data (`TrainingSet.extent`). Beyond it, and a margin, the fitted energy of an
        atom fades and a wall rises. None for a potential that does neither.
    summits
        eV (S,), the highest energy of an atom of each species in the training data, relative to
        the isolated atom: towards it energies fade.
    adds_repulsion
        False only while a fit lasts, whose labels lack the repulsion: the kernel leaves it out.
    name, tag
        Free text (one word, one line) kept in the file.
    source
        The file it was read from, for messages.
    """

    kind: ClassVar[Literal["mtp"]] = "mtp"
    suffixes: ClassVar[tuple[str, ...]] = (".mtp", ".almtp")

    species: tuple[str, ...]
    species_count: int
    min_dist: float
    cutoff: float
    radial_basis_size: int
    radial_funcs_count: int
    basic: Integers
    products: Integers
    scalar_moments: Integers
    moments_count: int
    scaling: float = 1.0
    radial_coeffs: Floats | None = None
    species_coeffs: Floats | None = None
    moment_coeffs: Floats | None = None
    active_set: ActiveSet | None = None
    repulsion: ZBL | None = None
    adds_repulsion: bool = True
    nearest: Floats | None = None
    densest: Floats | None = None
    summits: Floats | None = None
    name: str = "MTP"
    tag: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        freeze = self._freeze
        freeze("basic", np.int32, (-1, 4))
        freeze("products", np.int32, (-1, 4))
        freeze("scalar_moments", np.int32, (-1,))
        s = self.species_count
        freeze("radial_coeffs", float, (s, s, self.radial_funcs_count, self.radial_basis_size))
        freeze("species_coeffs", float, (s,))
        freeze("moment_coeffs", float, (len(self.scalar_moments),))
        freeze("nearest", float, (s, s))
        freeze("densest", float, (s, s))
        freeze("summits", float, (s,))
        object.__setattr__(self, "species", _checked_species(self.species, s))
        coefficients = (self.radial_coeffs, self.species_coeffs, self.moment_coeffs)
        if len({c is None for c in coefficients}) != 1:
            raise ValueError(
                "radial_coeffs, species_coeffs and moment_coeffs belong together: give all three "
                "or none"
            )
        if not 0 <= self.min_dist < self.cutoff < np.inf:
            raise ValueError(
                f"min_dist {self.min_dist:g} Å and cutoff {self.cutoff:g} Å: "
                "0 <= min_dist < cutoff must hold"
            )
        self._check_repulsion()
        if self.active_set is not None and self.active_set.size != self.parameter_count:
            raise ValueError(
                f"the active set has {self.active_set.size} rows, but the potential has "
                f"{self.parameter_count} parameters"
            )

    def _check_repulsion(self) -> None:
        if self.repulsion is None:
            return
        if not self.species:
            raise ValueError(
                f"zbl: {self._called} does not say which elements it is for: name them with "
                ".with_species([...]) first"
            )
        if self.repulsion.outer > self.cutoff:
            raise ValueError(
                f"zbl: outer {self.repulsion.outer:g} Å is beyond the potential's cutoff "
                f"{self.cutoff:g} Å: neighbors beyond the cutoff do not count"
            )

    def _freeze(self, name: str, dtype: type, shape: tuple[int, ...]) -> None:
        value = getattr(self, name)
        if value is not None:
            object.__setattr__(self, name, frozen(value, shape, name, dtype))

    @classmethod
    def untrained(
        cls,
        level: int,
        species: Sequence[str] | int,
        cutoff: float,
        min_dist: float,
        radial_basis_size: int = 8,
    ) -> MTPotential:
        """Make a potential without coefficients.

        Parameters
        ----------
        level
            Even, from 2 to 28: which basis functions it has.
        species
            Elements, 1 to 10, or just their number.
        cutoff
            Å.
        min_dist
            Å, the shortest distance that radial functions resolve.
        radial_basis_size
            Number of Chebyshev polynomials in every radial function.
        """
        graph = moment_graph(level)
        names = () if isinstance(species, int) else element_names(species)
        count = species if isinstance(species, int) else len(names)
        if not 1 <= count <= MAX_SPECIES:
            raise ValueError(f"a potential has 1 to {MAX_SPECIES} species, not {count}")
        if radial_basis_size < 1:
            raise ValueError(f"radial_basis_size must be at least 1, not {radial_basis_size}")
        return cls(
            species=names,
            species_count=count,
            min_dist=float(min_dist),
            cutoff=float(cutoff),
            radial_basis_size=int(radial_basis_size),
            radial_funcs_count=graph.radial_funcs_count,
            basic=graph.basic,
            products=graph.products,
            scalar_moments=graph.scalar_moments,
            moments_count=graph.moments_count,
            name=f"MTP_level_{level}",
        )

    @classmethod
    def read(cls, path: str | PathLike[str]) -> MTPotential:
        """Read an MLIP-2 ``.mtp`` or MLIP-3 ``.almtp`` file.

        Parameters
        ----------
        path
            The file.
        """
        fields = read_fields(path)
        with errors_naming(path):
            return cls(**fields)

    def write(self, path: str | PathLike[str]) -> None:
        """Write an ``.mtp`` file, with the active set (as in an ``.almtp``) if there is one.

        Parameters
        ----------
        path
            The file, which appears as a whole.
        """
        write_potential(path, self)

    @property
    def description(self) -> str:
        """What it is, for people."""
        return f"moment tensor potential of {self.parameter_count} parameters"

    @property
    def is_trained(self) -> bool:
        """Whether the potential has coefficients."""
        return self.radial_coeffs is not None

    @property
    def parameter_count(self) -> int:
        """Number of fitted parameters P: radial, species, moments."""
        radial = self.species_count**2 * self.radial_funcs_count * self.radial_basis_size
        return radial + self.species_count + len(self.scalar_moments)

    @property
    def parameters(self) -> Floats:
        """All fitted parameters (P,) in the order radial, species, moments."""
        coefficients = (self.radial_coeffs, self.species_coeffs, self.moment_coeffs)
        given = [np.ravel(c) for c in coefficients if c is not None]
        if not given:
            raise ValueError(f"{self._called} is untrained: it has no coefficients")
        return np.concatenate(given)

    @property
    def _called(self) -> str:
        return self.source or f"the potential {self.name}"

    def with_parameters(self, parameters: ArrayLike) -> MTPotential:
        """Replace all coefficients (P,); an active set, which belongs to the old ones, goes.

        Parameters
        ----------
        parameters
            Shape (P,), in the order radial, species, moments.
        """
        theta = np.asarray(parameters, dtype=float)
        if theta.shape != (self.parameter_count,):
            raise ValueError(f"{self.parameter_count} parameters wanted, not shape {theta.shape}")
        s, scalars = self.species_count, len(self.scalar_moments)
        shape = s, s, self.radial_funcs_count, self.radial_basis_size
        return dataclasses.replace(
            self,
            radial_coeffs=theta[: -s - scalars].reshape(shape),
            species_coeffs=theta[-s - scalars : -scalars],
            moment_coeffs=theta[-scalars:],
            active_set=None,
        )

    def with_active_set(self, active_set: ActiveSet | None) -> MTPotential:
        """Replace the active set.

        Parameters
        ----------
        active_set
            Of P rows; None for a potential without.
        """
        return dataclasses.replace(self, active_set=active_set)

    def with_repulsion(self, repulsion: ZBL | None, *, added: bool = True) -> MTPotential:
        """Replace the short-range repulsion; energies change, the parameters do not.

        Parameters
        ----------
        repulsion
            None for a potential without.
        added
            False for fits to labels that lack the repulsion: all of the potential but its energy.
        """
        return dataclasses.replace(self, repulsion=repulsion, adds_repulsion=added)

    def with_extent(
        self,
        nearest: Floats | None,
        densest: Floats | None = None,
        summits: Floats | None = None,
    ) -> MTPotential:
        """Replace what is known of the training data's extent.

        Parameters
        ----------
        nearest
            Å (S, S); None where nobody knows.
        densest
            Shape (S, S); None for a potential whose energy does not fade in denser surroundings.
        summits
            eV (S,), where there is `densest`.
        """
        table = None if nearest is None else np.minimum(nearest, self.cutoff)
        return dataclasses.replace(self, nearest=table, densest=densest, summits=summits)

    def with_species(self, species: Sequence[str]) -> MTPotential:
        """Name the elements of the species; a file that already does so must agree.

        Parameters
        ----------
        species
            Elements of species 0, 1, ...
        """
        names = element_names(species)
        if self.species and names != self.species:
            raise ValueError(
                f"{self._called} is for the species {' '.join(self.species)}, in this order, "
                f"not for {' '.join(names)}"
            )
        active_set = self.active_set
        if active_set is not None and not self.species:
            active_set = _renamed(active_set, names)
        return dataclasses.replace(self, species=names, active_set=active_set)

    def randomized(self, seed: int | np.random.SeedSequence | np.random.Generator) -> MTPotential:
        """Draw all coefficients at random, of a size that gives energies of a few eV per atom.

        Parameters
        ----------
        seed
            What the draws depend on.
        """
        rng = np.random.default_rng(seed)
        s = self.species_count
        radial = rng.normal(size=(s, s, self.radial_funcs_count, self.radial_basis_size))
        # Dense matter has some 40 neighbors; the moments of a vertex then are of order one.
        radial *= 0.3 / ((self.cutoff - self.min_dist) ** 2 * self.scaling)
        radial /= 1.0 + np.arange(self.radial_basis_size)
        return dataclasses.replace(
            self,
            radial_coeffs=radial,
            species_coeffs=rng.normal(size=s),
            moment_coeffs=0.1 * rng.normal(size=len(self.scalar_moments)),
            active_set=None,
        )

    def types_of(self, numbers: ArrayLike) -> Integers:
        """Return the species (n,) of atoms given by their atomic numbers (n,).

        Parameters
        ----------
        numbers
            Atomic numbers, shape (n,).
        """
        if not self.species:
            raise ValueError(
                f"{self._called} does not say which elements it is for: name them with "
                ".with_species([...])"
            )
        return types_among(self.species, numbers, self._called)

    def site_gradients(self, *arguments: Any) -> Floats:  # noqa: ANN401
        """Return the rows ∂E_i/∂θ of atoms, shape (n, P), for all parameters.

        They are in double precision, as inverses of active sets are ill-conditioned.

        Parameters
        ----------
        *arguments
            What functions of the kernel take.
        """
        return self.kernel().site_gradients(*arguments)

    def rows_about(self, parameters: Parameters | None) -> tuple[MTPotential, slice]:
        """Return the potential, and where in its rows some parameters are.

        Parameters
        ----------
        parameters
            "all" (the default), or those the energy is "linear" in: those of species and of basis
            functions, which come after the radial ones.
        """
        if parameters not in (None, "all", "linear"):
            raise ValueError(f"parameters must be 'all' or 'linear', not {parameters!r}")
        linear = self.species_count + len(self.scalar_moments)
        return self, slice(self.parameter_count - linear if parameters == "linear" else None, None)

    @property
    def grades_by_leverage(self) -> bool:
        """Whether new active sets give grades by leverage."""
        return False

    def parameter_name(self, parameter: int) -> str:
        """Return the name of a parameter.

        Parameters
        ----------
        parameter
            Its index among all parameters.
        """
        s = self.species_count
        shape = s, s, self.radial_funcs_count, self.radial_basis_size
        rest = parameter - math.prod(shape)
        if rest < 0:
            one, other, function, polynomial = np.unravel_index(parameter, shape)
            pair = f"{self.species[one]}-{self.species[other]}"
            return f"radial {pair}, function {function}, polynomial {polynomial}"
        return f"energy of {self.species[rest]}" if rest < s else f"basis function {rest - s}"

    def summary(self) -> dict[str, Any]:
        """Return what the potential is, for people and JSON; lengths in Å."""
        active = self.active_set
        counted = None if active is None else "all" if active.counted.all() else "linear"
        return {
            "name": self.name,
            "species": " ".join(self.species) or f"{self.species_count}, not named",
            "trained": self.is_trained,
            "cutoff": self.cutoff,
            "min_dist": self.min_dist,
            "zbl": None if self.repulsion is None else self.repulsion.summary(),
            "radial_functions": self.radial_funcs_count,
            "radial_basis_size": self.radial_basis_size,
            "basic_moments": len(self.basic),
            "products": len(self.products),
            "basis_functions": len(self.scalar_moments),
            "parameters": self.parameter_count,
            **active_set_summary(active),
            "active_parameters": counted,
        }

    def kernel(self, precision: str = "double") -> MTPKernel:
        """Compile the potential for evaluation in double or single precision (cached).

        Parameters
        ----------
        precision
            "double" or "single".
        """
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
        return self._double_kernel if precision == "double" else self._single_kernel

    @cached_property
    def _double_kernel(self) -> MTPKernel:
        return self._compile(single_precision=False)

    @cached_property
    def _single_kernel(self) -> MTPKernel:
        return self._compile(single_precision=True)

    def _compile(self, *, single_precision: bool) -> MTPKernel:
        from pescape._kernels import MTPKernel

        if not self.is_trained:
            raise ValueError(
                f"{self._called} is untrained: fit it with `pescape fit mtp`, or give it random "
                "coefficients with .randomized(seed=...)"
            )
        return MTPKernel(
            species_count=self.species_count,
            min_dist=self.min_dist,
            max_dist=self.cutoff,
            scaling=self.scaling,
            radial_coeffs=self.radial_coeffs,
            basic=self.basic,
            products=self.products,
            scalar_moments=self.scalar_moments,
            moments_count=self.moments_count,
            species_coeffs=self.species_coeffs,
            moment_coeffs=self.moment_coeffs,
            repulsion=None if self.repulsion is None else self.repulsion.kernel(self.species),
            adds_repulsion=self.adds_repulsion,
            nearest=[] if self.nearest is None else self.nearest.ravel(),
            densest=[] if self.densest is None else self.densest.ravel(),
            summits=[] if self.summits is None else self.summits,
            single_precision=single_precision,
        )

    def __getstate__(self) -> dict[str, Any]:
        """Leave compiled kernels out of pickles and deep copies."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)
        self.__post_init__()


def _renamed(active_set: ActiveSet, names: tuple[str, ...]) -> ActiveSet:
    """Name the elements of configurations in which H, He, ... stand in for species 0, 1, ..."""
    numbers = np.array([atomic_numbers[name] for name in names])
    configurations = tuple(atoms.copy() for atoms in active_set.configurations)
    for old, new in zip(active_set.configurations, configurations, strict=True):
        new.numbers = numbers[old.numbers - 1]
        if old.calc is not None:
            new.calc = SinglePointCalculator(new, **old.calc.results)
    return dataclasses.replace(active_set, configurations=configurations)


def _checked_species(species: Sequence[str], count: int) -> tuple[str, ...]:
    names = checked_elements(species)
    if names and len(names) != count:
        raise ValueError(
            f"{len(names)} elements ({' '.join(names)}) are named, but the potential has {count} "
            "species"
        )
    return names
