"""Steps towards a saddle on a Hessian model: uphill along one mode, downhill along all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from pescape.plugins.dynamics.hessian import SubspaceHessian


@dataclass(frozen=True)
class TranslationSettings:
    """How far a step may go.

    Attributes
    ----------
    max_step
        Longest displacement of any one atom in a step, Å.
    first_step
        Longest displacement of an atom in the first step, Å.
    min_step
        The trust region never shrinks below this, Å.
    softest
        Curvatures count as at least this much, eV/Å².
    relax_force
        Above this largest force (eV/Å) across the mode the step relaxes first and climbs little.
    relax_climb
        How far it climbs along the mode meanwhile, Å.
    min_climb
        How far a step climbs at least where the curvature is positive and the forces across the
        mode are small, Å: near a minimum the uphill force alone says little.
    """

    max_step: float = 0.2
    first_step: float = 0.1
    min_step: float = 0.03
    softest: float = 0.3
    relax_force: float = 0.5
    relax_climb: float = 0.03
    min_climb: float = 0.05


@dataclass(frozen=True, eq=False)
class Proposal:
    """A step, (n,) in Å, and the gradient, (n,) in eV/Å, that the model expects after it."""

    step: np.ndarray
    gradient: np.ndarray


def largest_atom(vector: np.ndarray, atoms: np.ndarray) -> float:
    """Return the longest atomic part of a vector.

    Parameters
    ----------
    vector
        One number per degree of freedom, (n,).
    atoms
        The atom each degree of freedom belongs to, (n,).
    """
    return float(np.sqrt(np.bincount(atoms, vector * vector).max()))


def propose(
    model: SubspaceHessian,
    gradient: np.ndarray,
    atoms: np.ndarray,
    radius: float,
    settings: TranslationSettings,
    sign: float = 1.0,
    apart: np.ndarray | None = None,
) -> Proposal:
    """Return the step of a reflected Newton method within a trust region.

    The lowest eigenvector of the model is climbed, all others are descended, each by its force
    over the absolute curvature, with a common shift that keeps every atom's displacement within
    the radius: a partitioned rational-function step whose level shift serves the trust region.

    Parameters
    ----------
    model
        Hessian model; widened by the gradient.
    gradient
        Gradient of the energy, (n,), eV/Å.
    atoms
        Atom of each degree of freedom, (n,).
    radius
        Longest displacement of an atom, Å.
    settings
        Limits of the step.
    sign
        Side of the lowest eigenvector to climb to when the gradient along it vanishes.
    apart
        Orthonormal rows, (m, n), of directions not to climb.
    """
    model.extend(gradient)
    values, vectors = model.eigen()
    parts = vectors.T @ (model.basis @ gradient)
    climb = model.softest(apart)
    stiff = np.maximum(np.abs(values), settings.softest)
    uphill = np.sign(parts[climb]) if abs(parts[climb]) > 1e-8 else sign
    low, high = _climb_limits(model, gradient, atoms, climb, settings)

    def shifted(shift: float) -> tuple[np.ndarray, np.ndarray]:
        amounts = -parts / (stiff + shift)
        amounts[climb] = uphill * np.clip(abs(amounts[climb]), low / (1.0 + shift), high)
        return amounts, (vectors @ amounts) @ model.basis

    amounts, step = _within(shifted, atoms, radius)
    expected = (vectors @ (parts + values * amounts)) @ model.basis
    return Proposal(step, expected)


def descend(
    model: SubspaceHessian,
    gradient: np.ndarray,
    atoms: np.ndarray,
    radius: float,
    settings: TranslationSettings,
) -> Proposal:
    """Return the step that descends along all modes; arguments as for `propose`."""
    model.extend(gradient)
    values, vectors = model.eigen()
    parts = vectors.T @ (model.basis @ gradient)
    stiff = np.maximum(np.abs(values), settings.softest)

    def shifted(shift: float) -> tuple[np.ndarray, np.ndarray]:
        amounts = -parts / (stiff + shift)
        return amounts, (vectors @ amounts) @ model.basis

    amounts, step = _within(shifted, atoms, radius)
    return Proposal(step, (vectors @ (parts + values * amounts)) @ model.basis)


def _climb_limits(
    model: SubspaceHessian,
    gradient: np.ndarray,
    atoms: np.ndarray,
    climb: int,
    settings: TranslationSettings,
) -> tuple[float, float]:
    values, vectors = model.eigen()
    mode = vectors[:, climb] @ model.basis
    across = largest_atom(gradient - (gradient @ mode) * mode, atoms)
    if across > settings.relax_force:
        return 0.0, settings.relax_climb
    return (settings.min_climb if values[climb] > 0 else 0.0), np.inf


def _within(
    shifted: Callable[[float], tuple[np.ndarray, np.ndarray]], atoms: np.ndarray, radius: float
) -> tuple[np.ndarray, np.ndarray]:
    amounts, step = shifted(0.0)
    if largest_atom(step, atoms) <= radius:
        return amounts, step
    below, above = 0.0, 1.0
    while largest_atom(shifted(above)[1], atoms) > radius:
        below, above = above, 4.0 * above
    for _ in range(8):
        middle = 0.5 * (below + above)
        if largest_atom(shifted(middle)[1], atoms) > radius:
            below = middle
        else:
            above = middle
    return shifted(above)


def growth_of(before: np.ndarray, after: np.ndarray) -> float:
    """Return the norm of a vector after a step over its norm before."""
    return float(np.linalg.norm(after)) / max(float(np.linalg.norm(before)), 1e-12)


def gradient_error(expected: np.ndarray, found: np.ndarray, before: np.ndarray) -> float:
    """Return how far the model's gradient was off, as a fraction of the gradient before."""
    return growth_of(before, found - expected)


def adapted_radius(
    radius: float, taken: float, error: float, growth: float, settings: TranslationSettings
) -> float:
    """Return the next trust radius.

    Parameters
    ----------
    radius, taken
        Trust radius and longest atomic displacement of the last step, Å.
    error
        Error of the model, see `gradient_error`.
    growth
        Norm of the gradient after the step over that before.
    settings
        Limits of the radius.
    """
    if error < max(0.8, 0.5 * growth):
        return min(settings.max_step, 1.5 * radius)
    if error > max(1.0, 0.8 * growth):
        return max(settings.min_step, 0.5 * min(radius, taken))
    return radius
