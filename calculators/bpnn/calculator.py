"""The ASE calculator of Behler-Parrinello networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pescape.calculators.bpnn.descriptors import OutOfRange, out_of_range
from pescape.calculators.bpnn.potential import BPNNPotential
from pescape.calculators.calculator import KernelCalculator

if TYPE_CHECKING:
    from os import PathLike

    import numpy as np
    from ase import Atoms
    from numpy.typing import NDArray

    from pescape._kernels import BPNNKernel


class BPNN(KernelCalculator):
    """Energies, forces, stresses and extrapolation grades of a Behler-Parrinello network.

    Besides ASE's properties there are, if the file has an active set,
    ``get_property("extrapolation_grades", atoms)``, one grade per atom (neighbourhood mode), and
    ``get_property("extrapolation_grade", atoms)``, that of the configuration: the largest of its
    atoms' in neighbourhood mode.

    Parameters
    ----------
    potential
        Our own file, Amp's ``.amp``, an n2p2 or RuNNer folder, SIMPLE-NN's ``potential_saved``, or
        a ``BPNNPotential``.
    length_unit, energy_unit
        What an n2p2 or RuNNer folder is in: "Bohr" or "Angstrom", "Hartree" or "eV"; or
        the units' values in Å and eV.
    threads
        OpenMP threads; by default OMP_NUM_THREADS, or one.
    skin
        Å; how much further than the cut-off neighbour lists reach, so that they last.
    """

    def __init__(
        self,
        potential: str | PathLike[str] | BPNNPotential,
        *,
        length_unit: str | float | None = None,
        energy_unit: str | float | None = None,
        threads: int | None = None,
        skin: float = 0.5,
    ) -> None:
        if not isinstance(potential, BPNNPotential):
            potential = BPNNPotential.read(
                potential, length_unit=length_unit, energy_unit=energy_unit
            )
        self._units = (length_unit, energy_unit)
        super().__init__(potential, threads=threads, skin=skin)

    def _make_kernel(self) -> BPNNKernel:
        return self.potential.kernel()

    def _rows(self, arguments: tuple[Any, ...]) -> NDArray[np.float64]:
        return self.potential.kernel().site_gradients(
            *arguments, parameters=self.potential.active_parameters
        )

    def out_of_range(self, atoms: Atoms, *, tolerance: float = 0.0) -> list[OutOfRange]:
        """List symmetry functions that the training data did not reach; see `out_of_range`."""
        return out_of_range(self.potential, atoms, tolerance=tolerance, threads=self.threads)

    def todict(self, skip_default: bool = True) -> dict[str, Any]:
        """Say how to make this calculator again."""
        settings = {
            "potential": self.potential.source,
            "length_unit": self._units[0],
            "energy_unit": self._units[1],
            "skin": self._neighbors.skin,
        }
        defaults = {"length_unit": None, "energy_unit": None, "skin": 0.5}
        return {k: v for k, v in settings.items() if not (skip_default and defaults.get(k) == v)}
