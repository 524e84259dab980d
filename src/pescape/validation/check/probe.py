"""A potential under examination: energies of anything, and how far it extrapolates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.singlepoint import SinglePointCalculator

from pescape.calculators.calculator import PotentialCalculator
from pescape.validation.properties.soundness.invariances import Energies

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ase import Atoms

    from pescape.calculators.potential import Potential

#: Grades above it are risky, as `pescape grade` has it.
RISKY = 2.1


class Probe:
    """Evaluates structures with a potential.

    Parameters
    ----------
    potential
        Trained, with its elements named.
    threads
        OpenMP threads.
    """

    def __init__(self, potential: Potential, threads: int = 1) -> None:
        self.potential = potential
        self.calculator = PotentialCalculator(potential, threads=threads)
        self.energies = Energies(self.calculator)

    @property
    def has_repulsion(self) -> bool:
        """Whether a screened repulsion of nuclei is part of it."""
        return self.potential.repulsion is not None

    def evaluated(self, atoms: Atoms) -> Atoms:
        """Copy a configuration with the potential's energy, forces and stress.

        Parameters
        ----------
        atoms
            Periodic, for a stress.
        """
        new = self.energies.prepared(atoms)
        energy, forces = float(new.get_potential_energy()), np.array(new.get_forces())
        results: dict[str, Any] = {"energy": energy, "forces": forces}
        if "stress" in self.calculator.results:
            results["stress"] = np.array(new.get_stress())
        new.calc = SinglePointCalculator(new, **results)
        return new

    def grade(self, atoms: Atoms) -> float | None:
        """Largest extrapolation grade of a configuration.

        None without an active set, and where there is no finite one.

        Parameters
        ----------
        atoms
            The configuration.
        """
        if self.potential.active_set is None:
            return None
        copy = atoms.copy()
        try:
            value = float(self.calculator.get_property("extrapolation_grade", copy))
        except (PropertyNotImplementedError, ValueError):
            return None
        return value if np.isfinite(value) else None

    def largest_grade(self, structures: Iterable[Atoms]) -> float | None:
        """Largest grade of several configurations.

        Parameters
        ----------
        structures
            The configurations.
        """
        if self.potential.active_set is None:
            return None
        found = [one for atoms in structures if (one := self.grade(atoms)) is not None]
        return max(found, default=None)
