"""Several calculators as one: their mean, and how far they disagree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.outputs import Properties, all_outputs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator

_DEVIATIONS = ("energy_deviation", "force_deviations", "force_deviation")


class Committee(Calculator):
    """The mean of several calculators, with their standard deviation.

    Besides ASE's properties there are, through ``get_property(name, atoms)``,

    - ``energy_deviation``: standard deviation of the energy, eV;
    - ``force_deviations``: for each atom the root mean square length of the members' difference
      from the mean force, eV/Å, shape (natoms,);
    - ``force_deviation``: the largest of them.

    Parameters
    ----------
    members
        Two or more calculators; networks that differ in their first weights disagree where the
        data says nothing.
    """

    implemented_properties = [  # noqa: RUF012 - so ASE declares it
        "energy",
        "free_energy",
        "forces",
        "stress",
        *_DEVIATIONS,
    ]

    def __init__(self, members: Sequence[BaseCalculator]) -> None:
        super().__init__()
        self.members = tuple(members)
        if len(self.members) < 2:
            raise ValueError(f"a committee has two members or more, not {len(self.members)}")

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Compute the mean and the standard deviation of all members.

        Parameters
        ----------
        atoms, properties, system_changes
            As of all ASE calculators.
        """
        super().calculate(atoms, properties, system_changes)
        if self.atoms is None:
            raise ValueError("the calculator has no atoms to calculate")
        energies = np.array([m.get_property("energy", self.atoms) for m in self.members])
        forces = np.array([m.get_property("forces", self.atoms) for m in self.members])
        deviations = np.sqrt(((forces - forces.mean(axis=0)) ** 2).sum(axis=2).mean(axis=0))
        self.results |= {
            "energy": float(energies.mean()),
            "free_energy": float(energies.mean()),
            "forces": forces.mean(axis=0),
            "energy_deviation": float(energies.std()),
            "force_deviations": deviations,
            "force_deviation": float(deviations.max(initial=0.0)),
        }
        if "stress" in properties:
            self.results["stress"] = np.mean(self._stresses(self.atoms), axis=0)

    def _stresses(self, atoms: Atoms) -> list[Any]:
        stresses = [member.get_property("stress", atoms) for member in self.members]
        if any(stress is None for stress in stresses):
            raise PropertyNotImplementedError("a member of the committee gives no stress")
        return stresses

    def export_properties(self) -> Properties:
        """Return ASE's own properties; it knows no deviations."""
        return Properties({k: v for k, v in self.results.items() if k in all_outputs})
