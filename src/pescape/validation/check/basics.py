"""What needs no crystal: smoothness, derivatives and invariances, isolated atoms, extrapolation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pescape.plugins.structures.limits import energy_of_atom
from pescape.validation.check.findings import AtomFinding, Verdict
from pescape.validation.check.probe import RISKY
from pescape.validation.crystals import Crystal
from pescape.validation.properties.soundness.sanity import CHECKS, SanityConfig, sanity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pescape.validation.check.crystals import DataCrystal
    from pescape.validation.check.findings import CrystalFinding, PackingFinding, PushFinding
    from pescape.validation.check.labels import DataFacts
    from pescape.validation.check.probe import Probe
    from pescape.validation.compounds import Solid

# Checks of `sanity` that the others here do with the data's own distances.
_ELSEWHERE = ("dimer_repulsion", "crystal_repulsion")
# Crystals that are looked at, and how far their scans go in: where there is data, walls are steep.
_MOST_CRYSTALS, _SHORTEST = 2, 0.9
# Forces (eV/Å) whose numerical derivatives have lost too many digits.
_WILD = 1e3
# How far isolated atoms may be off, eV.
_ATOM_LOOK = 0.05


def examine_smoothness(
    probe: Probe, facts: DataFacts, crystals: Sequence[DataCrystal]
) -> tuple[Verdict, dict[str, float]]:
    """Check derivatives, invariances, and jumps in energies and forces up to the cut-off.

    Parameters
    ----------
    probe
        The potential.
    facts
        Of the data.
    crystals
        Of the data; of elements without, a cubic one with the data's nearest distance is made.

    Returns
    -------
    Verdict, dict
        And all numbers of the checks.
    """
    phases: list[Solid] = [one.solid for one in crystals[:_MOST_CRYSTALS]]
    known = {element for phase in phases for element in phase.composition}
    for element in facts.elements:
        if element not in known:
            a = 2**0.5 * facts.nearest_of((element, element))
            phases.append(Crystal(element=element, lattice="fcc", a=a, name=f"{element}_fcc"))
    config = SanityConfig(
        phases=tuple(phases),
        distance=max(15.0, 1.5 * probe.potential.cutoff),
        longest=probe.potential.cutoff + 1.0,
        shortest_dimer=_SHORTEST,
        shortest_crystal=_SHORTEST,
    )
    check = "smoothness"
    try:
        result = sanity(probe.calculator, config)
    except Exception as error:  # noqa: BLE001 (calculators raise anything)
        return Verdict(check, "bad", str(error) or type(error).__name__, "fit again"), {}
    numbers = {name: float(value.value) for name, value in result.values.items()}
    own = [one for one in CHECKS if one not in _ELSEWHERE]
    failed = [one for one in own if numbers.get(f"{one}.passed", 0.0) < 0.5]
    missing = [one for one in own if f"{one}.passed" not in numbers]
    jump = max(numbers.get(f"{kind}_smoothness.force", 0.0) for kind in ("dimer", "crystal"))
    text = (
        f"{len(own) - len(failed)} of {len(own)} checks of derivatives, invariances and steps pass"
        f"; largest step of a force up to the cut-off {jump:.2g} eV/Å"
    )
    if failed:
        remarks = [one for one in result.warnings if one.partition(":")[0] in failed]
        text += f"; {'; '.join(remarks) or ', '.join(failed)}"
    wild = max((float(np.abs(one.get_forces()).max()) for one in result.structures), default=0.0)
    status = "bad" if set(failed) - set(missing) else "look" if missing else "ok"
    advice = "report it: this is a fault of the potential's kernel or file" if failed else ""
    if failed and wild > _WILD:
        status = "look"
        text += f"; forces up to {wild:.2g} eV/Å in rattled crystals leave few digits to compare"
        advice = "mend the holes and fit again"
    return Verdict(check, status, text, advice), numbers  # type: ignore[arg-type]


def examine_atoms(probe: Probe, facts: DataFacts) -> tuple[Verdict, dict[str, AtomFinding]]:
    """Compare isolated atoms with those of the data.

    Parameters
    ----------
    probe
        The potential.
    facts
        Of the data.
    """
    box = 2.0 * probe.potential.cutoff + 1.0
    found = {
        element: AtomFinding(
            energy_of_atom(probe.calculator, element, box, pbc=True),
            facts.atom_energies.get(element),
        )
        for element in facts.elements
    }
    check = "isolated atoms"
    unknown = [element for element, one in found.items() if one.data is None]
    off = {el: one.energy - one.data for el, one in found.items() if one.data is not None}
    parts = [f"{element} off by {error:+.3g} eV" for element, error in off.items()]
    if unknown:
        energies = ", ".join(f"{one} {found[one].energy:.2f} eV" for one in unknown)
        parts.append(
            f"the data holds none of {', '.join(unknown)} ({energies} is extrapolated): energies "
            "against isolated atoms, such as cohesive ones, are not learned"
        )
    wrong = any(abs(error) > _ATOM_LOOK for error in off.values())
    advice = ""
    if unknown:
        advice = "label isolated atoms with the data, if such energies matter"
    elif wrong:
        advice = "raise the fit_weight of the isolated atoms"
    status = "look" if unknown or wrong else "ok"
    return Verdict(check, status, "; ".join(parts), advice), found  # type: ignore[arg-type]


def extrapolation_verdict(
    crystals: Sequence[CrystalFinding],
    pushes: Sequence[PushFinding],
    packings: Sequence[PackingFinding],
    *,
    graded: bool,
) -> Verdict:
    """Say how much of what was looked at is beyond the data.

    Parameters
    ----------
    crystals, pushes, packings
        What was found.
    graded
        Whether the potential has an active set.
    """
    check = "extrapolation"
    if not graded:
        text = "the potential has no active set: nothing tells where it extrapolates"
        return Verdict(check, "look", text, "write it as .almtp, or fit with an active set")
    parts, status = [], "ok"
    grades = [one.grade for one in crystals if one.grade is not None]
    if grades:
        parts.append(f"strained crystals up to a grade of {max(grades):.2f}")
        status = "look" if max(grades) > RISKY else status
    ends = [one.grade_after for one in packings if one.grade_after is not None]
    begins = [one.grade_before for one in packings if one.grade_before is not None]
    if begins:
        parts.append(
            f"random packings {np.mean(np.array(begins) > RISKY):.0%} above {RISKY:g} before they "
            "are relaxed" + (f", {np.mean(np.array(ends) > RISKY):.0%} after" if ends else "")
        )
    quiet = [
        f"{'–'.join(one.pair)} in {one.where}"
        for one in pushes
        if one.falls_at is not None and (one.grade_from is None or one.grade_from < one.falls_at)
    ]
    if quiet:
        status = "look"
        parts.append(f"the grade does not warn before the fall of {', '.join(quiet)}")
    advice = "" if status == "ok" else "guard runs by distances (min_dist) too"
    return Verdict(check, status, "; ".join(parts) or "nothing graded", advice)  # type: ignore[arg-type]
