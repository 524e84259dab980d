import json

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from pescape.data.configurations import configuration_id
from pescape.sampling.trajectory import read_images, start_identity

PROVENANCE = {
    *("trajectory", "builder", "start", "parent", "sampler", "method", "seed", "command"),
    *("reference", "reference_version", "reference_id", "configuration_id"),
    *("phase", "tag", "call", "start_energy"),
}


def frames(folder, name):
    path = folder / "sampled" / name
    return ase.io.read(path, ":") if path.stat().st_size else []


def images(folder, record):
    return read_images(folder / "sampled" / "tasks" / "trajectory" / record.key)


def test_every_trajectory_relaxes_and_then_makes_its_force_calls(whole):
    folder, result = whole
    assert len(result.records) == 6
    for record in result.records:
        kept = images(folder, record)
        assert (record.relaxation_calls, record.sampling_calls) == (4, 12)
        assert [image.info["call"] for image in kept] == [1, 2, 3, 4, *range(1, 13)]
        assert [image.info["phase"] for image in kept] == ["relaxation"] * 4 + ["sampling"] * 12
        energies = [image.get_potential_energy() for image in kept]
        assert energies[3] < energies[0]
        assert len({image.positions.tobytes() for image in kept}) == 16


def test_all_samplers_go_from_the_same_relaxed_start(whole):
    folder, result = whole
    ends = [images(folder, record)[3].positions for record in result.records]
    np.testing.assert_array_equal(ends[0], ends[1])
    np.testing.assert_array_equal(ends[0], ends[2])
    assert not np.array_equal(ends[0], ends[3])


def test_images_have_the_energies_and_forces_of_the_reference(whole):
    folder, result = whole
    for record in result.records[:3]:
        for image in images(folder, record)[::5]:
            again = image.copy()
            again.calc = EMT()
            assert image.get_potential_energy() == again.get_potential_energy()
            np.testing.assert_array_equal(image.get_forces(), again.get_forces())
    for frame in frames(folder, "train.xyz")[::4]:
        again = frame.copy()
        again.calc = EMT()
        np.testing.assert_allclose(frame.get_forces(), again.get_forces(), atol=2e-6)


def test_sets_are_thinned_and_know_where_every_image_comes_from(whole):
    folder, result = whole
    every = {"md": 4, "contour": 2, "dimer": 4}
    for name in ("train", "test"):
        own = [record for record in result.records if record.set == name]
        found = frames(folder, f"{name}.xyz")
        assert len(found) == sum(record.kept for record in own) == (3 + 6 + 3)
        for record in own:
            calls = [f.info["call"] for f in found if f.info["trajectory"] == record.key]
            step = every[record.method]
            assert calls == list(range(step, 13, step))
        for frame in found:
            assert set(frame.info) >= PROVENANCE
            assert frame.info["configuration_id"] == configuration_id(frame)
            assert frame.info["command"] == "pescape sample sample.toml"
            assert frame.info["phase"] == "sampling"
            assert {"energy", "free_energy", "forces"} <= set(frame.calc.results)


def test_the_dimers_images_are_centres_and_rotations(whole):
    folder, result = whole
    tags = [i.info["tag"] for i in images(folder, result.records[2]) if i.info["tag"]]
    assert tags[0] == "centre"
    assert "rotation" in tags
    first = images(folder, result.records[2])
    moved = first[4].positions - first[3].positions
    assert np.linalg.norm(moved) == pytest.approx(1.2)
    assert np.linalg.norm(first[5].positions - first[4].positions) == pytest.approx(0.01)


def test_drawn_numbers_are_in_their_ranges_and_kept(whole):
    _, result = whole
    for record in result.records:
        if record.method == "md":
            assert all(200 <= value <= 2000 for value in record.drawn["temperatures"])
        if record.method == "contour":
            first, last = record.drawn["energies"]
            assert 0.001 <= first < last <= 1.0
    assert len({record.seed for record in result.records}) == 6


def test_each_start_is_for_training_or_for_testing(whole):
    folder, result = whole
    sides = {record.start: record.set for record in result.records}
    assert sorted(sides.values()) == ["test", "train"]
    assert all(record.set == sides[record.start] for record in result.records)
    table = json.loads((folder / "sampled" / "trajectories.json").read_text())
    assert [row["key"] for row in table["trajectories"]] == [r.key for r in result.records]
    assert len(frames(folder, "starts.xyz")) == 2
    assert (folder / "sampled" / "sample.png").read_bytes().startswith(b"\x89PNG")


def test_other_seeds_give_other_trajectories(whole, tmp_path, tiny, write, run):
    _, first = whole
    text = tiny.replace("seed = 3", "seed = 4").replace("count = 2", "count = 1")
    other = run(write(tmp_path, text))
    assert not {r.key for r in other.records} & {r.key for r in first.records}
    assert not {r.seed for r in other.records} & {r.seed for r in first.records}


