"""D-optimality: active sets of maximal volume and the extrapolation grades they give.

A potential's energy is, to first order, linear in its parameters θ: a row b = ∂E/∂θ stands
for what a configuration (or the neighborhood of one atom) teaches. An active set is the
square matrix A of those training rows that span the largest volume |det A| [1]_. The grade
of any other row is γ = max |b A⁻¹|: up to 1 the potential interpolates, above it the row
would enlarge the volume and prediction is extrapolation [2]_. Of networks it is the leverage of
the row, see `pescape.calculators.doptimality.leverage`.

References
----------
.. [1] S. A. Goreinov et al., "How to find a good submatrix", in Matrix Methods: Theory,
   Algorithms, Applications (World Scientific, 2010), p. 247.
.. [2] E. V. Podryabinkin and A. V. Shapeev, Comput. Mater. Sci. 140, 171 (2017).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from pescape import _kernels
from pescape.calculators.doptimality.design_matrix import (
    ROW_MEMORY,
    DesignRows,
    Mode,
    Parameters,
)
from pescape.calculators.doptimality.leverage import SecondMoments
from pescape.calculators.doptimality.maxvol import (
    IGNORED,
    SWAP_THRESHOLD,
    UNSET,
    MaxVol,
)
from pescape.calculators.doptimality.search import find_max_volume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from pescape.calculators.doptimality.design_matrix import RowBlock
    from pescape.calculators.doptimality.search import Progress
    from pescape.calculators.potential import Potential

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ActiveSet:
    """The training rows that span the largest volume.

    Parameters
    ----------
    matrix
        The rows A, shape (n, n), for n parameters.
    inverse
        A⁻¹ proper, shape (n, n); the grade of a row b is ``max(abs(b @ inverse))`` if there is no
        `leverage`.
    mode
        What a row stands for: the neighborhood of one atom, or a whole configuration.
    weight_scaling
        In configuration mode a row is Σ_i ∂E_i/∂θ / N^(weight_scaling/2).
    origins
        Where each row comes from, shape (n, 2): the index in `configurations` and the
        atom's index (0 in configuration mode); -1, -1 where a slot is unset.
    configurations
        The configurations that hold at least one row.
    leverage
        W, shape (n, n), of grades by leverage: that of a row b is the sum of the squares of
        ``b @ leverage``.
        None: grades are by the active set.
    """

    matrix: Floats
    inverse: Floats
    mode: Mode = "neighborhood"
    weight_scaling: float = 2.0
    origins: Integers = field(default_factory=lambda: np.empty((0, 2), dtype=np.int64))
    configurations: tuple[Atoms, ...] = ()
    leverage: Floats | None = None

    def __post_init__(self) -> None:
        size = len(self.matrix)
        for name in ("matrix", "inverse", "leverage"):
            value = getattr(self, name)
            if value is None:
                continue
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
        if self.leverage is not None:
            self.leverage.flags.writeable = False
        self.matrix.flags.writeable = False
        self.inverse.flags.writeable = False
        self.origins.flags.writeable = False

    @property
    def size(self) -> int:
        """Number of rows, equal to the number of the potential's parameters."""
        return len(self.matrix)

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Which parameters count, shape (n,): all, or those the energy is linear in."""
        return np.diag(self.matrix) < 0.1 * IGNORED

    @property
    def filled(self) -> int:
        """Number of rows that come from a configuration."""
        return int(np.count_nonzero(self.origins[:, 0] != UNSET))


def active_set_summary(active_set: ActiveSet | None) -> dict[str, Any]:
    """Return what an active set is, for people and JSON.

    Parameters
    ----------
    active_set
        None for a potential without: its entries are None then.
    """
    return {
        "active_set": None if active_set is None else active_set.mode,
        "active_rows": None if active_set is None else active_set.filled,
        "active_configurations": None if active_set is None else len(active_set.configurations),
    }


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
        Shape (m,): max |b A⁻¹|, or by leverage; above 1 the row extrapolates.
    """
    rows = np.ascontiguousarray(rows, dtype=float)
    if rows.ndim != 2 or rows.shape[1] != active_set.size:
        raise ValueError(
            f"rows of shape {rows.shape} do not fit an active set of {active_set.size} parameters"
        )
    by_leverage = active_set.leverage is not None
    matrix = active_set.leverage if by_leverage else active_set.inverse
    return cast("Floats", _kernels.grades(rows, matrix, threads, by_leverage))


