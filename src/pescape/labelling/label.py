"""Label configurations: what the reference says, and who asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase.calculators.calculator import CalculatorError, PropertyNotImplementedError
from ase.calculators.singlepoint import SinglePointCalculator

from pescape.errors import DataError
from pescape.files import fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ase import Atoms

    from pescape.labelling.reference import Reference


def configuration_id(atoms: Atoms) -> str:
    """Fingerprint of species, positions, cell and periodicity, bit by bit."""
    return fingerprint(
        np.asarray(atoms.numbers, dtype="<i8").tobytes(),
        np.asarray(atoms.positions, dtype="<f8").tobytes(),
        np.asarray(atoms.cell.array, dtype="<f8").tobytes(),
        np.asarray(atoms.pbc, dtype="<i8").tobytes(),
    )


def label(
    atoms: Atoms, reference: Reference, provenance: Mapping[str, str | int | float] | None = None
) -> Atoms:
    """Compute energy, forces and, for a periodic cell, stress of one configuration.

    Parameters
    ----------
    atoms
        The configuration; it is left as it is.
    reference
        The calculator.
    provenance
        Who asked for the label: parent, command, seed, round, …

    Returns
    -------
    Atoms
        A copy with the results (energy and free_energy, eV; forces, eV/Å; stress, eV/Å³)
        and, in ``info``, the provenance, the reference with its version, and
        ``configuration_id``.
    """
    new = atoms.copy()
    with reference.session() as calculator:
        new.calc = calculator
        results = _results(new, reference.name)
    new.calc = SinglePointCalculator(new, **results)
    new.info = {
        **atoms.info,
        **(provenance or {}),
        "reference": reference.name,
        "reference_version": reference.version,
        "reference_id": reference.identity,
        "configuration_id": configuration_id(atoms),
    }
    return new


def _results(new: Atoms, reference: str) -> dict[str, float | np.ndarray]:
    """Ask the calculator for all that a label holds."""
    results: dict[str, float | np.ndarray] = {}
    try:
        results["energy"] = float(new.get_potential_energy())
        results["forces"] = np.array(new.get_forces(apply_constraint=False))
        try:
            results["free_energy"] = float(new.get_potential_energy(force_consistent=True))
        except PropertyNotImplementedError:
            results["free_energy"] = results["energy"]
        if new.pbc.all():
            results["stress"] = np.array(new.get_stress(apply_constraint=False))
    except PropertyNotImplementedError as error:
        if "forces" not in results:
            raise DataError(f"{reference} gives no energy or no forces: {error}") from error
    except (CalculatorError, RuntimeError, ValueError, KeyError) as error:
        raise DataError(f"{reference} failed on {new.get_chemical_formula()}: {error}") from error
    for name, value in results.items():
        if not np.isfinite(value).all():
            raise DataError(f"{reference}: {name} of {new.get_chemical_formula()} is not finite")
    return results
