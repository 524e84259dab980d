"""What properties by molecular dynamics share: cells, time steps, errors of averages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from ase.build import make_supercell
from ase.data import atomic_masses, atomic_numbers
from ase.io import write
from pydantic import AfterValidator

from pescape.validation.crystals import AnyCrystal

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

    from pescape.validation.compounds import Solid
    from pescape.validation.property import Floats
    from pescape.validation.sources import LammpsModel

#: How a barostat, or a minimizer of the cell, keeps the symmetry.
_AXES = {
    "cubic": "iso {0}",
    "hexagonal": "x {0} y {0} z {0} couple xy",
    "trigonal": "x {0} y {0} z {0} couple xy",
    "tetragonal": "x {0} y {0} z {0} couple xy",
    "orthorhombic": "aniso {0}",
}
# Orthogonal cell of a hexagonal one.
_ORTHOGONAL = [[1, 0, 0], [1, 2, 0], [0, 0, 1]]
# The longest time step (fs), and the mass (u) below which steps get shorter.
_LONGEST_STEP, _HEAVY_MASS = 2.0, 64.0


def _orthogonal(crystal: AnyCrystal) -> AnyCrystal:
    if crystal.system not in _AXES:
        raise ValueError(f"{crystal.title} is {crystal.system}: edges have to be orthogonal")
    return crystal


#: A crystal that has supercells with orthogonal edges, in configurations.
OrthogonalCrystal = Annotated[AnyCrystal, AfterValidator(_orthogonal)]


def box_axes(crystal: Solid, pressure: str) -> str:
    """Write which edges of the cell follow the pressure, in the words of LAMMPS.

    Parameters
    ----------
    crystal
        Whose symmetry is kept.
    pressure
        What stands behind each edge: the pressure (bar), for barostats twice and a damping time.
    """
    return _AXES[crystal.system].format(pressure)


def lattice_parameters(crystal: Solid, lengths: Floats, cells: Floats) -> dict[str, Floats]:
    """Give lattice parameters of a supercell with orthogonal edges.

    Parameters
    ----------
    crystal
        Whose parameters.
    lengths
        Of the edges, shape (..., 3), Å.
    cells
        Lattice parameters in each edge, shape (3,): such as the square root of 3 times the
        number of orthogonal cells along y of a hexagonal crystal.

    Returns
    -------
    dict of str to array
        a, and b and c where the symmetry leaves them free, each of shape (...).
    """
    edges = lengths / cells
    names = crystal.parameter_names
    if names == ("a",):
        return {"a": edges.prod(axis=-1) ** (1 / 3)}
    if names == ("a", "c"):
        return {"a": np.sqrt(edges[..., 0] * edges[..., 1]), "c": edges[..., 2]}
    return {name: edges[..., index] for index, name in enumerate("abc")}


def orthogonal_supercell(crystal: Solid, atoms: int) -> tuple[Atoms, Floats]:
    """Build a supercell with orthogonal edges that are about equally long.

    Parameters
    ----------
    crystal
        As it is guessed.
    atoms
        About how many there shall be.

    Returns
    -------
    supercell : Atoms
    cells : ndarray of shape (3,)
        For `lattice_parameters`.
    """
    unit = crystal.conventional(crystal.primitive())
    edges = np.ones(3)
    if crystal.hexagonal:
        unit = make_supercell(unit, _ORTHOGONAL)
        edges[1] = 3**0.5
    unit.set_cell(unit.cell.lengths(), scale_atoms=True)
    edge = (atoms * unit.get_volume() / len(unit)) ** (1 / 3)
    repeat = np.maximum(1, np.round(edge / unit.cell.lengths()).astype(int))
    return unit.repeat(repeat), edges * repeat


def timestep_for(atoms: Atoms) -> float:
    """Choose a time step by the lightest atoms, fs.

    Parameters
    ----------
    atoms
        Those that will move.
    """
    lightest = min(atomic_masses[number] for number in set(atoms.numbers))
    return _LONGEST_STEP * min(1.0, float(lightest / _HEAVY_MASS) ** 0.5)


def _elements_of(atoms: Atoms) -> list[str]:
    """Elements in the order of their atom types."""
    return sorted(set(atoms.symbols), key=lambda one: atomic_numbers[one])


def write_start(folder: Path, atoms: Atoms) -> None:
    """Leave a structure as ``start.data``.

    Parameters
    ----------
    folder
        Where it is left.
    atoms
        The structure.
    """
    write(
        folder / "start.data",
        atoms,
        format="lammps-data",
        specorder=_elements_of(atoms),
        masses=True,
    )


def start(atoms: Atoms, model: LammpsModel, data: str = "start.data") -> str:
    """Write the lines that read a structure and set the potential.

    Parameters
    ----------
    atoms
        The structure, or one of the same elements.
    model
        The potential.
    data
        File that the structure is read from.
    """
    return f"units metal\nread_data {data}\n{model.lines(_elements_of(atoms))}"


def block_error(samples: Floats, blocks: int = 8) -> float:
    """Estimate the standard error of the mean of a series by block averages.

    Parameters
    ----------
    samples
        Shape (n,).
    blocks
        How many averages.
    """
    parts = np.array_split(samples, min(blocks, len(samples)))
    means = np.array([part.mean() for part in parts])
    return float(means.std(ddof=1) / len(means) ** 0.5)
