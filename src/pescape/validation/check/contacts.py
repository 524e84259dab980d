"""Every pair of elements pushed together: in vacuum, in crystals, and where the data has it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from pescape.plugins.structures.limits import pair_in_box
from pescape.validation.check.findings import PushFinding, Verdict
from pescape.validation.check.labels import nearest_pairs
from pescape.validation.check.probe import RISKY
from pescape.validation.compounds import conventional_cell
from pescape.validation.crystals import repeat_to_length
from pescape.validation.properties.soundness.pair_push import Pair, placed_pair, pushed_crystal
from pescape.validation.properties.soundness.scans import Scan, Track
from pescape.validation.property import PropertyError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ase import Atoms

    from pescape.validation.check.crystals import DataCrystal
    from pescape.validation.check.labels import DataFacts
    from pescape.validation.check.probe import Probe

# Distances of scans, Å: shortest and spacing; in vacuum up to so many nearest distances.
SHORTEST, _SPACING, _VACUUM = 0.5, 0.02, 1.8
# Falls of the energy that count, eV.
_FALL = 0.005
# In vacuum, wells down to this share of the nearest distance may be those of a molecule.
_MOLECULE = 0.8
# Distances at which grades are computed.
_GRADED = 14
# Crystals in which one pair is pushed at most, and atoms of configurations in which one is.
_MOST_CRYSTALS, _MOST_ATOMS = 2, 250


def push_pair(
    probe: Probe,
    pair: tuple[str, str],
    facts: DataFacts,
    crystals: Sequence[DataCrystal],
    frames: Sequence[Atoms],
) -> Iterator[PushFinding | str]:
    """Push two elements together, everywhere.

    Parameters
    ----------
    probe
        The potential.
    pair
        Elements, in alphabetical order.
    facts
        Of the data.
    crystals
        Of the data.
    frames
        The data.

    Yields
    ------
    PushFinding or str
        One after another; why where there is none.
    """
    for where, make in _places(probe, pair, facts, crystals, frames):
        try:
            yield _pushed(probe, make(), pair, where, facts)
        except Exception as error:  # noqa: BLE001, PERF203 (calculators raise anything)
            yield f"{'–'.join(pair)}, {where}: {str(error) or type(error).__name__}"


def _places(
    probe: Probe,
    pair: tuple[str, str],
    facts: DataFacts,
    crystals: Sequence[DataCrystal],
    frames: Sequence[Atoms],
) -> Iterator[tuple[str, functools.partial[Pair]]]:
    """Name the places of a pair, each with what builds it."""
    yield "vacuum", functools.partial(_in_vacuum, pair, facts.nearest_of(pair), probe)
    for crystal in _chosen(pair, crystals):
        yield crystal.name, functools.partial(_in_crystal, pair, crystal, probe)
    index = facts.nearest_frames.get(pair)
    if index is not None and len(frames[index]) <= _MOST_ATOMS:
        reach = facts.nearest[pair] + 1e-6
        yield f"frame {index}", functools.partial(_in_frame, pair, frames[index], reach)


def _chosen(pair: tuple[str, str], crystals: Sequence[DataCrystal]) -> list[DataCrystal]:
    """Crystals that have both elements; else one in which atoms are replaced."""
    native = [one for one in crystals if {*pair} <= {*one.cell.get_chemical_symbols()}]
    return native[:_MOST_CRYSTALS] or list(crystals[:1])


def _in_vacuum(pair: tuple[str, str], nearest: float, probe: Probe) -> Pair:
    longest = min(_VACUUM * nearest, probe.potential.cutoff)
    box = 2.0 * probe.potential.cutoff + longest
    return Pair(pair_in_box(pair, longest, box, pbc=True), 0, 1, np.array([longest, 0, 0]), True)


def _in_crystal(pair: tuple[str, str], crystal: DataCrystal, probe: Probe) -> Pair:
    try:
        supercell = pushed_crystal(crystal.solid, probe.calculator, None)
    except PropertyError:  # it does not relax: as the data has it, then
        unit = conventional_cell(crystal.cell, crystal.symmetry)
        supercell = unit.repeat(repeat_to_length(unit, 2.0 * probe.potential.cutoff))
    return placed_pair(supercell, pair)


def _in_frame(pair: tuple[str, str], atoms: Atoms, reach: float) -> Pair:
    """Take the nearest pair; of small cells, whose atoms are their own neighbors, a supercell."""
    lengths = atoms.cell.lengths()
    repeat = np.where(atoms.pbc & (lengths < 3.0 * reach), np.ceil(3.0 * reach / lengths), 1)
    bare = atoms.copy()
    bare.calc = None
    bare = bare.repeat([int(one) for one in repeat])
    found = nearest_pairs(bare, reach)[pair]
    return Pair(bare, found.first, found.second, found.way, True)


def _pushed(
    probe: Probe, pair: Pair, elements: tuple[str, str], where: str, facts: DataFacts
) -> PushFinding:
    nearest = facts.nearest_of(elements)
    count = int(np.ceil((pair.distance - SHORTEST) / _SPACING)) + 1
    points = np.linspace(SHORTEST, pair.distance, max(count, 5))
    line = functools.partial(pair.pushed, probe.energies)
    scan = Track("–".join(elements), line, pair.distance, points).scan
    falls_at, drop, well = _fall(scan, nearest)
    return PushFinding(
        elements,
        where,
        nearest,
        elements in facts.nearest,
        scan.x,
        scan.energy - scan.energy[-1],
        falls_at,
        drop,
        well,
        _graded(probe, pair),
    )


def _fall(scan: Scan, nearest: float) -> tuple[float | None, float, float | None]:
    """Where the energy first falls on the way in from the nearest distance, how far, and to where.

    In a crystal the way begins at the neighbors' distance if that is shorter.
    """
    inside = scan.x <= nearest + 1e-9
    x, energy = scan.x[inside][::-1], scan.energy[inside][::-1]
    highest = np.maximum.accumulate(energy)
    falls = highest - energy
    first = np.flatnonzero(falls > _FALL)
    if not len(first):
        return None, 0.0, None
    top = int(energy[: first[0] + 1].argmax())
    # The fall ends where the energy is as high again, or nowhere.
    again = np.flatnonzero(energy[first[0] :] > energy[top])
    bottom = None
    if len(again):
        bottom = float(x[top + int(energy[top : first[0] + again[0] + 1].argmin())])
    return float(x[top]), float(falls.max()), bottom


def _graded(probe: Probe, pair: Pair) -> float | None:
    """Find the longest distance whose grade is risky, as all shorter ones' are."""
    if probe.potential.active_set is None:
        return None
    farthest = None
    for distance in np.linspace(SHORTEST, pair.distance, _GRADED):
        grade = probe.grade(pair.at(float(distance)))
        if grade is None or grade <= RISKY:
            break
        farthest = float(distance)
    return farthest


