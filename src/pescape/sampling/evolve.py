"""How trajectories move: a short relaxation, then one of the samplers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from ase.optimize import BFGS, FIRE, LBFGS

from pescape.plugins.dynamics.images import consistent_energy
from pescape.plugins.dynamics.reasons import StopReason
from pescape.plugins.dynamics.targets import PerAtomAbove, Ramp
from pescape.sampling.recording import CallsSpentError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ase import Atoms

    from pescape.sampling.config import (
        AnySampler,
        ContourConfig,
        DimerConfig,
        MDConfig,
        RelaxationConfig,
    )


class Recorder(Protocol):
    """A calculator that is told what its force calls are for."""

    def sample(self, calls: int, tag: str) -> None:
        """Begin the sampling, of so many force calls; each gets the tag, unless marked."""

    def mark(self, tag: str) -> None:
        """Tag the configuration asked for last."""


_OPTIMIZERS = {"bfgs": BFGS, "fire": FIRE, "lbfgs": LBFGS}


def relax(atoms: Atoms, settings: RelaxationConfig) -> float:
    """Relax a start a little.

    Parameters
    ----------
    atoms
        With a calculator; moved.
    settings
        How far.

    Returns
    -------
    float
        The potential energy reached, the one that belongs to the forces, eV.
    """
    if settings.steps:
        optimizer = _OPTIMIZERS[settings.optimizer](atoms, logfile=None, maxstep=settings.maxstep)
        optimizer.run(fmax=settings.fmax, steps=settings.steps)
    atoms.get_forces()
    return consistent_energy(atoms)


def draw(sampler: AnySampler, seed: int) -> tuple[dict[str, Any], np.random.SeedSequence]:
    """Draw what a trajectory leaves to chance.

    Returns
    -------
    tuple
        The numbers, by name; and the seed of the dynamics.
    """
    chance, dynamics = np.random.SeedSequence(seed).spawn(2)
    rng = np.random.default_rng(chance)
    if sampler.method == "md":
        return {"temperatures": rng.uniform(*sampler.temperatures, size=2).tolist()}, dynamics
    if sampler.method == "contour":
        return {"energies": sorted(rng.uniform(*sampler.energies, size=2).tolist())}, dynamics
    return {}, dynamics


def evolve(
    atoms: Atoms, recorder: Recorder, sampler: AnySampler, seed: int, energy: float
) -> StopReason:
    """Sample from a relaxed start until the force calls are spent, or earlier.

    Parameters
    ----------
    atoms
        With `recorder` as their calculator.
    recorder
        Counts the force calls.
    sampler
        The method.
    seed
        Of this trajectory.
    energy
        Potential energy of the relaxed start, eV.

    Returns
    -------
    StopReason
        Why the trajectory ended.
    """
    drawn, dynamics_seed = draw(sampler, seed)
    begin: dict[str, Callable[..., tuple[Any, Callable[[], StopReason]]]] = {
        "md": _md,
        "contour": _contour,
        "dimer": _dimer,
    }
    dynamics, run = begin[sampler.method](atoms, recorder, sampler, drawn, dynamics_seed, energy)
    try:
        return run()
    except CallsSpentError:
        return StopReason("steps", f"{sampler.calls} force calls made", dynamics.nsteps)


def _md(
    atoms: Atoms,
    recorder: Recorder,
    sampler: MDConfig,
    drawn: dict[str, Any],
    seed: np.random.SeedSequence,
    energy: float,  # noqa: ARG001 (of interest to other samplers)
) -> tuple[Any, Callable[[], StopReason]]:
    from pescape.plugins.dynamics import NVTRamp

    recorder.sample(sampler.calls, "refused")
    dynamics = NVTRamp(
        atoms,
        temperatures=tuple(drawn["temperatures"]),
        steps=sampler.calls,
        timestep=sampler.timestep,
        thermostat=sampler.thermostat,
        seed=seed,
        guards=sampler.guards.build(),
    )
    dynamics.attach(lambda: recorder.mark("step"))
    return dynamics, lambda: dynamics.run(sampler.calls)


def _contour(
    atoms: Atoms,
    recorder: Recorder,
    sampler: ContourConfig,
    drawn: dict[str, Any],
    seed: np.random.SeedSequence,
    energy: float,
) -> tuple[Any, Callable[[], StopReason]]:
    from pescape.plugins.dynamics import ContourExploration

    recorder.sample(sampler.calls, "refused")
    first, last = drawn["energies"]
    ramp = Ramp(first, last, sampler.calls)
    dynamics = ContourExploration(
        atoms,
        PerAtomAbove(ramp, energy, len(atoms)),
        angle_limit=sampler.angle_limit,
        maxstep=sampler.maxstep,
        step_cap=sampler.step_cap,
        drift=sampler.drift,
        seed=seed,
        guards=sampler.guards.build(),
    )
    dynamics.attach(lambda: recorder.mark("step"))
    return dynamics, lambda: dynamics.run(sampler.calls)


class _Marks:
    """Where the dimer writes its images to: only the tags are of interest."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def write(self, image: Atoms) -> None:
        """Take the tag of an image."""
        self._recorder.mark(image.info["dimer"])


def _dimer(
    atoms: Atoms,
    recorder: Recorder,
    sampler: DimerConfig,
    drawn: dict[str, Any],  # noqa: ARG001 (of interest to other samplers)
    seed: np.random.SeedSequence,
    energy: float,  # noqa: ARG001
) -> tuple[Any, Callable[[], StopReason]]:
    from pescape.plugins.dynamics import Dimer

    recorder.sample(sampler.calls, "refused")
    dynamics = Dimer(
        atoms,
        seed=seed,
        method=sampler.scheme,
        separation=sampler.separation,
        displacement=sampler.displacement,
        guards=sampler.guards.build(),
        images=_Marks(recorder),
    )

    def run() -> StopReason:
        dynamics.run(fmax=sampler.fmax, steps=sampler.calls)
        assert dynamics.reason is not None
        return dynamics.reason

    return dynamics, run
