"""The dimer of the literature: rotations in a plane and L-BFGS steps on the reflected force."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pescape.plugins.dynamics.saddle.mode_follower import Engine, Product
from pescape.plugins.dynamics.saddle.projection import without
from pescape.plugins.dynamics.saddle.translation import Proposal

if TYPE_CHECKING:
    from pescape.plugins.dynamics.runs import Image


@dataclass(frozen=True)
class VtstSettings:
    """Settings, by default those of Waters and Rondinelli for the dimer of VTST.

    Attributes
    ----------
    damping
        The first guess of the inverse curvature is divided by this; step pairs refine it.
    max_step
        Longest step, the norm over all atoms, Å.
    memory
        Pairs that L-BFGS remembers.
    probe_step
        First step, which only measures the curvature along the force, Å.
    rotations
        Most rotations at one place.
    torque_low, torque_high
        No rotation below the lower torque, one and no more below the higher, eV/Å²; the torque
        is the rate at which the force across the mode changes along it.
    separation
        Distance of an image from the centre, Å.
    """

    damping: float = 4.0
    max_step: float = 0.3
    memory: int = 20
    probe_step: float = 0.005
    rotations: int = 4
    torque_low: float = 0.01
    torque_high: float = 1.0
    separation: float = 0.01


def rotate_in_plane(
    mode: np.ndarray,
    product: np.ndarray,
    direction: np.ndarray,
    angle: float,
    trial_product: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the softest vector of a plane from the products at two angles.

    The Hessian is linear, so its products with the mode and with the mode turned by any angle
    give its product with every vector of the plane: a quadratic form of two variables, minimised
    exactly whatever the trial angle.

    Parameters
    ----------
    mode, direction
        Orthonormal vectors that span the plane, (n,).
    product, trial_product
        Hessian times the mode, and times ``cos(angle) mode + sin(angle) direction``, (n,).
    angle
        Trial angle, not a multiple of π.

    Returns
    -------
    tuple
        The new mode, the Hessian times it, and its curvature.
    """
    across = (trial_product - np.cos(angle) * product) / np.sin(angle)
    mixed = 0.5 * (mode @ across + direction @ product)
    small = np.array([[mode @ product, mixed], [mixed, direction @ across]])
    values, vectors = np.linalg.eigh(small)
    c, s = vectors[:, 0] if vectors[0, 0] >= 0 else -vectors[:, 0]
    return c * mode + s * direction, c * product + s * across, float(values[0])


