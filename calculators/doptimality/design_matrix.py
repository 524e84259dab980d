"""Rows ∂E/∂θ of configurations, block by block: what active sets are made of.

A block holds whole configurations, or a part of one that alone would be too large. A stream of
blocks can be gone through several times; rows are kept between passes while they fit a given
memory and made anew otherwise, so that data sets may be larger than memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from pescape.calculators.doptimality.maxvol import block_rows
from pescape.calculators.neighbors import neighbors
from pescape.errors import frame_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ase import Atoms
    from numpy.typing import NDArray

    from pescape.calculators.potential import Potential

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

Mode = Literal["neighborhood", "configuration"]
#: Which parameters rows are about: all, or those the energy is linear in.
Parameters = Literal["all", "linear"]

#: Bytes of rows that a stream keeps between passes.
ROW_MEMORY = 1 << 30
#: Atoms of a large configuration whose rows are made at once.
PART_ATOMS = 2048


@dataclass(frozen=True, eq=False)
class RowBlock:
    """Rows of some configurations.

    Parameters
    ----------
    rows
        ∂E/∂θ, shape (m, parameters).
    origins
        The configuration's index in the stream and the atom's (0 in configuration mode),
        shape (m, 2).
    configurations
        Those the rows are of, by index.
    """

    rows: Floats
    origins: Integers
    configurations: dict[int, Atoms]

    @property
    def bytes(self) -> int:
        """Memory it takes."""
        arrays = (a for atoms in self.configurations.values() for a in atoms.arrays.values())
        return self.rows.nbytes + self.origins.nbytes + sum(array.nbytes for array in arrays)


def site_gradients(potential: Potential, atoms: Atoms, *, threads: int = 1) -> Floats:
    """Compute ∂E_i/∂θ of each atom of a configuration, shape (atoms, parameters).

    Parameters
    ----------
    potential
        Whose parameter gradients they are.
    atoms
        The configuration.
    threads
        OpenMP threads.
    """
    blocks = list(site_gradient_blocks(potential, atoms, max(len(atoms), 1), threads=threads))
    return blocks[0]


def site_gradient_blocks(
    potential: Potential, atoms: Atoms, count: int, *, threads: int = 1
) -> Iterator[Floats]:
    """Compute ∂E_i/∂θ of a configuration's atoms, so many of them at a time.

    Parameters
    ----------
    potential
        Whose parameter gradients they are.
    atoms
        The configuration.
    count
        Atoms of a block.
    threads
        OpenMP threads.

    Yields
    ------
    Floats
        Rows of the next atoms, shape (count, parameters); the last block may be shorter.
    """
    species = _species_numbers(potential, atoms)
    if not np.isfinite(atoms.positions).all():
        atom = int(np.flatnonzero(~np.isfinite(atoms.positions).all(axis=1))[0])
        raise ValueError(f"the position of atom {atom} is not finite: {atoms.positions[atom]}")
    near = neighbors(atoms, potential.cutoff)
    for first in range(0, max(len(atoms), 1), count):
        # Kernels give rows of the first atoms that they are told of.
        last = min(first + count, len(atoms))
        begin, end = near.offsets[first], near.offsets[last]
        rows = potential.site_gradients(
            np.roll(atoms.positions, -first, axis=0),
            np.roll(species, -first),
            near.offsets[first : last + 1] - begin,
            (near.indices[begin:end] - np.int32(first)) % np.int32(max(len(atoms), 1)),
            near.shifts[begin:end],
            threads,
        )
        if not np.isfinite(rows).all():
            atom = first + int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
            raise ValueError(
                f"the energy's derivatives of atom {atom} are not finite: are atoms on top of "
                "each other?"
            )
        yield rows


def _species_numbers(potential: Potential, atoms: Atoms) -> NDArray[np.int32]:
    numbers = {symbol: index for index, symbol in enumerate(potential.species)}
    try:
        return np.array([numbers[symbol] for symbol in atoms.get_chemical_symbols()], "i4")
    except KeyError as error:
        known = ", ".join(potential.species) or "no elements: give it with_species([...])"
        raise ValueError(
            f"{error.args[0]} is unknown to the potential, which names {known}"
        ) from None


def configuration_row(site_rows: Floats, weight_scaling: float = 2.0) -> Floats:
    """Sum the rows of a configuration's atoms into its own, scaled by its size.

    Parameters
    ----------
    site_rows
        ∂E_i/∂θ of its atoms, shape (atoms, parameters).
    weight_scaling
        The sum is divided by atoms^(weight_scaling/2).
    """
    size = max(len(site_rows), 1)
    return cast("Floats", site_rows.sum(axis=0) / size ** (weight_scaling / 2))


class DesignRows:
    """Rows of configurations in blocks; iterate over it as often as needed.

    Parameters
    ----------
    potential
        Whose parameter gradients the rows are.
    configurations
        A sequence, anything that can be iterated over again and gives the same
        configurations then (a file read lazily), or an iterator, which can be gone through
        only once.
    mode
        One row for each atom, or one for each configuration.
    weight_scaling
        In configuration mode a row is Σ_i ∂E_i/∂θ / N^(weight_scaling/2).
    accept
        Configurations for which this is false are passed over; it is asked once for each.
    observe
        Called with each block in the first pass.
    threads
        OpenMP threads.
    memory
        Bytes of rows that may be kept between passes.

    Attributes
    ----------
    accepted : list of bool
        For each configuration, once it was seen.
    """

    def __init__(
        self,
        potential: Potential,
        configurations: Iterable[Atoms],
        mode: Mode = "neighborhood",
        *,
        weight_scaling: float = 2.0,
        accept: Callable[[Atoms], bool] | None = None,
        observe: Callable[[RowBlock], None] | None = None,
        threads: int = 1,
        memory: int = ROW_MEMORY,
    ) -> None:
        if mode not in ("neighborhood", "configuration"):
            raise ValueError(f"mode {mode!r} is neither 'neighborhood' nor 'configuration'")
        self.potential = potential
        self.configurations = configurations
        self.mode = mode
        self.weight_scaling = weight_scaling
        self.threads = threads
        self.accepted: list[bool] = []
        self._accept = accept
        self._observe = observe
        self._memory = memory
        self._kept: list[RowBlock] | None = None
        self._passes = 0

    @property
    def is_one_pass(self) -> bool:
        """Whether the configurations come from an iterator, which ends for good."""
        return isinstance(self.configurations, Iterator)

    def __iter__(self) -> Iterator[RowBlock]:
        """Go through all blocks, in an order and of sizes that are always the same."""
        if self._kept is not None:
            yield from self._kept
            return
        if self._passes and self.is_one_pass:
            raise ValueError("the configurations come from an iterator: it can be read only once")
        first = not self._passes
        self._passes += 1
        kept: list[RowBlock] | None = [] if first else None
        room = self._memory
        for block in self._blocks():
            if first and self._observe is not None:
                self._observe(block)
            room -= block.bytes
            if kept is not None and room >= 0:
                kept.append(block)
            else:
                kept = None
            yield block
        self._kept = kept

    def _blocks(self) -> Iterator[RowBlock]:
        """Gather parts into blocks of about as many rows as MaxVol likes."""
        parts: list[tuple[int, int, Floats]] = []
        frames: dict[int, Atoms] = {}
        wanted, gathered = 0, 0
        for index, atoms in self._numbered():
            for atom, rows in self._parts(index, atoms):
                wanted = wanted or block_rows(rows.shape[1])
                if gathered and gathered + len(rows) > wanted:
                    yield _joined(parts, frames)
                    parts, frames, gathered = [], {}, 0
                parts.append((index, atom, rows))
                frames[index] = atoms
                gathered += len(rows)
        if parts:
            yield _joined(parts, frames)

    def _numbered(self) -> Iterator[tuple[int, Atoms]]:
        count = -1
        for count, atoms in enumerate(self.configurations):
            if count == len(self.accepted):
                if self._passes > 1:
                    break
                self.accepted.append(
                    len(atoms) > 0 and (self._accept is None or bool(self._accept(atoms)))
                )
            if self.accepted[count]:
                yield count, atoms
        if count + 1 < len(self.accepted) or (self._passes > 1 and count >= len(self.accepted)):
            raise ValueError(
                f"there were {len(self.accepted)} configurations at first, and another number "
                "when they were read again: did the file change?"
            )

    def _parts(self, index: int, atoms: Atoms) -> Iterator[tuple[int, Floats]]:
        """Rows of a configuration in parts, each with the index of its first atom."""
        blocks = site_gradient_blocks(self.potential, atoms, PART_ATOMS, threads=self.threads)
        try:
            if self.mode == "neighborhood":
                first = 0
                for rows in blocks:
                    yield first, rows
                    first += len(rows)
            else:
                total = cast("Floats", sum(rows.sum(axis=0) for rows in blocks))
                yield 0, total[None] / len(atoms) ** (self.weight_scaling / 2)
        except ValueError as error:
            raise ValueError(f"{frame_name(atoms, index)}: {error}") from error

    def kept_rows(self, index: int) -> Floats | None:
        """Return the rows of a configuration if they were kept between passes.

        Parameters
        ----------
        index
            Of the configuration.
        """
        if self._kept is None:
            return None
        parts = [
            block.rows[block.origins[:, 0] == index]
            for block in self._kept
            if index in block.configurations
        ]
        return np.concatenate(parts)

    def fetch(self, indices: Iterable[int]) -> dict[int, Atoms]:
        """Return configurations by index, reading them again if need be.

        Parameters
        ----------
        indices
            Of the configurations.
        """
        wanted = set(indices)
        source = self.configurations
        if isinstance(source, Sequence):
            return {index: source[index] for index in wanted}
        if self._kept is not None:
            held = {i: atoms for block in self._kept for i, atoms in block.configurations.items()}
            return {index: held[index] for index in wanted}
        if not wanted:
            return {}
        return {index: atoms for index, atoms in enumerate(source) if index in wanted}


def _joined(parts: Sequence[tuple[int, int, Floats]], frames: dict[int, Atoms]) -> RowBlock:
    origins = np.concatenate(
        [
            np.column_stack((np.full(len(rows), index), np.arange(atom, atom + len(rows))))
            for index, atom, rows in parts
        ]
    )
    rows = np.concatenate([rows for _, _, rows in parts])
    return RowBlock(rows, origins.astype(np.int64), frames)
