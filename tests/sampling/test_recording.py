import contextlib

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT

from pescape.sampling.recording import (
    CallsSpentError,
    EvaluationError,
    EvaluationLog,
    RecordingCalculator,
)


class Sessions:
    """Opens sessions with EMT and counts what happens in them."""

    def __init__(self, change=None):
        self.opened = self.closed = self.calls = 0
        self.change = change or (lambda results, _: results)

    @contextlib.contextmanager
    def __call__(self):
        self.opened += 1
        try:
            yield _Counted(self)
        finally:
            self.closed += 1


class _Counted(Calculator):
    implemented_properties = ("energy", "free_energy", "forces", "stress")

    def __init__(self, sessions):
        super().__init__()
        self.sessions = sessions

    def calculate(self, atoms=None, properties=None, system_changes=None):
        del properties, system_changes
        self.sessions.calls += 1
        copy = atoms.copy()
        copy.calc = EMT()
        copy.get_forces()
        self.results = self.sessions.change(copy.calc.results, self.sessions.calls)


@pytest.fixture
def copper():
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=2)
    return atoms


def walk(atoms, recorder, steps=5):
    """A dynamics whose every step depends on the forces of the last."""
    atoms = atoms.copy()
    atoms.calc = recorder
    seen = []
    for _ in range(steps):
        forces = atoms.get_forces()
        seen.append((atoms.get_potential_energy(), forces))
        atoms.positions += 0.01 * forces
    return seen


def test_what_is_in_the_log_is_not_asked_again_and_exact(copper, tmp_path):
    sessions = Sessions()
    first = walk(copper, RecordingCalculator(copper, sessions, EvaluationLog(tmp_path / "log")), 3)
    recorder = RecordingCalculator(copper, sessions, EvaluationLog(tmp_path / "log"))
    again = walk(copper, recorder, 5)
    assert sessions.calls == 5
    assert (recorder.replayed, recorder.calls) == (3, 5)
    for (energy, forces), (energy2, forces2) in zip(first, again, strict=False):
        assert energy == energy2
        np.testing.assert_array_equal(forces, forces2)


def test_a_session_is_opened_by_the_first_call_that_is_not_replayed(copper, tmp_path):
    sessions = Sessions()
    recorder = RecordingCalculator(copper, sessions, EvaluationLog(tmp_path / "log"))
    assert sessions.opened == 0
    walk(copper, recorder, 3)
    recorder.close()
    recorder.close()
    assert (sessions.opened, sessions.closed) == (1, 1)
    recorder = RecordingCalculator(copper, sessions, EvaluationLog(tmp_path / "log"))
    walk(copper, recorder, 3)
    recorder.close()
    assert (sessions.opened, sessions.closed) == (1, 1)


def test_a_line_that_a_kill_left_half_written_costs_one_call(copper, tmp_path):
    log, sessions = tmp_path / "log", Sessions()
    walk(copper, RecordingCalculator(copper, sessions, EvaluationLog(log)), 4)
    content = log.read_bytes()
    for cut in (1, 2, 100):
        log.write_bytes(content[:-cut])
        sessions.calls = 0
        recorder = RecordingCalculator(copper, sessions, EvaluationLog(log))
        walk(copper, recorder, 4)
        assert sessions.calls == (0 if cut == 1 else 1)
        assert not recorder.notes
        assert log.read_bytes().replace(content[:-cut][content.rfind(b"\n{") + 1 :], b"", 1)
        assert len(EvaluationLog(log).entries) == 4


def test_a_log_that_does_not_fit_is_discarded_from_there_with_a_note(copper, tmp_path):
    log, sessions = tmp_path / "log", Sessions()
    walk(copper, RecordingCalculator(copper, sessions, EvaluationLog(log)), 4)
    lines = log.read_text().splitlines()
    lines[2] = lines[2].replace('"id":"', '"id":"0')
    log.write_text("\n".join(lines) + "\n")
    sessions.calls = 0
    recorder = RecordingCalculator(copper, sessions, EvaluationLog(log))
    walk(copper, recorder, 5)
    assert (recorder.replayed, sessions.calls) == (2, 3)
    assert "call 3 is not the one of an earlier run" in recorder.notes[0]
    assert "2 evaluations of that run were discarded" in recorder.notes[0]
    kept = EvaluationLog(log)
    assert len(kept.entries) == 5
    assert kept.notes == recorder.notes


