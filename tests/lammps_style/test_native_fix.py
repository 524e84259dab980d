"""fix extrapolation: stops at the same step and leaves the same file on any number of ranks."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read

from pescape.calculators import BPNN
from pescape.calculators.doptimality.active_set import ActiveSet, grades
from pescape.calculators.doptimality.design_matrix import site_gradients
from pescape.lammps_style import launcher

RUN = """
units metal
read_data hot.data
pair_style {style}
pair_coeff * * {file} Cu
fix 1 all nve
fix guard {group} extrapolation {every} {options}
timestep 0.001
thermo 10
thermo_style custom step temp pe f_guard f_guard[1] f_guard[2] f_guard[3]
thermo_modify format float %.17g
{more}
run {steps}
"""


def script(every=10, options="", more="", steps=300, group="all", style="mtp", file="metal.almtp"):
    return RUN.format(**locals())


@pytest.fixture
def hot(potentials, hot_copper):
    """A crystal hot enough to leave what its potential knows within 300 steps."""
    potentials.metal()
    hot_copper(3000)


@pytest.mark.parametrize(
    ("potentials", "every", "select", "halt"),
    [("mtp", 80, 1.35, 2.0), pytest.param("bpnn", 20, 1.02, 1.4, marks=pytest.mark.slow)],
    indirect=["potentials"],
)
def test_halts_at_the_same_step_with_the_same_file_on_any_number_of_ranks(
    lammps, potentials, hot_copper, every, select, halt
):
    file, files, steps = potentials.metal(), [], []
    hot_copper(3000)
    options = f"select {select} break {halt} file risky.xyz"
    for ranks in (1, 2, 4):
        run = lammps.ok(script(every, options, style=potentials.style, file=file), ranks)
        files.append((lammps.folder / "risky.xyz").read_bytes())
        steps.append(run.thermo()["Step"][-1])
        assert f"> break {halt:g} (potential {file}), configuration" in run.output
    assert files[1] == files[0]
    assert files[2] == files[0]
    frames = read(lammps.folder / "risky.xyz", ":")
    assert len(frames) > 1
    assert frames[-1].info["max_grade"] > halt
    assert all(select < frame.info["max_grade"] < halt for frame in frames[:-1])
    assert steps == [frames[-1].info["step"]] * 3
    assert 100 < frames[-1].info["step"] < 300


@pytest.mark.usefixtures("hot")
def test_saved_configurations_say_what_they_are(lammps, potentials):
    run = lammps.ok(script(options="select 1.5 break 1.9 file risky.xyz"), ranks=2)
    potential = potentials.read("metal.almtp")
    digest = hashlib.sha256((lammps.folder / "metal.almtp").read_bytes()).hexdigest()
    table = run.thermo()
    for atoms in read(lammps.folder / "risky.xyz", ":"):
        row = np.flatnonzero(table["Step"] == atoms.info["step"])
        expected = grades(site_gradients(potential, atoms), potential.active_set)
        np.testing.assert_allclose(atoms.arrays["extrapolation_grades"], expected, atol=1e-5)
        assert atoms.info["max_grade"] == pytest.approx(expected.max(), abs=1e-5)
        assert atoms.info["max_grade_atom"] == 1 + expected.argmax()
        assert atoms.info["potential"] == "metal.almtp"
        assert atoms.info["potential_sha256"] == digest
        assert (atoms.info["select"], atoms.info["break"]) == (1.5, 1.9)
        assert atoms.info["time"] == pytest.approx(0.001 * atoms.info["step"])
        assert atoms.info["temperature"] == pytest.approx(
            2 * atoms.get_kinetic_energy() / (8.617333e-5 * (3 * len(atoms) - 3)), rel=1e-4
        )
        if len(row) > 0 and atoms.info["step"] < table["Step"][-1]:
            assert atoms.info["temperature"] == pytest.approx(table["Temp"][row[0]], rel=1e-6)
            assert atoms.info["max_grade"] == pytest.approx(table["f_guard"][row[0]], abs=1e-5)
        assert list(atoms.arrays["id"]) == list(range(1, len(atoms) + 1))
        assert atoms.pbc.all()
        assert (atoms.get_scaled_positions(wrap=False) > -1e-6).all()
        assert (atoms.get_scaled_positions(wrap=False) < 1 + 1e-6).all()


@pytest.mark.usefixtures("hot")
def test_thermo_output_counts_and_remembers(lammps):
    run = lammps.ok(script(options="select 1.2 break none file risky.xyz", steps=100))
    table = run.thermo()
    np.testing.assert_allclose(table["f_guard[1]"], np.maximum.accumulate(table["f_guard"]))
    np.testing.assert_allclose(table["f_guard[2]"], np.cumsum(table["f_guard"] > 1.2))
    assert len(read(lammps.folder / "risky.xyz", ":")) == table["f_guard[2]"][-1]


@pytest.mark.usefixtures("hot")
def test_per_atom_grades_can_be_dumped(lammps, potentials):
    more = "dump d all custom 20 g.dump id x y z f_guard\ndump_modify d sort id format float %.17g"
    run = lammps.ok(script(options="select none break none", more=more, steps=100), ranks=2)
    table = run.thermo()
    potential = potentials.read("metal.almtp")
    for frame in range(1, run.frames("g.dump")):
        dump = run.dump("g.dump", frame)
        atoms = bulk("Cu", cubic=True, a=3.65) * (3, 3, 3)
        atoms.positions = np.array([dump["x"], dump["y"], dump["z"]]).T
        expected = grades(site_gradients(potential, atoms), potential.active_set)
        np.testing.assert_allclose(dump["f_guard"], expected, rtol=1e-8)
        assert dump["f_guard"].max() == table["f_guard"][table["Step"] == 20 * frame][0]
    assert not (lammps.folder / "risky.xyz").exists()


@pytest.mark.usefixtures("hot")
def test_only_atoms_of_the_group_decide(lammps):
    more = "dump d all custom 10 g.dump id f_guard\ndump_modify d sort id format float %.17g"
    text = script(options="select none break none", more=more, steps=50, group="few")
    run = lammps.ok(text.replace("fix 1", "group few id 5 7 9\nfix 1"), ranks=2)
    table = run.thermo()
    for frame in range(run.frames("g.dump")):
        dump = run.dump("g.dump", frame)
        assert dump["f_guard"][[4, 6, 8]].max() == table["f_guard"][frame]
        assert int(table["f_guard[3]"][frame]) in (5, 7, 9)


@pytest.mark.usefixtures("hot")
def test_the_grade_is_computed_only_on_the_steps_that_ask(lammps):
    run = lammps.ok(script(every=40, options="select none break none", steps=100))
    grade = run.thermo()["f_guard"]
    assert len(set(grade[0:4])) == len(set(grade[4:8])) == len(set(grade[8:])) == 1
    assert len(set(grade)) == 3


@pytest.mark.parametrize(("mode", "runs"), [("soft", 1), ("continue", 2)])
@pytest.mark.usefixtures("hot")
def test_soft_ends_all_runs_and_continue_only_this_one(lammps, mode, runs):
    text = script(options=f"select 1.5 break 1.9 halt {mode}", steps=300)
    text += "print 'after the first'\nrun 0\nprint 'the end'"
    run = lammps.ok(text, ranks=2)
    assert run.output.count("Loop time") == runs
    assert "the end" in run.output
    assert "> break 1.9" in run.output


@pytest.mark.usefixtures("hot")
def test_hard_ends_with_an_error_after_saving(lammps):
    run = lammps.run(script(options="select 1.5 break 1.9 halt hard"), ranks=2)
    assert run.code != 0
    (message,) = [line for line in run.output.splitlines() if line.startswith("ERROR")]
    last = read(lammps.folder / "risky.xyz", "-1")
    for part in (f"step {last.info['step']}", f"atom {last.info['max_grade_atom']}"):
        assert part in message
    assert "metal.almtp" in message
    assert "risky.xyz" in message


@pytest.mark.usefixtures("hot")
def test_a_configuration_is_saved_once(lammps):
    text = script(options="select 0.9 break none", steps=0) + "run 0\nvelocity all scale 100\nrun 0"
    lammps.ok(
        text.replace(
            "read_data hot.data", "read_data hot.data\ndisplace_atoms all random 0.3 0.3 0.3 1"
        )
    )
    assert len(read(lammps.folder / "risky.xyz", ":")) == 1


@pytest.mark.usefixtures("hot")
def test_the_file_is_replaced_unless_it_is_appended_to(lammps):
    path = lammps.folder / "risky.xyz"
    lammps.ok(script(options="select 1.5 break 1.9"))
    first = path.read_bytes()
    lammps.ok(script(options="select 1.5 break 1.9"))
    assert path.read_bytes() == first
    lammps.ok(script(options="select 1.5 break 1.9 append yes"))
    assert path.read_bytes() == 2 * first


@pytest.mark.usefixtures("hot")
def test_without_risk_there_is_no_file(lammps):
    (lammps.folder / "risky.xyz").write_text("1\nold\nCu 0 0 0\n")
    lammps.ok(script(options="select 1000 break 1000"))
    assert not (lammps.folder / "risky.xyz").exists()


@pytest.mark.usefixtures("hot")
def test_appending_cuts_off_a_frame_that_a_kill_left_unfinished(lammps):
    path = lammps.folder / "risky.xyz"
    lammps.ok(script(options="select 1.5 break 1.9"))
    whole = path.read_bytes()
    frames = len(read(path, ":"))
    begun = whole[: len(whole) // 2]
    path.write_bytes(whole + b" " * begun.index(b"\n") + begun[begun.index(b"\n") :])
    assert len(read(path, ":")) == frames  # readers stop at the blank line
    lammps.ok(script(options="select 1.5 break 1.9 append yes"))
    assert path.read_bytes() == 2 * whole


@pytest.mark.usefixtures("hot")
def test_frames_are_whole_whenever_the_run_is_killed(lammps):
    options = "select 0.5 break none file risky.xyz"
    (lammps.folder / "in.lmp").write_text(script(every=1, options=options, steps=100000))
    path = lammps.folder / "risky.xyz"
    rng = np.random.default_rng(0)
    for _ in range(5):
        process = subprocess.Popen(
            launcher.command(["-in", "in.lmp", "-log", "none"]),
            env=launcher.environment(),
            cwd=lammps.folder,
            stdout=subprocess.DEVNULL,
        )
        while not path.exists() and process.poll() is None:
            time.sleep(0.005)
        time.sleep(0.2 * rng.random())
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        for number, atoms in enumerate(read(path, ":")):
            assert len(atoms) == 108
            assert atoms.info["step"] == number
        path.unlink()


def test_configuration_mode_has_one_grade(lammps, potentials, hot_copper):
    potentials.metal(mode="configuration")
    hot_copper(3000)
    more = "dump d all custom 10 g.dump id f_guard\ndump_modify d sort id format float %.17g"
    files = []
    for ranks in (1, 2):
        run = lammps.ok(script(options="select 1 break 5", more=more, steps=60), ranks)
        files.append((lammps.folder / "risky.xyz").read_bytes())
    assert files[0] == files[1]
    atoms = read(lammps.folder / "risky.xyz", "0")
    assert atoms.info["grade_mode"] == "configuration"
    assert "max_grade_atom" not in atoms.info
    assert "extrapolation_grades" not in atoms.arrays
    assert "of the configuration > " in run.output
    assert set(run.dump("g.dump", 1)["f_guard"]) == {run.thermo()["f_guard"][1]}


@pytest.mark.usefixtures("hot")
def test_minimization_is_guarded(lammps):
    text = script(every=1, options="select 1 break 1.5 halt soft")
    text = text.replace("run 300", "minimize 0 1e-8 100 1000").replace("fix 1 all nve", "")
    text = text.replace("hot.data", "hot.data\ndisplace_atoms all random 0.5 0.5 0.5 3")
    run = lammps.ok(text, ranks=2)
    assert "> break 1.5" in run.output
    assert "Stopping criterion = walltime limit reached" in run.output
    frames = read(lammps.folder / "risky.xyz", ":")
    steps = [atoms.info["step"] for atoms in frames]
    assert steps == sorted(set(steps))


def test_triclinic_cells_come_back_as_they_were(lammps, potentials):
    potential = potentials.read(potentials.metal())
    atoms = bulk("Cu", cubic=True, a=3.65) * (2, 2, 2)
    strain = np.array([[1.02, 0.1, 0.0], [-0.1, 1.05, 0.03], [0.0, -0.2, 1.0]])
    atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
    atoms.rattle(0.2, seed=3)
    rows = "".join(
        "  ".join(f"{x:.12f}" for x in row) + f" {v}\n"
        for row, v in zip(atoms.cell.array, ("avec", "bvec", "cvec"), strict=True)
    )
    body = "".join(
        f"{i + 1} 1 {x:.12f} {y:.12f} {z:.12f}\n" for i, (x, y, z) in enumerate(atoms.positions)
    )
    (lammps.folder / "general.data").write_text(
        f"general\n\n{len(atoms)} atoms\n1 atom types\n{rows}0 0 0 abc origin\n\n"
        f"Masses\n\n1 63.5\n\nAtoms # atomic\n\n{body}"
    )
    text = script(options="select 0.1 break none", steps=0).replace("hot.data", "general.data")
    lammps.ok(text.replace("fix 1", "velocity all create 300 1\nfix 1"), ranks=2)
    saved = read(lammps.folder / "risky.xyz")
    np.testing.assert_allclose(saved.cell.array, atoms.cell.array, atol=1e-7)
    difference = (saved.positions - atoms.positions) @ np.linalg.inv(atoms.cell.array)
    np.testing.assert_allclose(difference, np.round(difference), atol=1e-7)
    expected = grades(site_gradients(potential, atoms), potential.active_set)
    np.testing.assert_allclose(saved.arrays["extrapolation_grades"], expected, atol=1e-5)


@pytest.mark.slow
def test_langevin_melting_halts_cleanly_on_any_number_of_ranks(lammps, potentials, hot_copper):
    potentials.metal()
    hot_copper(600)
    more = "fix 2 all langevin 8000 8000 0.02 7"
    for ranks in (1, 2, 4):
        run = lammps.ok(script(options="select 2 break 4", more=more, steps=2000), ranks)
        assert "> break 4" in run.output
        assert read(lammps.folder / "risky.xyz").info["max_grade"] > 4


FIX_PAIR = """
units metal
read_data hot.data
pair_style {style}
pair_coeff * * {name} {file} Cu
fix 1 all nve
fix grade all pair 10 {graded} extrapolation 1
compute worst all reduce max f_grade
variable worst equal c_worst
fix stop all halt 10 v_worst > {halt} error continue
dump risky all custom 10 risky.dump id x y z f_grade
dump_modify risky thresh f_grade > {select}
thermo 10
thermo_style custom step temp c_worst
thermo_modify format float %.17g
run 300
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("potentials", "select", "halt"),
    [("mtp", 1.5, 2.0), ("bpnn", 1.1, 1.4)],
    indirect=["potentials"],
)
@pytest.mark.parametrize("is_hybrid", [False, True])
def test_the_idiom_of_fix_pair_and_fix_halt_works(
    lammps, potentials, hot_copper, select, halt, is_hybrid
):
    file, graded = potentials.metal(), potentials.style
    hot_copper(3000)
    style, name = (f"hybrid/overlay {graded} zero 5.0", graded) if is_hybrid else (graded, "")
    text = FIX_PAIR.format(**locals())
    if is_hybrid:
        text = text.replace("fix 1", "pair_coeff * * zero\nfix 1")
    run = lammps.ok(text, ranks=2)
    assert "Fix halt condition for fix-id stop met" in run.output
    text = script(options="select none break none", steps=300, style=graded, file=file)
    ours = lammps.ok(text).thermo()
    worst = run.thermo()["c_worst"]
    np.testing.assert_allclose(worst[1:], ours["f_guard"][1 : len(worst)], rtol=1e-6)
    assert (run.dump("risky.dump")["f_grade"] > select).all()


