"""The screened repulsion of nuclei, which keeps atoms apart where there is no data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.data import atomic_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pescape._kernels import ZBLKernel


@dataclass(frozen=True)
class ZBL:
    """The repulsion of Ziegler, Biersack and Littmark, switched off smoothly.

    Energy, force and curvature are zero at the outer distance. Numbers are those of
    ``pair_style zbl inner outer`` of LAMMPS.

    Parameters
    ----------
    inner
        Å; below it the repulsion is not switched, only shifted by a constant.
    outer
        Å; beyond it there is none.
    """

    inner: float
    outer: float

    def __post_init__(self) -> None:
        for name in ("inner", "outer"):
            object.__setattr__(self, name, float(getattr(self, name)))
        if not 0.0 < self.inner < self.outer < np.inf:
            raise ValueError(
                f"zbl: inner {self.inner:g} Å and outer {self.outer:g} Å: "
                "0 < inner < outer must hold"
            )

    def kernel(self, species: Sequence[str]) -> ZBLKernel:
        """Compile it for evaluation.

        Parameters
        ----------
        species
            Elements of species 0, 1, ...
        """
        from pescape._kernels import ZBLKernel

        return ZBLKernel(
            atomic_numbers=[atomic_numbers[name] for name in species],
            inner=self.inner,
            outer=self.outer,
        )
