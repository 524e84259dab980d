"""Steps on a model of the Hessian: dense in the subspace explored so far, a constant outside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

_DEPENDENT = 1e-7


class SubspaceHessian:
    """Limited-memory model of a Hessian with eigenvalues of either sign.

    On the span of an orthonormal basis the model is a dense symmetric matrix; on the complement
    it is `stiffness` times the identity. Every gradient, step and Hessian-vector product of a
    search widens the basis, so that steps, which lie in the span, see the model exactly. When
    the basis is full, the directions whose curvature differs least from the stiffness leave.

    Parameters
    ----------
    size
        Number of degrees of freedom, n.
    stiffness
        Curvature of directions not met yet, eV/Å²; rather too large than too small.
    memory
        Largest dimension of the basis.
    """

    def __init__(self, size: int, *, stiffness: float = 30.0, memory: int = 200) -> None:
        self.size = size
        self.stiffness = float(stiffness)
        self.capacity = min(size, max(8, memory))
        self._rows = np.zeros((self.capacity, size))
        self._matrix = np.zeros((0, 0))
        self._eigen: tuple[np.ndarray, np.ndarray] | None = (np.zeros(0), np.zeros((0, 0)))

    @property
    def basis(self) -> np.ndarray:
        """Orthonormal rows, (d, n)."""
        return self._rows[: len(self._matrix)]

    def eigen(self) -> tuple[np.ndarray, np.ndarray]:
        """Return eigenvalues (d,), ascending unless just widened, and eigenvectors as columns.

        The eigenvectors, (d, d), refer to the basis.
        """
        if self._eigen is None:
            self._eigen = np.linalg.eigh(self._matrix)
        return self._eigen

    def extend(self, vector: np.ndarray) -> None:
        """Make the basis contain a vector.

        Parameters
        ----------
        vector
            Any vector, (n,).
        """
        length = np.sqrt(vector @ vector)
        if length == 0.0:
            return
        rest = vector / length
        for _ in range(2):
            rest = rest - (self.basis @ rest) @ self.basis
        norm = np.sqrt(rest @ rest)
        if norm < _DEPENDENT or len(self._matrix) == self.size:
            return
        if len(self._matrix) == self.capacity:
            self._compress()
        count = len(self._matrix)
        self._rows[count] = rest / norm
        values, vectors = self.eigen()
        self._matrix = _bordered(self._matrix, self.stiffness)
        self._eigen = (np.append(values, self.stiffness), _bordered(vectors, 1.0))

    def _compress(self) -> None:
        values, vectors = self.eigen()
        contrast = np.abs(np.log(np.maximum(values, 1e-3) / self.stiffness))
        keep = np.argsort(-contrast, kind="stable")[: (3 * self.capacity) // 4]
        rows = vectors[:, keep].T @ self.basis
        self._rows[: len(keep)] = rows
        self._matrix = np.diag(values[keep])
        self._eigen = (values[keep], np.eye(len(keep)))

    def update(self, steps: np.ndarray, changes: np.ndarray) -> None:
        """Learn that the Hessian maps each step to its change of gradient.

        Block form of the TS-BFGS update (Bofill; Anglada and Bofill, J. Comput. Chem. 19 (1998)
        349): keeps the model symmetric, fits all pairs of the block at once and, unlike BFGS,
        lets eigenvalues be negative.

        Parameters
        ----------
        steps
            Displacements, (k, n), linearly independent, Å.
        changes
            Changes of the gradient, (k, n), eV/Å.
        """
        for vector in (*steps, *changes):
            self.extend(vector)
        s, y = self.basis @ steps.T, self.basis @ changes.T
        product = s.T @ y
        if len(steps) > 1:  # s^T y of an exact Hessian is symmetric
            symmetric = 0.5 * (product + product.T)
            y = y + s @ np.linalg.solve(s.T @ s, symmetric - product)
            product = symmetric
        values, vectors = self.eigen()
        absolute = vectors @ (np.abs(values)[:, None] * (vectors.T @ s))
        weights = y @ product.T + absolute @ (s.T @ absolute)
        error = y - self._matrix @ s
        u = np.linalg.solve(s.T @ weights, weights.T).T
        cross = error @ u.T
        matrix = self._matrix + cross + cross.T - u @ (error.T @ s) @ u.T
        if np.all(np.isfinite(matrix)):
            self._matrix = 0.5 * (matrix + matrix.T)
            self._eigen = None

    def product(self, vector: np.ndarray) -> np.ndarray:
        """Return the model times a vector, (n,).

        Parameters
        ----------
        vector
            Any vector, (n,).
        """
        inside = self.basis @ vector
        outside = vector - inside @ self.basis
        return (self._matrix @ inside) @ self.basis + self.stiffness * outside

    def softest(self, apart: np.ndarray | None = None) -> int:
        """Return which eigenvector is lowest.

        Parameters
        ----------
        apart
            Orthonormal rows, (m, n), of directions to stay clear of: they count as stiff.
        """
        values, vectors = self.eigen()
        if apart is not None and len(apart):
            overlaps = (apart @ self.basis.T) @ vectors
            values = values + self.stiffness * np.sum(overlaps**2, axis=0)
        return int(np.argmin(values))

    def lowest(self, apart: np.ndarray | None = None) -> tuple[float, np.ndarray]:
        """Return the lowest eigenvalue, eV/Å², and its eigenvector, (n,).

        Parameters
        ----------
        apart
            As for `softest`.
        """
        values, vectors = self.eigen()
        index = self.softest(apart)
        return float(values[index]), vectors[:, index] @ self.basis

    def state(self) -> dict[str, np.ndarray]:
        """Return everything as arrays, for a checkpoint."""
        values, vectors = self.eigen()
        return {
            "basis": self.basis.copy(),
            "matrix": self._matrix,
            "values": values,
            "vectors": vectors,
            "stiffness": np.array(self.stiffness),
        }

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Go on from a checkpoint.

        Parameters
        ----------
        arrays
            What `state` returned.
        """
        self._rows[: len(arrays["basis"])] = arrays["basis"]
        self._matrix = arrays["matrix"]
        self._eigen = (arrays["values"], arrays["vectors"])
        self.stiffness = float(arrays["stiffness"])


