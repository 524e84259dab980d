"""The guard of `pair_style python` saves and halts as `fix extrapolation` does."""

from __future__ import annotations

import numpy as np
import pytest
from ase.io import read

RUN = """
units metal
atom_modify map array
read_data hot.data
{potential}
fix nve all nve
thermo_style custom step temp pe {columns}
thermo 10
timestep 0.002
velocity all scale {temperature}
run 200
print "after the first run"
run 10
print "after the second run"
"""


@pytest.fixture
def run(embedded, potentials, hot_copper):
    """Run hot copper under a guard with the given words."""
    hot_copper(600.0)

    def go(guard: str, ranks: int = 1, temperature: float = 1500, mode: str = "neighborhood"):
        potential = embedded.handover(potentials.metal(mode=mode), ["Cu"], guard)
        columns = "f_pescape[1] f_pescape[2] f_pescape[3] f_pescape[4]"
        script = RUN.format(potential=potential, columns=columns, temperature=temperature)
        return embedded.run(script, ranks)

    return go


@pytest.mark.parametrize(
    ("potentials", "mode", "words"),
    [
        ("mtp", "neighborhood", "10 select 1.2 break 1.6"),
        pytest.param("mtp", "configuration", "10 select 1.2 break 1.6", marks=pytest.mark.slow),
        pytest.param("bpnn", "neighborhood", "10 select 0.9 break 1.0", marks=pytest.mark.slow),
    ],
    indirect=["potentials"],
)
@pytest.mark.parametrize("ranks", [1, 2])
def test_the_file_is_that_of_fix_extrapolation(
    run, lammps, tmp_path, potentials, mode, words, ranks
):
    style, name = potentials.style, potentials.metal(mode=mode)
    ours = run(f"{words} file ours.xyz halt soft", ranks, mode=mode)
    native = (
        f"pair_style {style}\npair_coeff * * {name} Cu\n"
        f"fix g all extrapolation {words} file native.xyz halt soft\n"
    )
    columns = "f_g f_g[1] f_g[2] f_g[3]"
    theirs = lammps.ok(RUN.format(potential=native, columns=columns, temperature=1500))
    assert ours.code == 0, ours.output
    assert (tmp_path / "ours.xyz").read_bytes() == (tmp_path / "native.xyz").read_bytes()
    wanted = theirs.thermo(0)
    assert ours.thermo("Step", 0) == pytest.approx(wanted["Step"])
    assert ours.thermo("f_pescape[1]", 0) == pytest.approx(wanted["f_g"], rel=1e-6)
    assert ours.thermo("f_pescape[2]", 0) == pytest.approx(wanted["f_g[1]"], rel=1e-6)
    assert ours.thermo("f_pescape[3]", 0) == pytest.approx(wanted["f_g[2]"])
    assert ours.thermo("f_pescape[4]", 0) == pytest.approx(wanted["f_g[3]"])


def test_a_risky_configuration_can_be_read_and_halts_the_run(run, tmp_path):
    done = run("5 select 1.2 break 1.4 file risky.xyz halt soft", ranks=2)
    frames = read(tmp_path / "risky.xyz", index=":")
    last = frames[-1]
    assert done.code == 0, done.output
    assert set(last.symbols) == {"Cu"}
    assert last.pbc.all()
    assert last.arrays["extrapolation_grades"].max() == pytest.approx(last.info["max_grade"])
    assert last.info["max_grade"] > 1.4
    assert all(1.2 < frame.info["max_grade"] <= 1.4 for frame in frames[:-1])
    assert 0 < last.info["step"] < 200
    message = f"step {last.info['step']}: extrapolation grade"
    assert done.output.count(f"{message} {last.info['max_grade']:.4f}"[:-2]) >= 1
    assert "break 1.4 (potential metal.almtp)" in done.output
    assert "after the second run" in done.output
    assert last.info["step"] == done.steps(0)


@pytest.mark.slow
def test_halt_continue_ends_only_one_run(run):
    done = run("5 select none break 1.4 halt continue", ranks=2)
    assert done.code == 0, done.output
    assert 0 < done.steps(0) < 200
    assert done.steps(1) > 0
    assert "after the second run" in done.output


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_halt_hard_is_an_error_on_all_ranks(run, tmp_path, ranks):
    done = run("5 select 1.2 break 1.4 halt hard", ranks)
    assert done.code != 0
    assert done.output.count("ERROR: pescape") == 1
    assert "after the first run" not in done.output
    assert read(tmp_path / "risky.xyz").info["max_grade"] > 1.4


@pytest.mark.slow
def test_the_start_of_a_run_is_checked_and_saved_once(run, tmp_path):
    done = run("200 select 0.1 break none", ranks=2)
    steps = [frame.info["step"] for frame in read(tmp_path / "risky.xyz", index=":")]
    assert done.code == 0, done.output
    assert steps == [0, 200]


@pytest.mark.slow
def test_append_goes_on_after_whole_frames(run, tmp_path):
    (tmp_path / "risky.xyz").write_text("1\nstep=-1\nCu 0 0 0\n108\nstep=5 cut sh")
    run("200 select 0.1 break none append yes")
    frames = read(tmp_path / "risky.xyz", index=":")
    assert [frame.info["step"] for frame in frames] == [-1, 0, 200]
    run("200 select 0.1 break none")
    frames = read(tmp_path / "risky.xyz", index=":")
    assert [frame.info["step"] for frame in frames] == [0, 200]


@pytest.mark.slow
def test_grades_count_every_atom_once_whatever_the_number_of_ranks(run, tmp_path):
    run("50 select 0.1 break none file one.xyz", ranks=1)
    run("50 select 0.1 break none file four.xyz", ranks=4)
    one, four = (read(tmp_path / name, index=":") for name in ("one.xyz", "four.xyz"))
    assert len(one) == len(four) == 5
    for a, b in zip(one, four, strict=True):
        assert np.array_equal(a.arrays["id"], b.arrays["id"])
        grades = a.arrays["extrapolation_grades"], b.arrays["extrapolation_grades"]
        assert grades[0] == pytest.approx(grades[1], rel=1e-6)


@pytest.mark.parametrize("ranks", [1, 2])
def test_atoms_beyond_the_ranges_of_the_training_data_are_told_once(
    embedded, potentials, lammps, hot_copper, ranks
):
    hot_copper(600.0)
    name = potentials.ranged()
    words = "10 select none break none"
    columns = "f_pescape[1] f_pescape[2] f_pescape[3] f_pescape[4]"
    potential = embedded.handover(name, ["Cu"], words)
    script = RUN.format(potential=potential, columns=columns, temperature=1500)
    ours = embedded.ok(script, ranks)
    native = f"pair_style bpnn\npair_coeff * * {name} Cu\nfix g all extrapolation {words}\n"
    theirs = lammps.ok(RUN.format(potential=native, columns="f_g", temperature=1500))
    (told,) = [line for line in ours.output.splitlines() if "outside the ranges" in line]
    wanted = [line for line in theirs.output.splitlines() if "outside the ranges" in line]
    assert wanted[0].split("step ")[1].split("(told")[0] == told.split("step ")[1].split("(told")[0]