def gradient_rows(
    potential: Potential,
    configurations: Sequence[Atoms],
    mode: Mode = "neighborhood",
    *,
    weight_scaling: float = 2.0,
    threads: int = 1,
) -> tuple[Floats, Integers]:
    """Rows ∂E/∂θ of configurations, and what each row stands for.

    Parameters
    ----------
    potential
        Whose parameter gradients the rows are.
    configurations
        At least one with an atom.
    mode
        One row for each atom, or one for each configuration.
    weight_scaling
        In configuration mode a row is Σ_i ∂E_i/∂θ / N^(weight_scaling/2).
    threads
        OpenMP threads.

    Returns
    -------
    tuple
        Rows, shape (m, parameters), and origins, shape (m, 2): the configuration's index
        and the atom's (0 in configuration mode).
    """
    stream = DesignRows(
        potential, configurations, mode, weight_scaling=weight_scaling, threads=threads, memory=0
    )
    blocks = list(stream)
    if not blocks:
        raise ValueError("no configurations: there are no rows to make")
    return (
        np.concatenate([block.rows for block in blocks]),
        np.concatenate([block.origins for block in blocks]),
    )


def build_active_set(
    potential: Potential,
    configurations: Iterable[Atoms],
    mode: Mode = "neighborhood",
    *,
    parameters: Parameters | None = None,
    threshold: float = SWAP_THRESHOLD,
    threads: int = 1,
    memory: int = ROW_MEMORY,
    progress: Progress | None = None,
) -> ActiveSet:
    """Choose, among the training configurations, the rows of largest volume.

    Parameters
    ----------
    potential
        The fitted potential whose parameter gradients are the rows.
    configurations
        The training data; anything to iterate over, which may be larger than memory. An
        iterator is read once: no row then has a grade above n · threshold² for n parameters.
    mode
        One row for each atom, or one for each configuration.
    parameters
        "all", or those the energy is "linear" in: the species' and basis functions'
        coefficients of a moment tensor potential, the output layers of networks. By default
        all of a moment tensor potential, and what ``active_parameters`` of a network says
        (where grades of neighborhoods are by leverage if they are "inputs").
        Sets about linear parameters of a moment tensor potential have its full size; the slots
        of radial parameters stay unset, and what rows say about these adds nothing to grades.
    threshold
        No training row has a grade above this afterwards.
    threads
        OpenMP threads.
    memory
        Bytes of rows that may be kept from pass to pass; beyond that they are made anew.
    progress
        Called after each block with the pass, its configurations so far and all swaps.

    Returns
    -------
    ActiveSet
        With its origins and the configurations they point to.
    """
    potential, counted = potential.rows_about(parameters)
    by_leverage = potential.grades_by_leverage and mode == "neighborhood"
    moments = SecondMoments()
    stream = DesignRows(
        potential,
        configurations,
        mode,
        observe=moments.add if by_leverage else None,
        threads=threads,
        memory=memory,
    )
    result = find_max_volume([stream], threshold=threshold, counted=counted, progress=progress)
    if result is None:
        raise ValueError("no configurations: an active set needs at least one with an atom")
    slots = result.origins[:, 1:].copy()
    filled = slots[:, 0] != UNSET
    leverage = None
    if by_leverage:
        again = [result.matrix[filled]] if stream.is_one_pass else (one.rows for one in stream)
        leverage = moments.leverage(again)
    kept, slots[filled, 0] = np.unique(slots[filled, 0], return_inverse=True)
    return ActiveSet(
        matrix=result.matrix,
        inverse=result.inverse,
        mode=mode,
        origins=slots,
        configurations=tuple(result.configurations[0, int(index)].copy() for index in kept),
        leverage=leverage,
    )


