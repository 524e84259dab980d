"""Phonons by finite displacements (phonopy): dispersions, densities of states, free energies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from ase import Atoms
from ase.dft.kpoints import BandPath, parse_path_string
from ase.geometry import minkowski_reduce
from ase.units import J, _hplanck, kJ, mol
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from pescape.figures.crystals import draw_phonons
from pescape.validation.crystals import Crystals, Repeat, check_titles, relaxed_crystal
from pescape.validation.property import (
    Curve,
    Floats,
    PropertyConfig,
    PropertyError,
    PropertyResult,
    Value,
    register_property,
    snapshot,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase.calculators.calculator import BaseCalculator

    from pescape.validation.compounds import Solid

#: A `phonopy.Phonopy`, whose annotations let all of its results be None.
Phonons: TypeAlias = Any
# Å; a relaxed cell is less symmetric than its crystal by what the relaxation leaves.
_SYMMETRY_TOLERANCE = 1e-4
# Hz.
_THZ = 1e12
# THz; interpolation between the wave vectors of a supercell leaves acoustic modes near Γ as
# small numbers of either sign.
_ZERO_FREQUENCY = 0.05
# Force constants across half the supercell that exceed this part of the largest between two atoms
# say that the supercell is too small.
_FAR_FRACTION = 0.02
# eV/Å²; what exact forces lack of invariance to translation is far less.
_SUM_RULE_LIMIT = 0.01
# Å; force constants of an atom with itself are at no distance.
_SELF_DISTANCE = 0.1
_NAMES = ("lowest", "highest", "imaginary_fraction")
_STABLE_NAMES = ("zero_point_energy", "vibrational_free_energy", "entropy", "heat_capacity")


@dataclass(frozen=True, eq=False)
class ForceConstants:
    """Second derivatives of the energy of a crystal, and where they come from.

    Parameters
    ----------
    phonons
        What phonopy makes of them.
    cells
        Supercells that forces were computed in.
    images
        Least distance of an atom from its images in the supercell, Å.
    sum_rule
        Largest sum of force constants over all neighbors of an atom, before it was made to
        vanish, eV/Å².
    distances, norms
        Shape (n,): of all pairs of an atom of the primitive cell and one of the supercell, how far
        they are from each other at the least, Å, and the Frobenius norm of their force constants,
        eV/Å².
    """

    phonons: Phonons
    cells: int
    images: float
    sum_rule: float
    distances: Floats
    norms: Floats


def even_repeat(primitive: Atoms, length: float) -> Repeat:
    """Repeat a primitive cell, evenly, until its vectors have a length.

    Waves with half a reciprocal vector then fit into the supercell: frequencies at most points on
    the zone's boundary are exact rather than interpolated.

    Parameters
    ----------
    primitive
        The cell.
    length
        Least length of the supercell's vectors, Å.
    """
    first, second, third = (
        2 * int(np.ceil(length / edge / 2)) for edge in primitive.cell.lengths()
    )
    return first, second, third


def force_constants(
    primitive: Atoms, calculator: BaseCalculator, *, repeat: Repeat, displacement: float
) -> ForceConstants:
    """Compute force constants by displacing one atom at a time.

    Displacements that symmetry does not make equal to others are made; with both signs where
    symmetry does not turn one into the other, so that all differences are central ones.

    Parameters
    ----------
    primitive
        The relaxed primitive cell.
    calculator
        With forces.
    repeat
        Of the primitive cell in the supercell.
    displacement
        How far atoms are displaced, Å.
    """
    phonons: Phonons = Phonopy(
        PhonopyAtoms(
            symbols=primitive.get_chemical_symbols(),
            cell=primitive.cell.array,
            scaled_positions=primitive.get_scaled_positions(),
            masses=primitive.get_masses(),
        ),
        supercell_matrix=np.diag(repeat),
        primitive_matrix=np.eye(3),
        symprec=_SYMMETRY_TOLERANCE,
    )
    phonons.generate_displacements(distance=displacement, is_plusminus="auto")
    cells = [cell for cell in phonons.supercells_with_displacements if cell is not None]
    phonons.forces = np.array([_forces(cell, calculator) for cell in cells])
    phonons.produce_force_constants(calculate_full_force_constants=False, show_drift=False)
    sum_rule = float(np.abs(phonons.force_constants.sum(axis=1)).max())
    phonons.symmetrize_force_constants(show_drift=False)
    images = float(np.linalg.norm(minkowski_reduce(phonons.supercell.cell)[0], axis=1).min())
    return ForceConstants(phonons, len(cells), images, sum_rule, *_distances_and_norms(phonons))


def _atoms(cell: PhonopyAtoms) -> Atoms:
    return Atoms(cell.symbols, scaled_positions=cell.scaled_positions, cell=cell.cell, pbc=True)


def _forces(cell: PhonopyAtoms, calculator: BaseCalculator) -> Floats:
    atoms = _atoms(cell)
    atoms.calc = calculator
    forces = np.array(atoms.get_forces())
    if not np.isfinite(forces).all():
        raise PropertyError("forces on displaced atoms are not finite")
    return forces


def _distances_and_norms(phonons: Phonons) -> tuple[Floats, Floats]:
    """Give distances (Å) and norms (eV/Å²) of all force constants."""
    atoms = _atoms(phonons.supercell)
    every = range(len(atoms))
    distances = [atoms.get_distances(one, every, mic=True) for one in phonons.primitive.p2s_map]
    norms = np.linalg.norm(phonons.force_constants, axis=(2, 3))
    return np.array(distances).ravel(), norms.ravel()


class PhononsConfig(PropertyConfig):
    """Phonons of relaxed crystals in the harmonic approximation, by finite displacements."""

    kind: Literal["phonons"] = "phonons"
    phases: Crystals
    # Force constants reach up to twice the cut-off, but have decayed at half of 15 Å: frequencies
    # of Zr at special points differ by 0.003 THz at most from those in cells of 20 Å.
    length: PositiveFloat = Field(
        15.0,
        description="least length of the supercell's vectors, an even number of cells, Å, "
        "where repeat is unset",
    )
    repeat: Repeat | None = Field(None, description="of the primitive cell")
    displacement: float = Field(0.01, gt=0.0, lt=0.2, description="of each atom, Å")
    points: int = Field(200, ge=20, description="wave vectors along the path, roughly")
    mesh: PositiveFloat = Field(
        60.0, description="the mesh of wave vectors is that of a cell of this length, Å"
    )
    temperature: PositiveFloat = Field(300.0, description="of thermal values, K")
    fmax: PositiveFloat = Field(1e-4, description="largest force left in the crystal, eV/Å")
    steps: PositiveInt = Field(300, description="more mean that the property fails")

    @model_validator(mode="after")
    def _phases(self) -> PhononsConfig:
        check_titles(self.phases)
        return self

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives; thermal ones are left out of unstable crystals."""
        return tuple(
            f"{phase.title}.{name}" for phase in self.phases for name in _value_names(phase)
        )


