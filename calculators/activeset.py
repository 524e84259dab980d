"""D-optimality: active sets of maximal volume and the extrapolation grades they give.

A potential's energy is, to first order, linear in its parameters θ: a row b = ∂E/∂θ stands
for what a configuration (or the neighbourhood of one atom) teaches. An active set is the
square matrix A of those training rows that span the largest volume |det A| [1]_. The grade
of any other row is γ = max |b A⁻¹|: up to 1 the potential interpolates, above it the row
would enlarge the volume and prediction is extrapolation [2]_.

References
----------
.. [1] S. A. Goreinov et al., "How to find a good submatrix", in Matrix Methods: Theory,
   Algorithms, Applications (World Scientific, 2010), p. 247.
.. [2] E. V. Podryabinkin and A. V. Shapeev, Comput. Mater. Sci. 140, 171 (2017).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

import numpy as np

from pescape import _kernels
from pescape.calculators.maxvol import EMPTY, SWAP_THRESHOLD, UNSET, maxvol
from pescape.calculators.neighbors import neighbors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

__all__ = [
    "EMPTY",
    "SWAP_THRESHOLD",
    "UNSET",
    "ActiveSet",
    "GradedPotential",
    "Mode",
    "Selection",
    "build_active_set",
    "configuration_row",
    "grades",
    "gradient_rows",
    "maxvol",
    "select",
    "site_gradients",
]

Mode = Literal["neighborhood", "configuration"]


class SitePotential(Protocol):
    """A potential made of site energies whose kernel gives their parameter gradients."""

    @property
    def species(self) -> tuple[str, ...]:
        """Element of every species."""

    @property
    def cutoff(self) -> float:
        """Å."""

    def kernel(self) -> Any:  # noqa: ANN401 (a compiled class)
        """Compile the potential: an object with the method ``site_gradients``."""


class GradedPotential(SitePotential, Protocol):
    """A potential that may have an active set."""

    @property
    def source(self) -> str:
        """The file it was read from."""

    @property
    def active_set(self) -> ActiveSet | None:
        """What extrapolation grades are measured against."""


@dataclass(frozen=True, eq=False)
class ActiveSet:
    """The training rows that span the largest volume.

    Parameters
    ----------
    matrix
        The rows A, shape (n, n), for n parameters.
    inverse
        A⁻¹ proper, shape (n, n); the grade of a row b is ``max(abs(b @ inverse))``.
    mode
        What a row stands for: the neighbourhood of one atom, or a whole configuration.
    weight_scaling
        In configuration mode a row is Σ_i ∂E_i/∂θ / N^(weight_scaling/2).
    origins
        Where each row comes from, shape (n, 2): the index in `configurations` and the
        atom's index (0 in configuration mode); -1, -1 where a slot is unset.
    configurations
        The configurations that hold at least one row.
    """

    matrix: Floats
    inverse: Floats
    mode: Mode = "neighborhood"
    weight_scaling: float = 2.0
    origins: Integers = field(default_factory=lambda: np.empty((0, 2), dtype=np.int64))
    configurations: tuple[Atoms, ...] = ()

    def __post_init__(self) -> None:
        size = len(self.matrix)
        for name, value in (("matrix", self.matrix), ("inverse", self.inverse)):
            if value.shape != (size, size):
                raise ValueError(f"active set: {name} has shape {value.shape}, not {(size, size)}")
            if not np.isfinite(value).all():
                raise ValueError(f"active set: {name} holds numbers that are not finite")
        if self.mode not in ("neighborhood", "configuration"):
            raise ValueError(
                f"active set: mode {self.mode!r} is neither 'neighborhood' nor 'configuration'"
            )
        if len(self.origins) == 0:
            object.__setattr__(self, "origins", np.full((size, 2), UNSET, dtype=np.int64))
        if self.origins.shape != (size, 2):
            raise ValueError(
                f"active set: origins have shape {self.origins.shape}, not {(size, 2)}"
            )
        self.matrix.flags.writeable = False
        self.inverse.flags.writeable = False
        self.origins.flags.writeable = False

    @property
    def size(self) -> int:
        """Number of rows, equal to the number of the potential's parameters."""
        return len(self.matrix)

    @property
    def filled(self) -> int:
        """Number of rows that come from a configuration."""
        return int(np.count_nonzero(self.origins[:, 0] != UNSET))


def grades(rows: Floats, active_set: ActiveSet, *, threads: int = 1) -> Floats:
    """Extrapolation grades of rows.

    Parameters
    ----------
    rows
        Shape (m, n), one row ∂E/∂θ each.
    active_set
        The active set with n rows.
    threads
        OpenMP threads.

    Returns
    -------
    Floats
        Shape (m,): max |b A⁻¹|; above 1 the row extrapolates.
    """
    rows = np.ascontiguousarray(rows, dtype=float)
    if rows.ndim != 2 or rows.shape[1] != active_set.size:
        raise ValueError(
            f"rows of shape {rows.shape} do not fit an active set of {active_set.size} parameters"
        )
    return cast("Floats", _kernels.grades(rows, active_set.inverse, threads))