@dataclass(frozen=True, eq=False)
class Selection:
    """What MaxVol takes out of candidates.

    Parameters
    ----------
    indices
        The selected candidates, ascending.
    grades
        Each candidate's largest grade with the active set it was selected against,
        shape (candidates,); NaN for those not accepted.
    configurations
        The selected candidates themselves.
    rows
        Their rows ∂E/∂θ, shape (m, parameters) of each.
    """

    indices: tuple[int, ...]
    grades: Floats
    configurations: tuple[Atoms, ...] = ()
    rows: tuple[Floats, ...] = ()


def select(
    potential: Potential,
    active_set: ActiveSet,
    candidates: Iterable[Atoms],
    *,
    training: Iterable[Atoms] = (),
    accept: Callable[[Atoms], bool] | None = None,
    observe: Callable[[RowBlock], None] | None = None,
    threshold: float = SWAP_THRESHOLD,
    threads: int = 1,
    memory: int = ROW_MEMORY,
    progress: Progress | None = None,
) -> Selection:
    """Select the candidates that MaxVol would put into the active set.

    Passes over the training data and the candidates until neither has a row with a grade
    above the threshold; candidates that hold a slot then are selected. Near copies compete
    for the same slots, so few of them come through, and none of what is known already.

    Parameters
    ----------
    potential, active_set
        What the grades are measured with.
    candidates
        Configurations without labels; anything to iterate over, which may be larger than
        memory. Of an iterator, which is read once, those are selected that leave no
        candidate with a grade above n · threshold².
    training
        The training data; rows that lost their slot on the way may win one back, as those
        of the active set may.
    accept
        Candidates for which this is false are left out.
    observe
        Called with each block of rows of the training data, in the first pass.
    threshold
        Where swaps stop; larger selects fewer.
    threads
        OpenMP threads.
    memory
        Bytes of rows that may be kept from pass to pass.
    progress
        Called after each block with the pass, its configurations so far and all swaps.

    Returns
    -------
    Selection
        The selected candidates, and all candidates' grades.
    """
    largest: dict[int, float] = {}

    def graded(block: RowBlock) -> None:
        for index, value in zip(
            block.origins[:, 0].tolist(),
            grades(block.rows, active_set, threads=threads),
            strict=True,
        ):
            largest[index] = max(value, largest.get(index, 0.0))

    settings: Any = {
        "mode": active_set.mode,
        "weight_scaling": active_set.weight_scaling,
        "threads": threads,
        "memory": memory,
    }
    known = DesignRows(potential, training, observe=observe, **settings)
    stream = DesignRows(potential, candidates, accept=accept, observe=graded, **settings)
    start = _started(active_set, threshold)
    result = find_max_volume([known, stream], start=start, known=1, progress=progress)
    assert result is not None, "the search started from an active set"
    chosen = np.unique(result.origins[result.origins[:, 0] == 1, 1]).tolist()
    found = np.full(len(stream.accepted), np.nan)
    found[list(largest)] = list(largest.values())
    frames = tuple(result.configurations[1, index] for index in chosen)
    rows = []
    for index, frame in zip(chosen, frames, strict=True):
        kept = stream.kept_rows(index)
        if kept is None:
            kept, _ = gradient_rows(
                potential,
                [frame],
                active_set.mode,
                weight_scaling=active_set.weight_scaling,
                threads=threads,
            )
        rows.append(kept)
    return Selection(tuple(chosen), found, frames, tuple(rows))


def _started(start: ActiveSet, threshold: float) -> MaxVol:
    """Begin with the rows of an active set, which may win back what they lose."""
    slots = np.where(start.origins[:, 0] != UNSET, np.arange(start.size), UNSET)
    volume = MaxVol((start.matrix, start.inverse, slots), threshold)
    volume.remember(start.matrix[slots != UNSET], slots[slots != UNSET])
    return volume
