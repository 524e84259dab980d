"""Crystals of the data as a potential has them: elastic constants, energies of strained cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase.units import GPa

from pescape.validation.check.findings import CrystalFinding, ElasticConstant, Verdict
from pescape.validation.check.labels import energy_of, stress_of
from pescape.validation.check.stiffness import fit_stiffness
from pescape.validation.crystals import relaxed_crystal
from pescape.validation.properties.crystal.elastic import (
    ElasticConfig,
    cartesian_rotations,
    constant_names,
    elastic,
)
from pescape.validation.property import PropertyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

    from pescape.validation.check.crystals import DataCrystal, StrainedFrame
    from pescape.validation.check.probe import Probe
    from pescape.validation.check.stiffness import Constant, Stiffness
    from pescape.validation.property import Floats

# Strains that elastic constants are regressed from, and how far off atoms may lie in them, Å.
_ELASTIC_STRAIN, _ELASTIC_DISPLACEMENT = 0.025, 0.12
# Frames of one crystal that are evaluated at most.
_MOST_FRAMES = 150
# The energy-volume curve: smallest and largest volume over the relaxed one, and points.
_VOLUMES = np.linspace(0.76, 1.24, 25)
# A constant is not determined if its standard error is beyond these shares of it and the largest.
_UNDETERMINED = (0.2, 0.02)
# Shares by which constants may be off, and of the largest constant what does not count.
_LOOK, _BAD, _NEGLIGIBLE = 0.10, 0.25, 0.02
# The same of volumes, and of energies of strained cells: over the largest of them, and meV/atom.
_VOLUME_LOOK, _VOLUME_BAD = 0.01, 0.03
_ENERGY_LOOK, _ENERGY_BAD, _ENERGY_NEGLIGIBLE = 0.05, 0.15, 1.0
_VOLUME_OFF = "the volume is off"
# Falls of the energy-volume curve that count, eV/atom.
_FALL = 1e-3


def examine_crystal(probe: Probe, crystal: DataCrystal, frames: Sequence[Atoms]) -> CrystalFinding:
    """Compare a crystal of the data with the potential's.

    Parameters
    ----------
    probe
        The potential.
    crystal
        Found in `frames`.
    frames
        The data.
    """
    failures: list[str] = []
    chosen = crystal.frames
    if len(chosen) > _MOST_FRAMES:
        kept = np.linspace(0, len(chosen) - 1, _MOST_FRAMES).astype(int)
        chosen = tuple(chosen[index] for index in kept)
    evaluated = {one.index: probe.evaluated(frames[one.index]) for one in chosen}
    constants, count = _elastic(crystal, chosen, frames, evaluated)
    names = constant_names(crystal.symmetry)
    relaxed: dict[str, float] = {}
    modulus = np.inf
    try:
        result = elastic(probe.calculator, ElasticConfig(crystal=crystal.solid))
        relaxed = {name: result.values[name].value for name in names}
        modulus = max(result.values["bulk_modulus"].value, 1.0)
    except Exception as error:  # noqa: BLE001 (calculators raise anything)
        failures.append(f"elastic constants at equilibrium: {str(error) or type(error).__name__}")
    volume, volumes, energies = None, np.empty(0), np.empty(0)
    try:
        volume, volumes, energies = _curve(probe, crystal)
    except Exception as error:  # noqa: BLE001
        failures.append(f"energy-volume curve: {str(error) or type(error).__name__}")
    strained = _strained_energies(crystal, chosen, frames, evaluated)
    return CrystalFinding(
        name=crystal.name,
        frames=len(crystal.frames),
        reference=crystal.reference,
        reference_volume=crystal.cell.get_volume() / len(crystal.cell),
        data_volume=_data_volume(crystal, frames[crystal.reference], modulus),
        volume=volume,
        elastic={
            name: ElasticConstant(**constants.get(name, {}), relaxed=relaxed.get(name))
            for name in names
        },
        elastic_frames=count,
        volumes=volumes,
        energies=energies,
        frame_volumes=strained[0],
        frame_data=strained[1],
        frame_energies=strained[2],
        energy_rmse=_rmse(strained[1], strained[2]),
        grade=probe.largest_grade(frames[one.index] for one in chosen),
        failures=tuple(failures),
    )


def _data_volume(crystal: DataCrystal, reference: Atoms, modulus: float) -> float | None:
    """Volume (Å³/atom) at which the data has no pressure, by the reference and a modulus (GPa).

    None where nothing says that the reference is near it.
    """
    volume = crystal.cell.get_volume() / len(crystal.cell)
    stress = stress_of(reference)
    if stress is None:
        return None if energy_of(reference) is None else volume
    return float(volume * (1.0 - np.trace(stress) / 3.0 / GPa / modulus))


def _rmse(data: Floats, energies: Floats) -> float | None:
    if len(data) < 2:
        return None
    return float(1000.0 * np.sqrt(np.mean((energies - data) ** 2)))


def _elastic(
    crystal: DataCrystal,
    chosen: Sequence[StrainedFrame],
    frames: Sequence[Atoms],
    evaluated: dict[int, Atoms],
) -> tuple[dict[str, dict[str, float]], int]:
    """Regress labels and the potential's stresses in the same frames."""
    names = constant_names(crystal.symmetry)
    strains, stresses = [], []
    for one in chosen:
        label = stress_of(frames[one.index])
        own = stress_of(evaluated[one.index])
        deformation = one.deformation
        near = (
            np.abs(deformation.strain).max() <= _ELASTIC_STRAIN
            and deformation.displacement <= _ELASTIC_DISPLACEMENT
        )
        if label is not None and own is not None and near:
            strains.append(deformation.strain)
            stresses.append([deformation.pulled_back(each) / GPa for each in (label, own)])
    # As many equations as unknowns with their constant stress, and some to see the error from.
    if len(strains) < 4 or not np.isfinite(stresses).all():
        return {}, 0
    rotations = cartesian_rotations(crystal.cell, crystal.symmetry)
    both = np.array(stresses).swapaxes(0, 1)
    data, own_fit = fit_stiffness(np.array(strains), [*both], rotations, names)
    return {
        name: {
            "data": one.value,
            "error": one.error,
            "same_frames": own_fit.constants[name].value,
        }
        for name, one in data.constants.items()
        if _determined(one, data)
    }, len(strains)