def _bordered(matrix: np.ndarray, corner: float) -> np.ndarray:
    count = len(matrix)
    wider = np.zeros((count + 1, count + 1))
    wider[:count, :count] = matrix
    wider[count, count] = corner
    return wider


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
    *,
    climb: bool = True,
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
    climb
        Whether the lowest eigenvector is climbed; False descends it too.
    sign
        Side of the lowest eigenvector to climb to when the gradient along it vanishes.
    apart
        Orthonormal rows, (m, n), of directions not to climb.
    """
    model.extend(gradient)
    values, vectors = model.eigen()
    parts = vectors.T @ (model.basis @ gradient)
    stiff = np.maximum(np.abs(values), settings.softest)
    soft = model.softest(apart)
    uphill = np.sign(parts[soft]) if abs(parts[soft]) > 1e-8 else sign
    low, high = _climb_limits(model, gradient, atoms, soft, settings)

    def shifted(shift: float) -> tuple[np.ndarray, np.ndarray]:
        amounts = -parts / (stiff + shift)
        if climb:
            amounts[soft] = uphill * np.clip(abs(amounts[soft]), low / (1.0 + shift), high)
        return amounts, (vectors @ amounts) @ model.basis

    amounts, step = _within(shifted, atoms, radius)
    return Proposal(step, (vectors @ (parts + values * amounts)) @ model.basis)


def _climb_limits(
    model: SubspaceHessian,
    gradient: np.ndarray,
    atoms: np.ndarray,
    soft: int,
    settings: TranslationSettings,
) -> tuple[float, float]:
    values, vectors = model.eigen()
    mode = vectors[:, soft] @ model.basis
    across = largest_atom(gradient - (gradient @ mode) * mode, atoms)
    if across > settings.relax_force:
        return 0.0, settings.relax_climb
    return (settings.min_climb if values[soft] > 0 else 0.0), np.inf


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


def adapted_radius(
    radius: float,
    taken: float,
    expected: np.ndarray,
    gradients: tuple[np.ndarray, np.ndarray],
    settings: TranslationSettings,
) -> tuple[float, float]:
    """Return the next trust radius, Å, and the error of the model's gradient.

    Parameters
    ----------
    radius, taken
        Trust radius and longest atomic displacement of the last step, Å.
    expected
        Gradient that the model expected after the step, (n,), eV/Å.
    gradients
        Gradients before and after it, (n,), eV/Å.
    settings
        Limits of the radius.

    Returns
    -------
    tuple
        The radius, and the error as a fraction of the gradient before.
    """
    before, after = gradients
    norm = max(float(np.linalg.norm(before)), 1e-12)
    growth = float(np.linalg.norm(after)) / norm
    error = float(np.linalg.norm(after - expected)) / norm
    if error < max(0.8, 0.5 * growth):
        radius = min(settings.max_step, 1.5 * radius)
    elif error > max(1.0, 0.8 * growth):
        radius = max(settings.min_step, 0.5 * min(radius, taken))
    return radius, error
