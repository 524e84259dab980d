"""Extrapolation grades while LAMMPS runs, for ``pair_style python``.

Input lines, after those of the potential; the words are those of ``fix extrapolation``::

    python guard input 2 SELF "10 select 2.1 break 10.0 file risky.xyz halt soft" format ps exists
    python guard invoke
    thermo_style custom step temp pe press f_pescape[1] f_pescape[2] f_pescape[3]

Every N steps a ``fix python/invoke`` grades the configuration, as does every start of a run.
f_pescape[1] is the largest grade at the last check, [2] the largest so far, [3] the number of
configurations saved and [4] the atom with the largest grade (0 in configuration mode).

Risky configurations go to a file of extended XYZ that never shows a frame that is not whole. The
frames are those of ``fix extrapolation``, so that readers need not know who wrote them.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.units import fs

from pescape.calculators.bpnn.descriptors import excess_of
from pescape.calculators.bpnn.potential import BPNNPotential
from pescape.calculators.doptimality import active_set as activeset
from pescape.lammps_style.python.clib import AtomArrays, Lammps, refuse, report, with_all
from pescape.lammps_style.python.pair import FIX as PAIR_FIX
from pescape.lammps_style.python.pair import session_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from pescape.calculators.doptimality.active_set import ActiveSet
    from pescape.lammps_style.python.clib import Box
    from pescape.lammps_style.python.pair import Session


#: Å/ps in ASE's unit of velocity.
ASE_VELOCITY = 1.0 / (1000 * fs)

# Fraction of a cell vector by which an atom may lie outside before it is wrapped.
_FACE_TOLERANCE = 1e-9


@dataclass(frozen=True)
class AtomRecords:
    """Atoms of one rank, or of all.

    Attributes
    ----------
    tags, types : (n,) int arrays
        LAMMPS' identities and types.
    positions, velocities : (n, 3) float arrays
        Å, Å/ps.
    masses, grades : (n,) float arrays
        g/mol, and extrapolation grades.
    """

    tags: NDArray[np.int64]
    types: NDArray[np.int32]
    positions: NDArray[np.float64]
    velocities: NDArray[np.float64]
    masses: NDArray[np.float64]
    grades: NDArray[np.float64]

    @staticmethod
    def joined(parts: Sequence[AtomRecords]) -> AtomRecords:
        """Join the atoms of all ranks, by rising tag.

        Parameters
        ----------
        parts
            Those of each rank.
        """
        columns = [
            np.concatenate([getattr(part, name) for part in parts])
            for name in AtomRecords.__dataclass_fields__
        ]
        order = np.argsort(columns[0])
        return AtomRecords(*(column[order] for column in columns))


def frame(
    atoms: AtomRecords,
    box: Box,
    element_of_type: Mapping[int, str],
    comment: Mapping[str, object],
    *,
    atom_grades: bool,
) -> str:
    """Write one configuration as text.

    Parameters
    ----------
    atoms
        All atoms, by rising tag.
    box
        The cell; positions are written relative to its corner, wrapped where it is periodic.
    element_of_type
        "X" is written for types that are missing.
    comment
        Further entries of the comment line.
    atom_grades
        Whether to write the column of grades.
    """
    columns = "species:S:1:pos:R:3:id:I:1:type:I:1:masses:R:1:momenta:R:3"
    if atom_grades:
        columns += ":extrapolation_grades:R:1"
    head = {
        "Lattice": _row(box.cell.ravel()),
        "Origin": _row(box.origin),
        "Properties": columns,
        "pbc": " ".join("FT"[p] for p in box.periodic),
        **comment,
    }
    lines = [str(len(atoms.tags)), " ".join(f"{k}={_quoted(str(v))}" for k, v in head.items())]
    positions = _wrapped(atoms.positions - box.origin, box)
    momenta = atoms.velocities * (atoms.masses[:, None] * ASE_VELOCITY)
    for k, (tag, kind) in enumerate(zip(atoms.tags.tolist(), atoms.types.tolist(), strict=True)):
        line = (
            f"{element_of_type.get(kind, 'X')} {_row(positions[k])} {tag} {kind} "
            f"{atoms.masses[k]:.6f} {_row(momenta[k])}"
        )
        lines.append(f"{line} {atoms.grades[k]:.6f}" if atom_grades else line)
    return "\n".join(lines) + "\n"


def start_file(path: Path, *, append: bool) -> None:
    """Check that the file can be written; remove what it holds, or only a frame cut short.

    Parameters
    ----------
    path
        The file.
    append
        Whether to keep its whole frames.

    Raises
    ------
    ValueError
        When something other than XYZ frames would have to be continued.
    """
    with path.open("ab"):
        pass
    text = path.read_bytes() if append else b""
    end = _end_of_frames(text)
    if end:
        os.truncate(path, end)
    elif text.splitlines()[:1] and text.splitlines()[0].strip():
        raise ValueError(f"{path}: it holds something else than XYZ frames: nothing is appended")
    else:
        path.unlink()


def _end_of_frames(text: bytes) -> int:
    """Find where the last whole frame ends."""
    end = 0
    while True:
        first, newline, _ = text[end : end + 32].partition(b"\n")
        if not newline or not first.strip().isdigit():
            return end
        place = end
        for _ in range(int(first) + 2):
            place = text.find(b"\n", place) + 1
            if place == 0:
                return end
        end = place


def add_frame(path: Path, text: str) -> None:
    """Append a frame and wait until the disk has it.

    Its first line, the number of atoms, stays blank until all the rest is on the disk: readers
    stop at a blank line, so a kill at any moment leaves whole frames only.

    Parameters
    ----------
    path
        The file.
    text
        The frame.
    """
    data = text.encode()
    digits = data.index(b"\n")
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        start = os.fstat(file).st_size
        try:
            _write_at(file, b" " * digits + data[digits:], start)
            os.fsync(file)
            _write_at(file, data[:digits], start)
            os.fsync(file)
        except OSError:
            os.ftruncate(file, start)
            raise
    finally:
        os.close(file)


def _write_at(file: int, data: bytes, place: int) -> None:
    rest = memoryview(data)
    while rest:
        done = os.pwrite(file, rest, place)
        rest, place = rest[done:], place + done


def _wrapped(positions: NDArray[np.float64], box: Box) -> NDArray[np.float64]:
    """Move positions into the cell along its periodic directions."""
    turns = np.floor(np.linalg.solve(box.cell.T, positions.T).T + _FACE_TOLERANCE)
    return positions - np.where(box.periodic, turns, 0.0) @ box.cell


def _row(values: NDArray[np.float64]) -> str:
    # adding zero turns -0.0 into 0.0
    return " ".join(f"{value:.8f}" for value in np.round(values, 8) + 0.0)


def _quoted(value: str) -> str:
    if value and not set(value) & set(" \t\"\\'=,[]{}"):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


#: Identity of the fix and of the function in ``__main__`` that it calls; of the fix that halts.
FIX, HALT_FIX = "pescape_guard", "pescape_halt"
KEYWORDS = ("select", "break", "file", "append", "halt")
HALTS = ("soft", "hard", "continue")
NEVER = float("inf")

# Rows of parameter gradients are worked on in blocks of about this many numbers (32 MB).
_BLOCK_NUMBERS = 4_000_000
# Atoms whose grades differ by no more than rounding are equals; the lowest id stands for them.
_EQUAL_GRADES = 1.0 - 1e-9
# LAMMPS' Boltzmann constant (eV/K) and (g/mol) (Å/ps)² in eV, for units metal.
_BOLTZMANN, _KINETIC = 8.617343e-5, 1.0364269e-4


@dataclass(frozen=True)
class GuardSettings:
    """When to look, what to keep and when to stop.

    Attributes
    ----------
    every
        Steps between two looks.
    select, break_
        Grades above which a configuration is saved, and above which the run ends.
    file, append
        Where risky configurations go, and whether what the file holds stays.
    halt
        How to end: ``soft``, this run and those that follow; ``hard``, with an error;
        ``continue``, this run only.
    """

    every: int
    select: float = 2.1
    break_: float = 10.0
    file: Path = Path("risky.xyz")
    append: bool = False
    halt: str = "soft"

    @staticmethod
    def parse(words: str) -> GuardSettings:
        """Read the settings as they are written in LAMMPS input.

        Parameters
        ----------
        words
            See `guard`.
        """
        every, *rest = words.split() or [""]
        if not every.isdigit() or int(every) < 1:
            refuse(f"guard: the number of steps between checks is at least 1, not {every!r}")
        if len(rest) % 2:
            refuse(f"guard: keyword {rest[-1]} has no value")
        given = dict(zip(rest[::2], rest[1::2], strict=True))
        for key in given:
            if key not in KEYWORDS:
                refuse(f"guard: unknown keyword {key} (there are: {', '.join(KEYWORDS)})")
        settings = GuardSettings(
            every=int(every),
            select=_threshold("select", given.get("select", "2.1")),
            break_=_threshold("break", given.get("break", "10")),
            file=Path(given.get("file", "risky.xyz")),
            append=_one_of("append", given.get("append", "no"), ("yes", "no")) == "yes",
            halt=_one_of("halt", given.get("halt", "soft"), HALTS),
        )
        if settings.break_ < settings.select < NEVER:
            refuse(
                f"guard: break {settings.break_:g} is less than select {settings.select:g}: "
                "the configuration that ends the run would not be saved"
            )
        return settings


def _threshold(key: str, value: str) -> float:
    if value == "none":
        return NEVER
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not number > 0:
        refuse(f"guard: {key} is a positive grade or none, not {value}")
    return number


def _one_of(key: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        refuse(f"guard: {key} is one of {', '.join(allowed)}, not {value}")
    return value


@dataclass(frozen=True)
class Peak:
    """The largest grade and the atom that has it (0: the whole configuration)."""

    grade: float
    atom: int


@dataclass
class Guard:
    """Grades what forces were last computed for, saves risky configurations, halts."""

    session: Session
    settings: GuardSettings
    active_set: ActiveSet
    largest: float = 0.0
    saved: int = 0
    last_frame: str = ""  # its atoms at rest
    ranges_told: bool = False

    def check(self) -> None:
        """Look at the current configuration, on all ranks."""
        session, settings = self.session, self.settings
        atoms = session.lammps.atoms()
        grades = with_all(session.comm, self._own_grades, atoms)
        if self.active_set.mode == "configuration":
            grades = self._configuration_grades(grades, atoms.local)
        peak = self._peak(grades, atoms)
        self.largest = max(self.largest, peak.grade)
        self._tell_ranges(atoms)
        if peak.grade > settings.select:
            self._save(atoms, grades, peak)
        over = peak.grade > settings.break_
        session.show(peak.grade, self.largest, self.saved, peak.atom, float(over))
        if over:
            self._halt(peak)

    def _own_grades(self, atoms: AtomArrays) -> NDArray[np.float64]:
        """Grade this rank's atoms; in configuration mode, sum their rows instead."""
        session, active = self.session, self.active_set
        configuration = active.mode == "configuration"
        result = np.zeros(active.size if configuration else atoms.local)
        for block, rows in _site_gradients(session, atoms, active.size):
            if configuration:
                result += rows.sum(axis=0)
            else:
                result[block] = activeset.grades(rows, active, threads=session.threads)
        return result if configuration else np.where(np.isfinite(result), result, NEVER)

    def _configuration_grades(self, row: NDArray[np.float64], local: int) -> NDArray[np.float64]:
        """Give every atom the grade of the configuration, of which the ranks have a part each."""
        neighbors = self.session.neighbors
        own = 0 if neighbors is None else len(neighbors.ours)
        total = self.session.comm.sum(np.append(row, own))
        atoms = max(1.0, total[-1])
        row = total[:-1] / atoms ** (0.5 * self.active_set.weight_scaling)
        grade = float(activeset.grades(row[None, :], self.active_set)[0])
        return np.full(local, grade if np.isfinite(grade) else NEVER)

    def _tell_ranges(self, atoms: AtomArrays) -> None:
        """Say once which atoms are beyond the ranges of the training data, and how far."""
        session, potential = self.session, self.session.potential
        if self.ranges_told or not isinstance(potential, BPNNPotential):
            return
        if not potential.knows_ranges:
            return
        excess = with_all(session.comm, _range_excess, session, potential, atoms)
        outside = sum(session.comm.allgather(int(np.count_nonzero(excess))))
        if not outside:
            return
        self.ranges_told = True
        worst = self._largest(excess, atoms)
        if session.comm.rank == 0:
            report(
                f"step {session.step}: {outside} atoms have symmetry functions outside the ranges "
                f"of the training data, atom {worst.atom} the farthest, by {worst.grade:.2f} "
                "widths of a range (told once)"
            )

    def _peak(self, grades: NDArray[np.float64], atoms: AtomArrays) -> Peak:
        if self.active_set.mode == "configuration":
            comm = self.session.comm
            return Peak(max(comm.allgather(float(grades.max(initial=0.0)))), 0)
        return self._largest(grades, atoms)

    def _largest(self, grades: NDArray[np.float64], atoms: AtomArrays) -> Peak:
        comm = self.session.comm
        largest = max(comm.allgather(float(grades.max(initial=0.0))))
        equals = atoms.tags[: atoms.local][grades >= largest * _EQUAL_GRADES]
        tags = [tag for tag in comm.allgather(int(equals.min()) if len(equals) else None) if tag]
        return Peak(largest, min(tags, default=0))

    def _save(self, atoms: AtomArrays, grades: NDArray[np.float64], peak: Peak) -> None:
        """Add the configuration to the file, unless it is the one that was added last."""
        comm, lammps, own = self.session.comm, self.session.lammps, slice(atoms.local)
        records = AtomRecords(
            tags=atoms.tags[own].astype(np.int64),
            types=atoms.types[own].copy(),
            positions=atoms.positions[own].copy(),
            velocities=lammps.velocities().copy(),
            masses=lammps.masses(atoms.types[own]).copy(),
            grades=grades,
        )
        parts = comm.gather(records)
        is_new = with_all(comm, self._write, parts, peak) if parts else with_all(comm, bool)
        if comm.allgather(is_new)[0]:
            self.saved += 1
            if comm.rank == 0:
                where = f"configuration {self.saved} in {self.settings.file}"
                report(f"{self._sentence(peak, 'select', self.settings.select)}: {where}")

    def _write(self, parts: list[AtomRecords], peak: Peak) -> bool:
        """Write what all ranks gave; return whether it was new. On rank 0."""
        atoms = AtomRecords.joined(parts)
        session = self.session
        if len(atoms.tags) != session.lammps.atom_count:
            report(f"the configuration of step {session.step} is not saved, for atoms were lost")
            return False
        box, elements = session.lammps.box(), session.elements
        at_rest = replace(atoms, velocities=np.zeros_like(atoms.velocities))
        bare = frame(at_rest, box, elements, {}, atom_grades=False)
        if bare == self.last_frame:
            return False
        of_atoms = self.active_set.mode == "neighborhood"
        text = frame(atoms, box, elements, self._comment(atoms, peak), atom_grades=of_atoms)
        add_frame(self.settings.file, text)
        self.last_frame = bare
        return True

    def _comment(self, atoms: AtomRecords, peak: Peak) -> dict[str, object]:
        session, settings = self.session, self.settings
        comment: dict[str, object] = {
            "step": session.step,
            "time": f"{session.lammps.time:.6f}",
            "temperature": f"{_temperature(atoms):.4f}",
            "max_grade": f"{peak.grade:.6f}",
            "grade_mode": self.active_set.mode,
        }
        if peak.atom:
            comment["max_grade_atom"] = peak.atom
        return comment | {
            "select": f"{settings.select:.10g}",
            "break": f"{settings.break_:.10g}",
            "potential": session.name,
            "potential_sha256": session.sha256,
        }

    def _sentence(self, peak: Peak, name: str, limit: float) -> str:
        who = f"atom {peak.atom}" if peak.atom else "the configuration"
        grade = f"step {self.session.step}: extrapolation grade {peak.grade:.10g} of {who}"
        return f"{grade} > {name} {limit:.10g}"

    def _halt(self, peak: Peak) -> None:
        session, settings = self.session, self.settings
        sentence = self._sentence(peak, "break", settings.break_)
        message = f"{sentence} (potential {session.name})"
        if peak.grade > settings.select and self.saved:
            message += f", configuration {self.saved} in {settings.file}"
        if settings.halt == "hard":
            with_all(session.comm, refuse, message)
        if session.comm.rank == 0:
            which = "run and the following ones end" if settings.halt == "soft" else "run ends"
            report(f"{message}: this {which}")
        if settings.halt == "soft":
            session.lammps.lammps_force_timeout()