class VtstEngine(Engine):
    """Dimer with conjugate-gradient rotation and L-BFGS translation.

    Parameters
    ----------
    settings
        The settings.
    mode
        Unit vector to start from, (n,).
    atoms
        Atom of each degree of freedom, (n,).
    """

    def __init__(self, settings: VtstSettings, mode: np.ndarray, atoms: np.ndarray) -> None:
        super().__init__(mode, atoms)
        self.settings = settings
        self._limit = settings.max_step
        self._guess: float | None = None  # inverse curvature that L-BFGS starts from
        self._pairs: list[tuple[np.ndarray, np.ndarray]] = []

    def prepare(self, product: Product) -> None:
        """Rotate, unless this was done here already."""
        if self.path_since_measured > 0.0:
            self.verify(product)

    def verify(self, product: Product) -> None:
        """Turn the mode towards the lowest curvature and measure it."""
        convex = self.curvature is not None and self.curvature > 0
        mode = without(self.mode, *self.rigid)
        mode = mode / np.linalg.norm(mode)
        along = without(product(mode), *self.rigid)
        curvature = float(mode @ along)
        heading = torque_before = None
        for _ in range(self.settings.rotations):
            torque = -(along - curvature * mode)
            size = float(np.linalg.norm(torque))
            if size < self.settings.torque_low:
                break
            heading = _conjugate(torque, torque_before, heading, mode)
            torque_before = torque
            direction = heading / np.linalg.norm(heading)
            slope = 2.0 * float(direction @ along)
            angle = -0.5 * np.arctan(slope / (2.0 * max(abs(curvature), 1e-3)))
            trial = product(np.cos(angle) * mode + np.sin(angle) * direction)
            trial = without(trial, *self.rigid)
            mode, along, curvature = rotate_in_plane(mode, along, direction, angle, trial)
            if size < self.settings.torque_high:
                break
        self._measured(mode / np.linalg.norm(mode), curvature)
        if convex != (curvature > 0):  # the force that is followed has changed
            self._pairs.clear()
            self._guess = None

    def _reflected(self, gradient: np.ndarray) -> np.ndarray:
        """Return the force with its part along the mode reversed; that part alone if convex."""
        along = (gradient @ self.mode) * self.mode
        if self.curvature is not None and self.curvature < 0:
            return 2.0 * along - gradient
        return along

    def propose(self, image: Image) -> Proposal:
        """Return the next step."""
        force = self._reflected(image.gradient)
        norm = float(np.linalg.norm(force))
        if norm < 1e-12:
            force, norm = self.mode, 1.0
        if self._guess is None:
            step = (min(self.settings.probe_step, self._limit) / norm) * force
        elif self._guess <= 0.0:
            step = (self._limit / norm) * force
        else:
            step = _lbfgs(force, self._pairs, self._guess)
            if step @ force <= 0.0:
                self._pairs.clear()
                step = self._guess * force
        length = float(np.linalg.norm(step))
        if length > self._limit:
            step = step * (self._limit / length)
        return Proposal(step, image.gradient)

    def refuse(self, step: np.ndarray) -> None:
        """Halve the step limit after a step that broke a limit."""
        self._limit = 0.5 * min(self._limit, float(np.linalg.norm(step)))

    def learn(self, before: Image, after: Image, step: np.ndarray, proposal: Proposal) -> None:
        """Learn from a step that was made."""
        del proposal
        change = self._reflected(before.gradient) - self._reflected(after.gradient)
        product = float(step @ change)
        if self._guess is None or self._guess <= 0.0:
            curvature = product / max(float(step @ step), 1e-20)
            self._guess = 1.0 / (self.settings.damping * curvature) if curvature > 0 else -1.0
        if product > 0.0:
            self._pairs = [*self._pairs, (step, change)][-self.settings.memory :]
        self._limit = min(self.settings.max_step, 2.0 * self._limit)

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return arrays and plain data for a checkpoint."""
        arrays, data = super().state()
        size = len(self.mode)
        arrays["steps"] = np.array([s for s, _ in self._pairs]).reshape(-1, size)
        arrays["changes"] = np.array([y for _, y in self._pairs]).reshape(-1, size)
        data |= {"limit": self._limit, "guess": self._guess}
        return arrays, data

    def restore(self, arrays: dict[str, np.ndarray], data: dict[str, Any]) -> None:
        """Take back what `state` returned."""
        super().restore(arrays, data)
        self._pairs = list(zip(arrays["steps"].copy(), arrays["changes"].copy(), strict=True))
        self._limit = data["limit"]
        self._guess = data["guess"]


def _conjugate(
    torque: np.ndarray,
    before: np.ndarray | None,
    heading: np.ndarray | None,
    mode: np.ndarray,
) -> np.ndarray:
    """Return the Polak-Ribière direction of rotation, perpendicular to the mode."""
    if before is None or heading is None:
        return torque
    weight = max(0.0, float(torque @ (torque - before)) / max(float(before @ before), 1e-20))
    turned = torque + weight * heading
    turned = turned - (turned @ mode) * mode
    return turned if turned @ torque > 0 else torque


def _lbfgs(
    force: np.ndarray, pairs: list[tuple[np.ndarray, np.ndarray]], guess: float
) -> np.ndarray:
    """Return the L-BFGS step (two-loop recursion) for a force.

    The guess of the inverse curvature gives way to that of the newest pair as soon as there is
    one (Nocedal and Wright, Numerical Optimization, eq. 7.20): a damped guess, kept for good,
    takes nearly twice the calls.
    """
    if pairs:
        newest, changed = pairs[-1]
        guess = float(newest @ changed) / float(changed @ changed)
    vector = force
    weights = []
    for step, change in reversed(pairs):
        weight = (step @ vector) / (step @ change)
        weights.append(weight)
        vector = vector - weight * change
    vector = guess * vector
    for (step, change), weight in zip(pairs, reversed(weights), strict=True):
        vector = vector + (weight - (change @ vector) / (step @ change)) * step
    return vector