def test_configurations_met_before_are_no_new_calls(copper, tmp_path):
    sessions = Sessions()
    recorder = RecordingCalculator(copper, sessions, EvaluationLog(tmp_path / "log"))
    atoms = copper.copy()
    atoms.calc = recorder
    first = atoms.get_forces()
    atoms.rattle(0.1, seed=1)
    atoms.get_forces()
    atoms.positions = copper.positions
    np.testing.assert_array_equal(atoms.get_forces(), first)
    assert recorder.calls == sessions.calls == 2


def test_calls_are_limited_and_tagged_by_phase(copper, tmp_path):
    recorder = RecordingCalculator(copper, Sessions(), EvaluationLog(tmp_path / "log"))
    walk(copper, recorder, 2)
    recorder.sample(3, "refused")
    recorder.mark("step")  # the configuration is one of the relaxation
    moved = copper.copy()
    moved.rattle(0.1, seed=5)
    with pytest.raises(CallsSpentError):
        walk(moved, recorder, 4)
    recorder.mark("step")
    phases = [(e.phase, e.tag) for e in recorder.evaluations]
    assert phases == [("relaxation", "")] * 2 + [("sampling", "refused")] * 2 + [
        ("sampling", "step")
    ]


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (lambda r, _: r | {"forces": r["forces"] * np.nan}, "not_finite", "not finite"),
        (lambda r, _: r | {"energy": np.inf}, "not_finite", "not finite"),
        (lambda r, _: {k: v for k, v in r.items() if k != "forces"}, "calculator", "forces"),
        (lambda r, n: 1 / (n - 3) and r, "calculator", "ZeroDivisionError"),
    ],
)
def test_what_the_reference_gets_wrong_is_told_and_not_written(
    copper, tmp_path, change, kind, message
):
    log = EvaluationLog(tmp_path / "log")
    recorder = RecordingCalculator(copper, Sessions(change), log)
    with pytest.raises(EvaluationError, match=message) as caught:
        walk(copper, recorder, 3)
    assert caught.value.kind == kind
    assert len(log.entries) == recorder.calls


def test_stresses_are_kept_where_the_reference_has_them(copper, tmp_path):
    zeros = Sessions(lambda results, _: results | {"stress": np.zeros(6)})
    for number, (sessions, asked, there) in enumerate(
        ((Sessions(), False, True), (zeros, False, False), (zeros, True, True))
    ):
        log = EvaluationLog(tmp_path / str(number))
        recorder = RecordingCalculator(copper, sessions, log, stress=asked)
        walk(copper, recorder, 1)
        assert ("stress" in recorder.evaluations[0].results()) == there


def test_forces_are_recorded_without_constraints(copper, tmp_path):
    from ase.constraints import FixAtoms

    free = walk(copper, RecordingCalculator(copper, Sessions(), EvaluationLog(tmp_path / "a")), 1)
    fixed = copper.copy()
    fixed.set_constraint(FixAtoms([0]))
    recorder = RecordingCalculator(fixed, Sessions(), EvaluationLog(tmp_path / "b"))
    assert not walk(fixed, recorder, 1)[0][1][0].any()
    np.testing.assert_array_equal(recorder.evaluations[0].forces, free[0][1])


def test_another_cell_is_refused(copper, tmp_path):
    recorder = RecordingCalculator(copper, Sessions(), EvaluationLog(tmp_path / "log"))
    other = copper.copy()
    other.cell[0, 0] += 0.1
    with pytest.raises(ValueError, match="cell or the species have changed"):
        walk(other, recorder, 1)
