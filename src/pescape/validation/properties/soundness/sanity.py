"""What any potential has to fulfil, whatever it describes: invariances, derivatives, no jumps."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Literal

import numpy as np
from ase import Atoms
from pydantic import Field, NonNegativeInt, PositiveFloat, model_validator

from pescape.config import Strict
from pescape.figures.curves import draw_checks
from pescape.validation.crystals import Crystals, check_titles
from pescape.validation.properties.soundness.invariances import (
    CHANGES,
    Energies,
    box_deviation,
    change_deviation,
    disordered,
    repetition_deviation,
    separation_deviation,
    shortest_pairs,
)
from pescape.validation.properties.soundness.scans import Track, largest_jump, repulsion
from pescape.validation.property import (
    Curve,
    Floats,
    PropertyConfig,
    PropertyError,
    PropertyResult,
    Value,
    register_property,
    snapshot,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ase.calculators.calculator import BaseCalculator

_SAME_UNITS = {"energy": "meV/atom", "force": "eV/Å"}
#: Each check with its numbers and their units.
CHECKS: Mapping[str, Mapping[str, str]] = {
    "finite": {"count": ""},
    "forces": {"deviation": "eV/Å"},
    "stress": {"deviation": "GPa"},
    **dict.fromkeys((*CHANGES, "repetition", "separation", "box"), _SAME_UNITS),
    "dimer_smoothness": {"energy": "meV", "force": "eV/Å"},
    "crystal_smoothness": _SAME_UNITS,
    "dimer_repulsion": {"drop": "eV", "rise": "eV"},
    "crystal_repulsion": {"drop": "eV/atom", "rise": "eV/atom"},
}


class Tolerances(Strict):
    """How far off still counts as right."""

    forces: PositiveFloat = Field(1e-3, description="from numerical derivatives, eV/Å")
    stress: PositiveFloat = Field(0.01, description="from numerical derivatives, GPa")
    same_energy: PositiveFloat = Field(1e-3, description="where nothing may change, meV/atom")
    same_forces: PositiveFloat = Field(1e-5, description="where nothing may change, eV/Å")
    jump_energy: PositiveFloat = Field(0.01, description="steps of the energy, meV")
    jump_forces: PositiveFloat = Field(0.01, description="steps of the forces, eV/Å")
    drop: PositiveFloat = Field(0.01, description="falls of the energy on the way in, eV")
    rise: PositiveFloat = Field(1.0, description="least energy to press atoms together, eV")

    def limit(self, check: str, part: str) -> float:
        """Give what a number of a check may not exceed; a rise must not be less.

        Parameters
        ----------
        check, part
            Names in `CHECKS`.
        """
        if part in ("count", "drop", "rise"):
            return 0.0 if part == "count" else getattr(self, part)
        if part == "deviation":
            return float(getattr(self, check))
        group = "jump" if check.endswith("smoothness") else "same"
        return float(getattr(self, f"{group}_{'energy' if part == 'energy' else 'forces'}"))


class SanityConfig(PropertyConfig):
    """Checks of a potential on disordered crystals, clusters, random cells and dimers."""

    kind: Literal["sanity"] = "sanity"
    phases: Crystals
    seed: NonNegativeInt = 0
    rattle: PositiveFloat = Field(0.15, description="standard deviation of displacements, Å")
    distance: PositiveFloat = Field(
        15.0, description="of parts that do not feel each other, Å; longer than the cut-off"
    )
    displacement: PositiveFloat = Field(1e-4, description="of numerical forces, Å")
    strain: PositiveFloat = Field(1e-5, description="of the numerical stress")
    spacing: PositiveFloat = Field(0.02, description="between points of scans, Å")
    longest: PositiveFloat = Field(10.0, description="distance of scans, beyond the cut-off, Å")
    shortest_dimer: float = Field(
        0.5, gt=0.0, lt=1.0, description="distance, over the shortest in the crystals"
    )
    shortest_crystal: float = Field(
        0.7, gt=0.0, lt=1.0, description="nearest distance, over the one guessed"
    )
    tolerances: Tolerances = Tolerances()

    @model_validator(mode="after")
    def _phases(self) -> SanityConfig:
        check_titles(self.phases)
        return self

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives."""
        names = (
            f"{check}.{part}" for check, parts in CHECKS.items() for part in (*parts, "passed")
        )
        return ("passed", "failed", *names)


@dataclass(frozen=True)
class _Finding:
    """Numbers of a check by one structure or pair, and which one that was."""

    numbers: tuple[float, ...]
    where: str


