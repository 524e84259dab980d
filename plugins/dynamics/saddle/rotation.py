"""The softest mode of the Hessian: starts, Ritz rotations, and forces reversed along it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.filters import Filter
from ase.geometry import find_mic

from pescape.plugins.dynamics.saddle.hessian import largest_atom
from pescape.plugins.dynamics.saddle.probe import FrameFile, Probe, frame
from pescape.plugins.dynamics.surface import FreeSpace, rigid_rotations, without

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ase import Atoms

    from pescape.plugins.dynamics.saddle.probe import FrameTarget

Seed = int | np.random.SeedSequence | np.random.Generator | None

_DEPENDENT = 1e-6
_PUSH = 0.3  # eV/Å on the atom that is pushed most where the curvature is positive


@dataclass(frozen=True, eq=False)
class Rotation:
    """What a rotation found.

    Attributes
    ----------
    mode
        Unit vector of the lowest curvature in the space searched, (n,).
    curvature
        Its curvature, eV/Å²; never below the lowest eigenvalue of the Hessian.
    residual
        Norm of (H - curvature) mode, eV/Å²: the distance from an eigenvector.
    vectors, products
        All v and Hv of this rotation, (k, n), the v orthonormal.
    """

    mode: np.ndarray
    curvature: float
    residual: float
    vectors: np.ndarray
    products: np.ndarray


def rotate(
    product: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    *,
    tolerance: float,
    max_calls: int,
    correction: Callable[[np.ndarray, float], np.ndarray] | None = None,
    negative_suffices: bool = False,
    apart: np.ndarray | None = None,
) -> Rotation:
    """Find the lowest Ritz pair of a symmetric operator.

    Parameters
    ----------
    product
        Returns H v for a unit vector; one force call.
    start
        First vector, (n,), not zero.
    tolerance
        Stop when the residual is below this fraction of the curvature's absolute value.
    max_calls
        Largest number of products.
    correction
        Turns (residual, curvature) into the next vector, as a Davidson method does; None takes
        the residual itself, as Lanczos' method does.
    negative_suffices
        Stop at the first negative curvature, which proves that the lowest eigenvalue is negative.
    apart
        Orthonormal rows, (m, n), that the mode is to be perpendicular to.

    Returns
    -------
    Rotation
        The lowest Ritz pair and all products.
    """
    vectors: list[np.ndarray] = []
    products: list[np.ndarray] = []
    others = [] if apart is None else list(apart)
    vector = start
    while True:
        following = _orthonormal(vector, [*others, *vectors])
        if following is None:
            break
        vectors.append(following)
        products.append(product(following))
        curvature, mode, rest = _lowest_ritz_pair(np.array(vectors), np.array(products))
        rest = without(rest, *others)
        residual = float(np.sqrt(rest @ rest))
        done = residual <= tolerance * abs(curvature) or (negative_suffices and curvature < 0)
        if done or len(vectors) >= max_calls:
            break
        vector = rest if correction is None else correction(rest, curvature)
    if not vectors:
        raise ValueError("a rotation needs a start vector that is not zero")
    return Rotation(mode, curvature, residual, np.array(vectors), np.array(products))


def _orthonormal(vector: np.ndarray, others: list[np.ndarray]) -> np.ndarray | None:
    length = np.sqrt(vector @ vector)
    if not length > 0.0:
        return None
    vector = vector / length
    for _ in range(2):
        for other in others:
            vector = vector - (other @ vector) * other
    length = np.sqrt(vector @ vector)
    return vector / length if length > _DEPENDENT else None


def _lowest_ritz_pair(
    vectors: np.ndarray, products: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    small = vectors @ products.T
    values, coefficients = np.linalg.eigh(0.5 * (small + small.T))
    mode = coefficients[:, 0] @ vectors
    rest = coefficients[:, 0] @ products - values[0] * mode
    return float(values[0]), mode, rest


def free_mode(atoms: Atoms, vectors: np.ndarray) -> np.ndarray:
    """Return a mode as a unit vector, free of constrained parts, net translation and rotation.

    Parameters
    ----------
    atoms
        The atoms with their constraints.
    vectors
        One vector per atom, (natoms, 3) or flattened; left as it is.

    Returns
    -------
    np.ndarray
        The mode, (natoms, 3), of norm one.
    """
    vectors = np.asarray(vectors, dtype=float)
    if vectors.size != 3 * len(atoms):
        raise ValueError(
            f"mode has shape {vectors.shape}; expected one vector for each of the "
            f"{len(atoms)} atoms: ({len(atoms)}, 3)"
        )
    free = FreeSpace(atoms).project(vectors.reshape(-1, 3))
    free = without(free.ravel(), *rigid_rotations(atoms)).reshape(-1, 3)
    norm = float(np.linalg.norm(free))
    if not np.isfinite(norm) or norm < 1e-12:
        raise ValueError(
            f"mode has norm {norm:g} in the directions that are free to move; "
            "give a vector that moves unconstrained atoms against each other"
        )
    return free / norm


def random_mode(
    atoms: Atoms, seed: Seed = None, indices: Sequence[int] | np.ndarray | None = None
) -> np.ndarray:
    """Return a random mode, (natoms, 3), of norm one.

    Parameters
    ----------
    atoms
        The atoms with their constraints.
    seed
        Seed of the random numbers.
    indices
        The atoms that take part; all if None.
    """
    vectors = np.random.default_rng(seed).normal(size=(len(atoms), 3))
    if indices is not None:
        chosen = np.zeros(len(atoms), dtype=bool)
        chosen[np.asarray(indices)] = True
        vectors[~chosen] = 0.0
    return free_mode(atoms, vectors)


def local_displacement(
    atoms: Atoms,
    center: int | Sequence[float],
    seed: Seed = None,
    *,
    radius: float = 3.3,
    deviation: float = 0.2,
) -> np.ndarray:
    """Return Gaussian displacements of the free atoms around a center.

    Parameters
    ----------
    atoms
        The atoms.
    center
        An atom's index, or a position, Å.
    seed
        Seed of the random numbers.
    radius
        Atoms within this distance of the center move, Å.
    deviation
        Standard deviation of each Cartesian component, Å.

    Returns
    -------
    np.ndarray
        Displacements, (natoms, 3), Å.
    """
    point = atoms.positions[center] if isinstance(center, (int, np.integer)) else center
    distances = find_mic(atoms.positions - np.asarray(point), atoms.cell, atoms.pbc)[1]
    near = distances < radius
    vectors = np.zeros((len(atoms), 3))
    vectors[near] = np.random.default_rng(seed).normal(0.0, deviation, (int(near.sum()), 3))
    return FreeSpace(atoms).project(vectors)


def partial_hessian(
    atoms: Atoms, indices: Sequence[int] | np.ndarray, *, separation: float = 0.01
) -> np.ndarray:
    """Return the Hessian of some atoms by central differences, six force calls an atom.

    Parameters
    ----------
    atoms
        The atoms with a calculator; unchanged afterwards.
    indices
        The k atoms.
    separation
        Displacement, Å.

    Returns
    -------
    np.ndarray
        Second derivatives, (3k, 3k), eV/Å², symmetrized.
    """
    indices = np.asarray(indices)
    image = atoms.copy()
    image.set_constraint()
    image.calc = atoms.calc
    rows = []
    for atom in indices:
        for axis in range(3):
            forces = []
            for sign in (1.0, -1.0):
                image.positions = atoms.positions
                image.positions[atom, axis] += sign * separation
                forces.append(image.get_forces()[indices].ravel())
            rows.append((forces[1] - forces[0]) / (2.0 * separation))
    hessian = np.array(rows)
    return 0.5 * (hessian + hessian.T)


def free_curvatures(
    atoms: Atoms, indices: Sequence[int] | np.ndarray, *, separation: float = 0.01
) -> tuple[np.ndarray, np.ndarray]:
    """Return curvatures and modes of some atoms where they are free, rigid rotations left out.

    Parameters
    ----------
    atoms
        The atoms with a calculator and constraints; unchanged afterwards.
    indices
        The k atoms.
    separation
        Displacement of the finite differences, Å.

    Returns
    -------
    tuple
        Eigenvalues of the partial Hessian, ascending, (m,), eV/Å², and the modes, (m, 3k).
    """
    indices = np.asarray(indices)
    space, rigid = FreeSpace(atoms), rigid_rotations(atoms)
    small = partial_hessian(atoms, indices, separation=separation)
    projector = []
    for entry in np.eye(3 * len(indices)):
        vectors = np.zeros((len(atoms), 3))
        vectors[indices] = entry.reshape(-1, 3)
        free = without(space.project(vectors).ravel(), *rigid)
        projector.append(free.reshape(-1, 3)[indices].ravel())
    kept, vectors = np.linalg.eigh(np.array(projector))
    free = vectors[:, kept > 0.5]  # with only some atoms, rigid motions do not quite fit in
    values, modes = np.linalg.eigh(free.T @ small @ free)
    return values, (free @ modes).T


def softest_mode(
    atoms: Atoms, indices: Sequence[int] | np.ndarray, *, separation: float = 0.01
) -> np.ndarray:
    """Return the softest mode, (natoms, 3), of the partial Hessian of some atoms.

    Parameters
    ----------
    atoms, indices, separation
        As for `free_curvatures`.
    """
    indices = np.asarray(indices)
    mode = np.zeros((len(atoms), 3))
    mode[indices] = free_curvatures(atoms, indices, separation=separation)[1][0].reshape(-1, 3)
    return free_mode(atoms, mode)


class SaddleFilter(Filter):
    """Makes an ordinary ASE optimizer find a saddle: ``FIRE(SaddleFilter(atoms)).run(0.01)``.

    The optimizer sees the force with its part along the softest mode reversed, and where the lowest
    curvature is positive, no smaller than 0.3 eV/Å on one atom, so that it does not converge there.
    Optimizers that minimize the energy along a line cannot use it. `Dimer` needs fewer force calls.

    Parameters
    ----------
    atoms
        The atoms, with a calculator. Constraints are respected.
    mode
        Direction to start from, (natoms, 3) or flattened; random if None. Left unchanged.
    seed
        Seed of the random mode.
    separation
        Distance of a rotated image from the center, Å, the norm over all atoms.
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
        """Return the reflected forces, (natoms, 3), eV/Å; rotates wherever the atoms are new.

        Parameters
        ----------
        *args, **kwargs
            What optimizers give; of no interest here.
        """
        del args, kwargs
        probe = self._probe
        if not probe.is_at_center():
            probe.center = probe.evaluate(self.atoms.get_positions(), "centre")
            self._rotate()
            probe.step += 1
        return probe.full(self._reflected(-probe.here.gradient))

    def get_potential_energy(self, *args: object, **kwargs: object) -> float:
        """Return the energy of the center, eV.

        Parameters
        ----------
        *args, **kwargs
            What optimizers give; of no interest here.
        """
        del args, kwargs
        self.get_forces()
        return self._probe.here.energy

    def iterimages(self) -> Iterator[Atoms]:
        """Yield a copy of the atoms with the center's energy and forces, for trajectories."""
        self.get_forces()
        yield frame(self.atoms, self._probe.here, curvature=self.curvature)

    def _rotate(self) -> None:
        center = self._probe.here.positions
        try:
            found = rotate(
                self._probe.product,
                self._mode,
                tolerance=self._tolerance,
                max_calls=self._rotations[0 if self.curvature is None else 1],
                apart=self._probe.rotations(),
            )
        except BaseException:
            self._probe.center = None  # rotate anew when asked again
            raise
        finally:
            self._probe.place(center)
        self._mode = found.mode if found.mode @ self._mode >= 0 else -found.mode
        self.curvature = found.curvature

    def _reflected(self, force: np.ndarray) -> np.ndarray:
        along = float(force @ self._mode)
        if self.curvature is not None and self.curvature < 0:
            return force - 2.0 * along * self._mode
        uphill = -np.sign(along) if abs(along) > 1e-8 else 1.0
        least = _PUSH / largest_atom(self._mode, self._probe.owners)
        return force + (uphill * max(abs(along), least) - along) * self._mode