def _determined(one: Constant, of: Stiffness) -> bool:
    largest = max(abs(other.value) for other in of.constants.values())
    return one.error <= max(_UNDETERMINED[0] * abs(one.value), _UNDETERMINED[1] * largest) and (
        np.isfinite(one.error) and abs(one.value) > one.error
    )


def _curve(probe: Probe, crystal: DataCrystal) -> tuple[float | None, Floats, Floats]:
    """Relaxed volume (Å³/atom), volumes, and energies above the least one (eV/atom)."""
    try:
        relaxed = relaxed_crystal(crystal.solid, probe.calculator)
        volume: float | None = relaxed.get_volume() / len(relaxed)
    except PropertyError:
        # Without a minimum the curve of the data's cell shows where the energy goes.
        relaxed, volume = crystal.cell.copy(), None
    energies = []
    for change in _VOLUMES:
        atoms = relaxed.copy()
        atoms.set_cell(relaxed.cell.array * change ** (1 / 3), scale_atoms=True)
        energies.append(probe.energies(atoms)[0] / len(atoms))
    found = np.array(energies)
    if not np.isfinite(found).all():
        raise PropertyError("energies are not finite")
    return volume, relaxed.get_volume() / len(relaxed) * _VOLUMES, found - found.min()


def _strained_energies(
    crystal: DataCrystal,
    chosen: Sequence[StrainedFrame],
    frames: Sequence[Atoms],
    evaluated: dict[int, Atoms],
) -> tuple[Floats, Floats, Floats]:
    """Volumes (Å³/atom), labels and energies (eV/atom) above those of the reference."""
    rows = []
    for one in chosen:
        label, own = energy_of(frames[one.index]), energy_of(evaluated[one.index])
        if label is not None and own is not None and np.isfinite(own):
            count = len(frames[one.index])
            volume = frames[one.index].get_volume() / count
            rows.append((one.index == crystal.reference, volume, label / count, own / count))
    if not rows or not any(row[0] for row in rows):
        return np.empty(0), np.empty(0), np.empty(0)
    _, *base = next(row for row in rows if row[0])
    found = np.array([row[1:] for row in rows])
    return found[:, 0], found[:, 1] - base[1], found[:, 2] - base[2]