@register_property(SanityConfig, draw=draw_checks, former_names=("physicality",))
def sanity(calculator: BaseCalculator, config: SanityConfig) -> PropertyResult:
    """Check what holds for every potential.

    The structures are made from the crystals as guessed, not as the potential relaxes them, so
    that the checks work for potentials with which nothing else does.

    Parameters
    ----------
    calculator
        With forces; without stress the checks that take it are left out.
    config
        The phases and tolerances.

    Returns
    -------
    PropertyResult
        ``passed`` and ``failed`` count the checks. Each check has its largest deviation and
        ``passed`` (1 or 0): ``finite`` (evaluations without a finite number), ``forces`` and
        ``stress`` against numerical derivatives of the energy, ``rotation``, ``translation``,
        ``permutation``, ``inversion``, ``supercell`` (N cells against N times one), ``repetition``
        (the same result twice), ``separation`` (two clusters far apart against each alone),
        ``box`` (a cluster in space against one in a large cell), ``dimer_smoothness`` and
        ``crystal_smoothness`` (steps over a scan of distances), ``dimer_repulsion`` and
        ``crystal_repulsion`` (``drop``: how far the energy falls on the way in; ``rise``: how
        high it gets).
    """
    energies = Energies(calculator)
    structures = {
        name: atoms
        for index, phase in enumerate(config.phases)
        for name, atoms in disordered(
            phase.primitive(),
            phase.title,
            rattle=config.rattle,
            distance=config.distance,
            seed=config.seed + index,
        ).items()
    }
    tracks = {"dimer": _dimers(energies, config), "crystal": _compressions(energies, config)}
    found: dict[str, list[_Finding]] = {}
    unchecked: list[str] = []
    for check, measured in _measurements(energies, structures, tracks, config).items():
        try:
            found[check] = measured()
        except Exception as error:  # noqa: BLE001, PERF203 (calculators raise anything)
            unchecked.append(f"{check} is not checked: {str(error) or type(error).__name__}")
    if not found:
        raise PropertyError(f"nothing could be checked; {unchecked[0]}")
    found["finite"] = [_Finding((float(energies.infinite),), "all evaluations")]
    values, failures = _judged(found, config.tolerances)
    return config.result(
        values,
        curves=_curves(tracks),
        structures=_evaluated(energies, structures),
        warnings=(*failures, *unchecked),
    )


def _measurements(
    energies: Energies,
    structures: Mapping[str, Atoms],
    tracks: Mapping[str, Sequence[Track]],
    config: SanityConfig,
) -> dict[str, Callable[[], list[_Finding]]]:
    """Give what measures each check."""
    everyone = list(structures.items())
    clusters = [(name, atoms) for name, atoms in everyone if name.endswith("_cluster")]

    def each(
        some: Sequence[tuple[str, Atoms]], measure: Callable[[Atoms], tuple[float, ...]]
    ) -> Callable[[], list[_Finding]]:
        return lambda: [_Finding(measure(atoms), name) for name, atoms in some]

    def changed(change: str) -> Callable[[Atoms], tuple[float, float]]:
        return lambda atoms: change_deviation(energies, atoms, change, rng)

    rng = np.random.default_rng(config.seed)
    distance = config.distance
    checks = {
        "forces": each(everyone, lambda one: (energies.force_deviation(one, config.displacement),)),
        "stress": each(everyone, lambda one: (energies.stress_deviation(one, config.strain),)),
        **{change: each(everyone, changed(change)) for change in CHANGES},
        "repetition": each(everyone, lambda one: repetition_deviation(energies, one, rng)),
        "separation": each(
            clusters, lambda one: separation_deviation(energies, one, one[1:], distance)
        ),
        "box": each(clusters, lambda one: box_deviation(energies, one)),
    }
    for kind, some in tracks.items():
        checks[f"{kind}_smoothness"] = functools.partial(_jumps, some)
        checks[f"{kind}_repulsion"] = functools.partial(_repulsions, some)
    return checks


def _jumps(tracks: Sequence[Track]) -> list[_Finding]:
    """Find the largest steps of each scan, of energy (meV) and force (eV/Å)."""
    found = []
    for track in tracks:
        jump = largest_jump(track.line, track.scan)
        found += [
            _Finding((1000.0 * jump.energy, 0.0), f"{track.name} at {jump.energy_at:.4f} Å"),
            _Finding((0.0, jump.slope), f"{track.name} at {jump.slope_at:.4f} Å"),
        ]
    return found


