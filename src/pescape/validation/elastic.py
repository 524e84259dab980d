"""Elastic constants by finite strains, relaxed inside the cell, in the form of the symmetry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from ase.units import GPa
from pydantic import Field, PositiveFloat, PositiveInt

from pescape.validation.base import PropertyConfig
from pescape.validation.crystals import Crystal, relaxed_crystal
from pescape.validation.relaxation import minimised
from pescape.validation.result import PropertyResult, Value, snapshot

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: The independent constants of a crystal system, and which entries of the matrix (Voigt order
#: xx yy zz yz xz xy) each of them is; C66 of hexagonal crystals is (C11 - C12)/2.
_CUBIC: dict[str, tuple[tuple[int, int, float], ...]] = {
    "C11": ((0, 0, 1.0), (1, 1, 1.0), (2, 2, 1.0)),
    "C12": ((0, 1, 1.0), (0, 2, 1.0), (1, 2, 1.0)),
    "C44": ((3, 3, 1.0), (4, 4, 1.0), (5, 5, 1.0)),
}
_HEXAGONAL: dict[str, tuple[tuple[int, int, float], ...]] = {
    "C11": ((0, 0, 1.0), (1, 1, 1.0), (5, 5, 0.5)),
    "C12": ((0, 1, 1.0), (5, 5, -0.5)),
    "C13": ((0, 2, 1.0), (1, 2, 1.0)),
    "C33": ((2, 2, 1.0),),
    "C44": ((3, 3, 1.0), (4, 4, 1.0)),
}
# What the stresses say beyond the symmetry's form; more than this (GPa) is worth a warning.
_ASYMMETRY = 1.0


class ElasticConfig(PropertyConfig):
    """Elastic constants of one crystal: 3 of cubic ones, 5 and C66 of hexagonal ones."""

    kind: Literal["elastic"] = "elastic"
    crystal: Crystal
    strain: float = Field(0.002, gt=0.0, lt=0.05, description="of each finite difference")
    fmax: PositiveFloat = Field(1e-4, description="largest force left, eV/Å")
    steps: PositiveInt = Field(300, description="more mean that the property fails")

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives."""
        extra = ("C66",) if self.crystal.hexagonal else ()
        moduli = ("bulk_modulus", "shear_modulus", "least_eigenvalue", "asymmetry")
        return (*_form(self.crystal), *extra, *moduli)


def _form(crystal: Crystal) -> dict[str, tuple[tuple[int, int, float], ...]]:
    return _HEXAGONAL if crystal.hexagonal else _CUBIC


def elastic(calculator: BaseCalculator, config: ElasticConfig) -> PropertyResult:
    """Compute elastic constants from stresses of strained cells.

    Parameters
    ----------
    calculator
        With stress.
    config
        The crystal and the strain.

    Returns
    -------
    PropertyResult
        The constants (GPa) as a least-squares fit in the form of the crystal system to all 36
        measured ones; ``bulk_modulus`` and ``shear_modulus`` of a polycrystal (Voigt's average),
        ``least_eigenvalue`` of the matrix, which is positive in a stable crystal (Born), and
        ``asymmetry``, the largest difference between fit and measurement; all in GPa.
    """
    atoms = relaxed_crystal(config.crystal, calculator, fmax=config.fmax, steps=config.steps)
    ground = snapshot(atoms, config.crystal.title)
    measured = stiffness(
        ground, calculator, strain=config.strain, fmax=config.fmax, steps=config.steps
    )
    constants, matrix = fitted_constants(measured, _form(config.crystal))
    asymmetry = float(np.abs(matrix - measured).max())
    least = float(np.linalg.eigvalsh(matrix).min())
    if config.crystal.hexagonal:
        constants["C66"] = (constants["C11"] - constants["C12"]) / 2
    bulk = matrix[:3, :3].sum() / 9
    axial, mixed = np.trace(matrix[:3, :3]), matrix[:3, :3].sum() - np.trace(matrix[:3, :3])
    shear = (axial - mixed / 2 + 3 * np.trace(matrix[3:, 3:])) / 15
    constants |= {"bulk_modulus": float(bulk), "shear_modulus": float(shear)}
    constants |= {"least_eigenvalue": least, "asymmetry": asymmetry}
    told = []
    if least <= 0.0:
        told.append(
            f"{config.crystal.title} is mechanically unstable: it softens to {least:.3g} GPa"
        )
    if asymmetry > _ASYMMETRY:
        told.append(f"stresses differ from the crystal's symmetry by {asymmetry:.2g} GPa")
    return PropertyResult(
        "elastic",
        {name: Value(value, "GPa") for name, value in constants.items()},
        (ground,),
        settings=config.model_dump(mode="json"),
        warnings=tuple(told),
    )


def stiffness(
    ground: Atoms, calculator: BaseCalculator, *, strain: float, fmax: float, steps: int
) -> Floats:
    """Measure the 6 × 6 matrix of elastic constants by central differences.

    Parameters
    ----------
    ground
        A relaxed cell.
    calculator
        With stress.
    strain
        Of the Voigt components, one after the other, with both signs.
    fmax, steps
        Of the relaxation of the atoms inside each strained cell.

    Returns
    -------
    ndarray
        Shape (6, 6), GPa, symmetric.
    """
    columns = []
    for component in range(6):
        stresses = []
        for sign in (1.0, -1.0):
            atoms = _strained(ground, component, sign * strain)
            atoms.calc = calculator
            minimised(atoms, fmax=fmax, steps=steps, what="a strained cell")
            stresses.append(np.array(atoms.get_stress(voigt=True)))
        columns.append((stresses[0] - stresses[1]) / (2.0 * strain * GPa))
    matrix = np.array(columns).T
    return (matrix + matrix.T) / 2


def _strained(ground: Atoms, component: int, strain: float) -> Atoms:
    row, column = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))[component]
    deformation = np.eye(3)
    # Voigt's shear is twice the tensor's.
    deformation[row, column] += strain if row == column else strain / 2
    if row != column:
        deformation[column, row] += strain / 2
    atoms = ground.copy()
    atoms.set_cell(ground.cell.array @ deformation, scale_atoms=True)
    return atoms


def fitted_constants(
    measured: Floats, form: dict[str, tuple[tuple[int, int, float], ...]]
) -> tuple[dict[str, float], Floats]:
    """Fit independent constants to a measured matrix by least squares.

    Returns
    -------
    dict
        The constants by name, in the unit of the matrix.
    ndarray
        Shape (6, 6), what the symmetry makes of them.
    """
    bases = []
    for entries in form.values():
        basis = np.zeros((6, 6))
        for row, column, factor in entries:
            basis[row, column] = basis[column, row] = factor
        bases.append(basis)
    solution, *_ = np.linalg.lstsq(
        np.array([basis.ravel() for basis in bases]).T, measured.ravel(), rcond=None
    )
    matrix = np.tensordot(solution, np.array(bases), axes=1)
    return dict(zip(form, map(float, solution), strict=True)), matrix