def site_gradients(potential: SitePotential, atoms: Atoms, *, threads: int = 1) -> Floats:
    """∂E_i/∂θ of each atom of a configuration, shape (atoms, parameters)."""
    numbers = {symbol: index for index, symbol in enumerate(potential.species)}
    try:
        species = np.array([numbers[symbol] for symbol in atoms.get_chemical_symbols()], "i4")
    except KeyError as error:
        known = ", ".join(potential.species) or "no elements: give it with_species([...])"
        raise ValueError(
            f"{error.args[0]} is unknown to the potential, which names {known}"
        ) from None
    near = neighbors(atoms, potential.cutoff)
    # A network's potential says which of its parameters the rows are about.
    which = getattr(potential, "active_parameters", None)
    options = {} if which is None else {"parameters": which}
    rows = potential.kernel().site_gradients(
        np.ascontiguousarray(atoms.positions), species, *near.arrays, threads, **options
    )
    return cast("Floats", rows)


def configuration_row(site_rows: Floats, weight_scaling: float = 2.0) -> Floats:
    """Sum the rows of a configuration's atoms into its own, scaled by its size."""
    size = max(len(site_rows), 1)
    return cast("Floats", site_rows.sum(axis=0) / size ** (weight_scaling / 2))


def gradient_rows(
    potential: SitePotential,
    configurations: Sequence[Atoms],
    mode: Mode = "neighborhood",
    *,
    weight_scaling: float = 2.0,
    threads: int = 1,
) -> tuple[Floats, Integers]:
    """Rows ∂E/∂θ of configurations, and what each row stands for.

    Returns
    -------
    tuple
        Rows, shape (m, parameters), and origins, shape (m, 2): the configuration's index
        and the atom's (0 in configuration mode).
    """
    rows: list[Floats] = []
    origins: list[tuple[int, int]] = []
    for index, atoms in enumerate(configurations):
        sites = site_gradients(potential, atoms, threads=threads)
        if mode == "configuration":
            rows.append(configuration_row(sites, weight_scaling)[None])
            origins.append((index, 0))
        else:
            rows.append(sites)
            origins.extend((index, atom) for atom in range(len(sites)))
    if not rows:
        raise ValueError("no configurations: an active set needs at least one")
    return np.concatenate(rows), np.array(origins, dtype=np.int64)


def build_active_set(
    potential: SitePotential,
    configurations: Sequence[Atoms],
    mode: Mode = "neighborhood",
    *,
    threshold: float = SWAP_THRESHOLD,
    threads: int = 1,
) -> ActiveSet:
    """Choose, among the training configurations, the rows of largest volume.

    Parameters
    ----------
    potential
        The fitted potential whose parameter gradients are the rows.
    configurations
        The training data.
    mode
        One row for each atom, or one for each configuration.
    threshold
        No training row has a grade above this afterwards.
    threads
        OpenMP threads.

    Returns
    -------
    ActiveSet
        With its origins and the configurations they point to.
    """
    rows, origins = gradient_rows(potential, configurations, mode, threads=threads)
    matrix, inverse, held = maxvol(rows, threshold=threshold)
    return _assemble(matrix, inverse, held, origins, configurations, mode)


def _assemble(
    matrix: Floats,
    inverse: Floats,
    held: Integers,
    origins: Integers,
    configurations: Sequence[Atoms],
    mode: Mode,
) -> ActiveSet:
    """Keep the configurations that hold a row and renumber the origins."""
    slots = np.full((len(held), 2), UNSET, dtype=np.int64)
    filled = held >= 0
    slots[filled] = origins[held[filled]]
    kept, slots[filled, 0] = np.unique(slots[filled, 0], return_inverse=True)
    return ActiveSet(
        matrix=matrix,
        inverse=inverse,
        mode=mode,
        origins=slots,
        configurations=tuple(configurations[index].copy() for index in kept),
    )


@dataclass(frozen=True, eq=False)
class Selection:
    """What MaxVol takes out of a list of candidates.

    Parameters
    ----------
    indices
        The selected candidates, ascending.
    grades
        Each candidate's largest grade with the active set it was selected against,
        shape (candidates,).
    """

    indices: tuple[int, ...]
    grades: Floats


def select(
    potential: SitePotential,
    active_set: ActiveSet,
    candidates: Sequence[Atoms],
    *,
    training: Sequence[Atoms] = (),
    threshold: float = SWAP_THRESHOLD,
    threads: int = 1,
) -> Selection:
    """Select the candidates that MaxVol would put into the active set.

    Passes over the candidates, then over the training data, until neither has a row
    with a grade above the threshold; what still holds a slot then is selected. Near
    copies compete for the same slots, so few of them come through.

    Parameters
    ----------
    potential, active_set
        What the grades are measured with.
    candidates
        Configurations without labels.
    training
        The training data; rows that lost their slot on the way may win one back.
    threshold
        Where swaps stop; larger selects fewer.
    threads
        OpenMP threads.

    Returns
    -------
    Selection
        Indices of the selected candidates, and all candidates' grades.
    """
    if not candidates:
        return Selection((), np.empty(0))

    def rows_of(configurations: Sequence[Atoms]) -> tuple[Floats, Integers]:
        scaling = active_set.weight_scaling
        return gradient_rows(
            potential, configurations, active_set.mode, weight_scaling=scaling, threads=threads
        )

    rows, origins = rows_of(candidates)
    row_grades = grades(rows, active_set, threads=threads)
    largest = np.zeros(len(candidates))
    np.maximum.at(largest, origins[:, 0], row_grades)
    if training:
        rows = np.concatenate((rows, rows_of(training)[0]))
    start = active_set.matrix, active_set.inverse, np.full(active_set.size, UNSET, dtype=np.int64)
    _, _, held = maxvol(rows, start=start, threshold=threshold)
    chosen = held[(held >= 0) & (held < len(origins))]
    return Selection(tuple(np.unique(origins[chosen, 0]).tolist()), largest)
