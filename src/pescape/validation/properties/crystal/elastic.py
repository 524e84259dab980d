"""Elastic constants by finite strains, relaxed inside the cell, in the form of the symmetry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from ase.units import GPa
from matscipy.elasticity import (  # type: ignore[import-untyped]
    fit_elastic_constants,
    generate_strained_configs,
    rotate_elastic_constants,
)
from pydantic import Field, PositiveFloat, PositiveInt

from pescape.figures.crystals import draw_elastic
from pescape.validation.crystals import AnyCrystal, minimised, relaxed_crystal
from pescape.validation.property import (
    Floats,
    PropertyConfig,
    PropertyResult,
    Value,
    register_property,
    snapshot,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator

    from pescape.validation.compounds import Symmetry

_ORTHORHOMBIC = ("C11", "C22", "C33", "C12", "C13", "C23", "C44", "C55", "C66")
#: Constants that are neither zero by symmetry nor equal to others, with C66 of hexagonal crystals,
#: by the largest space group that has them. Tables of Nye, Physical Properties of Crystals; the
#: axes are those of the conventional cell, a along x and b in the plane of x and y.
_CONSTANTS: tuple[tuple[int, tuple[str, ...]], ...] = (
    (2, tuple(f"C{i}{j}" for i in range(1, 7) for j in range(i, 7))),
    (15, (*_ORTHORHOMBIC, "C15", "C25", "C35", "C46")),
    (74, _ORTHORHOMBIC),
    (88, ("C11", "C12", "C13", "C33", "C44", "C66", "C16")),
    (142, ("C11", "C12", "C13", "C33", "C44", "C66")),
    (167, ("C11", "C12", "C13", "C33", "C44", "C66", "C14", "C15")),
    (194, ("C11", "C12", "C13", "C33", "C44", "C66")),
    (230, ("C11", "C12", "C44")),
)
_MODULI = ("bulk_modulus", "shear_modulus", "least_eigenvalue", "asymmetry")
# What the stresses say beyond the symmetry's form; more than this (GPa) is worth a warning.
_ASYMMETRY = 1.0


class ElasticConfig(PropertyConfig):
    """Elastic constants of a crystal, all that its symmetry leaves independent."""

    kind: Literal["elastic"] = "elastic"
    crystal: AnyCrystal
    strain: float = Field(0.002, gt=0.0, lt=0.05, description="of each finite difference")
    fmax: PositiveFloat = Field(1e-4, description="largest force left, eV/Å")
    steps: PositiveInt = Field(300, description="more mean that the property fails")

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives."""
        return (*constant_names(self.crystal.symmetry), *_MODULI)


def constant_names(symmetry: Symmetry) -> tuple[str, ...]:
    """Name the elastic constants of a crystal, as ``C11``.

    Parameters
    ----------
    symmetry
        Of the crystal.
    """
    return next(names for largest, names in _CONSTANTS if symmetry.number <= largest)


@register_property(
    ElasticConfig,
    heading="Elastic constants",
    version=2,
    draw=draw_elastic,
    suite_phases=("bcc", "fcc"),
)
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
        The constants (GPa) of the part of all 36 measured ones that has the crystal's symmetry;
        ``bulk_modulus`` and ``shear_modulus`` of a polycrystal (Voigt's average),
        ``least_eigenvalue`` of the matrix, which is positive in a stable crystal (Born), and
        ``asymmetry``, the largest difference between that part and the measurement; all in GPa.
    """
    crystal, symmetry = config.crystal, config.crystal.symmetry
    atoms = relaxed_crystal(crystal, calculator, fmax=config.fmax, steps=config.steps)
    turn_to_axes(atoms, symmetry)
    ground = snapshot(atoms, crystal.title)
    measured = stiffness(
        ground, calculator, strain=config.strain, fmax=config.fmax, steps=config.steps
    )
    matrix = symmetric_part(measured, cartesian_rotations(ground, symmetry))
    found = {name: float(matrix[constant_entry(name)]) for name in constant_names(symmetry)}
    bulk, shear = _voigt_average(matrix)
    least = float(np.linalg.eigvalsh(matrix).min())
    asymmetry = float(np.abs(matrix - measured).max())
    found |= dict(zip(_MODULI, (bulk, shear, least, asymmetry), strict=True))
    warnings = []
    if least <= 0.0:
        warnings.append(f"{crystal.title} is mechanically unstable: it softens to {least:.3g} GPa")
    if asymmetry > _ASYMMETRY:
        warnings.append(f"stresses differ from the crystal's symmetry by {asymmetry:.2g} GPa")
    values = {name: Value(value, "GPa") for name, value in found.items()}
    return config.result(values, structures=[ground], warnings=warnings)


def constant_entry(name: str) -> tuple[int, int]:
    """Give the row and the column of a constant in the 6 × 6 matrix, from 0.

    Parameters
    ----------
    name
        Such as ``C44``.
    """
    return int(name[1]) - 1, int(name[2]) - 1


def turn_to_axes(primitive: Atoms, symmetry: Symmetry) -> None:
    """Turn a primitive cell so that a of the conventional one is along x and b in the x-y plane.

    Parameters
    ----------
    primitive
        Turned in place, as `standard_primitive` orders its vectors.
    symmetry
        Of the crystal.
    """
    conventional, _ = primitive.cell.new(
        symmetry.conventional @ primitive.cell.array
    ).standard_form()
    turned = np.linalg.solve(symmetry.conventional, conventional.array)
    primitive.set_cell(turned, scale_atoms=True)


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
        Shape (6, 6), GPa, symmetric; Voigt order xx yy zz yz xz xy.
    """

    def relaxed() -> Iterator[Atoms]:
        for atoms in generate_strained_configs(ground, N_steps=2, delta=2.0 * strain):
            atoms.calc = calculator
            minimised(atoms, fmax=fmax, steps=steps, what="a strained cell")
            yield atoms

    matrix, _ = fit_elastic_constants(relaxed(), N_steps=2, verbose=False)
    return np.array(matrix / GPa)


def cartesian_rotations(primitive: Atoms, symmetry: Symmetry) -> Floats:
    """Give the rotations of a crystal's symmetry in Cartesian coordinates.

    Parameters
    ----------
    primitive
        A relaxed primitive cell.
    symmetry
        Of the crystal as guessed.

    Returns
    -------
    ndarray
        Shape (n, 3, 3), proper rotations and others.
    """
    cell = primitive.cell.array.T
    rotations = cell @ symmetry.rotations @ np.linalg.inv(cell)
    # What a relaxed cell lacks of its symmetry is taken out.
    left, _, right = np.linalg.svd(rotations)
    return np.array(left @ right)


def symmetric_part(matrix: Floats, rotations: Floats) -> Floats:
    """Average a matrix of elastic constants over rotations.

    Parameters
    ----------
    matrix
        Shape (6, 6), in Voigt's notation.
    rotations
        Shape (n, 3, 3).
    """
    return np.mean([rotate_elastic_constants(matrix, one) for one in rotations], axis=0)


def _voigt_average(matrix: Floats) -> tuple[float, float]:
    """Give the bulk and the shear modulus of a polycrystal under uniform strain (Voigt)."""
    axial, shears = np.trace(matrix[:3, :3]), np.trace(matrix[3:, 3:])
    mixed = matrix[:3, :3].sum() - axial
    return float((axial + mixed) / 9), float((axial - mixed / 2 + 3 * shears) / 15)