def test_the_same_image_is_never_in_both_sets(tmp_path, tiny, write, run):
    """Two trajectories from one start share their relaxation."""
    start = bulk("Cu", cubic=True)
    start.rattle(0.1, seed=1)
    start.info["name"] = "mine"
    ase.io.write(tmp_path / "mine.xyz", start)
    head = tiny[: tiny.index("[[structures]]")].replace("steps = 3", "steps = 3\nkeep = true")
    text = head + '[[structures]]\nbuilder = "files"\nfiles = ["mine.xyz"]\ncount = 2\n'
    text += '[[samplers]]\nmethod = "md"\ncalls = 4\n'
    result = run(write(tmp_path, text))
    train, test = frames(tmp_path, "train.xyz"), frames(tmp_path, "test.xyz")
    assert (len(train), len(test)) == (5, 1)
    assert [record.repeated for record in result.records if record.set == "test"] == [4]
    assert {frame.info["parent"] for frame in train} == {"mine"}


def test_starts_from_files_keep_their_constraints(tmp_path, tiny, write, run):
    start = bulk("Cu", cubic=True)
    start.rattle(0.1, seed=1)
    start.set_constraint(FixAtoms([2]))
    ase.io.write(tmp_path / "slab.traj", start)
    head, _, samplers = tiny.partition("[[structures]]")
    text = head + '[[structures]]\nbuilder = "files"\nfiles = ["slab.traj"]\n'
    text += samplers[samplers.index("[[samplers]]") :].replace("calls = 12", "calls = 6")
    result = run(write(tmp_path, text))
    assert [record.parent for record in result.records] == ["slab.traj"] * 3
    for record in result.records:
        kept = images(tmp_path, record)
        places = np.array([image.positions for image in kept])
        assert np.ptp(places[:, 2], axis=0).max() == 0
        assert np.ptp(places[:, 1], axis=0).max() > 0
        forces = np.array([image.get_forces() for image in kept])
        assert np.abs(forces[:, 2]).max() > 0.1, "recorded without constraints"


def test_all_that_a_trajectory_takes_from_its_start_is_in_its_key():
    start = bulk("Cu", cubic=True)
    variants = [start.copy() for _ in range(5)]
    variants[1].set_initial_magnetic_moments([1, 0, 0, 0])
    variants[2].set_constraint(FixAtoms([2]))
    variants[3].set_constraint(FixAtoms([1]))
    variants[4].set_masses([1, 2, 3, 4])
    assert len({start_identity(variant) for variant in variants}) == 5
    assert start_identity(start) == start_identity(variants[0])


def test_limits_reject_with_reasons_and_lose_nothing(whole, tmp_path, tiny, write, run):
    _, free = whole
    text = tiny.replace("count = 2", "count = 1") + "[limits]\nforce = 1.5\nenergy = 0.3\n"
    text += "atom_energies = { Cu = 0.0 }\n"
    result = run(write(tmp_path, text))
    assert result.rejected > 0
    kept = frames(tmp_path, "train.xyz") + frames(tmp_path, "test.xyz")
    for frame in kept:
        assert np.linalg.norm(frame.get_forces(), axis=1).max() <= 1.5
        assert frame.get_potential_energy() / len(frame) <= 0.3
    for frame in (rejected := frames(tmp_path, "rejected.xyz")):
        reasons = frame.info["rejected"]
        beyond = np.linalg.norm(frame.get_forces(), axis=1).max() > 1.5
        assert ("eV/Å above 1.5" in reasons) == beyond
        assert ("eV/atom above 0.3" in reasons) == (frame.get_potential_energy() / 4 > 0.3)
    assert len(kept) + len(rejected) == sum(r.kept for r in free.records if r.start == 0)


def test_limits_are_computed_with_the_reference_and_kept(tmp_path, tiny, write, run):
    samplers = tiny.index("[[samplers]]")
    text = tiny[:samplers].replace("count = 2", "count = 1")
    text += '[[samplers]]\nmethod = "md"\ncalls = 2\n'
    result = run(write(tmp_path, text + '[limits]\nmultiple = 2.0\npairs = [["Cu", "Cu"]]\n'))
    assert result.limits.force == pytest.approx(38.0, abs=2.0)
    assert result.limits.atom_energies["Cu"] == pytest.approx(3.5, abs=0.1)
    asked = len((tmp_path / "calls").read_text().split())
    assert 20 < asked < 80
    assert (tmp_path / "sampled" / "limits.png").exists()
    (tmp_path / "known.json").write_bytes((tmp_path / "sampled" / "limits.json").read_bytes())
    again = run(write(tmp_path, text + '[limits]\nfile = "known.json"\nforce = 5.0\n'))
    assert again.limits.force == 5.0
    assert again.limits.energy == result.limits.energy
    assert len((tmp_path / "calls").read_text().split()) == asked