def push_verdicts(
    pushes: Sequence[PushFinding], failures: Sequence[str], *, repulsion: bool
) -> Iterator[Verdict]:
    """Judge the pushes, a line for each pair of elements.

    Parameters
    ----------
    pushes
        Of all pairs.
    failures
        What could not be computed, as ``Zr–O, vacuum: why``.
    repulsion
        Whether the potential has a screened repulsion of nuclei.
    """
    names = dict.fromkeys("–".join(one.pair) for one in pushes)
    names |= dict.fromkeys(one.partition(",")[0] for one in failures)
    for name in names:
        of_pair = [one for one in pushes if "–".join(one.pair) == name]
        broken = [one.partition(", ")[2] for one in failures if one.partition(",")[0] == name]
        yield _push_verdict(name, of_pair, broken, repulsion=repulsion)


def _push_verdict(
    name: str, pushes: Sequence[PushFinding], broken: Sequence[str], *, repulsion: bool
) -> Verdict:
    check = f"pushing {name} together"
    status, parts = "ok", []
    for one in pushes:
        if one.falls_at is None:
            continue
        molecule = one.where == "vacuum" and one.well is not None
        mild = molecule and (one.well or 0.0) >= _MOLECULE * one.nearest
        status = status if mild and status == "bad" else "look" if mild else "bad"
        end = f" to a well at {one.well:.2f} Å" if mild else ""
        parts.append(
            f"in {one.where} it falls by {one.drop:.3g} eV inside {one.falls_at:.2f} Å{end}"
        )
    if broken:
        status = "bad" if not pushes or status == "bad" else "look"
        parts += broken
    if not pushes:
        return Verdict(check, "bad", "; ".join(parts), "fit again")
    seen = "" if pushes[0].seen else ", of their radii: the data has no such pair"
    text = f"from {pushes[0].nearest:.2f} Å{seen} to {SHORTEST:g} Å the energy "
    places = ", ".join(one.where for one in pushes if one.falls_at is None)
    text += f"rises all the way in {places}" if places else "does not rise all the way"
    text = "; ".join([text, *parts])
    for kind, some in (
        ("vacuum", [one for one in pushes if one.where == "vacuum"]),
        ("matter", [one for one in pushes if one.where != "vacuum"]),
    ):
        grades = [one.grade_from for one in some if one.grade_from is not None]
        text += f"; grade above {RISKY:g} inside {max(grades):.1f} Å in {kind}" if grades else ""
    advice = ""
    if status == "bad":
        advice = (
            "give the repulsion (--zbl) a wider reach, or the data closer pairs"
            if repulsion
            else "fit with a short-range repulsion (--zbl)"
        )
    elif status == "look":
        advice = "if there is no such molecule, label pairs at short distance"
    return Verdict(check, status, text, advice)  # type: ignore[arg-type]
