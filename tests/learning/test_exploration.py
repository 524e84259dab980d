import dataclasses

import ase.io
import pytest

from pescape.calculators import MTP
from pescape.learning.exploration import ExplorationRun, run_exploration
from pescape.learning.outcomes import MDOutcome, risky_frames, snapshots_of
from pescape.plugins.structures import crystal
from pescape.sampling.config import ContourConfig, DimerConfig

CONTOUR = ExplorationRun(
    name="bcc Zr8",
    sampler=ContourConfig(method="contour", calls=60, energies=(0.3, 0.4)),
    every=2,
    select=2.1,
    stop=1e6,
    snapshots=2,
    seed=1,
)


@pytest.fixture
def start():
    atoms = crystal("Zr", "bcc", 3.58, cubic=True, repeat=(2, 2, 1))
    atoms.rattle(0.05, seed=1)
    return atoms


def run(folder, potential, start, **changes):
    folder.mkdir()
    run_exploration(folder, dataclasses.replace(CONTOUR, **changes), start, str(potential))
    return MDOutcome.read(folder)


def test_a_walk_saves_every_risky_image_with_its_grade(tmp_path, potential, start):
    outcome = run(tmp_path / "walk", potential, start)
    assert outcome.status == "finished"
    risky = risky_frames(tmp_path / "walk", 1000)
    assert len(risky) == outcome.saved > 0
    for frame in risky:
        grade = MTP(potential).get_property("extrapolation_grade", frame)
        assert grade == pytest.approx(frame.info["max_grade"], rel=1e-5)
        assert grade > 2.1
        assert frame.info["step"] % 2 == 0
    assert outcome.largest_grade == pytest.approx(max(f.info["max_grade"] for f in risky))
    assert len(snapshots_of(tmp_path / "walk")) == 2


def test_a_walk_ends_where_the_grade_is_too_large(tmp_path, potential, start):
    whole = run(tmp_path / "whole", potential, start)
    stop = whole.largest_grade / 2.0
    outcome = run(tmp_path / "halted", potential, start, stop=stop)
    assert outcome.status == "halted"
    assert outcome.steps < whole.steps
    frames = ase.io.read(tmp_path / "halted" / "risky.xyz", ":")
    assert frames[-1].info["max_grade"] > stop
    assert all(frame.info["max_grade"] <= stop for frame in frames[:-1])


def test_the_same_seed_walks_the_same_way(tmp_path, potential, start):
    for name in ("a", "b"):
        run(tmp_path / name, potential, start)
    for file in ("risky.xyz", "snapshots.xyz", "outcome.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_saddle_searches_are_guarded_too(tmp_path, potential, start):
    sampler = DimerConfig(method="dimer", calls=80)
    outcome = run(tmp_path / "dimer", potential, start, sampler=sampler, every=1)
    assert outcome.status in {"finished", "exploded"}
    assert 0 < outcome.steps <= 80
    assert outcome.largest_grade > 1.0
