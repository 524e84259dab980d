"""The configurations of a big data set that are worth keeping."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg.lapack import dpstrf

from pescape.calculators.doptimality.design_matrix import ROW_MEMORY, DesignRows, RowBlock
from pescape.calculators.doptimality.maxvol import SWAP_THRESHOLD
from pescape.calculators.doptimality.search import find_max_volume

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ase import Atoms
    from numpy.typing import NDArray

    from pescape.calculators.doptimality.design_matrix import Mode, Parameters
    from pescape.calculators.doptimality.search import MaxVolResult, Progress
    from pescape.calculators.potential import Potential

    Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Subsample:
    """A D-optimal part of a data set, the most informative configuration first.

    Parameters
    ----------
    indices
        Of the configurations in the data set.
    layers
        In which turn each was found: 1 for those of the data set's own active set, 2 for those
        of what is left without them, and so on.
    gains
        What each adds to the logarithm of the volume that its layer's rows result, measured in
        units of the spread of the data; 0 or more.
    configurations
        With their labels.
    total
        How many configurations the data set has.
    rows
        Slots filled in the first layer: directions that the data set knows.
    """

    indices: tuple[int, ...]
    layers: tuple[int, ...]
    gains: tuple[float, ...]
    configurations: tuple[Atoms, ...]
    total: int
    rows: int

    def summary(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            "selected": list(self.indices),
            "layers": list(self.layers),
            "gains": list(self.gains),
            "configurations": self.total,
            "rows": self.rows,
        }


def subsample(
    potential: Potential,
    configurations: Iterable[Atoms],
    mode: Mode = "neighborhood",
    *,
    count: int | None = None,
    parameters: Parameters | None = None,
    threshold: float = SWAP_THRESHOLD,
    threads: int = 1,
    memory: int = ROW_MEMORY,
    progress: Progress | None = None,
) -> Subsample:
    """Find the configurations that span what a data set knows.

    Those that hold a row of the data set's active set come first. Within them the order is
    greedy: next comes the row that adds most to the volume spanned by those before it, measured
    in the metric of the data, with C = Σ pᵀp / m over all points p = b A⁻¹ (a Cholesky
    factorization of C⁻¹ with pivots), and its configuration with it. It does not depend on the
    units of parameters. If more are wanted, the same is done with what is left, in layers.

    Parameters
    ----------
    potential
        Whose parameter gradients the rows are; it needs no active set.
    configurations
        The data set, which may be larger than memory: anything to iterate over several times.
    mode
        One row for each atom, or one for each configuration.
    count
        How many to find; by default one layer.
    parameters
        "all" or "linear"; see `pescape.calculators.doptimality.active_set.build_active_set`.
    threshold
        Where swaps stop.
    threads
        OpenMP threads.
    memory
        Bytes of rows that may be kept between passes.
    progress
        Called after each block with the pass, its configurations so far and all swaps.
    """
    if count is not None and count < 1:
        raise ValueError(f"count must be at least 1, not {count}")
    if isinstance(configurations, Iterator):
        raise TypeError("the data set is gone through several times, an iterator allows but one")
    potential, counted = potential.rows_about(parameters)
    stream = DesignRows(potential, configurations, mode, threads=threads, memory=memory)
    found: list[tuple[int, int, float]] = []
    frames: dict[int, Atoms] = {}
    layer = rows = 0
    while not layer or (count is not None and len(found) < count):
        layer += 1
        rest = _Rest(stream, {index for index, _, _ in found})
        result = find_max_volume([rest], threshold=threshold, counted=counted, progress=progress)
        ordered = [] if result is None else _by_gain(result, rest)
        if not ordered or result is None:
            break
        found += [(index, layer, gain) for index, gain in ordered]
        frames |= {index: atoms for (_, index), atoms in result.configurations.items()}
        rows = rows or int(np.count_nonzero(result.origins[:, 0] >= 0))
    if not found:
        raise ValueError("no configurations: a subsample needs at least one with an atom")
    found = found[:count]
    return Subsample(
        indices=tuple(index for index, _, _ in found),
        layers=tuple(number for _, number, _ in found),
        gains=tuple(gain for _, _, gain in found),
        configurations=tuple(frames[index] for index, _, _ in found),
        total=len(stream.accepted),
        rows=rows,
    )


class _Rest:
    """A stream without some of its configurations."""

    is_one_pass = False

    def __init__(self, stream: DesignRows, without: set[int]) -> None:
        self._stream = stream
        self._without = np.array(sorted(without), dtype=np.int64)
        self.fetch = stream.fetch

    def __iter__(self) -> Iterator[RowBlock]:
        """Go through the blocks."""
        for block in self._stream:
            kept = ~np.isin(block.origins[:, 0], self._without)
            if kept.all():
                yield block
            elif kept.any():
                yield RowBlock(block.rows[kept], block.origins[kept], block.configurations)


def _by_gain(result: MaxVolResult, stream: _Rest) -> list[tuple[int, float]]:
    """Order the configurations of a result by the volume their rows add, with that."""
    filled = np.flatnonzero(result.origins[:, 0] >= 0)
    if not filled.size:
        return []
    spread = np.zeros((len(filled), len(filled)))
    count = 0
    inverse = np.ascontiguousarray(result.inverse[:, filled])
    for block in stream:
        points = block.rows @ inverse
        spread += points.T @ points
        count += len(points)
    factor, pivots, _, _ = dpstrf(np.linalg.inv(spread / count), lower=1)
    gains: dict[int, float] = {}
    for place, pivot in enumerate(pivots - 1):
        index = int(result.origins[filled[pivot], 1])
        gain = float(np.log(max(factor[place, place], 1.0)))
        gains[index] = gains.get(index, 0.0) + gain
    return list(gains.items())
