"""Arrays that nobody changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def frozen(
    value: ArrayLike, shape: tuple[int, ...], name: str, dtype: type = np.float64
) -> NDArray[Any]:
    """Return a read-only copy of finite numbers; -1 in the shape stands for any size."""
    array: NDArray[Any] = np.array(value, dtype=dtype, order="C")
    fits = array.ndim == len(shape) and all(
        want in (-1, have) for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{name} has shape {array.shape}, not {shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds numbers that are not finite")
    array.flags.writeable = False
    return array
