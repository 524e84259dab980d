import dataclasses

import ase.io
import numpy as np
import pytest

from pescape.calculators.mtp import MTPotential
from pescape.errors import TaskError
from pescape.learning.exploration import MDRun, run_dynamics
from pescape.learning.outcomes import MDOutcome, lost_start_of, risky_frames, snapshots_of
from pescape.plugins.structures import crystal, shortest_distance

RUN = MDRun(
    name="bcc Zr8",
    temperature=300.0,
    steps=200,
    timestep=0.002,
    damping=0.1,
    every=10,
    select=2.1,
    stop=1e6,
    snapshots=2,
    elements=("Zr",),
    seed=1,
)


@pytest.fixture
def start():
    return crystal("Zr", "bcc", 3.58, cubic=True, repeat=(2, 2, 1))


def run(folder, potential, start, **changes):
    folder.mkdir()
    run_dynamics(folder, dataclasses.replace(RUN, **changes), start, str(potential))
    return MDOutcome.read(folder)


def test_a_run_on_two_ranks_is_guarded_as_one_on_one(tmp_path, potential, start):
    two = run(tmp_path / "two", potential, start, temperature=20.0, ranks=2)
    assert two.status == "finished"
    assert "on 2 procs" in (tmp_path / "two" / "log.lammps").read_text()
    assert len(snapshots_of(tmp_path / "two")) == 2
    assert two.saved == len(risky_frames(tmp_path / "two", 1000))


def test_a_run_may_keep_no_snapshots(tmp_path, potential, start):
    outcome = run(tmp_path / "md", potential, start, temperature=20.0, snapshots=0)
    assert outcome.status == "finished"
    assert snapshots_of(tmp_path / "md") == []


def test_a_cold_run_finishes_with_its_snapshots(tmp_path, potential, start):
    outcome = run(tmp_path / "md", potential, start, temperature=20.0)
    assert outcome.status == "finished"
    assert outcome.steps == 200
    assert outcome.saved == len(risky_frames(tmp_path / "md", 100))
    snapshots = snapshots_of(tmp_path / "md")
    assert len(snapshots) == 2
    for atoms in snapshots:
        assert len(atoms) == len(start)
        assert atoms.pbc.all()
        np.testing.assert_allclose(atoms.cell.array, start.cell.array, atol=1e-6)
        assert shortest_distance(atoms) > 2.5
        assert atoms.calc is None


def test_what_is_risky_is_kept_with_its_circumstances(tmp_path, potential, start):
    outcome = run(tmp_path / "md", potential, start, temperature=3000.0)
    frames = risky_frames(tmp_path / "md", 1000)
    assert outcome.saved == len(frames) > 0
    grades = [float(atoms.info["max_grade"]) for atoms in frames]
    assert max(grades) == pytest.approx(outcome.largest_grade, rel=1e-5)
    assert min(grades) > 2.1
    assert all(atoms.info["step"] % 10 == 0 for atoms in frames)


def test_too_many_risky_configurations_are_thinned_evenly(tmp_path, potential, start):
    run(tmp_path / "md", potential, start, temperature=3000.0)
    every = [atoms.info["step"] for atoms in risky_frames(tmp_path / "md", 1000)]
    few = [atoms.info["step"] for atoms in risky_frames(tmp_path / "md", 3)]
    assert len(few) == 3
    assert few == sorted(few)
    assert few[-1] == every[-1]
    assert few[0] == every[0]


def test_the_guard_ends_a_run(tmp_path, potential, start):
    outcome = run(tmp_path / "md", potential, start, temperature=3000.0, stop=2.2)
    assert outcome.status == "halted"
    assert outcome.steps < 200
    assert outcome.largest_grade > 2.2


def test_equal_seeds_give_equal_runs(tmp_path, potential, start):
    for name in ("a", "b"):
        run(tmp_path / name, potential, start, temperature=2000.0)
    other = run(tmp_path / "c", potential, start, temperature=2000.0, seed=2)
    assert MDOutcome.read(tmp_path / "a") == MDOutcome.read(tmp_path / "b")
    assert MDOutcome.read(tmp_path / "a") != other
    # Whether a run this hot gets as far as its first snapshot is a matter of the last digits.
    for name in ("risky.xyz", "snapshots.xyz"):
        assert bytes_of(tmp_path / "a" / name) == bytes_of(tmp_path / "b" / name)
    for name in ("cold", "again"):
        run(tmp_path / name, potential, start, temperature=20.0)
    snapshots = bytes_of(tmp_path / "cold" / "snapshots.xyz")
    assert snapshots is not None
    assert snapshots == bytes_of(tmp_path / "again" / "snapshots.xyz")


def bytes_of(path):
    return path.read_bytes() if path.exists() else None


def test_atoms_that_fly_apart_are_an_outcome(tmp_path, potential, start):
    outcome = run(tmp_path / "md", potential, start, temperature=3000.0, timestep=1.0, stop=1e12)
    assert outcome.status == "exploded"
    assert outcome.message.startswith("ERROR")
    assert outcome.saved == len(risky_frames(tmp_path / "md", 100))


def test_other_failures_of_lammps_are_errors(tmp_path, potential, start):
    with pytest.raises(TaskError, match=r"LAMMPS failed \(bcc Zr8, 300 K, exit code 1\): ERROR"):
        run(tmp_path / "a", tmp_path / "nothing.almtp", start)
    MTPotential.read(potential).with_active_set(None).write(tmp_path / "plain.mtp")
    with pytest.raises(TaskError, match="active set"):
        run(tmp_path / "b", tmp_path / "plain.mtp", start)


def test_triclinic_cells_are_run(tmp_path, potential):
    start = crystal("Zr", "hcp", 3.23, c_over_a=1.598, repeat=(2, 2, 2))
    outcome = run(tmp_path / "md", potential, start, temperature=50.0, stop=1e9)
    assert outcome.status == "finished"
    for atoms in snapshots_of(tmp_path / "md"):
        np.testing.assert_allclose(atoms.cell.cellpar(), start.cell.cellpar(), rtol=1e-5)
        assert shortest_distance(atoms) > 2.8


def test_lammps_starts_from_the_very_structure(tmp_path, potential, start):
    run(tmp_path / "md", potential, start, steps=1)
    stored = ase.io.read(tmp_path / "md" / "start.data", format="lammps-data")
    np.testing.assert_allclose(stored.positions, start.positions, atol=1e-8)


def test_a_run_that_explodes_at_once_leaves_its_start(tmp_path, potential, start):
    calm = tmp_path / "calm"
    run(calm, potential, start, temperature=300.0)
    assert lost_start_of(calm) is None
    lost = tmp_path / "lost"
    outcome = run(lost, potential, start, temperature=3000.0, timestep=1.0, select=1e13, stop=1e13)
    assert (outcome.status, outcome.saved) == ("exploded", 0)
    found = lost_start_of(lost)
    assert found.get_chemical_symbols() == start.get_chemical_symbols()
    distances = [atoms.get_all_distances(mic=True) for atoms in (found, start)]
    np.testing.assert_allclose(*distances, atol=1e-6)
    assert found.info["parent"] == "md/lost step 0"
