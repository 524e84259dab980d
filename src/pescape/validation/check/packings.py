"""Random packings relaxed with a potential: whether they collapse into a hole of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from ase.optimize import FIRE

from pescape.plugins.structures import random_packing
from pescape.plugins.structures.packing import recommended_box
from pescape.validation.check.findings import PackingFinding, Verdict
from pescape.validation.check.labels import nearest_pairs
from pescape.validation.check.probe import RISKY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

    from pescape.validation.check.labels import DataFacts
    from pescape.validation.check.probe import Probe

#: What counts as a collapse: closest contact over the nearest distance of that pair in the data,
#: and energy below the lowest of the data, eV/atom.
CONTACT, DEPTH = 0.7, 1.0
# Volume fractions of dense packings, of spheres that fill the upper one at the data's density, and
# how near they come: 0.8 of the nearest distance in close-packed crystals.
_DENSE, _HARD_RATIO = (0.4, 0.6), 0.85
# Relaxation: largest step (Å), largest force left (eV/Å), steps between looks.
_MAXSTEP, _FMAX, _LOOK_EVERY = 0.2, 0.05, 5


def relax_packing(
    probe: Probe, facts: DataFacts, *, dense: bool, seed: np.random.SeedSequence, steps: int
) -> list[PackingFinding]:
    """Relax a random packing of one of the data's compositions in a box that suits the cut-off.

    Parameters
    ----------
    probe
        The potential.
    facts
        Of the data.
    dense
        Of two thirds to all of the density of the data's most stable structure; else as the builder
        makes them by default, sparse to dense by covalent radii.
    seed
        Equal seeds give equal packings.
    steps
        Of the relaxation at most.

    Returns
    -------
    list of PackingFinding
        One, or none where the atoms do not fit.
    """
    composition = {one: bounds for one, bounds in facts.fractions.items() if bounds[1] > 0.0}
    composition = composition or dict.fromkeys(facts.elements, (0.0, 1.0))
    options: dict[str, Any] = {}
    if dense and facts.filling is not None:
        scale = (_DENSE[1] / facts.filling) ** (1 / 3)
        radii = {one: scale * covalent_radii[atomic_numbers[one]] for one in composition}
        options = {"radii": radii, "volume_fraction": _DENSE, "hard_ratio": _HARD_RATIO}
    try:
        edge = recommended_box(probe.potential.cutoff)
        atoms = random_packing(edge, composition, seed=seed, **options)
    except ValueError:  # they do not fit, or are less than one atom
        return []
    return [_relaxed(probe, facts, atoms, steps)]


def _relaxed(probe: Probe, facts: DataFacts, atoms: Atoms, steps: int) -> PackingFinding:
    atoms = probe.energies.prepared(atoms)
    atoms.info.clear()
    before = probe.grade(atoms)
    done, collapsed = 0, ""
    # Without labels, energies count from the packing's own before it is relaxed.
    start: float | None = None
    contact, energy = np.inf, None
    optimizer = FIRE(atoms, logfile=None, maxstep=_MAXSTEP)
    try:
        for _ in optimizer.irun(fmax=_FMAX, steps=steps):
            done = int(optimizer.nsteps)
            if done % _LOOK_EVERY and done != steps:
                continue
            contact, energy = _contact(facts, atoms), _energy(probe, facts, atoms)
            start = energy if start is None else start
            collapsed = _collapse(contact, energy if facts.lowest is not None else None)
            if collapsed:
                break
    except ValueError as error:
        collapsed = str(error)
    return PackingFinding(
        formula=atoms.get_chemical_formula("metal"),
        contact=float(min(contact, 9.99)),
        energy=energy if facts.lowest is not None else _since(energy, start),
        steps=done,
        collapsed=collapsed,
        grade_before=before,
        grade_after=None if collapsed else probe.grade(atoms),
    )


def _since(energy: float | None, start: float | None) -> float | None:
    return None if energy is None or start is None else energy - start


def _contact(facts: DataFacts, atoms: Atoms) -> float:
    """Shortest distance over that of the same pair in the data; infinite if none is near."""
    reach = max(facts.nearest.values(), default=2.0) * 1.5
    found = nearest_pairs(atoms, reach)
    return min(
        (one.distance / facts.nearest_of(pair) for pair, one in found.items()), default=np.inf
    )


def _energy(probe: Probe, facts: DataFacts, atoms: Atoms) -> float:
    """Energy above the lowest of the data, eV/atom."""
    energy = float(atoms.get_potential_energy(force_consistent=probe.energies.free))
    return facts.above_elements(atoms, energy) - (facts.lowest or 0.0)


def _collapse(contact: float, energy: float | None) -> str:
    if not contact >= CONTACT:
        return f"a contact of {contact:.2f} nearest distances"
    if energy is not None and not energy >= -DEPTH:
        return f"{-energy:.3g} eV/atom below the data"
    return ""


def packing_verdict(packings: Sequence[PackingFinding], count: int, *, repulsion: bool) -> Verdict:
    """Judge the packings.

    Parameters
    ----------
    packings
        Relaxed.
    count
        How many there should be.
    repulsion
        Whether the potential has a screened repulsion of nuclei.
    """
    check = "random packings"
    if not packings:
        text = f"none of {count} packings of the data's compositions could be built"
        return Verdict(check, "unchecked", text)
    broken = [one for one in packings if one.collapsed]
    text = f"{len(broken)} of {len(packings)} collapse"
    if broken:
        text += f": {broken[0].formula}, {broken[0].collapsed}"
    whole = [one for one in packings if not one.collapsed]
    if whole:
        text += f"; closest contact {min(one.contact for one in whole):.2f} nearest distances"
        energies = [one.energy for one in whole if one.energy is not None]
        text += f", lowest energy {min(energies):+.2f} eV/atom" if energies else ""
    graded = [one.grade_after for one in whole if one.grade_after is not None]
    if graded:
        risky = sum(one > RISKY for one in graded)
        text += f"; the grade ends above {RISKY:g} in {risky} of {len(graded)}"
    advice = ""
    if broken:
        advice = (
            "give the repulsion (--zbl) a wider reach, or teach packings (pescape learn)"
            if repulsion
            else "fit with a short-range repulsion (--zbl), or teach packings (pescape learn)"
        )
    return Verdict(check, "bad" if broken else "ok", text, advice)
