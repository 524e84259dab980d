"""What a check finds, in numbers and in words: plain data that JSON holds and figures show."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pescape.validation.property import Floats, Stored

if TYPE_CHECKING:
    from collections.abc import Iterator

Status = Literal["ok", "look", "bad", "unchecked"]
_WORST = ("bad", "look", "unchecked", "ok")


@dataclass(frozen=True)
class Verdict(Stored):
    """What a check comes to.

    Parameters
    ----------
    check
        Its name.
    status
        ``"ok"``; ``"look"``: something a user should know; ``"bad"``: not to be trusted;
        ``"unchecked"``: it could not be done.
    text
        With the numbers.
    advice
        What to do about it; empty if there is nothing to do.
    """

    check: str
    status: Status
    text: str
    advice: str = ""


@dataclass(frozen=True)
class ElasticConstant(Stored):
    """An elastic constant by the data and by the potential, GPa.

    Parameters
    ----------
    data
        By regression of the data's strained frames; None where they do not determine it.
    error
        Standard error of `data`.
    same_frames
        By the same regression of the potential's stresses in the same frames.
    relaxed
        At the potential's own equilibrium, relaxed inside the cell.
    """

    data: float | None = None
    error: float | None = None
    same_frames: float | None = None
    relaxed: float | None = None


@dataclass(frozen=True, eq=False)
class CrystalFinding(Stored):
    """A crystal of the data as the potential has it.

    Parameters
    ----------
    name
        Such as ``Si diamond``.
    frames
        How many configurations of the data are cells of it.
    reference, reference_volume
        Which of them it was found as, and its volume, Å³/atom.
    data_volume
        Of the crystal in the data, Å³/atom; None where nothing tells it.
    volume
        Of the relaxed crystal, Å³/atom; None if it has no minimum.
    elastic
        By name.
    elastic_frames
        How many frames the regression takes.
    volumes, energies
        The potential's curve, Å³/atom and eV/atom above its minimum or least energy.
    frame_volumes, frame_data, frame_energies
        Strained frames: Å³/atom; label and potential, eV/atom above the reference.
    energy_rmse
        Difference of the latter two, meV/atom; None without strained frames.
    grade
        Largest extrapolation grade of the frames; None without an active set.
    failures
        What could not be computed, and why.
    """

    name: str
    frames: int
    reference: int
    reference_volume: float
    data_volume: float | None
    volume: float | None
    elastic: dict[str, ElasticConstant]
    elastic_frames: int
    volumes: Floats
    energies: Floats
    frame_volumes: Floats
    frame_data: Floats
    frame_energies: Floats
    energy_rmse: float | None
    grade: float | None
    failures: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class PushFinding(Stored):
    """Two atoms pushed together.

    Parameters
    ----------
    pair
        Elements, in alphabetical order.
    where
        ``"vacuum"``, a crystal, or a configuration of the data.
    nearest
        Shortest distance of the pair in the data, Å; by the elements' radii if `seen` is False.
    seen
        Whether the data has the pair.
    distances, energies
        Rising, Å; eV above the longest distance.
    falls_at
        Longest distance, up to `nearest`, inside of which the energy falls, Å; None if it rises
        all the way in.
    drop
        Deepest fall below `nearest`, eV.
    well
        Where the fall ends, Å, if it ends in a minimum.
    grade_from
        Distance from which on inwards the grade is risky, Å; None if nowhere or unknown.
    """

    pair: tuple[str, str]
    where: str
    nearest: float
    seen: bool
    distances: Floats
    energies: Floats
    falls_at: float | None
    drop: float
    well: float | None
    grade_from: float | None = None


@dataclass(frozen=True)
class PackingFinding(Stored):
    """A random packing, relaxed.

    Parameters
    ----------
    formula
        Of its atoms.
    contact
        Closest contact over the shortest distance of that pair in the data, at the end.
    energy
        Above the lowest of the data, eV/atom, at the end; above the start without energies.
    steps
        Of the relaxation.
    collapsed
        Why it counts as collapsed; empty if it does not.
    grade_before, grade_after
        Largest extrapolation grade; None without an active set or where it cannot be had.
    """

    formula: str
    contact: float
    energy: float | None
    steps: int
    collapsed: str = ""
    grade_before: float | None = None
    grade_after: float | None = None


@dataclass(frozen=True)
class AtomFinding(Stored):
    """An isolated atom.

    Parameters
    ----------
    energy
        Of the potential, eV.
    data
        Label, eV; None if the data holds none.
    """

    energy: float
    data: float | None = None


@dataclass(frozen=True, eq=False)
class CheckReport(Stored):
    """The health of a potential.

    Parameters
    ----------
    potential, data
        Files.
    identity
        Fingerprint of the potential.
    verdicts
        One line each.
    crystals, pushes, packings
        What they are about.
    atoms
        By element.
    smoothness
        Numbers of the checks of `sanity`, by name.
    seconds, cpu_seconds
        What it took, by the clock and of the processor.
    """

    potential: str
    data: str
    identity: str
    verdicts: tuple[Verdict, ...] = ()
    crystals: tuple[CrystalFinding, ...] = ()
    pushes: tuple[PushFinding, ...] = ()
    packings: tuple[PackingFinding, ...] = ()
    atoms: dict[str, AtomFinding] = field(default_factory=dict)
    smoothness: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @property
    def status(self) -> Status:
        """Of the worst verdict that could be reached."""
        found = {one.status for one in self.verdicts} or {"unchecked"}
        return next(one for one in _WORST if one in found)  # type: ignore[return-value]

    def of_status(self, status: Status) -> Iterator[Verdict]:
        """Give the verdicts of a status.

        Parameters
        ----------
        status
            Of each of them.
        """
        return (one for one in self.verdicts if one.status == status)

    @property
    def counts(self) -> Counter[str]:
        """How many verdicts there are of each status."""
        return Counter(one.status for one in self.verdicts)
