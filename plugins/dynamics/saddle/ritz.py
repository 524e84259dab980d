"""The default engine of the dimer: Ritz rotations and steps on one shared Hessian model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pescape.plugins.dynamics.saddle.hessian import SubspaceHessian
from pescape.plugins.dynamics.saddle.mode_follower import Engine, Product
from pescape.plugins.dynamics.saddle.rotation import rotate
from pescape.plugins.dynamics.saddle.translation import (
    Proposal,
    TranslationSettings,
    adapted_radius,
    gradient_error,
    growth_of,
    largest_atom,
    propose,
)

if TYPE_CHECKING:
    from pescape.plugins.dynamics.runs import Image


@dataclass(frozen=True)
class RitzSettings:
    """Settings of the default engine.

    Attributes
    ----------
    first_tolerance, first_rotations
        The first rotation, before anything moves, ends when the residual is below this fraction
        of the curvature, or after so many calls.
    tolerance, rotations
        The same for later rotations, which the model guides.
    renew_error
        A step after which the gradient is off by more than this fraction is followed by a
        rotation.
    renew_positive
        While the model's lowest curvature is positive a rotation follows after so many steps.
    stiffness
        Curvature of directions not met yet, eV/Å².
    memory
        Dimensions of the model.
    translation
        Limits of the steps.
    """

    first_tolerance: float = 0.1
    first_rotations: int = 40
    tolerance: float = 0.3
    rotations: int = 5
    renew_error: float = 1.0
    renew_positive: int = 3
    stiffness: float = 30.0
    memory: int = 200
    translation: TranslationSettings = field(default_factory=TranslationSettings)


class RitzEngine(Engine):
    """Minimum-mode following on a limited-memory Hessian model.

    Every pair of a step and its change of gradient, and every pair of a vector and its Hessian
    product, enters one model, which gives the mode between rotations, guides the rotations and
    shapes the steps.

    Parameters
    ----------
    settings
        The settings.
    mode
        Unit vector to start from, (n,).
    atoms
        Atom of each degree of freedom, (n,).
    """

    def __init__(self, settings: RitzSettings, mode: np.ndarray, atoms: np.ndarray) -> None:
        super().__init__(mode, atoms)
        self.settings = settings
        self._model = SubspaceHessian(
            len(mode), stiffness=settings.stiffness, memory=settings.memory
        )
        self._radius = settings.translation.first_step
        self._steps_since = 0
        self._error = 0.0

    @property
    def model(self) -> SubspaceHessian:
        """The model of the Hessian."""
        return self._model

    def prepare(self, product: Product) -> None:
        """Rotate, where the mode is not known well enough to step."""
        if self.curvature is None:
            self._rotate(product, self.settings.first_tolerance, self.settings.first_rotations)
        elif self._steps_since and self._doubtful():
            self._rotate(product, self.settings.tolerance, self.settings.rotations)

    def _doubtful(self) -> bool:
        if self._error > self.settings.renew_error:
            return True
        positive = self.model.lowest(self.rigid)[0] > 0
        return positive and self._steps_since >= self.settings.renew_positive

    def verify(self, product: Product) -> None:
        """Measure the curvature here, up to the proof that it is negative."""
        self._rotate(product, self.settings.tolerance, self.settings.rotations, verify=True)

    def _rotate(
        self, product: Product, tolerance: float, calls: int, *, verify: bool = False
    ) -> None:
        found = rotate(
            product,
            self.mode,
            tolerance=tolerance,
            max_calls=calls,
            correction=None if self.curvature is None else self._correction,
            negative_suffices=verify,
            apart=self.rigid,
        )
        self.model.update(found.vectors, found.products)
        self._measured(found.mode, found.curvature)
        self._steps_since, self._error = 0, 0.0

    def _correction(self, residual: np.ndarray, curvature: float) -> np.ndarray:
        """Return the residual, weighted with the model's inverse above the curvature."""
        self.model.extend(residual)
        values, vectors = self.model.eigen()
        parts = vectors.T @ (self.model.basis @ residual)
        gaps = np.maximum(np.abs(values - curvature), self.settings.translation.softest)
        return (vectors @ (parts / gaps)) @ self.model.basis

    def _turn(self, mode: np.ndarray) -> None:
        self.mode = mode if mode @ self.mode >= 0 else -mode

    def propose(self, image: Image) -> Proposal:
        """Return the next step."""
        self.model.extend(image.gradient)
        self._turn(self.model.lowest(self.rigid)[1])
        climbed = self.model.lowest(self.rigid)[1]
        return propose(
            self.model,
            image.gradient,
            self._atoms,
            self._radius,
            self.settings.translation,
            sign=1.0 if climbed @ self.mode >= 0 else -1.0,
            apart=self.rigid,
        )

    def refuse(self, step: np.ndarray) -> None:
        """Halve the trust region after a step that broke a limit, however small it gets."""
        self._radius = 0.5 * min(self._radius, largest_atom(step, self._atoms))

    def learn(self, before: Image, after: Image, step: np.ndarray, proposal: Proposal) -> None:
        """Learn from a step that was made."""
        change = after.gradient - before.gradient
        square = float(step @ step)
        if square > 0.0:
            calm = largest_atom(after.gradient, self._atoms) < self.settings.translation.relax_force
            if calm:  # contacts of a crowded start are stiffer than anything met later
                found = float(step @ change) / square
                self.model.stiffness = max(self.model.stiffness, found)
            self.model.update(step[None], change[None])
        taken = largest_atom(step, self._atoms)
        self._error = gradient_error(proposal.gradient, after.gradient, before.gradient)
        growth = growth_of(before.gradient, after.gradient)
        self._radius = adapted_radius(
            self._radius, taken, self._error, growth, self.settings.translation
        )
        self._steps_since += 1
        self._turn(self.model.lowest(self.rigid)[1])

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return arrays and plain data for a checkpoint."""
        arrays, data = super().state()
        data |= {"radius": self._radius, "steps_since": self._steps_since, "error": self._error}
        return arrays | self.model.state(), data

    def restore(self, arrays: dict[str, np.ndarray], data: dict[str, Any]) -> None:
        """Take back what `state` returned."""
        super().restore(arrays, data)
        self.model.restore(arrays)
        self._radius = data["radius"]
        self._steps_since = data["steps_since"]
        self._error = data["error"]
