"""Crystals, deformed crystals, and structures of files."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from ase.data import atomic_numbers
from pydantic import Field, PositiveFloat

from pescape.config import Strict
from pescape.data.configurations import read_configurations
from pescape.errors import SOURCE
from pescape.plugins.structures import crystal, deformation_grid, deformed
from pescape.structures.base import Family, HostFamily, Lattice, Repeat

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

    from pescape.structures.base import Plan


class CrystalConfig(Strict):
    """An elemental crystal, in one or several supercells."""

    element: str
    lattice: Lattice
    a: PositiveFloat = Field(description="lattice parameter, Å")
    c_over_a: PositiveFloat | None = Field(None, description="of hcp and omega")
    cubic: bool = Field(False, description="conventional instead of primitive cell")
    repeat: Annotated[tuple[Repeat, ...], Field(min_length=1)] = ((1, 1, 1),)

    def build(self) -> list[Atoms]:
        """Build the supercells; each knows its name."""
        return [_supercell(self, repeat) for repeat in self.repeat]


class CrystalStart(HostFamily):
    """A crystal, in one or several supercells."""

    family: Literal["crystal"] = "crystal"
    cubic: bool = Field(False, description="conventional instead of primitive cell")
    repeat: Annotated[tuple[Repeat, ...], Field(min_length=1)] = ((1, 1, 1),)

    def check(self) -> None:
        """Raise ValueError where there is no such element; c_over_a may be idle."""
        if self.element not in atomic_numbers:
            raise ValueError(f"{self.element!r} is no chemical symbol")

    def plans(self, folder: Path) -> list[Plan]:  # noqa: ARG002
        """Give what builds the supercells."""
        return [partial(_scaled, _supercell(self, repeat)) for repeat in self.repeat]


class DeformedStart(HostFamily):
    """Crystals under systematic strains; see `deformation_grid`."""

    family: Literal["deformed"]
    cubic: bool = Field(True, description="conventional instead of primitive cell")
    repeat: Annotated[tuple[Repeat, ...], Field(min_length=1)] = ((1, 1, 1),)
    modes: tuple[str, ...] | None = Field(None, description="by lattice if unset")
    magnitudes: tuple[PositiveFloat, ...] | None = Field(None, description="by lattice if unset")

    def plans(self, folder: Path) -> list[Plan]:  # noqa: ARG002
        """Give what builds each deformation in each supercell."""
        return [
            self._plan(deformed, mode, strain, cubic=self.cubic, repeat=repeat)
            for repeat in self.repeat
            for mode, strain in deformation_grid(self.lattice, self.modes, self.magnitudes)
        ]


class FilesStart(Family):
    """Structures as files hold them."""

    family: Literal["files"]
    files: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="in any format of ASE; beside the configuration file"
    )

    def check(self) -> None:
        """Leave what the files hold until they are read."""

    def plans(self, folder: Path) -> list[Plan]:
        """Give what hands the structures out."""
        read = [atoms for name in self.files for atoms in named_structures(folder / name)]
        return [partial(_scaled, atoms) for atoms in read]


def named_structures(path: Path) -> list[Atoms]:
    """Read structures from a file; those without a name are named by file and frame."""
    found = read_configurations(path)
    for index, atoms in enumerate(found):
        atoms.info.pop(SOURCE)
        atoms.info.setdefault("name", path.name if len(found) == 1 else f"{path.name} {index}")
    return found


def _supercell(table: CrystalConfig | CrystalStart, repeat: Repeat) -> Atoms:
    atoms = crystal(
        table.element,
        table.lattice,
        table.a,
        c_over_a=table.c_over_a,
        cubic=table.cubic,
        repeat=repeat,
    )
    atoms.info["name"] = f"{table.lattice} {table.element}{len(atoms)}"
    return atoms


def _scaled(atoms: Atoms, volume: float) -> Atoms:
    new = atoms.copy()
    new.set_cell(atoms.cell.array * volume ** (1 / 3), scale_atoms=True)
    return new
