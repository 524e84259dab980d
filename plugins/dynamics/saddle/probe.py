"""The force calls of a saddle search: its centre and the images around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from pescape.plugins.dynamics.guards import Violation
from pescape.plugins.dynamics.runs import FrameFile, Image, consistent_energy, frame
from pescape.plugins.dynamics.saddle.projection import FreeSpace, free_components, rigid_rotations

if TYPE_CHECKING:
    from ase import Atoms

Check = Callable[[Image], Violation | None]


class LimitBroken(Exception):  # noqa: N818
    """A force call broke a limit."""

    def __init__(self, violation: Violation) -> None:
        super().__init__(violation.message)
        self.violation = violation


def finite(image: Image) -> Violation | None:
    """Return a violation where the calculator's numbers are not finite."""
    if np.isfinite(image.energy) and np.all(np.isfinite(image.forces)):
        return None
    return Violation("not_finite", "the calculator returned numbers that are not finite")


class Probe:
    """Moves atoms and calls their calculator, one image after the other.

    Parameters
    ----------
    atoms
        The atoms, with a calculator.
    separation
        Distance of a rotated image from the centre, Å, the norm over all atoms.
    images
        File for every image, tagged in ``info["dimer"]``; None keeps none.
    caught
        Exceptions of the calculator that count as a broken limit.

    Attributes
    ----------
    centre
        Where the search stands; None before the first call.
    free, owners
        Flat components that can change, and the atom of each, both (n,).
    calls
        Force calls so far.
    step
        Number that frames are labelled with.
    """

    def __init__(
        self,
        atoms: Atoms,
        separation: float,
        images: FrameFile | None = None,
        caught: tuple[type[Exception], ...] = (),
    ) -> None:
        self.atoms = atoms
        self.separation = separation
        self.free, self.owners = free_components(atoms)
        self.centre: Image | None = None
        self.calls = 0
        self.step = 0
        self._images = images
        self._caught = caught

    @property
    def here(self) -> Image:
        """The centre; an error before the first force call."""
        if self.centre is None:
            raise RuntimeError("the search has not begun; call run() or irun() first")
        return self.centre

    def is_at_centre(self) -> bool:
        """Return whether the atoms are where the centre was evaluated."""
        return self.centre is not None and np.array_equal(
            self.centre.positions, self.atoms.positions
        )

    def full(self, vector: np.ndarray) -> np.ndarray:
        """Return a vector over the free components, (n,), as (natoms, 3)."""
        full = np.zeros(3 * len(self.atoms))
        full[self.free] = vector
        return full.reshape(-1, 3)

    def rotations(self) -> np.ndarray:
        """Return the rigid rotations at the atoms' positions, orthonormal rows, (k, n)."""
        return rigid_rotations(self.atoms)[:, self.free]

    def place(self, positions: np.ndarray) -> None:
        """Put the atoms somewhere, exactly."""
        self.atoms.set_positions(positions, apply_constraint=False)

    def evaluate(self, positions: np.ndarray, tag: str, check: Check = finite) -> Image:
        """Move the atoms, as far as constraints let them, and call the calculator.

        Parameters
        ----------
        positions
            Positions, (natoms, 3), Å.
        tag
            Label of the frame; "refused" where the check finds a violation.
        check
            Returns what the image breaks; then `LimitBroken` is raised.
        """
        self.atoms.set_positions(positions)
        try:
            forces = np.array(self.atoms.get_forces(apply_constraint=False))
            energy = consistent_energy(self.atoms)
        except self._caught as error:
            message = f"the calculator failed: {type(error).__name__}: {error}"
            raise LimitBroken(Violation("calculator", message)) from error
        self.calls += 1
        gradient = -FreeSpace(self.atoms).project(forces).ravel()[self.free]
        image = Image(self.atoms.get_positions(), energy, forces, gradient)
        violation = check(image)
        self._keep(image, tag if violation is None else "refused")
        if violation is not None:
            raise LimitBroken(violation)
        return image

    def product(self, vector: np.ndarray) -> np.ndarray:
        """Return the Hessian times a unit vector, (n,), by a forward difference from the centre."""
        centre = self.here
        shifted = centre.positions + self.separation * self.full(vector)
        image = self.evaluate(shifted, "rotation")
        return (image.gradient - centre.gradient) / self.separation

    def largest(self, gradient: np.ndarray | None = None) -> float:
        """Return the largest force on an atom, eV/Å, at the centre or from a gradient, (n,)."""
        gradient = self.here.gradient if gradient is None else gradient
        return float(np.sqrt(np.bincount(self.owners, gradient**2).max()))

    def _keep(self, image: Image, tag: str) -> None:
        if self._images is not None:
            info = {"dimer": tag, "step": self.step, "call": self.calls}
            self._images.write(frame(self.atoms, image, **info))
