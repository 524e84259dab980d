"""Steps towards a saddle on a Hessian model: uphill along one mode, downhill along all others.

Forces turned round along the softest mode, for optimizers that know only how to go down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.filters import Filter

from pescape.plugins.dynamics.runs import FrameFile, FrameTarget, frame
from pescape.plugins.dynamics.saddle.probe import Probe
from pescape.plugins.dynamics.saddle.rotation import Seed, free_mode, random_mode, rotate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ase import Atoms

    from pescape.plugins.dynamics.saddle.hessian import SubspaceHessian


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


_PUSH = 0.3  # eV/Å on the atom that is pushed most where the curvature is positive


class SaddleFilter(Filter):
    """Makes an ordinary ASE optimizer find a saddle: ``FIRE(SaddleFilter(atoms)).run(0.01)``.

    The optimizer sees the force with its part along the softest mode reversed, and where the lowest
    curvature is positive, no smaller than 0.3 eV/Å on one atom, so that it does not converge there.
    Optimizers that minimise the energy along a line cannot use it. `Dimer` needs fewer force calls.

    Parameters
    ----------
    atoms
        The atoms, with a calculator. Constraints are respected.
    mode
        Direction to start from, (natoms, 3) or flattened; random if None. Left unchanged.
    seed
        Seed of the random mode.
    separation
        Distance of a rotated image from the centre, Å, the norm over all atoms.
    tolerance, rotations
        A rotation ends when the residual is below this fraction of the curvature, or after so
        many force calls.
    first_rotations
        Force calls of the first rotation at most.
    images
        File for every force call, tagged as by `Dimer`.
    """

    def __init__(
        self,
        atoms: Atoms,
        mode: np.ndarray | None = None,
        *,
        seed: Seed = None,
        separation: float = 0.01,
        tolerance: float = 0.3,
        rotations: int = 4,
        first_rotations: int = 40,
        images: FrameTarget | None = None,
    ) -> None:
        super().__init__(atoms, mask=np.ones(len(atoms), dtype=bool))
        file = None if images is None else FrameFile(images, append=False)
        self._probe = Probe(atoms, separation, file)
        start = random_mode(atoms, seed) if mode is None else free_mode(atoms, mode)
        self._mode = start.ravel()[self._probe.free]
        self._tolerance = tolerance
        self._rotations = first_rotations, rotations
        self.curvature: float | None = None

    @property
    def mode(self) -> np.ndarray:
        """The current mode, (natoms, 3), of norm one."""
        return self._probe.full(self._mode)

    @property
    def calls(self) -> int:
        """Force calls so far."""
        return self._probe.calls

    def get_forces(self, *args: object, **kwargs: object) -> np.ndarray:
        """Return the reflected forces, (natoms, 3), eV/Å; rotates wherever the atoms are new."""
        del args, kwargs
        probe = self._probe
        if not probe.is_at_centre():
            probe.centre = probe.evaluate(self.atoms.get_positions(), "centre")
            self._rotate()
            probe.step += 1
        return probe.full(self._reflected(-probe.here.gradient))

    def get_potential_energy(self, *args: object, **kwargs: object) -> float:
        """Return the energy of the centre, eV."""
        del args, kwargs
        self.get_forces()
        return self._probe.here.energy

    def iterimages(self) -> Iterator[Atoms]:
        """Yield a copy of the atoms with the centre's energy and forces, for trajectories."""
        self.get_forces()
        yield frame(self.atoms, self._probe.here, curvature=self.curvature)

    def _rotate(self) -> None:
        centre = self._probe.here.positions
        try:
            found = rotate(
                self._probe.product,
                self._mode,
                tolerance=self._tolerance,
                max_calls=self._rotations[0 if self.curvature is None else 1],
                apart=self._probe.rotations(),
            )
        except BaseException:
            self._probe.centre = None  # rotate anew when asked again
            raise
        finally:
            self._probe.place(centre)
        self._mode = found.mode if found.mode @ self._mode >= 0 else -found.mode
        self.curvature = found.curvature

    def _reflected(self, force: np.ndarray) -> np.ndarray:
        along = float(force @ self._mode)
        if self.curvature is not None and self.curvature < 0:
            return force - 2.0 * along * self._mode
        uphill = -np.sign(along) if abs(along) > 1e-8 else 1.0
        least = _PUSH / largest_atom(self._mode, self._probe.owners)
        return force + (uphill * max(abs(along), least) - along) * self._mode
