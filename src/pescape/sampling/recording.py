"""A calculator that writes down every evaluation, and answers from what is written.

A dynamics with a seed of its own asks for the same configurations whenever it is run. So a
trajectory that was killed is run again from its beginning, with the answers that are known,
up to where it was; any method that calls a calculator is resumed this way, bit by bit. What
follows is what would have followed as far as the reference has no memory: one that starts
from its last charge density or neighbor list may answer with other last digits.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes

from pescape.data.configurations import configuration_id
from pescape.files import append_line, close_line, read_lines, write_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator

    from pescape.labelling import Reference


class CallsSpentError(Exception):
    """The force calls of a trajectory are spent."""


class EvaluationError(Exception):
    """The reference failed on a configuration.

    Parameters
    ----------
    kind
        ``"calculator"`` or ``"not_finite"``.
    message
        What happened.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(eq=False)
class Evaluation:
    """One configuration and what the reference says of it.

    Parameters
    ----------
    identity
        Fingerprint of the configuration, bit by bit.
    phase
        ``"relaxation"`` or ``"sampling"``.
    positions
        (natoms, 3), Å.
    energy, free_energy
        eV; the latter where the reference gives it.
    forces
        Without constraints, (natoms, 3), eV/Å.
    stress
        (6,), eV/Å³, where the reference gives it.
    tag
        What the sampler used it for.
    """

    identity: str
    phase: str
    positions: np.ndarray
    energy: float
    forces: np.ndarray
    free_energy: float | None = None
    stress: np.ndarray | None = None
    tag: str = ""

    def results(self) -> dict[str, Any]:
        """Results under the names of ASE's calculators; those that are not known are left out."""
        named = {name: getattr(self, name) for name in RecordingCalculator.implemented_properties}
        return {name: value for name, value in named.items() if value is not None}


