"""Crystals that properties are computed of: how they are named, built and relaxed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from ase.constraints import FixSymmetry
from ase.data import atomic_numbers, reference_states
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS, LBFGS
from pydantic import Discriminator, Field, PositiveFloat, PositiveInt, Tag, model_validator

from pescape.config import tag_of
from pescape.plugins.structures import crystal
from pescape.plugins.structures.crystals import BulkCrystal
from pescape.validation.compounds import Prototype, Solid, StructureFile, value_name
from pescape.validation.property import PropertyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator


# Beyond this many coordinates the dense Hessian of BFGS costs more than it gains.
_DENSE_COORDINATES = 60
# What the springs of the first step are (eV/Å²), as ASE's BFGS has it.
_STIFFNESS = 70.0
_MAXSTEP = 0.1


def minimised(
    atoms: Atoms,
    target: Any = None,  # noqa: ANN401 (atoms, or one of ASE's filters of them)
    *,
    fmax: float,
    steps: int,
    what: str,
) -> int:
    """Minimize the energy of a structure, in place.

    Parameters
    ----------
    atoms
        With a calculator.
    target
        A filter of `atoms` that relaxes the cell too; by default positions alone.
    fmax
        Largest force that may be left, eV/Å.
    steps
        Most optimizer steps.
    what
        Names the structure in errors.

    Returns
    -------
    int
        Steps taken.

    Raises
    ------
    PropertyError
        Not converged, or the energy or a force is not finite.
    """
    target = atoms if target is None else target
    if 3 * len(target) <= _DENSE_COORDINATES:
        optimizer: Any = BFGS(target, logfile=None, alpha=_STIFFNESS, maxstep=_MAXSTEP)
    else:
        optimizer = LBFGS(target, logfile=None, alpha=_STIFFNESS, maxstep=_MAXSTEP)  # type: ignore[arg-type]
    converged = optimizer.run(fmax=fmax, steps=steps)
    left = float(np.linalg.norm(target.get_forces(), axis=1).max())
    if not np.isfinite(left) or not np.isfinite(atoms.get_potential_energy()):
        raise PropertyError(f"{what}: energy or forces are not finite")
    if not converged:
        raise PropertyError(
            f"{what}: not relaxed after {steps} steps, a force of {left:.3g} eV/Å is left"
        )
    return int(optimizer.nsteps)


Repeat = tuple[PositiveInt, PositiveInt, PositiveInt]

HEXAGONAL = ("hcp", "omega")
#: Atoms in the cube of edge a, for cubic lattices.
_PER_CUBE = {"sc": 1, "bcc": 2, "fcc": 4, "diamond": 8}
#: Atoms in the primitive cell of hexagonal ones, and the c/a they are built with.
_PER_PRISM = {"hcp": (2, (8 / 3) ** 0.5), "omega": (3, 0.62)}
_PER_CONVENTIONAL = {**_PER_CUBE, "hcp": 4, "omega": 3}
# Å; cells of compounds are put into their exact symmetry before they are relaxed.
_SYMMETRIC = 1e-3


class Crystal(Solid):
    """An elemental crystal; its lattice parameters are first guesses, to be relaxed."""

    element: str
    lattice: Literal["bcc", "diamond", "fcc", "hcp", "omega", "sc"]
    a: PositiveFloat | None = Field(
        None, description="Å; from the element's experimental volume per atom if unset"
    )
    c_over_a: PositiveFloat | None = Field(None, description="of hcp and omega")
    name: str | None = Field(None, description="in names of values; the lattice if unset")

    @model_validator(mode="after")
    def _known(self) -> Crystal:
        if self.element not in atomic_numbers:
            raise ValueError(f"element {self.element!r} is no chemical symbol")
        if self.c_over_a is not None and self.lattice not in HEXAGONAL:
            raise ValueError(f"c_over_a goes with hcp and omega, not with {self.lattice}")
        if self.a is None and _reference_volume(self.element) is None:
            raise ValueError(f"a: the crystal of {self.element} is not tabulated, give a = ... Å")
        return self

    @property
    def title(self) -> str:
        """How values name it."""
        return value_name(self.name or self.lattice)

    @property
    def system(self) -> str:
        """The crystal system."""
        return "hexagonal" if self.lattice in HEXAGONAL else "cubic"

    def primitive(self) -> Atoms:
        """Build the primitive cell with the guessed lattice parameters."""
        return crystal(self.element, self.lattice, self._guess(), c_over_a=self.c_over_a)

    def _guess(self) -> float:
        if self.a is not None:
            return self.a
        volume = _reference_volume(self.element)
        assert volume is not None, "validated"
        if not self.hexagonal:
            return float((volume * _PER_CUBE[self.lattice]) ** (1 / 3))
        count, ratio = _PER_PRISM[self.lattice]
        ratio = self.c_over_a or ratio
        return float((2 * count * volume / (3**0.5 * ratio)) ** (1 / 3))

    def parameters(self, atoms: Atoms) -> dict[str, float]:
        """Lattice parameters (Å): a, and c if the lattice has one.

        Parameters
        ----------
        atoms
            A primitive cell of this lattice.
        """
        if self.hexagonal:
            lengths = atoms.cell.lengths()
            return {"a": float(lengths[0]), "c": float(lengths[2])}
        volume = atoms.get_volume() / len(atoms)
        return {"a": float((volume * _PER_CUBE[self.lattice]) ** (1 / 3))}

    def host(self, relaxed: Atoms) -> BulkCrystal:
        """Describe the crystal for builders of defects.

        Parameters
        ----------
        relaxed
            The relaxed primitive cell.
        """
        found = self.parameters(relaxed)
        ratio = found["c"] / found["a"] if self.hexagonal else None
        return BulkCrystal(self.element, self.lattice, found["a"], ratio)

    def count(self, repeat: Repeat) -> int:
        """Count the atoms of a supercell.

        Parameters
        ----------
        repeat
            Of the conventional cell, orthorhombic for hcp.
        """
        return _PER_CONVENTIONAL[self.lattice] * int(np.prod(repeat))


def _crystal_tag(given: Any) -> str:  # noqa: ANN401 (whatever stands in the file)
    """Name the model that a table is one of, by what it holds."""
    if isinstance(given, Solid):
        return tag_of(type(given))
    keys = given if isinstance(given, dict) else {}
    if "prototype" in keys or "formula" in keys:
        return tag_of(Prototype)
    return tag_of(StructureFile if "file" in keys or "geometry" in keys else Crystal)


#: An elemental crystal, a compound of a structure type, or what a file holds.
AnyCrystal = Annotated[
    Annotated[Crystal, Tag(tag_of(Crystal))]
    | Annotated[Prototype, Tag(tag_of(Prototype))]
    | Annotated[StructureFile, Tag(tag_of(StructureFile))],
    Discriminator(_crystal_tag),
]
Crystals = Annotated[tuple[AnyCrystal, ...], Field(min_length=1)]


def check_titles(crystals: Sequence[Solid]) -> None:
    """Refuse crystals whose values would have the same names.

    Parameters
    ----------
    crystals
        Of one property.
    """
    titles = [one.title for one in crystals]
    twice = {title for title in titles if titles.count(title) > 1}
    if twice:
        raise ValueError(f"two crystals are called {twice.pop()!r}: tell them apart by name = ...")


def repeat_to_length(cell: Atoms, length: float) -> Repeat:
    """Repeat a cell along each vector as often as it takes to be that long.

    Parameters
    ----------
    cell
        The cell.
    length
        Least length of the supercell's vectors, Å.
    """
    first, second, third = np.ceil(length / cell.cell.lengths() - 1e-3)
    return int(first), int(second), int(third)


def relaxed_crystal(
    of: Solid,
    calculator: BaseCalculator,
    *,
    fmax: float = 0.001,
    steps: int = 200,
    volume: float | None = None,
    start: Atoms | None = None,
) -> Atoms:
    """Relax a primitive cell without leaving its symmetry.

    A crystal that is mechanically unstable, as bcc Zr is, stays what it is: elements change
    their volume, and c/a if they have it; compounds keep to their space group.

    Parameters
    ----------
    of
        The crystal.
    calculator
        With stress.
    fmax
        Largest force (eV/Å) and virial per atom (eV) that may be left.
    steps
        Most optimizer steps.
    volume
        Keep to this, Å³/atom, and relax the rest.
    start
        Where to start from, a primitive cell of the crystal; its guess if None.

    Returns
    -------
    Atoms
        The primitive cell, with the calculator.
    """
    atoms = of.primitive() if start is None else start.copy()
    if volume is not None:
        scale = (volume * len(atoms) / atoms.get_volume()) ** (1 / 3)
        atoms.set_cell(atoms.cell.array * scale, scale_atoms=True)
    atoms.calc = calculator
    fixed = volume is not None
    if isinstance(of, Crystal) and fixed and not of.hexagonal:
        atoms.get_potential_energy()
        return atoms
    if isinstance(of, Crystal):
        options = _element_options(of, fixed=fixed)
    else:
        options = {"constant_volume": fixed}
        atoms.set_constraint(FixSymmetry(atoms, symprec=_SYMMETRIC))
    minimised(atoms, FrechetCellFilter(atoms, **options), fmax=fmax, steps=steps, what=of.title)
    atoms.set_constraint()
    _check_sane(of, atoms)
    return atoms


def _element_options(of: Crystal, *, fixed: bool) -> dict[str, Any]:
    """Say how the cell of an elemental crystal may change."""
    if of.hexagonal:
        return {"mask": [1, 1, 1, 0, 0, 0], "constant_volume": fixed}
    return {"hydrostatic_strain": True}


def _check_sane(of: Solid, relaxed: Atoms) -> None:
    """Refuse what has left the lattice it began as."""
    ratio = relaxed.get_volume() / of.primitive().get_volume()
    if not 0.4 < ratio < 2.5:
        raise PropertyError(f"{of.title}: its volume went to {ratio:.2g} times the guess")


def _reference_volume(element: str) -> float | None:
    """Volume per atom (Å³) of the element's crystal as ASE tabulates it."""
    state: dict[str, Any] = reference_states[atomic_numbers[element]] or {}  # type: ignore[assignment]
    lattice, a = state.get("symmetry"), state.get("a")
    if a is None:
        return None
    if lattice in _PER_CUBE:
        return float(a**3 / _PER_CUBE[lattice])
    if lattice == "hcp":
        return float(3**0.5 / 4 * a**3 * state["c/a"])
    return None
