"""Where symmetry functions and derivatives are kept: in memory, or in files mapped into it."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pescape.calculators.bpnn.fit.features import DTYPES, Layout, Tables, fill, layouts
from pescape.calculators.bpnn.symmetry import row

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from pescape.calculators.bpnn.fit.features import Precision
    from pescape.calculators.bpnn.potential import BPNNPotential
    from pescape.calculators.fitting.data import TrainingSet

_VERSION = b"1"
_GB = 1e9


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
    precision: Precision = "double"

    def __post_init__(self) -> None:
        if self.precision not in DTYPES:
            raise ValueError(f"precision must be 'double' or 'single', not {self.precision!r}")
        if not self.memory_limit >= 0.0:
            raise ValueError(f"memory_limit must be a number of GB ≥ 0, not {self.memory_limit}")


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
    tell: Callable[[str], None] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Features:
    """Compute the symmetry functions of a data set and their derivatives, or find them.

    Parameters
    ----------
    potential
        Whose functions are meant; it need not be trained.
    data
        With neighbours up to the potential's cut-off.
    settings
        Where to keep the result.
    threads
        OpenMP threads.
    tell
        Called with a line of text about what is kept where, if there is something to know.
    on_progress
        Called with the number of configurations done.

    Raises
    ------
    ValueError
        The result exceeds the memory limit and there is no folder for it.
    """
    settings = settings or CacheSettings()
    say = tell or (lambda _: None)
    pairs, found = layouts(potential, data)
    size = _size(found, settings)
    large = size > settings.memory_limit * _GB
    if large and settings.folder is None:
        raise ValueError(
            f"symmetry functions and derivatives take {size / _GB:.2f} GB, more than the memory "
            f"limit of {settings.memory_limit:g} GB: name a cache folder to keep them in files, "
            "raise the limit, or use single precision (half the space)"
        )

    def compute(tables: Sequence[Tables]) -> None:
        fill(potential, data, pairs, found, tables, threads=threads, on_progress=on_progress)

    if settings.folder is None:
        tables = tuple(_empty(layout, settings) for layout in found)
        compute(tables)
        return Features(found, tables, size, None, mapped=False)
    folder = Path(settings.folder) / _fingerprint(potential, data, settings)
    if not folder.is_dir():
        _make(folder, found, settings, compute)
    if large:
        say(
            f"symmetry functions and derivatives take {size / _GB:.2f} GB, more than the memory "
            f"limit of {settings.memory_limit:g} GB: they are read from {folder} in every iteration"
        )
    tables = tuple(_opened(folder, k, layout, settings, large) for k, layout in enumerate(found))
    return Features(found, tables, size, folder, mapped=large)


def _dtypes(settings: CacheSettings) -> dict[str, Any]:
    kept = DTYPES[settings.precision]
    return {"functions": np.float64, "derivatives": kept, "strains": kept}


def _size(found: Sequence[Layout], settings: CacheSettings) -> int:
    dtypes = _dtypes(settings)
    return sum(
        int(np.prod(shape)) * np.dtype(dtypes[name]).itemsize
        for layout in found
        for name, shape in layout.shapes().items()
    )


def _empty(layout: Layout, settings: CacheSettings) -> Tables:
    dtypes = _dtypes(settings)
    return Tables(**{k: np.empty(shape, dtypes[k]) for k, shape in layout.shapes().items()})


def _make(
    folder: Path,
    found: Sequence[Layout],
    settings: CacheSettings,
    compute: Callable[[Sequence[Tables]], None],
) -> None:
    """Write the files into a folder that appears when all are whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".part-", dir=folder.parent))
    try:
        dtypes = _dtypes(settings)
        tables = [
            Tables(
                **{
                    name: _created(temporary / f"{k}-{name}.npy", shape, dtypes[name])
                    for name, shape in layout.shapes().items()
                }
            )
            for k, layout in enumerate(found)
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


def _opened(
    folder: Path, number: int, layout: Layout, settings: CacheSettings, mapped: bool
) -> Tables:
    dtypes, arrays = _dtypes(settings), {}
    for name, shape in layout.shapes().items():
        path = folder / f"{number}-{name}.npy"
        mode: Any = "r" if mapped and 0 not in shape else None
        try:
            array = np.load(path, mmap_mode=mode, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ValueError(f"{path} is damaged ({error}): remove the folder {folder}") from error
        if array.shape != shape or array.dtype != dtypes[name]:
            raise ValueError(f"{path} does not fit the data: remove the folder {folder}")
        arrays[name] = array
    return Tables(**arrays)


def _fingerprint(potential: BPNNPotential, data: TrainingSet, settings: CacheSettings) -> str:
    """Tell what the numbers depend on from anything else."""
    digest = hashlib.sha256(_VERSION)
    digest.update(f"{settings.precision} {potential.species}".encode())
    for element in potential.elements:
        rows = [row(function, potential.species) for function in element.functions]
        digest.update(repr(rows).encode())
    for array in (data.first, *data.geometry):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:32]