def _value_names(phase: Solid) -> tuple[str, ...]:
    primitive = phase.primitive()
    ends = [f"{point}.{end}" for point in _special(primitive) for end in ("lowest", "highest")]
    # Acoustic modes are zero at Γ whatever the potential.
    known = ("G.lowest", "G.highest") if len(primitive) == 1 else ("G.lowest",)
    return (*(name for name in ends if name not in known), *_NAMES, *_STABLE_NAMES)


def _special(primitive: Atoms) -> dict[str, Floats]:
    """Points of high symmetry on the path, in reciprocal vectors of the cell, shape (3,)."""
    path = primitive.cell.bandpath(npoints=0)
    names = dict.fromkeys(name for line in parse_path_string(path.path) for name in line)
    return {name: path.special_points[name] for name in names}


@register_property(PhononsConfig, draw=draw_phonons, seconds=6.0)
def phonons(calculator: BaseCalculator, config: PhononsConfig) -> PropertyResult:
    """Compute the phonons of relaxed crystals.

    Parameters
    ----------
    calculator
        With forces, and stress for the relaxation.
    config
        The phases, the supercell and the wave vectors.

    Returns
    -------
    PropertyResult
        Frequencies are in THz, those of imaginary modes negative. For each phase ``POINT.lowest``
        and ``POINT.highest`` at points of high symmetry; of all modes ``lowest``, which is zero
        unless some are imaginary, ``highest`` and ``imaginary_fraction`` (of a mesh); of stable
        phases also ``zero_point_energy``, ``vibrational_free_energy`` (meV/atom), ``entropy`` and
        ``heat_capacity`` at constant volume (J/mol/K, a mole of atoms).
        Curves are ``PHASE.band_N``, ``PHASE.dos`` and ``PHASE.force_constants``.
    """
    values: dict[str, Value] = {}
    curves: dict[str, Curve] = {}
    structures: list[Atoms] = []
    warnings: list[str] = []
    for phase in config.phases:
        atoms = relaxed_crystal(phase, calculator, fmax=config.fmax, steps=config.steps)
        structures.append(snapshot(atoms, phase.title))
        repeat = config.repeat or even_repeat(phase.primitive(), config.length)
        found = force_constants(
            structures[-1], calculator, repeat=repeat, displacement=config.displacement
        )
        numbers, lines, remarks = _analyzed(found, phase, structures[-1], config)
        values |= {f"{phase.title}.{name}": one for name, one in numbers.items()}
        curves |= {f"{phase.title}.{name}": one for name, one in lines.items()}
        warnings += [f"{phase.title}: {remark}" for remark in remarks]
    return config.result(values, curves=curves, structures=structures, warnings=warnings)


