"""Relaxation that always goes down, on the model of the Hessian that a saddle search has built."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.geometry import find_mic

from pescape.plugins.dynamics.saddle.hessian import (
    SubspaceHessian,
    TranslationSettings,
    adapted_radius,
    largest_atom,
    propose,
)
from pescape.plugins.dynamics.surface import (
    FreeSpace,
    consistent_energy,
    free_components,
    turned_onto,
)

if TYPE_CHECKING:
    from ase import Atoms

_NOISE = 1e-6  # eV: rises of the energy below this are rounding


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where a relaxation ended.

    Attributes
    ----------
    energy
        Potential energy, eV.
    calls
        Force calls.
    converged
        Whether forces are below the limit.
    positions
        Positions, (natoms, 3), Å.
    """

    energy: float
    calls: int
    converged: bool
    positions: np.ndarray


def relax(
    atoms: Atoms, fmax: float, steps: int, *, model: SubspaceHessian | None = None
) -> Minimum:
    """Move atoms downhill to a minimum; no accepted step raises the energy.

    Parameters
    ----------
    atoms
        The atoms, with a calculator; moved.
    fmax
        Largest force at the end, eV/Å.
    steps
        Most force calls.
    model
        Hessian model over the free components, improved on the way; None starts a new one.
    """
    free, owners = free_components(atoms)
    space, settings = FreeSpace(atoms), TranslationSettings()
    model = model or SubspaceHessian(len(free), memory=200)

    def evaluate() -> tuple[float, np.ndarray]:
        forces = atoms.get_forces(apply_constraint=False)
        return consistent_energy(atoms), -space.project(forces).ravel()[free]

    energy, gradient = evaluate()
    calls, radius = 1, settings.first_step
    while largest_atom(gradient, owners) >= fmax and calls < steps:
        proposal = propose(model, gradient, owners, radius, settings, climb=False)
        before = atoms.get_positions()
        full = np.zeros(before.size)
        full[free] = proposal.step
        atoms.set_positions(before + full.reshape(-1, 3))
        step = (atoms.positions - before).ravel()[free]
        found, turned = evaluate()
        calls += 1
        taken = largest_atom(step, owners)
        if taken > 0.0 and np.all(np.isfinite(turned)):
            model.update(step[None], (turned - gradient)[None])
        if not found <= energy + _NOISE:
            atoms.set_positions(before)
            radius = 0.3 * min(radius, taken)
            if radius < 1e-6:
                break
            continue
        radius, _ = adapted_radius(radius, taken, proposal.gradient, (gradient, turned), settings)
        energy, gradient = found, turned
    converged = largest_atom(gradient, owners) < fmax
    return Minimum(energy, calls, converged, atoms.get_positions())


def connect_to_minima(
    saddle: Atoms,
    mode: np.ndarray,
    *,
    push: float = 0.1,
    fmax: float = 0.01,
    steps: int = 500,
    model: SubspaceHessian | None = None,
) -> tuple[Minimum, Minimum]:
    """Relax from both sides of a saddle.

    Parameters
    ----------
    saddle
        Atoms at the saddle, with a calculator; unchanged.
    mode
        Direction from the saddle to the first minimum, (natoms, 3), such as `Dimer.mode`.
    push
        Displacement of the most mobile atom along the mode before each relaxation, Å.
    fmax, steps
        Convergence of the relaxations, eV/Å, and most force calls of each.
    model
        What the search learned of the Hessian, `Dimer.hessian`; unchanged.
    """
    shift = push * mode / np.sqrt(np.max(np.sum(mode**2, axis=1)))
    ends = []
    for sign in (1.0, -1.0):
        atoms = saddle.copy()
        atoms.calc = saddle.calc
        atoms.set_positions(saddle.positions + sign * shift)
        ends.append(relax(atoms, fmax, steps, model=deepcopy(model)))
    return ends[0], ends[1]


def largest_displacement(atoms: Atoms, reference: Atoms) -> float:
    """Return the largest displacement of an atom from a reference, minimum image, Å.

    Without constraints a common translation does not count; nor, without periodic directions, a
    rotation.

    Parameters
    ----------
    atoms, reference
        Two configurations of the same atoms.
    """
    if not atoms.constraints and not atoms.pbc.any():
        moved = turned_onto(atoms.positions, reference.positions) - reference.positions
        return float(np.linalg.norm(moved, axis=1).max())
    moved = find_mic(atoms.positions - reference.positions, atoms.cell, atoms.pbc)[0]
    return float(np.linalg.norm(FreeSpace(atoms).project(moved), axis=1).max())
