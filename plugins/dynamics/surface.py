"""The potential-energy surface of an Atoms object, as points with an energy and a gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ase.calculators.calculator import PropertyNotImplementedError

from pescape.plugins.dynamics.surrogate import Sample

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms

    from pescape.plugins.dynamics.projection import FreeSpace


class Surface:
    """Evaluates points, one force call each.

    Parameters
    ----------
    atoms
        Atoms with a calculator.
    free
        The directions in which they may move.
    force_consistent
        Energy to report: True, the free energy; False, the energy extrapolated to zero
        broadening; None, the free energy where the calculator has it.

    Attributes
    ----------
    calls
        Number of points evaluated.
    """

    def __init__(
        self, atoms: Atoms, free: FreeSpace, *, force_consistent: bool | None = None
    ) -> None:
        self.atoms = atoms
        self.free = free
        self.calls = 0
        self._force_consistent = force_consistent
        self._cell = atoms.cell.array.copy()

    def sample(self) -> tuple[Sample, np.ndarray]:
        """Evaluate the atoms where they are.

        Returns
        -------
        tuple
            The point, and the forces, (natoms, 3), eV/Å, as the constraints leave them.
        """
        self.calls += 1
        self._cell = self.atoms.cell.array.copy()
        forces = self.atoms.get_forces()
        gradient = self.free.project(-forces).ravel()
        return Sample(self.atoms.get_positions().ravel(), self._energy(), gradient), forces

    def move(self, x: np.ndarray) -> tuple[Sample, np.ndarray]:
        """Move the atoms, as far as constraints let them, and evaluate; x is flat, (n,), Å."""
        self.atoms.set_positions(x.reshape(-1, 3))
        return self.sample()

    def put_back(self, sample: Sample) -> None:
        """Put the atoms where a sample was taken, exactly."""
        self.atoms.set_positions(sample.x.reshape(-1, 3), apply_constraint=False)

    def is_at(self, sample: Sample) -> bool:
        """Return whether the atoms still are where a sample was taken, in the same cell."""
        same = self.atoms.positions.ravel() == sample.x
        return bool(same.all()) and bool((self.atoms.cell.array == self._cell).all())

    def _energy(self) -> float:
        results = getattr(self.atoms.calc, "results", None)
        name = "energy" if self._force_consistent is False else "free_energy"
        if isinstance(results, dict) and results.get(name) is not None and not self._adds_energy():
            return float(results[name])  # what the force call left: spares ASE's second look
        if self._force_consistent is None:
            try:
                energy = self.atoms.get_potential_energy(force_consistent=True)
            except (PropertyNotImplementedError, NotImplementedError):
                self._force_consistent = False
            else:
                return float(energy)
        return float(self.atoms.get_potential_energy(force_consistent=self._force_consistent))

    def _adds_energy(self) -> bool:
        return any(hasattr(c, "adjust_potential_energy") for c in self.atoms.constraints)