def _analyzed(
    found: ForceConstants, phase: Solid, atoms: Atoms, config: PhononsConfig
) -> tuple[dict[str, Value], dict[str, Curve], list[str]]:
    """Give the numbers, curves and warnings of one phase."""
    guess = phase.primitive()
    bands, on_path = _dispersion(found.phonons, guess, atoms, config.points)
    special = _special(guess)
    at_points = dict(zip(special, _frequencies(found.phonons, list(special.values())), strict=True))
    found.phonons.run_mesh(config.mesh)
    mesh = found.phonons.mesh
    frequencies, weights = np.array(mesh.frequencies), np.array(mesh.weights)
    imaginary = float(weights @ (frequencies < -_ZERO_FREQUENCY).mean(axis=1) / weights.sum())
    lowest = float(min(frequencies.min(), on_path.min()))
    numbers = {
        f"{point}.{end}": Value(float(choice(all_)), "THz")
        for point, all_ in at_points.items()
        for end, choice in (("lowest", np.min), ("highest", np.max))
    }
    numbers |= {
        "lowest": Value(lowest if lowest < -_ZERO_FREQUENCY else 0.0, "THz"),
        "highest": Value(float(max(frequencies.max(), on_path.max())), "THz"),
        "imaginary_fraction": Value(imaginary),
    }
    if lowest >= -_ZERO_FREQUENCY:
        numbers |= _thermal(found.phonons, len(atoms), config.temperature)
    numbers = {name: numbers[name] for name in _value_names(phase) if name in numbers}
    curves = bands | {
        "dos": _density(found.phonons, len(atoms)),
        "force_constants": _decay_curve(found),
    }
    return numbers, curves, _warnings(found, at_points, lowest, imaginary)


def _frequencies(of: Phonons, points: Sequence[Floats]) -> Floats:
    """Frequencies (THz) at wave vectors in reciprocal vectors, rising, shape (points, bands)."""
    of.run_qpoints(points)
    return np.array(of.qpoints.frequencies)


