"""Symmetry functions of a data set and their derivatives, computed once by the kernel.

A fit needs G of every atom and dG/dR. Summed over the images of an atom in the cell, the
derivatives take one block for each pair of a central atom and an atom of its configuration
within reach, the central one included. All of it is held in memory, or in files mapped into it.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.sparse import csr_array

from pescape.calculators.bpnn.descriptors import SymmetryFunctions
from pescape.calculators.bpnn.symmetry import kernel_row
from pescape.files import sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from pescape.calculators.bpnn.potential import BPNNPotential
    from pescape.calculators.fit.data import TrainingSet

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    _Array = tuple[tuple[int, ...], type[np.floating[Any]]]

# How the derivatives are kept: single precision takes half the memory and time, and moves
# forces by about 1e-5 eV/Å.
_DTYPES: dict[str, type[np.floating[Any]]] = {"double": np.float64, "single": np.float32}
_CACHE_VERSION = b"1"
_GB = 1e9
# Derivatives by r_ij are made for about this many numbers at a time.
_BLOCK_NUMBERS = 1_000_000
# Voigt order xx yy zz yz xz xy.
_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@dataclass(frozen=True)
class CacheSettings:
    """Where symmetry functions and their derivatives are kept during a fit.

    Parameters
    ----------
    folder
        Files are left here and used again by fits to the same structures with the same symmetry
        functions. None: nothing is left.
    memory_limit
        GB. Up to it the numbers are held in memory; beyond it they are read from memory-mapped
        files in `folder` in every iteration, and without a folder the fit does not begin.
    precision
        Of the derivatives: "single" takes half the space.
    """

    folder: Path | str | None = None
    memory_limit: float = 4.0
    precision: Literal["double", "single"] = "double"

    def __post_init__(self) -> None:
        if self.precision not in _DTYPES:
            raise ValueError(f"precision must be 'double' or 'single', not {self.precision!r}")
        if not self.memory_limit >= 0.0:
            raise ValueError(f"memory_limit must be a number of GB ≥ 0, not {self.memory_limit}")


@dataclass(frozen=True, eq=False)
class Layout:
    """Which rows the tables of one element have.

    Parameters
    ----------
    functions
        D, the number of its symmetry functions.
    atoms
        The element's atoms as indices into the data, shape (n,).
    centers
        For each block of derivatives the central atom, an index into `atoms`, shape (m,).
    moved
        The atom whose position the derivative is by, an index into the data, shape (m,).
    first, first_block
        Configuration c owns atoms ``first[c]`` to ``first[c + 1]`` and such a range of blocks.
    groups
        Where among all elements' sums over images each block is found, shape (m,).
    """

    functions: int
    atoms: Integers
    centers: Integers
    moved: Integers
    first: Integers
    first_block: Integers
    groups: Integers


@dataclass(frozen=True, eq=False)
class Tables:
    """The numbers of one element.

    Parameters
    ----------
    functions
        G, shape (n, D), double precision.
    derivatives
        ∂G/∂R, shape (m, 3, D), 1/Å.
    strains
        -Σ r ∂G/∂r over the neighbors in Voigt order, shape (n, 6, D): with dE/dG it gives the
        virial.
    """

    functions: NDArray[Any]
    derivatives: NDArray[Any]
    strains: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Features:
    """Symmetry functions and derivatives of a data set, by element.

    Parameters
    ----------
    layouts, tables
        What the rows are, and the numbers.
    size
        Bytes.
    folder
        Where the files lie; None: nowhere.
    mapped
        Whether the numbers are read from files rather than held in memory.
    """

    layouts: tuple[Layout, ...]
    tables: tuple[Tables, ...]
    size: int
    folder: Path | None
    mapped: bool


def features(
    potential: BPNNPotential,
    data: TrainingSet,
    settings: CacheSettings | None = None,
    *,
    threads: int = 1,
    report: Callable[[str], None] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Features:
    """Compute the symmetry functions of a data set and their derivatives, or find them.

    Parameters
    ----------
    potential
        Whose functions are meant; it need not be trained.
    data
        With neighbors up to the potential's cut-off.
    settings
        Where to keep the result.
    threads
        OpenMP threads.
    report
        Called with a line of text about what is kept where, if there is something to know.
    on_progress
        Called with the number of configurations done.

    Raises
    ------
    ValueError
        The result exceeds the memory limit and there is no folder for it.
    """
    settings = settings or CacheSettings()
    pairs, found = _layouts(potential, data)
    arrays = [_arrays(layout, settings) for layout in found]
    size = sum(
        math.prod(shape) * np.dtype(dtype).itemsize
        for one in arrays
        for shape, dtype in one.values()
    )
    large = size > settings.memory_limit * _GB
    if large and settings.folder is None:
        raise ValueError(
            f"symmetry functions and derivatives take {size / _GB:.2f} GB, more than the memory "
            f"limit of {settings.memory_limit:g} GB: name a cache folder to keep them in files, "
            "raise the limit, or use single precision (half the space)"
        )

    def compute(tables: Sequence[Tables]) -> None:
        _fill(potential, data, pairs, found, tables, threads, on_progress)

    if settings.folder is None:
        tables = tuple(
            Tables(**{name: np.empty(*array) for name, array in one.items()}) for one in arrays
        )
        compute(tables)
        return Features(found, tables, size, None, mapped=False)
    folder = Path(settings.folder) / _fingerprint(potential, data, settings)
    if not folder.is_dir():
        _write_folder(folder, arrays, compute)
    if large and report is not None:
        report(
            f"symmetry functions and derivatives take {size / _GB:.2f} GB, more than the memory "
            f"limit of {settings.memory_limit:g} GB: they are read from {folder} in every iteration"
        )
    tables = tuple(_opened(folder, k, one, large) for k, one in enumerate(arrays))
    return Features(found, tables, size, folder, mapped=large)


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Neighbor lists sorted by neighbor, and the sums over images that they make."""

    geometry: tuple[NDArray[Any], ...]
    offsets: Integers
    counts: Integers  # of pairs in each group
    centers: Integers  # of the groups
    moved: Integers