def guard(handle: object, words: str) -> None:
    """Watch the potential while it runs; called by ``python guard invoke``.

    Parameters
    ----------
    handle
        ``SELF`` of the ``python`` command, format ``p``.
    words
        ``N [select S] [break B] [file FILE] [append yes|no] [halt soft|hard|continue]``,
        format ``s``; see `GuardSettings`.
    """
    lammps = Lammps(handle)
    comm = lammps.communicator()
    session = with_all(comm, session_of, lammps)
    settings = with_all(comm, GuardSettings.parse, words)
    active_set = session.potential.active_set
    if active_set is None:
        command = f"pescape fit {session.potential.kind} TRAIN.xyz -o POTENTIAL"
        message = (
            f"potential file {session.name} has no active set, so it gives no extrapolation "
            f"grades. Make one from the training set: {command} writes it into the file"
        )
        with_all(comm, refuse, message)
    if settings.select < NEVER:
        with_all(comm, _start_file, settings, comm.rank)
    with_all(comm, _attach, Guard(session, settings, active_set))


def _start_file(settings: GuardSettings, rank: int) -> None:
    if rank == 0:
        try:
            start_file(settings.file, append=settings.append)
        except OSError as error:
            refuse(f"guard: cannot write {settings.file}: {error.strerror}")


