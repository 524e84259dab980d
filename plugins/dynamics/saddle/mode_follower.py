"""Following the softest mode uphill: what turns the mode and proposes steps.

Two followers: "ritz", on a Hessian model that all force calls feed, and "vtst", the dimer of the
literature. Neither knows atoms or calculators.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pescape.plugins.dynamics.saddle.hessian import (
    Proposal,
    SubspaceHessian,
    TranslationSettings,
    adapted_radius,
    largest_atom,
    propose,
)
from pescape.plugins.dynamics.saddle.rotation import rotate
from pescape.plugins.dynamics.surface import without

if TYPE_CHECKING:
    from pescape.plugins.dynamics.saddle.probe import Image

Product = Callable[[np.ndarray], np.ndarray]
Method = Literal["ritz", "vtst"]


class ModeFollower(ABC):
    """Turns the mode and proposes steps.

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
        Orthonormal rows, (k, n), of the rigid rotations at the center. The mode keeps off them:
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
        """The model of the Hessian, where the follower keeps one."""
        return None

    def moved(self) -> None:
        """Forget that the curvature is known here: someone else moved the atoms."""
        self.path_since_measured = np.inf

    @abstractmethod
    def prepare(self, product: Product) -> None:
        """Rotate, where the mode is not known well enough to step.

        Parameters
        ----------
        product
            Returns the Hessian times a unit vector, (n,); one force call.
        """

    @abstractmethod
    def verify(self, product: Product) -> None:
        """Measure the curvature here.

        Parameters
        ----------
        product
            As for `prepare`.
        """

    @abstractmethod
    def propose(self, image: Image) -> Proposal:
        """Return the next step.

        Parameters
        ----------
        image
            Where it starts.
        """

    @abstractmethod
    def refuse(self, step: np.ndarray) -> None:
        """Take smaller steps after one that broke a limit.

        Parameters
        ----------
        step
            The step, (n,), Å.
        """

    def accept(self, before: Image, after: Image, step: np.ndarray, proposal: Proposal) -> None:
        """Count a step that was made, and learn from it.

        Parameters
        ----------
        before, after
            The images at its ends.
        step
            The step as constraints let it be, (n,), Å.
        proposal
            The step that was wanted.
        """
        self.path_since_measured += largest_atom(step, self._atoms)
        self._learn(before, after, step, proposal)

    @abstractmethod
    def _learn(self, before: Image, after: Image, step: np.ndarray, proposal: Proposal) -> None:
        """Learn from a step that was made."""

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
        """Go on from a checkpoint.

        Parameters
        ----------
        arrays, data
            What `state` returned.
        """
        self.mode = arrays["mode"]
        self.curvature = data["curvature"]
        self.path_since_measured = data["path_since_measured"]


@dataclass(frozen=True)
class RitzSettings:
    """Settings of the default follower.

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


class RitzFollower(ModeFollower):
    """Ritz rotations and reflected Newton steps on a limited-memory Hessian model.

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

    def prepare(self, product: Product) -> None:  # noqa: D102 -- as the base class says
        if self.curvature is None:
            self._rotate(product, self.settings.first_tolerance, self.settings.first_rotations)
        elif self._steps_since and self._doubtful():
            self._rotate(product, self.settings.tolerance, self.settings.rotations)

    def _doubtful(self) -> bool:
        if self._error > self.settings.renew_error:
            return True
        positive = self.model.lowest(self.rigid)[0] > 0
        return positive and self._steps_since >= self.settings.renew_positive

    def verify(self, product: Product) -> None:  # noqa: D102
        # up to the proof that the curvature is negative
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

    def propose(self, image: Image) -> Proposal:  # noqa: D102
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

    def refuse(self, step: np.ndarray) -> None:  # noqa: D102
        self._radius = 0.5 * min(self._radius, largest_atom(step, self._atoms))

    def _learn(self, before: Image, after: Image, step: np.ndarray, proposal: Proposal) -> None:
        change = after.gradient - before.gradient
        square = float(step @ step)
        if square > 0.0:
            calm = largest_atom(after.gradient, self._atoms) < self.settings.translation.relax_force
            if calm:  # contacts of a crowded start are stiffer than anything met later
                found = float(step @ change) / square
                self.model.stiffness = max(self.model.stiffness, found)
            self.model.update(step[None], change[None])
        taken = largest_atom(step, self._atoms)
        gradients = before.gradient, after.gradient
        self._radius, self._error = adapted_radius(
            self._radius, taken, proposal.gradient, gradients, self.settings.translation
        )
        self._steps_since += 1
        self._turn(self.model.lowest(self.rigid)[1])

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:  # noqa: D102
        arrays, data = super().state()
        data |= {"radius": self._radius, "steps_since": self._steps_since, "error": self._error}
        return arrays | self.model.state(), data

    def restore(self, arrays: dict[str, np.ndarray], data: dict[str, Any]) -> None:  # noqa: D102
        super().restore(arrays, data)
        self.model.restore(arrays)
        self._radius = data["radius"]
        self._steps_since = data["steps_since"]
        self._error = data["error"]


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
        Distance of an image from the center, Å.
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
    give its product with every vector of the plane: a quadratic form of two variables, minimized
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