def _repulsions(tracks: Sequence[Track]) -> list[_Finding]:
    walls = {track.name: repulsion(track.scan, track.start) for track in tracks}
    return [_Finding((wall.drop, wall.rise), name) for name, wall in walls.items()]


def _dimers(energies: Energies, config: SanityConfig) -> list[Track]:
    """Two atoms in a large box, of all elements with each other."""
    nearest: dict[tuple[str, str], float] = {}
    for phase in config.phases:
        for pair, distance in shortest_pairs(phase.primitive()).items():
            nearest[pair] = min(distance, nearest.get(pair, np.inf))
    elements = sorted({element for pair in nearest for element in pair})
    tracks = []
    for pair in combinations_with_replacement(elements, 2):
        # Elements that never meet in one of the crystals are as near as each to its own.
        own = [nearest[one, one] for one in pair if (one, one) in nearest]
        start = nearest.get(pair) or float(np.mean(own))
        line = functools.partial(_dimer, energies, pair, config.longest + config.distance)
        tracks.append(
            Track("".join(pair), line, start, _points(config.shortest_dimer * start, config))
        )
    return tracks


def _dimer(
    energies: Energies, pair: tuple[str, str], box: float, distance: float
) -> tuple[float, float]:
    atoms = Atoms(list(pair), [[0.0, 0.0, 0.0], [distance, 0.0, 0.0]], cell=[box] * 3, pbc=True)
    energy, forces = energies(atoms)
    return energy, -float(forces[1, 0])


def _compressions(energies: Energies, config: SanityConfig) -> list[Track]:
    """Crystals at all volumes, by their shortest distance."""
    tracks = []
    for phase in config.phases:
        cell = phase.primitive()
        start = min(shortest_pairs(cell).values())
        line = functools.partial(_compressed, energies, cell, start)
        points = _points(config.shortest_crystal * start, config)
        tracks.append(Track(phase.title, line, start, points))
    return tracks


def _compressed(
    energies: Energies, cell: Atoms, nearest: float, distance: float
) -> tuple[float, float]:
    atoms = energies.prepared(cell)
    atoms.set_cell(cell.cell.array * distance / nearest, scale_atoms=True)
    energy, _ = energies(atoms)
    slope = atoms.get_volume() * float(np.sum(atoms.get_stress()[:3])) / distance
    return energy / len(atoms), slope / len(atoms)


def _points(shortest: float, config: SanityConfig) -> Floats:
    return np.arange(shortest, config.longest, config.spacing)


def _judged(
    found: Mapping[str, list[_Finding]], tolerances: Tolerances
) -> tuple[dict[str, Value], list[str]]:
    """Compare the worst of every number with what it may be."""
    values: dict[str, Value] = {}
    failures = []
    checked = [check for check in CHECKS if check in found]
    for check in checked:
        right = True
        for index, (part, unit) in enumerate(CHECKS[check].items()):
            known = [one for one in found[check] if np.isfinite(one.numbers[index])]
            if not known:
                right = False
                continue
            least = part == "rise"
            worst = (min if least else max)(known, key=lambda one: one.numbers[index])
            number, limit = worst.numbers[index], tolerances.limit(check, part)
            values[f"{check}.{part}"] = Value(number, unit)
            if number < limit if least else number > limit:
                right = False
                failures.append(
                    f"{check}: {part} is {number:.3g} {unit}, {'least' if least else 'most'} "
                    f"{limit:g} ({worst.where})"
                )
        values[f"{check}.passed"] = Value(float(right))
    passed = sum(values[f"{check}.passed"].value for check in checked)
    counts = {"passed": Value(passed), "failed": Value(len(checked) - passed)}
    return counts | values, failures


def _evaluated(energies: Energies, structures: Mapping[str, Atoms]) -> Iterator[Atoms]:
    for name, atoms in structures.items():
        one = snapshot(energies.prepared(atoms), name)
        if np.isfinite(one.get_potential_energy()) and np.isfinite(one.get_forces()).all():
            yield one


def _curves(tracks: Mapping[str, Sequence[Track]]) -> dict[str, Curve]:
    units = {"dimer": "eV", "crystal": "eV/atom"}
    return {
        f"{kind}_{track.name}": Curve(
            track.scan.x, track.scan.energy, "shortest distance (Å)", f"energy ({units[kind]})"
        )
        for kind, some in tracks.items()
        for track in some
        if track.known
    }
