"""A Hessian model that is dense in the subspace explored so far and a constant outside it."""

from __future__ import annotations

import numpy as np

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
        """Make the basis contain a vector, (n,)."""
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
        """Return the model times a vector, (n,)."""
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
        """Return the lowest eigenvalue and its eigenvector, (n,); `apart` as for `softest`."""
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
        """Take back what `state` returned."""
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
