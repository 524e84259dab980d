"""The search for the rows of largest volume in streams of configurations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pescape.calculators.doptimality.maxvol import SWAP_THRESHOLD, UNSET, MaxVol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from pescape.calculators.doptimality.design_matrix import RowBlock

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    #: Called after each block with: the pass, the configurations done in it, all swaps so far.
    Progress = Callable[[int, int, int], None]

# Rows are numbered by stream, then in their order; what a search starts from comes first.
_STREAM = 1 << 48


class Stream(Protocol):
    """Blocks of rows, such as a `DesignRows`."""

    @property
    def is_one_pass(self) -> bool:
        """Whether it can be gone through only once."""

    def __iter__(self) -> Iterator[RowBlock]:
        """Go through all blocks, always the same ones."""

    def fetch(self, indices: Iterable[int]) -> dict[int, Atoms]:
        """Return configurations by index, unless it is gone through only once.

        Parameters
        ----------
        indices
            Of the configurations.
        """


@dataclass(frozen=True, eq=False)
class MaxVolResult:
    """The rows of largest volume found in streams.

    Parameters
    ----------
    matrix, inverse
        A and A⁻¹, shape (n, n).
    origins
        For each slot the stream's number, the configuration's index in it and the atom's,
        shape (n, 3); -1 where a slot is unset or holds what the search started from.
    configurations
        Those that hold a slot, by stream and index.
    """

    matrix: Floats
    inverse: Floats
    origins: Integers
    configurations: dict[tuple[int, int], Atoms]


def find_max_volume(
    streams: Sequence[Stream],
    *,
    start: MaxVol | None = None,
    threshold: float = SWAP_THRESHOLD,
    counted: slice = slice(None),
    known: int = 0,
    progress: Progress | None = None,
) -> MaxVolResult | None:
    """Find the rows of largest volume in streams that may be larger than memory.

    Passes over the streams in turn until none of their rows has a grade above the threshold.
    A stream that can be read only once gets one pass and the guarantee that `MaxVol` states
    for it: grades up to n · threshold².

    Parameters
    ----------
    streams
        Where rows come from, each taken in block by block.
    start
        What to start from, its rows numbered from 0; by default every slot is unset.
    threshold, counted
        Where swaps stop and which parameters count, if there is no start.
    known
        Rows of so many streams, the first, and those of `start` are preferred to others that
        would do as well: copies of them.
    progress
        Called after each block.

    Returns
    -------
    MaxVolResult or None
        None when the streams hold no rows and there is no start.
    """
    volume = start
    owners: dict[int, tuple[int, int, int]] = {}
    held: dict[tuple[int, int], Atoms] = {}
    turn = passes_without_swap = 0
    while passes_without_swap < len(streams):
        number, stream = turn % len(streams), streams[turn % len(streams)]
        before, count, base = (volume.swaps if volume else 0), 0, (number + 1) * _STREAM
        for block in () if stream.is_one_pass and turn >= len(streams) else stream:
            if volume is None:
                volume = MaxVol.empty(block.rows.shape[1], threshold, counted)
            volume.update(block.rows, np.arange(base, base + len(block.rows)))
            for own in range(base, base + len(block.rows)):
                if own in volume.remembered and own not in owners:
                    owners[own] = _owner(number, block, own - base)
                    if stream.is_one_pass:
                        held[owners[own][:2]] = block.configurations[owners[own][1]]
            base += len(block.rows)
            count += len(block.configurations)
            if progress is not None:
                progress(turn // len(streams) + 1, count, volume.swaps)
        turn += 1
        passes_without_swap += 1
        if volume is not None and volume.swaps > before:
            volume.converge()
            alone = stream.is_one_pass and len(streams) == 1
            passes_without_swap = passes_without_swap if alone else 0
    if volume is None:
        return None
    volume.refresh()
    volume.prefer_below((known + 1) * _STREAM)
    return _result(volume, streams, owners, held)


def _owner(stream: int, block: RowBlock, row: int) -> tuple[int, int, int]:
    configuration, atom = block.origins[row].tolist()
    return stream, configuration, atom


def _result(
    volume: MaxVol,
    streams: Sequence[Stream],
    owners: dict[int, tuple[int, int, int]],
    held: dict[tuple[int, int], Atoms],
) -> MaxVolResult:
    unset = (UNSET, UNSET, UNSET)
    origins = np.array([owners.get(int(one), unset) for one in volume.selected], dtype=np.int64)
    configurations: dict[tuple[int, int], Atoms] = {}
    for number, stream in enumerate(streams):
        wanted = np.unique(origins[origins[:, 0] == number, 1]).tolist()
        if stream.is_one_pass:
            configurations |= {(number, index): held[number, index] for index in wanted}
        else:
            found = stream.fetch(wanted)
            configurations |= {(number, index): found[index] for index in wanted}
    return MaxVolResult(volume.matrix, volume.inverse, origins.reshape(-1, 3), configurations)