class EvaluationLog:
    """Evaluations in a file, a line for each; a line that a kill left half written is dropped.

    Parameters
    ----------
    path
        JSON lines, each with species, cell, positions (Å) and results; floats are exact.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        close_line(path)
        lines = read_lines(path)
        self.entries = [line for line in lines if "positions" in line]
        self.notes = [str(line["note"]) for line in lines if "note" in line]

    def append(self, evaluation: Evaluation, atoms: Atoms) -> None:
        """Write an evaluation down.

        Parameters
        ----------
        evaluation, atoms
            What the reference says of which configuration.
        """
        stress = None if evaluation.stress is None else evaluation.stress.tolist()
        entry = {
            "id": evaluation.identity,
            "phase": evaluation.phase,
            "numbers": atoms.numbers.tolist(),
            "cell": atoms.cell.array.tolist(),
            "pbc": atoms.pbc.tolist(),
            "positions": evaluation.positions.tolist(),
            "energy": evaluation.energy,
            "free_energy": evaluation.free_energy,
            "forces": evaluation.forces.tolist(),
            "stress": stress,
        }
        append_line(self.path, entry)
        self.entries.append(entry)

    def evaluation(self, index: int, identity: str) -> Evaluation | None:
        """Read an evaluation; None if it is of another configuration.

        Parameters
        ----------
        index
            Its number.
        identity
            Of the configuration.
        """
        entry = self.entries[index]
        if entry["id"] != identity:
            return None
        return Evaluation(
            identity,
            entry["phase"],
            np.array(entry["positions"], dtype=float).reshape(-1, 3),
            entry["energy"],
            np.array(entry["forces"], dtype=float).reshape(-1, 3),
            entry["free_energy"],
            None if entry["stress"] is None else np.array(entry["stress"]),
        )

    def discard_from(self, index: int) -> None:
        """Drop evaluations, with a note.

        Parameters
        ----------
        index
            Number of the first one.
        """
        dropped = len(self.entries) - index
        self.entries = self.entries[:index]
        self.notes.append(
            f"call {index + 1} is not the one of an earlier run (other versions, another "
            f"machine?): {dropped} evaluations of that run were discarded"
        )
        lines = [*({"note": note} for note in self.notes), *self.entries]
        write_text(self.path, "".join(json.dumps(line) + "\n" for line in lines))


class RecordingCalculator(Calculator):
    """Stands between a dynamics and the reference.

    Every new configuration is one force call: answered from the log while that agrees, by
    the reference afterwards. Configurations met before are answered from memory. The
    reference sees one set of atoms, whose positions change, one configuration after another,
    within a session that is opened by the first call it has to answer.

    Parameters
    ----------
    start
        The atoms of the trajectory; their cell and species must not change.
    session
        Opens a session with the reference.
    log
        Where evaluations are written to.
    stress
        Ask for stresses.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012 (ASE's)

    def __init__(
        self,
        start: Atoms,
        session: Callable[[], AbstractContextManager[BaseCalculator]],
        log: EvaluationLog,
        *,
        stress: bool = False,
    ) -> None:
        super().__init__()
        self.log = log
        self.evaluations: list[Evaluation] = []
        self.notes: list[str] = log.notes
        self.replayed = 0
        self.phase = "relaxation"
        self.tag = ""
        self._limit: int | None = None
        self._own = start.copy()
        self._own.set_constraint()
        self._session = session
        self._stress = stress
        self._known: dict[str, int] = {}
        self._latest: Evaluation | None = None
        self._stack = contextlib.ExitStack()
        self._reference: BaseCalculator | None = None

    @property
    def calls(self) -> int:
        """Force calls, those from the log included."""
        return len(self.evaluations)

    def sample(self, calls: int, tag: str) -> None:
        """Begin the sampling.

        Parameters
        ----------
        calls
            Force calls it may make.
        tag
            Of each, unless it is marked.
        """
        self.phase, self.tag = "sampling", tag
        self._limit = self.calls + calls

    def mark(self, tag: str) -> None:
        """Tag the configuration asked for last, if the sampling was the first to ask.

        Parameters
        ----------
        tag
            What the sampler used it for.
        """
        if self._latest is not None and self._latest.phase == "sampling":
            self._latest.tag = tag

    def close(self) -> None:
        """Close the session, if one is open; what goes wrong there becomes a note."""
        self._reference = None
        try:
            self._stack.close()
        except Exception as error:  # noqa: BLE001 (the results are there already)
            self.notes.append(f"closing the reference: {type(error).__name__}: {error}")

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Answer from memory, from the log or by the reference.

        Parameters
        ----------
        atoms
            With the cell and the species of the start.
        properties, system_changes
            As ASE calls them; all that the reference gives is computed anyway.
        """
        super().calculate(atoms, properties, system_changes)
        assert atoms is not None
        identity = configuration_id(atoms)
        if identity not in self._known:
            if self._limit is not None and self.calls >= self._limit:
                raise CallsSpentError
            evaluation = self._from_log(identity) or self._from_reference(atoms, identity)
            evaluation.tag = self.tag
            self._known[identity] = self.calls
            self.evaluations.append(evaluation)
        self._latest = self.evaluations[self._known[identity]]
        self.results = self._latest.results()

    def _from_log(self, identity: str) -> Evaluation | None:
        if self.calls >= len(self.log.entries):
            return None
        evaluation = self.log.evaluation(self.calls, identity)
        if evaluation is None or evaluation.phase != self.phase:
            self.log.discard_from(self.calls)
            return None
        self.replayed += 1
        return evaluation

    def _from_reference(self, atoms: Atoms, identity: str) -> Evaluation:
        own = self._own
        own.positions = atoms.positions
        if configuration_id(own) != identity:
            raise ValueError("the cell or the species have changed during a trajectory")
        try:
            if self._reference is None:
                self._reference = self._stack.enter_context(self._session())
                own.calc = self._reference
            evaluation = self._ask(identity)
        except Exception as error:
            raise EvaluationError("calculator", f"{type(error).__name__}: {error}") from error
        parts = (evaluation.energy, evaluation.forces, evaluation.stress)
        if not all(np.isfinite(part).all() for part in parts if part is not None):
            raise EvaluationError("not_finite", "the reference gave numbers that are not finite")
        self.log.append(evaluation, own)
        return evaluation

    def _ask(self, identity: str) -> Evaluation:
        """Ask once, for stresses first: many codes compute them with the forces or not at all.

        What the call left among the calculator's results is taken from there: asking for it
        would have some calculators compute again.
        """
        own = self._own
        stress = own.get_stress(apply_constraint=False) if self._stress else None
        forces = np.array(own.get_forces(apply_constraint=False), dtype=float)
        left = getattr(self._reference, "results", None)
        found: dict[str, Any] = left if isinstance(left, dict) else {}
        energy = found.get("energy")
        if energy is None:
            energy = own.get_potential_energy(apply_constraint=False)
        free = found.get("free_energy")
        if free is None and not found:
            with contextlib.suppress(PropertyNotImplementedError, NotImplementedError):
                free = own.get_potential_energy(force_consistent=True, apply_constraint=False)
        if (
            stress is None
            and np.shape(found.get("stress", 0.0)) == (6,)
            and np.any(found["stress"])
        ):
            stress = found["stress"]  # all zeros are what a socket sends for "not computed"
        return Evaluation(
            identity,
            self.phase,
            own.get_positions(),
            float(energy),
            forces,
            None if free is None else float(free),
            None if stress is None else np.array(stress, dtype=float),
        )


def fresh_session(reference: Reference, scratch: Path) -> AbstractContextManager[BaseCalculator]:
    """Open a session in an empty folder: files of other runs could be taken for its own.

    Parameters
    ----------
    reference
        Gives energies and forces.
    scratch
        The folder, emptied.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    return reference.session(scratch)