def _attach(watch: Guard) -> None:
    """Have LAMMPS call the guard: through a name in ``__main__``, as it wants it."""
    lammps, settings = watch.session.lammps, watch.settings
    watch.session.at_start = watch.check
    setattr(sys.modules["__main__"], FIX, lambda _handle: watch.check())
    lammps.command(f"fix {FIX} all python/invoke {settings.every} end_of_step {FIX}")
    if settings.halt == "continue":
        lammps.command(f"variable {HALT_FIX} equal f_{PAIR_FIX}[5]")
        lammps.command(f"fix {HALT_FIX} all halt 1 v_{HALT_FIX} > 0.5 error continue message no")
    elif lammps.has("fix", HALT_FIX):
        lammps.command(f"unfix {HALT_FIX}")


def _site_gradients(
    session: Session, atoms: AtomArrays, parameters: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Give blocks of this rank's atoms with their rows dE_i/dtheta (atoms, parameters)."""
    for block, arguments in _blocks(session, atoms, parameters):
        yield block, session.potential.site_gradients(*arguments)


def _range_excess(
    session: Session, potential: BPNNPotential, atoms: AtomArrays
) -> NDArray[np.float64]:
    """How far this rank's atoms are beyond the training data, in widths of its ranges."""
    found = np.zeros(atoms.local)
    most = max(len(element.functions) for element in potential.elements)
    for block, arguments in _blocks(session, atoms, most):
        values = potential.kernel().symmetry_functions(*arguments)
        found[block] = excess_of(potential, arguments[1], values)
    return found


def _blocks(
    session: Session, atoms: AtomArrays, numbers: int
) -> Iterator[tuple[NDArray[np.int64], tuple[Any, ...]]]:
    """Give blocks of this rank's atoms, of which each brings so many numbers, for the kernel."""
    neighbors = session.neighbors
    if neighbors is None:
        refuse("guard: pair_style python has computed no forces")
    size = max(1, _BLOCK_NUMBERS // numbers)
    for start in range(0, len(neighbors.ours), size):
        block = neighbors.ours[start : start + size]
        members, offsets, indices = neighbors.around(block)
        yield (
            block,
            (
                atoms.positions[members],
                neighbors.species[members],
                offsets,
                indices,
                np.zeros((len(indices), 3)),
                session.threads,
            ),
        )


def _temperature(atoms: AtomRecords) -> float:
    """Return the temperature (K) of all atoms, as LAMMPS' compute temp would."""
    freedom = 3 * len(atoms.tags) - 3
    if freedom < 1:
        return 0.0
    twice = _KINETIC * float(atoms.masses @ np.square(atoms.velocities).sum(axis=1))
    return twice / (freedom * _BOLTZMANN)
