"""Campaigns of saddle searches: many starts, checked, connected to minima, sorted into a table.

Relaxation that always goes down, on the model of the Hessian that a search has built.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from ase.calculators.calculator import BaseCalculator
from ase.geometry import find_mic

from pescape.plugins.dynamics.runs import consistent_energy
from pescape.plugins.dynamics.saddle.dimer import Dimer
from pescape.plugins.dynamics.saddle.hessian import SubspaceHessian
from pescape.plugins.dynamics.saddle.projection import FreeSpace, free_components, turned_onto
from pescape.plugins.dynamics.saddle.records import (
    End,
    Saddle,
    distinct_saddles,
    fingerprint,
    saddle_table,
)
from pescape.plugins.dynamics.saddle.rotation import free_curvatures, local_displacement
from pescape.plugins.dynamics.saddle.translation import (
    TranslationSettings,
    adapted_radius,
    descend,
    gradient_error,
    growth_of,
    largest_atom,
)

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from ase import Atoms

    from pescape.plugins.dynamics.guards import Guards
    from pescape.plugins.dynamics.saddle.dimer import Method
    from pescape.plugins.dynamics.saddle.ritz import RitzSettings
    from pescape.plugins.dynamics.saddle.vtst import VtstSettings


__all__ = [
    "CampaignSettings",
    "End",
    "Saddle",
    "distinct_saddles",
    "find_saddle",
    "fingerprint",
    "saddle_index",
    "saddle_table",
    "search_saddles",
    "slide_down",
]

Factory = Callable[[], BaseCalculator]


@dataclass(frozen=True)
class CampaignSettings:
    """What every search of a campaign does.

    Attributes
    ----------
    fmax, steps
        Convergence, eV/Å, and the largest number of steps.
    method, search, guards
        Passed to `Dimer`.
    centres
        Atoms around which starts are displaced, one drawn for each start; None: any free atom.
    radius, deviation
        Atoms within the radius (Å) move by a Gaussian of this deviation (Å).
    slide
        Displacement of the most mobile atom along the mode before each slide, Å.
    slide_fmax, slide_steps
        Convergence of the slides.
    same
        Two minima are one when no atom is further apart, Å.
    index_atoms
        Atoms of largest amplitude in the mode whose partial Hessian counts the negative
        curvatures; 0 leaves the check out.
    """

    fmax: float = 0.001
    steps: int = 1000
    method: Method = "ritz"
    search: RitzSettings | VtstSettings | None = None
    guards: Guards | None = None
    centres: tuple[int, ...] | None = None
    radius: float = 3.3
    deviation: float = 0.2
    slide: float = 0.1
    slide_fmax: float = 0.01
    slide_steps: int = 500
    same: float = 0.3
    index_atoms: int = 8


def slide_down(
    saddle: Atoms,
    mode: np.ndarray,
    minimum: Atoms,
    energy: float,
    settings: CampaignSettings,
    model: SubspaceHessian | None = None,
) -> tuple[tuple[End, End], int]:
    """Relax from both sides of a saddle.

    Parameters
    ----------
    saddle
        Atoms at the saddle, with a calculator; unchanged.
    mode
        Direction of the slides, (natoms, 3).
    minimum
        Atoms that distances refer to.
    energy
        Energy of the minimum, eV.
    settings
        Settings of the slides.
    model
        What the search learned of the Hessian; unchanged.

    Returns
    -------
    tuple
        Both ends, and the number of force calls.
    """
    shift = settings.slide * mode / np.sqrt(np.max(np.sum(mode**2, axis=1)))
    ends, calls = [], 0
    for sign in (1.0, -1.0):
        atoms = saddle.copy()
        atoms.calc = saddle.calc
        atoms.set_positions(saddle.positions + sign * shift)
        found = relax(atoms, settings.slide_fmax, settings.slide_steps, model=deepcopy(model))
        calls += found.calls
        away = largest_displacement(atoms, minimum)
        ends.append(End(found.energy - energy, away, found.converged, atoms.get_positions()))
    return (ends[0], ends[1]), calls


def largest_displacement(atoms: Atoms, reference: Atoms) -> float:
    """Return the largest displacement of an atom from a reference, minimum image, Å.

    Without constraints a common translation does not count; nor, without periodic directions, a
    rotation.
    """
    if not atoms.constraints and not atoms.pbc.any():
        moved = turned_onto(atoms.positions, reference.positions) - reference.positions
        return float(np.linalg.norm(moved, axis=1).max())
    moved = find_mic(atoms.positions - reference.positions, atoms.cell, atoms.pbc)[0]
    return float(np.linalg.norm(FreeSpace(atoms).project(moved), axis=1).max())


def saddle_index(atoms: Atoms, mode: np.ndarray, count: int) -> tuple[int, int]:
    """Count the negative curvatures of the atoms that take part most in a mode.

    The partial Hessian interlaces with the full one: more than one negative curvature proves
    that the point is no first-order saddle.

    Parameters
    ----------
    atoms
        Atoms at the saddle, with a calculator; unchanged.
    mode
        The mode, (natoms, 3).
    count
        Number of atoms to displace; six force calls each.

    Returns
    -------
    tuple
        Number of negative curvatures, and of force calls.
    """
    amplitudes = np.sum(np.asarray(mode) ** 2, axis=1)
    chosen = np.argsort(-amplitudes, kind="stable")[:count]
    chosen = np.sort(chosen[amplitudes[chosen] > 0])
    values, _ = free_curvatures(atoms, chosen)
    noise = 1e-3 * max(1.0, float(np.abs(values).max()))
    return int(np.sum(values < -noise)), 6 * len(chosen)


def find_saddle(
    number: int,
    minimum: Atoms,
    calculator: Factory,
    seed: np.random.SeedSequence,
    settings: CampaignSettings,
) -> Saddle:
    """Search one saddle from a displaced minimum and look at what was found.

    Parameters
    ----------
    number
        Number of the start.
    minimum
        A relaxed minimum; unchanged.
    calculator
        Makes the calculator; called in the process that searches.
    seed
        Seed of the start.
    settings
        What to do.
    """
    atoms = minimum.copy()
    atoms.calc = calculator()
    energy = consistent_energy(atoms)
    shift = start_displacement(minimum, seed, settings)
    atoms.set_positions(minimum.positions + shift)
    dimer = Dimer(
        atoms, shift, method=settings.method, settings=settings.search, guards=settings.guards
    )
    converged = dimer.run(settings.fmax, settings.steps)
    found = Saddle(
        number=number,
        converged=converged,
        reason=str(dimer.reason),
        calls=dimer.calls,
        calls_rough=next((h.calls for h in dimer.history if h.fmax < 0.01), None),
        energy=dimer.history[-1].energy - energy if dimer.history else np.nan,
        curvature=dimer.curvature,
        positions=atoms.get_positions(),
        mode=dimer.mode,
    )
    if not converged:
        return found
    return _examined(found, atoms, minimum, energy, settings, dimer.hessian)


def start_displacement(
    minimum: Atoms, seed: np.random.SeedSequence, settings: CampaignSettings
) -> np.ndarray:
    """Return the displacement, (natoms, 3) in Å, of one start."""
    rng = np.random.default_rng(seed)
    centres = settings.centres
    if centres is None:
        free = np.linalg.norm(
            FreeSpace(minimum).project(rng.normal(size=(len(minimum), 3))), axis=1
        )
        centres = tuple(np.flatnonzero(free > 0))
    centre = int(rng.choice(centres))
    return local_displacement(
        minimum, centre, rng, radius=settings.radius, deviation=settings.deviation
    )


def _examined(
    found: Saddle,
    atoms: Atoms,
    minimum: Atoms,
    energy: float,
    settings: CampaignSettings,
    model: SubspaceHessian | None,
) -> Saddle:
    index, index_calls = None, 0
    if settings.index_atoms:
        index, index_calls = saddle_index(atoms, found.mode, settings.index_atoms)
    ends, slide_calls = slide_down(atoms, found.mode, minimum, energy, settings, model)
    return replace(
        found,
        index=index,
        index_calls=index_calls,
        ends=ends,
        slide_calls=slide_calls,
        connected=any(end.converged and end.distance < settings.same for end in ends),
        fingerprint=fingerprint(atoms),
    )


def search_saddles(
    minimum: Atoms,
    calculator: Factory,
    starts: int,
    *,
    seed: int | None = None,
    settings: CampaignSettings | None = None,
    executor: Executor | None = None,
) -> list[Saddle]:
    """Search saddles from many displaced starts.

    Parameters
    ----------
    minimum
        A relaxed minimum.
    calculator
        Makes a calculator, such as the class `EMT`; must survive pickling for processes.
    starts
        Number of searches.
    seed
        Seed; the n-th start does not depend on the number of starts or on the executor.
    settings
        What each search does.
    executor
        Any `concurrent.futures.Executor`; None searches one after the other.

    Returns
    -------
    list of Saddle
        One for each start, in order, failures included.
    """
    settings = settings or CampaignSettings()
    bare = minimum.copy()
    tasks = [
        (number, bare, calculator, child, settings)
        for number, child in enumerate(np.random.SeedSequence(seed).spawn(starts))
    ]
    if executor is None:
        return [find_saddle(*task) for task in tasks]
    futures = [executor.submit(find_saddle, *task) for task in tasks]
    return [future.result() for future in futures]


_NOISE = 1e-6  # eV: rises of the energy below this are rounding


@dataclass(frozen=True)
class Slide:
    """How a relaxation ended: energy in eV, force calls, whether forces are below the limit."""

    energy: float
    calls: int
    converged: bool


def relax(atoms: Atoms, fmax: float, steps: int, *, model: SubspaceHessian | None = None) -> Slide:
    """Move atoms downhill to a minimum; no accepted step raises the energy.

    Parameters
    ----------
    atoms
        The atoms, with a calculator; moved.
    fmax
        Largest force at the end, eV/Å.
    steps
        Most force calls.
    model
        Hessian model over the free components, improved on the way; None starts a new one.
    """
    free, owners = free_components(atoms)
    space, settings = FreeSpace(atoms), TranslationSettings()
    model = model or SubspaceHessian(len(free), memory=200)

    def evaluate() -> tuple[float, np.ndarray]:
        forces = atoms.get_forces(apply_constraint=False)
        return consistent_energy(atoms), -space.project(forces).ravel()[free]

    energy, gradient = evaluate()
    calls, radius = 1, settings.first_step
    while largest_atom(gradient, owners) >= fmax and calls < steps:
        proposal = descend(model, gradient, owners, radius, settings)
        before = atoms.get_positions()
        full = np.zeros(before.size)
        full[free] = proposal.step
        atoms.set_positions(before + full.reshape(-1, 3))
        step = (atoms.positions - before).ravel()[free]
        found, turned = evaluate()
        calls += 1
        taken = largest_atom(step, owners)
        if taken > 0.0 and np.all(np.isfinite(turned)):
            model.update(step[None], (turned - gradient)[None])
        if not found <= energy + _NOISE:
            atoms.set_positions(before)
            radius = 0.3 * min(radius, taken)
            if radius < 1e-6:
                break
            continue
        error = gradient_error(proposal.gradient, turned, gradient)
        growth = growth_of(gradient, turned)
        radius = adapted_radius(radius, taken, error, growth, settings)
        energy, gradient = found, turned
    return Slide(energy, calls, largest_atom(gradient, owners) < fmax)
