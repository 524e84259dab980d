"""The ASE calculator of moment tensor potentials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pescape.calculators.calculator import KernelCalculator
from pescape.calculators.mtp.potential import MTPotential

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    import numpy as np
    from numpy.typing import NDArray

    from pescape._kernels import MTPKernel


class MTP(KernelCalculator):
    """Energies, forces, stresses and extrapolation grades of a moment tensor potential.

    Besides ASE's properties there are, if the file has an active set,
    ``get_property("extrapolation_grades", atoms)``, one grade per atom (neighbourhood mode), and
    ``get_property("extrapolation_grade", atoms)``, that of the configuration: the largest of its
    atoms' in neighbourhood mode.

    Parameters
    ----------
    potential
        An ``.mtp`` or ``.almtp`` file, or an ``MTPotential``.
    species
        Element of species 0, 1, ...; needed when the file does not name them.
    precision
        "double" or "single": what the kernel computes in.
    threads
        OpenMP threads; by default OMP_NUM_THREADS, or one.
    skin
        Å; how much further than the cut-off neighbour lists reach, so that they last.
    """

    def __init__(
        self,
        potential: str | PathLike[str] | MTPotential,
        species: Sequence[str] | None = None,
        *,
        precision: str = "double",
        threads: int | None = None,
        skin: float = 0.5,
    ) -> None:
        if not isinstance(potential, MTPotential):
            potential = MTPotential.read(potential)
        if species is not None:
            potential = potential.with_species(species)
        if not potential.species:
            raise ValueError(
                f"{potential.source or 'the potential'} does not say which elements it is for: "
                f"name its {potential.species_count} species, as in "
                f"MTP(..., species={['Zr', 'O', 'H', 'C'][: potential.species_count]})"
            )
        self.precision = precision
        super().__init__(potential, threads=threads, skin=skin)

    def _make_kernel(self) -> MTPKernel:
        return self.potential.kernel(self.precision)

    def _rows(self, arguments: tuple[Any, ...]) -> NDArray[np.float64]:
        # Grades need all digits of their rows: inverses of active sets are ill-conditioned.
        return self.potential.kernel("double").site_gradients(*arguments)

    def todict(self, skip_default: bool = True) -> dict[str, Any]:
        """Say how to make this calculator again."""
        settings = {
            "potential": self.potential.source,
            "species": list(self.potential.species),
            "precision": self.precision,
            "skin": self._neighbors.skin,
        }
        defaults = {"precision": "double", "skin": 0.5}
        return {k: v for k, v in settings.items() if not (skip_default and defaults.get(k) == v)}