def elastic_verdict(one: CrystalFinding) -> Verdict:
    """Judge the elastic constants of a crystal.

    Parameters
    ----------
    one
        The crystal.
    """
    check = f"elastic constants, {one.name}"
    relaxed = {name: c.relaxed for name, c in one.elastic.items() if c.relaxed is not None}
    known = {name: c for name, c in one.elastic.items() if c.data is not None}
    own = ", ".join(f"{name} {value:.0f}" for name, value in relaxed.items())
    if not known:
        why = "no strained frames" if one.elastic_frames < 4 else "they determine none of them"
        status = "unchecked" if relaxed else "bad"
        text = f"nothing to compare with in the data: {why}"
        text += f"; relaxed: {own} GPa" if own else f"; {one.failures[0]}"
        return Verdict(check, status, text)  # type: ignore[arg-type]
    largest = max(abs(c.data) for c in known.values() if c.data is not None)
    worst, parts = "ok", []
    for name, c in known.items():
        assert c.data is not None
        assert c.same_frames is not None
        assert c.error is not None
        off = abs(c.same_frames - c.data)
        share = off / abs(c.data)
        if off > max(_NEGLIGIBLE * largest, 2.0 * c.error):
            worst = "bad" if share > _BAD or worst == "bad" else "look" if share > _LOOK else worst
        parts.append(f"{name} {c.same_frames:.0f} ({c.data:.0f} ± {c.error:.0f})")
    missing = [name for name in one.elastic if name not in known]
    text = f"{', '.join(parts)} GPa (data), in {one.elastic_frames} strained frames"
    text += f"; {', '.join(missing)} not determined by them" if missing else ""
    text += f"; relaxed: {own}" if own else f"; {one.failures[0]}" if one.failures else ""
    advice = (
        "a larger --stress-weight, more strained cells in the data, or a more flexible potential"
        if worst != "ok"
        else ""
    )
    return Verdict(check, worst, text, advice)  # type: ignore[arg-type]


def energy_verdict(one: CrystalFinding) -> Verdict:
    """Judge the energies of a crystal against strain and volume.

    Parameters
    ----------
    one
        The crystal.
    """
    check = f"energy against volume, {one.name}"
    if one.volume is None:
        reason = "the crystal of the data does not relax to a minimum near its volume"
        return Verdict(
            check, "bad", "; ".join([reason, *one.failures]), "fit again, with a repulsion"
        )
    problems: list[tuple[str, str]] = []
    text = f"volume {one.volume:.2f} Å³/atom"
    if one.data_volume is not None:
        off = one.volume / one.data_volume - 1.0
        text += f" ({100 * off:+.1f} % of the data's)"
        if abs(off) > _VOLUME_LOOK:
            problems.append(("bad" if abs(off) > _VOLUME_BAD else "look", _VOLUME_OFF))
    falls = _falls(one)
    if falls is not None:
        problems.append(("bad", f"the energy falls beyond {falls:.1f} Å³/atom"))
    if one.energy_rmse is not None:
        largest = 1000.0 * float(np.abs(one.frame_data).max())
        text += f"; energies of {len(one.frame_data)} strained frames off by {one.energy_rmse:.1f} "
        text += f"of up to {largest:.0f} meV/atom"
        if one.energy_rmse > max(_ENERGY_LOOK * largest, _ENERGY_NEGLIGIBLE):
            bad = one.energy_rmse > max(_ENERGY_BAD * largest, _ENERGY_NEGLIGIBLE)
            problems.append(("bad" if bad else "look", "energies of strained cells are off"))
    status = "bad" if any(s == "bad" for s, _ in problems) else "look" if problems else "ok"
    found = "; ".join(what for _, what in problems)
    advice = "more strained cells in the data, or a more flexible potential" if problems else ""
    if [what for _, what in problems] == [_VOLUME_OFF] and one.energy_rmse is not None:
        advice = "the energies are right: do the data's stresses lack the Pulay stress?"
    return Verdict(check, status, f"{text}{'; ' if found else ''}{found}", advice)  # type: ignore[arg-type]


def _falls(one: CrystalFinding) -> float | None:
    """Volume (Å³/atom) on the way out from the minimum beyond which the energy falls again."""
    middle = int(np.abs(one.volumes - (one.volume or 0.0)).argmin())
    for order in (range(middle, -1, -1), range(middle, len(one.volumes))):
        highest, at = -np.inf, middle
        for index in order:
            if one.energies[index] < highest - _FALL:
                return float(one.volumes[at])
            if one.energies[index] > highest:
                highest, at = float(one.energies[index]), index
    return None
