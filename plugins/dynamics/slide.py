"""Relaxation that always goes down, on the model of the Hessian that a search has built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pescape.plugins.dynamics.hessian import SubspaceHessian
from pescape.plugins.dynamics.images import consistent_energy
from pescape.plugins.dynamics.projection import FreeSpace, free_components
from pescape.plugins.dynamics.translation import (
    TranslationSettings,
    adapted_radius,
    descend,
    gradient_error,
    growth_of,
    largest_atom,
)

if TYPE_CHECKING:
    from ase import Atoms

_NOISE = 1e-6  # eV: rises of the energy below this are rounding


@dataclass(frozen=True)
class Slide:
    """How a relaxation ended: energy in eV, force calls, whether forces are below the limit."""

    energy: float
    calls: int
    converged: bool


def relax(atoms: Atoms, fmax: float, steps: int, *, model: SubspaceHessian | None = None) -> Slide:
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
        proposal = descend(model, gradient, owners, radius, settings)
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
        error = gradient_error(proposal.gradient, turned, gradient)
        growth = growth_of(gradient, turned)
        radius = adapted_radius(radius, taken, error, growth, settings)
        energy, gradient = found, turned
    return Slide(energy, calls, largest_atom(gradient, owners) < fmax)