@pytest.mark.parametrize("potentials", ["bpnn"], indirect=True)
def test_networks_grade_by_all_weights_where_the_file_says_so(lammps, potentials):
    potential = potentials.read(potentials.metal())
    rng = np.random.default_rng(2)
    matrix = rng.normal(size=(potential.parameter_count, potential.parameter_count))
    active = ActiveSet(matrix=matrix, inverse=np.linalg.inv(matrix))
    potential.with_active_set(active, "all").write(lammps.folder / "all.bpnn")
    atoms = bulk("Cu", cubic=True, a=3.65) * (2, 2, 2)
    atoms.rattle(0.2, seed=3)
    for ranks in (1, 2):
        (result,) = lammps.evaluate([atoms], "all.bpnn", ["Cu"], ranks, grades=True, style="bpnn")
        expected = BPNN(lammps.folder / "all.bpnn").get_property("extrapolation_grades", atoms)
        np.testing.assert_allclose(result.grades, expected, rtol=1e-6)


@pytest.mark.parametrize("potentials", ["bpnn"], indirect=True)
def test_atoms_beyond_the_ranges_of_the_training_data_are_told_once(lammps, potentials):
    name = potentials.ranged()
    atoms = bulk("Cu", cubic=True, a=3.65) * (2, 2, 2)
    atoms.rattle(0.14, seed=7)
    lammps.write(atoms, "hot.data", ["Cu"])
    excess = BPNN(potentials.read(name)).get_property("range_excess", atoms)
    assert 0 < np.count_nonzero(excess) < len(atoms)
    told = set()
    for ranks in (1, 2):
        text = script(every=1, options="select none break none", style="bpnn", file=name, steps=3)
        run = lammps.ok(text, ranks)
        (line,) = [one for one in run.output.splitlines() if "outside the ranges" in one]
        told.add(line)
    assert len(told) == 1
    assert f"step 0: {np.count_nonzero(excess)} atoms have symmetry functions outside" in line
    assert f"atom {int(excess.argmax()) + 1} the farthest, by {excess.max():.2f} widths" in line