class VtstFollower(ModeFollower):
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

    def prepare(self, product: Product) -> None:  # noqa: D102 -- as the base class says
        if self.path_since_measured > 0.0:
            self.verify(product)

    def verify(self, product: Product) -> None:  # noqa: D102
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

    def propose(self, image: Image) -> Proposal:  # noqa: D102
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

    def refuse(self, step: np.ndarray) -> None:  # noqa: D102
        self._limit = 0.5 * min(self._limit, float(np.linalg.norm(step)))

    def _learn(self, before: Image, after: Image, step: np.ndarray, proposal: Proposal) -> None:
        del proposal
        change = self._reflected(before.gradient) - self._reflected(after.gradient)
        product = float(step @ change)
        if self._guess is None or self._guess <= 0.0:
            curvature = product / max(float(step @ step), 1e-20)
            self._guess = 1.0 / (self.settings.damping * curvature) if curvature > 0 else -1.0
        if product > 0.0:
            self._pairs = [*self._pairs, (step, change)][-self.settings.memory :]
        self._limit = min(self.settings.max_step, 2.0 * self._limit)

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:  # noqa: D102
        arrays, data = super().state()
        size = len(self.mode)
        arrays["steps"] = np.array([s for s, _ in self._pairs]).reshape(-1, size)
        arrays["changes"] = np.array([y for _, y in self._pairs]).reshape(-1, size)
        data |= {"limit": self._limit, "guess": self._guess}
        return arrays, data

    def restore(self, arrays: dict[str, np.ndarray], data: dict[str, Any]) -> None:  # noqa: D102
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


def follower_for(
    settings: RitzSettings | VtstSettings, mode: np.ndarray, owners: np.ndarray
) -> ModeFollower:
    """Return the mode follower that settings belong to.

    Parameters
    ----------
    settings
        Settings of one of them.
    mode
        Unit vector to start from, (n,).
    owners
        Atom of each degree of freedom, (n,).
    """
    if isinstance(settings, RitzSettings):
        return RitzFollower(settings, mode, owners)
    return VtstFollower(settings, mode, owners)


def settings_for(
    method: str, settings: RitzSettings | VtstSettings | None, separation: float
) -> RitzSettings | VtstSettings:
    """Return settings that fit a method.

    Parameters
    ----------
    method
        "ritz" or "vtst".
    settings
        Settings of that method; its defaults if None.
    separation
        Distance of the rotated image from the center, Å.
    """
    classes = {"ritz": RitzSettings, "vtst": VtstSettings}
    if method not in classes:
        raise ValueError(f"method is {method!r}; expected one of {', '.join(classes)}")
    if not separation > 0:
        raise ValueError(f"separation is {separation}; expected a positive length in Å")
    if settings is None:
        return RitzSettings() if method == "ritz" else VtstSettings(separation=separation)
    if not isinstance(settings, classes[method]):
        raise TypeError(
            f"settings of method {method!r} are a {classes[method].__name__}, "
            f"not a {type(settings).__name__}"
        )
    return settings