def _dispersion(
    of: Phonons, guess: Atoms, atoms: Atoms, points: int
) -> tuple[dict[str, Curve], Floats]:
    """Give the bands as curves, and all their frequencies (THz)."""
    # Of the guess, so that all potentials have the same path even where lattice parameters
    # decide about the points of high symmetry.
    path = guess.cell.bandpath(npoints=points)
    relaxed = BandPath(atoms.cell, path.kpts, path.special_points, path.path)
    x, at, names = relaxed.get_linear_kpoint_axis()
    frequencies = _frequencies(of, list(path.kpts))
    marks: dict[float, str] = {}
    for place, name in zip(map(float, at), names, strict=True):
        label = name.replace("G", "Γ")
        marks[place] = f"{marks[place]}|{label}" if place in marks else label
    bands = {
        f"band_{number}": Curve(
            x, band, "wave vector (Å⁻¹)", "frequency (THz)", tuple(marks.items())
        )
        for number, band in enumerate(frequencies.T, start=1)
    }
    return bands, frequencies


def _density(of: Phonons, atoms: int) -> Curve:
    """Density of states, whose integral is 3."""
    of.run_total_dos(use_tetrahedron_method=True)
    density = np.array(of.total_dos.dos) / atoms
    return Curve(
        np.array(of.total_dos.frequency_points),
        density,
        "frequency (THz)",
        "density of states (1/THz/atom)",
    )


def _decay_curve(found: ForceConstants) -> Curve:
    """Largest force constants between atoms at each distance."""
    shells, members = np.unique(found.distances.round(2), return_inverse=True)
    largest = np.zeros(len(shells))
    np.maximum.at(largest, members.ravel(), found.norms)
    others = shells > _SELF_DISTANCE
    return Curve(shells[others], largest[others], "distance (Å)", "force constants (eV/Å²)")


def _thermal(of: Phonons, atoms: int, temperature: float) -> dict[str, Value]:
    """Give what a stable crystal owes to its vibrations, from the modes on the mesh."""
    of.run_thermal_properties(temperatures=[temperature], cutoff_frequency=_ZERO_FREQUENCY)
    _, free, entropy, capacity = (
        float(column[0]) / atoms for column in of.thermal_properties.thermal_properties
    )
    weights = np.array(of.mesh.weights)
    mean = weights @ np.array(of.mesh.frequencies).clip(min=0.0).sum(axis=1) / weights.sum()
    zero_point = 1000.0 * 0.5 * _hplanck * J * _THZ * float(mean) / atoms
    numbers = (
        Value(zero_point, "meV/atom"),
        Value(1000.0 * free * kJ / mol, "meV/atom"),
        Value(entropy, "J/mol/K"),
        Value(capacity, "J/mol/K"),
    )
    return dict(zip(_STABLE_NAMES, numbers, strict=True))


def _warnings(
    found: ForceConstants, at_points: dict[str, Floats], lowest: float, imaginary: float
) -> list[str]:
    warnings = []
    if lowest < -_ZERO_FREQUENCY:
        where = [name for name, some in at_points.items() if some.min() < -_ZERO_FREQUENCY]
        warnings.append(
            f"dynamically unstable: {100.0 * imaginary:.2g} % of the modes are imaginary, down to "
            f"{lowest:.3g} THz" + (f"; at {', '.join(where)} among others" if where else "")
        )
    if found.sum_rule > _SUM_RULE_LIMIT:
        warnings.append(
            f"forces on displaced atoms do not add up to zero: {found.sum_rule:.2g} eV/Å² have "
            "been taken off force constants"
        )
    edge = found.images / 2.0
    far = found.norms[found.distances >= edge - _SELF_DISTANCE].max(initial=0.0)
    if far > _FAR_FRACTION * found.norms[found.distances > _SELF_DISTANCE].max(initial=0.0):
        warnings.append(
            f"force constants are still {far:.2g} eV/Å² half a supercell away ({edge:.1f} Å): "
            "take a larger one"
        )
    return warnings