def _layouts(potential: BPNNPotential, data: TrainingSet) -> tuple[_Pairs, tuple[Layout, ...]]:
    """Return the neighbor lists sorted for the tables, and what these hold for each element."""
    pairs = _sorted_pairs(data)
    species = data.species[pairs.centers]
    found = []
    for index, element in enumerate(potential.elements):
        atoms = np.flatnonzero(data.species == index)
        groups = np.flatnonzero(species == index)
        first = np.searchsorted(atoms, data.first)
        found.append(
            Layout(
                functions=len(element.functions),
                atoms=atoms,
                centers=np.searchsorted(atoms, pairs.centers[groups]),
                moved=pairs.moved[groups],
                first=first,
                first_block=np.searchsorted(pairs.centers[groups], data.first),
                groups=groups,
            )
        )
    return pairs, tuple(found)


def _sorted_pairs(data: TrainingSet) -> _Pairs:
    count = len(data.positions)
    centers = np.repeat(np.arange(count), np.diff(data.offsets))
    keys = centers * count + data.indices
    order = np.argsort(keys, kind="stable")
    # Every atom's own place is among them, whether it is its own neighbor or not.
    groups = np.sort(np.concatenate((keys[order], np.arange(count) * (count + 1))))
    groups = groups[np.diff(groups, prepend=-1) > 0]
    counts = np.bincount(np.searchsorted(groups, keys), minlength=len(groups))
    geometry = (
        data.positions,
        data.species,
        data.offsets,
        np.ascontiguousarray(data.indices[order]),
        np.ascontiguousarray(data.shifts[order]),
    )
    return _Pairs(geometry, data.offsets, counts, groups // count, groups % count)


def _fill(
    potential: BPNNPotential,
    data: TrainingSet,
    pairs: _Pairs,
    found: Sequence[Layout],
    tables: Sequence[Tables],
    threads: int,
    on_progress: Callable[[int], None] | None,
) -> None:
    """Compute symmetry functions and derivatives into the tables of all elements."""
    functions = {s: e.functions for s, e in zip(potential.species, potential.elements, strict=True)}
    kernel = SymmetryFunctions(potential.species, functions).potential.kernel()
    widest = max(layout.functions for layout in found)
    rows = np.diff(data.offsets[data.first])
    edges = _edges(rows * widest * 3, _BLOCK_NUMBERS)
    for start, stop in pairwise(edges):
        _fill_part(kernel, data, pairs, found, tables, start, stop, threads)
        if on_progress is not None:
            on_progress(stop)


def _edges(sizes: Integers, limit: int) -> list[int]:
    """Cut a row of items into parts of about a size."""
    steps = np.flatnonzero(np.diff(np.cumsum(sizes) // limit)) + 1
    return [0, *steps.tolist(), len(sizes)]


def _fill_part(
    kernel: Any,  # noqa: ANN401 (a compiled class)
    data: TrainingSet,
    pairs: _Pairs,
    found: Sequence[Layout],
    tables: Sequence[Tables],
    start: int,
    stop: int,
    threads: int,
) -> None:
    """Fill the rows of configurations `start` to `stop`."""
    a, b = int(data.first[start]), int(data.first[stop])
    i, j = int(data.offsets[a]), int(data.offsets[b])
    positions, species, offsets, indices, shifts = pairs.geometry
    part = (
        np.ascontiguousarray(positions[a:b]),
        species[a:b],
        offsets[a : b + 1] - i,
        indices[i:j] - np.int32(a),
        shifts[i:j],
    )
    values, by_pair = kernel.symmetry_function_derivatives(*part, threads)
    sums, first_group = _sums(pairs, by_pair, a, b, i, j)
    strains = _strains(part, by_pair)
    for layout, table in zip(found, tables, strict=True):
        D = layout.functions
        mine = slice(int(layout.first[start]), int(layout.first[stop]))
        local = layout.atoms[mine] - a
        table.functions[mine] = values[local, :D]
        table.strains[mine] = strains[local, :, :D]
        blocks = slice(int(layout.first_block[start]), int(layout.first_block[stop]))
        mine_of_all = layout.groups[blocks] - first_group
        whole = len(mine_of_all) == len(sums)  # a slice is copied much faster
        table.derivatives[blocks] = (sums if whole else sums[mine_of_all])[:, :D].swapaxes(1, 2)


def _sums(pairs: _Pairs, by_pair: Floats, a: int, b: int, i: int, j: int) -> tuple[Floats, int]:
    """Sum derivatives over images; the central atom's is minus the sum of all others'."""
    low, high = np.searchsorted(pairs.centers, [a, b])
    centers, moved = pairs.centers[low:high], pairs.moved[low:high]
    own = np.flatnonzero(centers == moved)
    columns, offsets = np.arange(j - i), pairs.offsets[a : b + 1] - i
    # A row for each group: its pairs. Those of the central atom and its own images cancel, so
    # that row takes what is left of all its pairs, with a minus sign.
    counts = pairs.counts[low:high]
    rows = np.repeat(np.arange(high - low), counts)
    others = ~(centers == moved)[rows]
    back = np.repeat(own, np.diff(offsets))[others]
    matrix = csr_array(
        (
            np.concatenate((np.ones(len(back)), -np.ones(len(back)))),
            (np.concatenate((rows[others], back)), np.tile(columns[others], 2)),
        ),
        shape=(high - low, j - i),
    )
    sums = matrix @ by_pair.reshape(j - i, math.prod(by_pair.shape[1:]))
    return sums.reshape(high - low, *by_pair.shape[1:]), int(low)


def _strains(part: tuple[NDArray[Any], ...], by_pair: Floats) -> Floats:
    positions, _, offsets, indices, shifts = part
    n, m, D = len(offsets) - 1, len(indices), by_pair.shape[1]
    r = positions[indices] + shifts - np.repeat(positions, np.diff(offsets), axis=0)
    flat = by_pair.reshape(m, 3 * D)
    strains = np.empty((n, 6, D))
    for axis in range(3):
        weights = csr_array((-r[:, axis], np.arange(m), offsets), shape=(n, m))
        sums = (weights @ flat).reshape(n, D, 3)
        for k, (x, y) in enumerate(_VOIGT):
            if x == axis:
                strains[:, k] = sums[:, :, y]
    return strains


def _arrays(layout: Layout, settings: CacheSettings) -> dict[str, _Array]:
    """Return shapes and types of the tables of an element."""
    n, m, D = len(layout.atoms), len(layout.centers), layout.functions
    kept = _DTYPES[settings.precision]
    return {
        "functions": ((n, D), np.float64),
        "derivatives": ((m, 3, D), kept),
        "strains": ((n, 6, D), kept),
    }


def _write_folder(
    folder: Path,
    arrays: Sequence[dict[str, _Array]],
    compute: Callable[[Sequence[Tables]], None],
) -> None:
    """Write the files into a folder that appears when all are whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".part-", dir=folder.parent))
    try:
        tables = [
            Tables(**{k: _created(temporary / f"{n}-{k}.npy", *array) for k, array in one.items()})
            for n, one in enumerate(arrays)
        ]
        compute(tables)
        for table in tables:
            for array in vars(table).values():
                if isinstance(array, np.memmap):
                    array.flush()
        if not folder.is_dir():
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _created(path: Path, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:  # noqa: ANN401
    if 0 in shape:  # nothing to map
        np.save(path, np.zeros(shape, dtype))
        return np.zeros(shape, dtype)
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)


def _opened(folder: Path, number: int, arrays: dict[str, _Array], mapped: bool) -> Tables:
    found = {}
    for name, (shape, dtype) in arrays.items():
        path = folder / f"{number}-{name}.npy"
        mode: Any = "r" if mapped and 0 not in shape else None
        try:
            array = np.load(path, mmap_mode=mode, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ValueError(f"{path} is damaged ({error}): remove the folder {folder}") from error
        if array.shape != shape or array.dtype != dtype:
            raise ValueError(f"{path} does not fit the data: remove the folder {folder}")
        found[name] = array
    return Tables(**found)


def _fingerprint(potential: BPNNPotential, data: TrainingSet, settings: CacheSettings) -> str:
    """Return a fingerprint of what the numbers depend on."""
    rows = [
        repr([kernel_row(function, potential.species) for function in element.functions])
        for element in potential.elements
    ]
    settled = f"{settings.precision} {potential.species}"
    return sha256(_CACHE_VERSION, settled, *rows, data.first, *data.geometry)[:32]
