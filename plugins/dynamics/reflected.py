"""Forces turned round along the softest mode, for optimizers that know only how to go down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase.filters import Filter

from pescape.plugins.dynamics.images import FrameFile, FrameTarget, frame
from pescape.plugins.dynamics.modes import Seed, free_mode, random_mode
from pescape.plugins.dynamics.probe import Probe
from pescape.plugins.dynamics.rotation import rotate
from pescape.plugins.dynamics.translation import largest_atom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ase import Atoms

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
