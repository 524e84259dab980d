"""ASE calculator of several calculators as a committee."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.outputs import Properties, all_outputs

from pescape.calculators.checks import types_among
from pescape.calculators.committee.calibration import (
    COVERAGE,
    Calibration,
    energy_spread,
    force_spread,
)
from pescape.errors import frame_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator

_DEVIATIONS = ("energy_deviation", "force_deviations", "force_deviation")
_ERRORS = ("force_errors", "energy_error")


class Committee(Calculator):
    """The mean of several calculators, with their standard deviation and what errors it foretells.

    Besides ASE's properties there are, through ``get_property(name, atoms)``,

    - ``energy_deviation``: standard deviation of the energy, eV;
    - ``force_deviations``: for each atom the root mean square length of the members' difference
      from the mean force, eV/Å, shape (natoms,);
    - ``force_deviation``: the largest of them;
    - of a calibrated committee ``force_errors`` (eV/Å, shape (natoms,)) and ``energy_error`` (eV),
      as of `pescape.calculators.PotentialCalculator`.

    Parameters
    ----------
    members
        Two or more calculators; networks that differ in their first weights disagree where the
        data says nothing. A fit's own committee needs none of this: its potential predicts errors
        by itself.
    calibration
        As `calibrated` makes it.
    """

    implemented_properties = [  # noqa: RUF012 - so ASE declares it
        "energy",
        "free_energy",
        "forces",
        "stress",
        *_DEVIATIONS,
        *_ERRORS,
    ]

    def __init__(
        self, members: Sequence[BaseCalculator], calibration: Calibration | None = None
    ) -> None:
        super().__init__()
        self.members = tuple(members)
        self.calibration = calibration
        if len(self.members) < 2:
            raise ValueError(f"a committee has two members or more, not {len(self.members)}")

    def calibrated(
        self, configurations: Sequence[Atoms], *, coverage: float = COVERAGE
    ) -> Committee:
        """Return the committee with a calibration.

        Parameters
        ----------
        configurations
            With energy and forces; no member was trained on them.
        coverage
            Share of errors that bounds are to be above.
        """
        if not configurations:
            raise ValueError("a committee is calibrated on one configuration or more")
        species = sorted({symbol for atoms in configurations for symbol in atoms.symbols})
        energies, forces, types = [], [], []
        for index, atoms in enumerate(configurations):
            results = {} if atoms.calc is None else atoms.calc.results
            if "energy" not in results or "forces" not in results:
                raise ValueError(f"{frame_name(atoms, index)} has no energy and forces")
            energy = float(results.get("free_energy", results["energy"]))
            error = abs(self.get_property("energy", atoms) - energy)
            spread = self.get_property("energy_deviation", atoms)
            energies.append(np.array([error, spread]) / len(atoms))
            difference = self.get_property("forces", atoms) - results["forces"]
            spreads = self.get_property("force_deviations", atoms)
            forces.append(np.array([np.linalg.norm(difference, axis=1), spreads]))
            types.append(types_among(species, atoms.numbers, "the committee"))
        energy_pair = np.array(energies).T
        force_pair = np.concatenate(forces, axis=1)
        calibration = Calibration.of(
            species,
            (energy_pair[0], energy_pair[1]),
            (force_pair[0], force_pair[1]),
            np.concatenate(types),
            coverage,
        )
        return Committee(self.members, calibration)

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
        energy, mean = energies.mean(), forces.mean(axis=0)
        deviation, deviations = energy_spread(energies, energy), force_spread(forces, mean)
        self.results |= {
            "energy": float(energy),
            "free_energy": float(energy),
            "forces": mean,
            "energy_deviation": float(deviation),
            "force_deviations": deviations,
            "force_deviation": float(deviations.max(initial=0.0)),
        }
        if self.calibration is not None:
            types = types_among(self.calibration.species, self.atoms.numbers, "the calibration")
            error = self.calibration.energy_errors(deviation, len(self.atoms))
            self.results["force_errors"] = self.calibration.force_errors(deviations, types)
            self.results["energy_error"] = float(error)
        elif any(name in _ERRORS for name in properties):
            raise PropertyNotImplementedError(
                "the committee is not calibrated: committee.calibrated(held_out_configurations) is"
            )
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
