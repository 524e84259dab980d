"""The check of a potential: everything that is looked at, one after the other."""

from __future__ import annotations

import contextlib
import dataclasses
import time
import warnings
from typing import TYPE_CHECKING

import numpy as np
from ase.data import chemical_symbols
from pydantic import Field, NonNegativeInt, PositiveInt

from pescape.config import Strict
from pescape.validation.check.basics import (
    examine_atoms,
    examine_smoothness,
    extrapolation_verdict,
)
from pescape.validation.check.contacts import push_pair, push_verdicts
from pescape.validation.check.crystals import find_crystals
from pescape.validation.check.findings import (
    AtomFinding,
    CheckReport,
    PackingFinding,
    PushFinding,
    Verdict,
)
from pescape.validation.check.labels import energy_of, facts_of, pairs_of
from pescape.validation.check.packings import packing_verdict, relax_packing
from pescape.validation.check.probe import Probe
from pescape.validation.check.strained import elastic_verdict, energy_verdict, examine_crystal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ase import Atoms

    from pescape.calculators.potential import Potential
    from pescape.validation.check.crystals import DataCrystal
    from pescape.validation.check.labels import DataFacts

# Crystals of the data that are looked at, those of most frames.
_MOST_CRYSTALS = 4


class CheckSettings(Strict):
    """How much a check looks at."""

    packings: PositiveInt = Field(20, description="random packings to relax")
    steps: PositiveInt = Field(150, description="of the relaxation of each packing, at most")
    seed: NonNegativeInt = Field(0, description="of the packings")
    threads: PositiveInt = Field(1, description="OpenMP threads")


def check_potential(
    potential: Potential,
    frames: Sequence[Atoms] | None = None,
    settings: CheckSettings | None = None,
    *,
    name: str = "",
    data: str = "",
    identity: str = "",
    on_progress: Callable[[str, int, int], None] | None = None,
) -> CheckReport:
    """Check the health of a potential.

    Looks at the crystals of the data (elastic constants, energy against volume), pushes all pairs
    of elements together, relaxes random packings, looks at isolated atoms and at smoothness, and
    says how far all that is beyond the potential's active set.

    Parameters
    ----------
    potential
        Trained, with its elements named.
    frames
        Labeled data, such as it was fitted to; by default the configurations of its active set.
    settings
        How much is looked at.
    name, data
        What reports call the potential and the data.
    identity
        Fingerprint of the potential, for the report.
    on_progress
        Called with what comes next, how many parts are done, and of how many.
    """
    begin, worked = time.perf_counter(), time.process_time()
    settings = settings or CheckSettings()
    probe = Probe(potential, settings.threads)
    frames, data = _data(potential, frames, data)
    facts, crystals = _known(probe, frames)
    pairs = pairs_of(potential.species)
    parts = _Parts(len(crystals) + len(pairs) + settings.packings + 1, on_progress)
    found, broken = [], []
    for crystal in crystals:
        with parts.part(f"crystal {crystal.name}"):
            try:
                found.append(examine_crystal(probe, crystal, frames))
            except Exception as error:  # noqa: BLE001 (calculators raise anything)
                broken.append(_broken(f"crystal {crystal.name}", error))
    pushes: list[PushFinding] = []
    failures: list[str] = []
    for pair in pairs:
        with parts.part(f"{'–'.join(pair)} pushed together"):
            for push in push_pair(probe, pair, facts, crystals, frames):
                (failures if isinstance(push, str) else pushes).append(push)  # type: ignore[arg-type]
    packings: list[PackingFinding] = []
    for index, seed in enumerate(np.random.SeedSequence(settings.seed).spawn(settings.packings)):
        with parts.part("random packings"):
            packings += relax_packing(
                probe, facts, dense=bool(index % 2), seed=seed, steps=settings.steps
            )
    with parts.part("smoothness"):
        alone, atoms = _atoms(probe, facts)
        smooth, numbers = examine_smoothness(probe, facts, crystals)
    repulsion, graded = probe.has_repulsion, potential.active_set is not None
    verdicts = [judge(one) for one in found for judge in (elastic_verdict, energy_verdict)]
    verdicts += broken if crystals else [_no_crystals(data)]
    verdicts += push_verdicts(pushes, failures, repulsion=repulsion)
    verdicts.append(packing_verdict(packings, settings.packings, repulsion=repulsion))
    verdicts += [alone, smooth, extrapolation_verdict(found, pushes, packings, graded=graded)]
    return CheckReport(
        potential=name or potential.source,
        data=data,
        identity=identity,
        verdicts=tuple(verdicts),
        crystals=tuple(found),
        pushes=tuple(pushes),
        packings=tuple(packings),
        atoms=atoms,
        smoothness=numbers,
        seconds=round(time.perf_counter() - begin, 1),
        cpu_seconds=round(time.process_time() - worked, 1),
    )


def _atoms(probe: Probe, facts: DataFacts) -> tuple[Verdict, dict[str, AtomFinding]]:
    try:
        return examine_atoms(probe, facts)
    except Exception as error:  # noqa: BLE001 (calculators raise anything)
        return _broken("isolated atoms", error), {}


def _broken(check: str, error: Exception) -> Verdict:
    return Verdict(check, "bad", str(error) or type(error).__name__, "fit again")


class _Parts:
    """Counts the parts of a check that are done, and reports them."""

    def __init__(self, total: int, on_progress: Callable[[str, int, int], None] | None) -> None:
        self._total, self._on_progress, self._done = total, on_progress, 0

    @contextlib.contextmanager
    def part(self, what: str) -> Iterator[None]:
        """Context manager: one of the parts, without warnings of atoms that are near on purpose.

        Parameters
        ----------
        what
            Name of the part, for progress.
        """
        if self._on_progress is not None:
            self._on_progress(what, self._done, self._total)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
        self._done += 1


def _known(probe: Probe, frames: Sequence[Atoms]) -> tuple[DataFacts, list[DataCrystal]]:
    """Gather what the data says, and the crystals in it."""
    labeled = frames
    if all(energy_of(atoms) is None for atoms in frames):
        # The potential's own labels tell what is stable; nothing is compared with them.
        labeled = [probe.evaluated(atoms) for atoms in frames]
    facts = facts_of(labeled, probe.potential.species, probe.potential.cutoff)
    if labeled is not frames:
        facts = dataclasses.replace(facts, atom_energies={})
    return facts, find_crystals(labeled)[:_MOST_CRYSTALS]


def _data(
    potential: Potential, frames: Sequence[Atoms] | None, name: str
) -> tuple[list[Atoms], str]:
    """Give the data, or what the potential's file holds of it, as far as it knows the elements."""
    if frames is None:
        active = potential.active_set
        frames = () if active is None else active.configurations
        name = "the active set" if frames else "no data"
    known = {*potential.species}
    unknown = {
        chemical_symbols[number] for atoms in frames for number in set(atoms.numbers.tolist())
    } - known
    if unknown:
        raise ValueError(
            f"{name or 'the data'} holds {', '.join(sorted(unknown))}, which the potential of "
            f"{', '.join(potential.species)} does not know"
        )
    return list(frames), name


def _no_crystals(data: str) -> Verdict:
    text = (
        f"{data or 'the data'} holds no crystal near equilibrium, strained or not: elastic "
        "constants and energy-volume curves are not checked"
    )
    advice = "give data that has one: pescape check POT DATA"
    return Verdict("crystals", "unchecked", text, advice)
