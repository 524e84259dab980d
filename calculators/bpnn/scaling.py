"""How the values of symmetry functions become the inputs of a network."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from pescape.calculators.arrays import frozen

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: What is needed for each kind of scaling.
KINDS: dict[str, tuple[str, ...]] = {
    "none": (),
    "range": ("minimum", "maximum"),
    "range-centered": ("minimum", "maximum", "mean"),
    "centered": ("mean",),
    "sigma": ("mean", "sigma"),
}
STATISTICS = ("minimum", "maximum", "mean", "sigma")


@dataclass(frozen=True, eq=False)
class Scaling:
    """The linear map of the D symmetry functions of an element.

    With Δ = high - low the input of a network is

    ==============  ==============================================
    none            G
    range           low + Δ (G - minimum) / (maximum - minimum)
    range-centered  low + Δ (G - mean) / (maximum - minimum)
    centered        G - mean
    sigma           low + Δ (G - mean) / sigma
    ==============  ==============================================

    Parameters
    ----------
    kind
        One of these.
    low, high
        The target range.
    minimum, maximum, mean, sigma
        What the training data had (D,); None where it is not known.
    tolerance
        Functions whose range is not larger stay as they are (Amp's rule, 1e-8); 0: none does.
    """

    kind: str = "none"
    low: float = 0.0
    high: float = 1.0
    minimum: Floats | None = None
    maximum: Floats | None = None
    mean: Floats | None = None
    sigma: Floats | None = None
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown scaling {self.kind!r}: it must be one of {', '.join(KINDS)}")
        if not (np.isfinite([self.low, self.high]).all() and self.low != self.high):
            raise ValueError(f"scaling to the range {self.low} to {self.high} is impossible")
        for name in STATISTICS:
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, frozen(value, (-1,), f"{name} of the scaling"))
        for name in KINDS[self.kind]:
            self._column(name)
        if len({len(v) for v in self._given()}) > 1:
            raise ValueError("the statistics of a scaling differ in length")
        self._check_widths()

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)
        self.__post_init__()

    def _given(self) -> list[Floats]:
        values = (getattr(self, name) for name in STATISTICS)
        return [value for value in values if value is not None]

    def _column(self, name: str) -> Floats:
        value = getattr(self, name)
        if value is None:
            raise ValueError(f"scaling {self.kind!r} needs the {name} of all functions")
        return cast("Floats", value)

    def _check_widths(self) -> None:
        width = self._width()
        if width is None or self.tolerance > 0:
            return
        bad = np.flatnonzero(width <= 0)
        if len(bad):
            what = "sigma" if self.kind == "sigma" else "maximum - minimum"
            raise ValueError(
                f"symmetry function {bad[0] + 1} has {what} = {width[bad[0]]:g}: "
                f"scaling {self.kind!r} divides by it"
            )

    @property
    def size(self) -> int | None:
        """Number of functions it is for; None: any number."""
        given = self._given()
        return len(given[0]) if given else None

    def _width(self) -> Floats | None:
        if self.kind in ("none", "centered"):
            return None
        if self.kind == "sigma":
            return self._column("sigma")
        return self._column("maximum") - self._column("minimum")

    @property
    def flat(self) -> NDArray[np.bool_]:
        """Which functions (D,) stay as they are because their range is within the tolerance."""
        width = self._width()
        if width is None or self.tolerance == 0:
            return np.zeros(self.size or 0, dtype=bool)
        return ~(width > self.tolerance)

    def coefficients(self, size: int) -> tuple[Floats, Floats]:
        """Return scale and offset (D,), so that the input is ``scale * G + offset``."""
        if self.size not in (None, size):
            raise ValueError(f"the scaling is for {self.size} functions, not {size}")
        if self.kind == "none":
            return np.ones(size), np.zeros(size)
        origin = self._column("minimum" if self.kind == "range" else "mean")
        width = self._width()
        if width is None:
            return np.ones(size), -origin
        flat = self.flat
        scale = (self.high - self.low) / np.where(flat, 1.0, width)
        offset = self.low - scale * origin
        return np.where(flat, 1.0, scale), np.where(flat, 0.0, offset)

    def reordered(self, order: NDArray[np.int64]) -> Scaling:
        """Return the scaling of the functions in another order."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in STATISTICS:
            if values[name] is not None:
                values[name] = values[name][order]
        return Scaling(**values)
