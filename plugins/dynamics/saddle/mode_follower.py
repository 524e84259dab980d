"""What the engines of a saddle search have in common: a mode, its curvature, their records."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from pescape.plugins.dynamics.saddle.translation import Proposal, largest_atom

if TYPE_CHECKING:
    from pescape.plugins.dynamics.runs import Image
    from pescape.plugins.dynamics.saddle.hessian import SubspaceHessian

Product = Callable[[np.ndarray], np.ndarray]


class Engine(ABC):
    """Turns the mode and proposes steps; knows neither atoms nor calculators.

    Parameters
    ----------
    mode
        Unit vector to start from, (n,).
    atoms
        Atom of each degree of freedom, (n,).

    Attributes
    ----------
    mode
        The current mode, (n,), of norm one.
    curvature
        The curvature measured last, eV/Å²; None before the first rotation.
    path_since_measured
        Length of the path since then, Å (the largest atomic step of each, summed).
    rigid
        Orthonormal rows, (k, n), of the rigid rotations at the centre. The mode keeps off them:
        their curvature is zero, or, where forces pull outwards, a little below.
    """

    def __init__(self, mode: np.ndarray, atoms: np.ndarray) -> None:
        self.mode = mode
        self.curvature: float | None = None
        self.path_since_measured = np.inf
        self.rigid = np.zeros((0, len(mode)))
        self._atoms = atoms

    @property
    def model(self) -> SubspaceHessian | None:
        """The model of the Hessian, where the engine keeps one."""
        return None

    def moved(self) -> None:
        """Forget that the curvature is known here: someone else moved the atoms."""
        self.path_since_measured = np.inf

    @abstractmethod
    def prepare(self, product: Product) -> None:
        """Rotate, where the mode is not known well enough to step."""

    @abstractmethod
    def verify(self, product: Product) -> None:
        """Measure the curvature here."""

    @abstractmethod
    def propose(self, image: Image) -> Proposal:
        """Return the next step from an image."""

    @abstractmethod
    def refuse(self, step: np.ndarray) -> None:
        """Take smaller steps after a step, (n,) in Å, that broke a limit."""

    @abstractmethod
    def learn(self, before: Image, after: Image, step: np.ndarray, proposal: Proposal) -> None:
        """Learn from a step, (n,) in Å, that was made."""

    def accept(self, before: Image, after: Image, step: np.ndarray, proposal: Proposal) -> None:
        """Count and learn from a step, (n,) in Å, that was made."""
        self.path_since_measured += largest_atom(step, self._atoms)
        self.learn(before, after, step, proposal)

    def _measured(self, mode: np.ndarray, curvature: float) -> None:
        """Note what a rotation found; the mode keeps its sense."""
        self.mode = mode if mode @ self.mode >= 0 else -mode
        self.curvature = curvature
        self.path_since_measured = 0.0

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return arrays and plain data for a checkpoint."""
        data = {"curvature": self.curvature, "path_since_measured": self.path_since_measured}
        return {"mode": self.mode}, data

    def restore(self, arrays: dict[str, np.ndarray], data: dict[str, Any]) -> None:
        """Take back what `state` returned."""
        self.mode = arrays["mode"]
        self.curvature = data["curvature"]
        self.path_since_measured = data["path_since_measured"]
