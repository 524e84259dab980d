"""A heptamer of Pt on Pt(111) with a Morse potential, the usual test of saddle searches."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from ase import Atoms
from ase.build import fcc111
from ase.calculators.calculator import Calculator, all_changes
from ase.constraints import FixAtoms
from vesin import NeighborList

LATTICE_CONSTANT = 3.88112  # of this Morse solid, Å


class MorsePt(Calculator):
    """Pair-wise Morse potential, cut off and shifted in energy; vectorised with a skin.

    Parameters
    ----------
    depth, stiffness, distance
        PairCurve depth (eV), its exponent (1/Å) and the pair distance (Å).
    cutoff, skin
        Range of the pairs and of their list beyond it, Å.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces"]

    def __init__(
        self,
        depth: float = 0.7102,
        stiffness: float = 1.6047,
        distance: float = 2.8970,
        cutoff: float = 9.5,
        skin: float = 0.6,
    ) -> None:
        super().__init__()
        self._form = (depth, stiffness, distance, cutoff)
        self._skin = skin
        self._built_at: np.ndarray | None = None
        self.count = 0

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: tuple[str, ...] = ("energy",),
        system_changes: list[str] = all_changes,
    ) -> None:
        """Compute energy (eV) and forces (eV/Å)."""
        super().calculate(atoms, properties, system_changes)
        self.count += 1
        depth, stiffness, distance, cutoff = self._form
        x = self.atoms.positions
        self._refresh_pairs(system_changes)
        d = x[self._j] - x[self._i] + self._shift
        r = np.sqrt(np.einsum("ij,ij->i", d, d))
        t = np.exp(-stiffness * (r - distance))
        end = np.exp(-stiffness * (cutoff - distance))
        inside = r < cutoff
        energies = np.where(inside, depth * (t * (t - 2) - end * (end - 2)), 0.0)
        slopes = np.where(inside, 2 * depth * stiffness * t * (t - 1) / r, 0.0)[:, None] * d
        n = len(x)
        forces = np.stack(
            [
                np.bincount(self._j, slopes[:, k], n) - np.bincount(self._i, slopes[:, k], n)
                for k in range(3)
            ],
            axis=1,
        )
        energy = float(energies.sum())
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}

    def _refresh_pairs(self, changes: list[str]) -> None:
        x = self.atoms.positions
        if self._built_at is not None and not {"numbers", "cell", "pbc"} & set(changes):
            moved = np.max(np.sum((x - self._built_at) ** 2, axis=1))
            if moved < (self._skin / 2) ** 2:
                return
        search = NeighborList(cutoff=self._form[3] + self._skin, full_list=False)
        cell = self.atoms.cell.array
        i, j, cells = search.compute(
            points=x, box=cell, periodic=bool(self.atoms.pbc.any()), quantities="ijS"
        )
        self._i, self._j = i.astype(np.int64), j.astype(np.int64)
        self._shift = cells @ cell
        self._built_at = x.copy()


def heptamer() -> Atoms:
    """Return the unrelaxed island on six layers of 7 × 8 atoms, the lower three fixed."""
    slab = fcc111("Pt", (7, 8, 6), a=LATTICE_CONSTANT, orthogonal=True, periodic=False)
    heights = np.unique(np.round(slab.positions[:, 2], 3))
    slab.cell[2, 2] = heights[-1] + 25.0
    slab.pbc = True
    third = slab.positions[np.abs(slab.positions[:, 2] - heights[-3]) < 0.1]
    middle = slab.cell.diagonal()[:2] / 2
    hollow = third[np.argmin(np.sum((third[:, :2] - middle) ** 2, axis=1))]
    near = LATTICE_CONSTANT / np.sqrt(2)
    angles = np.arange(6) * np.pi / 3
    ring = near * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    sites = np.vstack([hollow, hollow + ring])
    sites[:, 2] = heights[-1] + LATTICE_CONSTANT / np.sqrt(3)
    atoms = slab + Atoms("Pt7", positions=sites)
    atoms.set_constraint(FixAtoms(mask=atoms.positions[:, 2] < heights[2] + 0.1))
    return atoms
