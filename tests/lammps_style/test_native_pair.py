"""pair_style mtp and bpnn: the same physics on any number of ranks and threads, in any cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from pescape.calculators import BPNN, MTP
from pescape.calculators.neighbors import neighbors

EXACT = {"rtol": 1e-12, "atol": 1e-11}
both_styles = pytest.mark.parametrize("potentials", ["mtp", "bpnn"], indirect=True)


@dataclass(frozen=True)
class Evaluation:
    energies: np.ndarray
    forces: np.ndarray
    virial: np.ndarray


def evaluate(potential, atoms):
    """The kernel without LAMMPS."""
    species = np.array([potential.species.index(s) for s in atoms.symbols], dtype=np.int32)
    arguments = (atoms.positions, species, *neighbors(atoms, potential.cutoff).arrays)
    energies, forces, virials = potential.kernel().evaluate(*arguments)
    return Evaluation(energies, forces, virials.sum(axis=0))


def alloys():
    """Cells smaller than the cut-off, sheared ones, a slab in vacuum and a single atom."""
    rng = np.random.default_rng(1)
    sheared = bulk("Cu", cubic=True, a=3.7) * (2, 2, 3)
    sheared.set_cell(
        sheared.cell.array @ (np.eye(3) + 0.15 * rng.normal(size=(3, 3))), scale_atoms=True
    )
    slab = bulk("Cu", cubic=True, a=3.7) * (2, 2, 2)
    slab.center(vacuum=8.0, axis=2)
    primitive = bulk("Cu", a=3.6)
    single = Atoms("Cu", positions=[(1, 2, 3)], cell=[15, 15, 15], pbc=True)
    for atoms in (sheared, slab, primitive, single):
        atoms.rattle(0.15, seed=2)
        atoms.symbols[rng.random(len(atoms)) < 0.4] = "Ag"
    return [sheared, slab, primitive, single]


@both_styles
@pytest.mark.parametrize("ranks", [1, 2, pytest.param(4, marks=pytest.mark.slow)])
def test_agrees_with_the_python_kernel_on_any_number_of_ranks(lammps, potentials, ranks):
    name = potentials.alloy(level=10)
    potential = potentials.read(name)
    results = lammps.evaluate(alloys(), name, ["Cu", "Ag"], ranks, style=potentials.style)
    for atoms, result in zip(alloys(), results, strict=True):
        expected = evaluate(potential, atoms)
        scale = np.abs(expected.forces).max() + 1.0
        assert result.energy == pytest.approx(expected.energies.sum(), rel=1e-12)
        np.testing.assert_allclose(result.energies, expected.energies, **EXACT)
        np.testing.assert_allclose(result.forces, expected.forces, rtol=0, atol=1e-12 * scale)
        np.testing.assert_allclose(
            result.virial, expected.virial, rtol=1e-12, atol=1e-12 * scale * len(atoms)
        )


@both_styles
@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_nothing(lammps, potentials, threads):
    name, more = potentials.metal(), {"style": potentials.style, "grades": True}
    cells = alloys()[:2]
    for atoms in cells:
        atoms.symbols[:] = "Cu"
    one = lammps.evaluate(cells, name, ["Cu"], **more)
    many = lammps.evaluate(cells, name, ["Cu"], threads=threads, **more)
    for a, b in zip(one, many, strict=True):
        assert a.energy == pytest.approx(b.energy, rel=1e-12)
        np.testing.assert_allclose(a.forces, b.forces, **EXACT)
        np.testing.assert_allclose(a.virial, b.virial, **EXACT)
        np.testing.assert_allclose(a.grades, b.grades, rtol=1e-9)


@both_styles
@pytest.mark.parametrize("mode", ["neighborhood", "configuration"])
@pytest.mark.parametrize("ranks", [1, 2])
def test_grades_are_those_of_python(lammps, potentials, mode, ranks):
    name = potentials.metal(mode=mode)
    potential = potentials.read(name)
    cells = alloys()[:3]
    for atoms in cells:
        atoms.symbols[:] = "Cu"
    results = lammps.evaluate(cells, name, ["Cu"], ranks, grades=True, style=potentials.style)
    for atoms, result in zip(cells, results, strict=True):
        calculator = (MTP if potential.kind == "mtp" else BPNN)(potential)
        largest = calculator.get_property("extrapolation_grade", atoms)
        expected = np.full(len(atoms), largest)
        if mode == "neighborhood":
            expected = calculator.get_property("extrapolation_grades", atoms)
        np.testing.assert_allclose(result.grades, expected, rtol=1e-6)
        assert result.grade == pytest.approx(largest, rel=1e-6)


def test_single_precision_is_close_to_double(lammps, potentials):
    potentials.alloy()
    double = lammps.evaluate(alloys(), "alloy.mtp", ["Cu", "Ag"])
    single = lammps.evaluate(alloys(), "alloy.mtp", ["Cu", "Ag"], style="mtp precision single")
    for a, b in zip(double, single, strict=True):
        assert a.energy == pytest.approx(b.energy, rel=1e-5)
        np.testing.assert_allclose(a.forces, b.forces, atol=1e-4 * np.abs(a.forces).max() + 1e-9)
    assert double[0].energy != single[0].energy


def test_grades_do_not_depend_on_the_precision_of_the_forces(lammps, potentials):
    potentials.metal()
    crystal = bulk("Cu", cubic=True, a=3.65) * (2, 2, 2)
    crystal.rattle(0.1, seed=4)
    cells = [crystal]
    (double,) = lammps.evaluate(cells, "metal.almtp", ["Cu"], grades=True)
    (single,) = lammps.evaluate(
        cells, "metal.almtp", ["Cu"], grades=True, style="mtp precision single"
    )
    np.testing.assert_allclose(single.grades, double.grades, rtol=1e-6)
    assert single.energy != double.energy


def test_fix_pair_without_its_trigger_is_told_to_set_it(lammps, potentials, hot_copper):
    potentials.metal()
    run = lammps.run(
        f"""
units metal
read_data {hot_copper()}
pair_style mtp
pair_coeff * * metal.almtp Cu
fix grade all pair 5 mtp extrapolation 0
run 5
"""
    )
    assert run.code != 0
    assert "the number after 'extrapolation' in fix pair has to be 1" in run.output


SUMS = """
units metal
read_data a.data
pair_style {style}
pair_coeff * * {file} Cu Ag
compute pe all pe/atom
compute s all stress/atom NULL virial
compute c all centroid/stress/atom NULL virial
compute spe all reduce sum c_pe
compute ss all reduce sum c_s[1] c_s[2] c_s[3] c_s[4] c_s[5] c_s[6]
compute sc all reduce sum c_c[1] c_c[2] c_c[3] c_c[4] c_c[5] c_c[6] c_c[7] c_c[8] c_c[9]
compute p all pressure NULL virial
thermo_style custom step pe c_spe vol c_p[*] c_ss[*] c_sc[*]
thermo_modify format float %.17g
run 0
"""


@both_styles
@pytest.mark.parametrize(("ranks", "threads"), [(1, 1), (2, 1), (1, 2)])
def test_per_atom_energies_and_virials_add_up(lammps, potentials, ranks, threads):
    text = SUMS.format(style=potentials.style, file=potentials.alloy())
    lammps.write(alloys()[0], "a.data", ["Cu", "Ag"])
    t = lammps.ok(text, ranks, threads).thermo()
    pressure = np.array([t[f"c_p[{k}]"][0] for k in range(1, 7)]) * t["Volume"][0]
    stresses = np.array([t[f"c_ss[{k}]"][0] for k in range(1, 7)])
    centroid = np.array([t[f"c_sc[{k}]"][0] for k in range(1, 10)])
    scale = np.abs(pressure).max()
    assert t["c_spe"][0] == pytest.approx(t["PotEng"][0], rel=1e-12)
    np.testing.assert_allclose(-stresses, pressure, rtol=0, atol=1e-11 * scale)
    np.testing.assert_allclose(-centroid[:6], pressure, rtol=0, atol=1e-11 * scale)
    np.testing.assert_allclose(centroid[6:], centroid[3:6], rtol=0, atol=1e-11 * scale)


HYBRID = """
units metal
read_data a.data
pair_style {style}
{coefficients}
compute pe all pe/atom
dump d all custom 1 {name}.dump id type fx fy fz c_pe
dump_modify d sort id format float %.17g
thermo_style custom step pe pxx pyy pzz pxy pxz pyz
thermo_modify format float %.17g
run 0
"""


@both_styles
@pytest.mark.parametrize("ranks", [1, 2])
def test_hybrid_overlay_leaves_null_types_to_others(lammps, potentials, ranks):
    name, style = potentials.metal(), potentials.style
    atoms = alloys()[0]
    lammps.write(atoms, "a.data", ["Cu", "Ag"])
    lj = "pair_coeff * * lj/cut 0.02 2.3\n"
    ours = f"pair_coeff * * {style} {name} Cu NULL\n"
    styles = f"hybrid/overlay {style} lj/cut 5.0"
    both = lammps.ok(HYBRID.format(name="both", style=styles, coefficients=ours + lj), ranks)
    alone = lammps.ok(
        HYBRID.format(name="lj", style="lj/cut 5.0", coefficients=lj.replace("lj/cut ", ""))
    )
    potential = potentials.read(name)
    copper = np.flatnonzero(atoms.symbols == "Cu")
    expected = evaluate(potential, atoms[copper])
    forces = np.array(
        [both.dump("both.dump")[f] - alone.dump("lj.dump")[f] for f in ("fx", "fy", "fz")]
    ).T
    rotate = lammps.write(atoms, "unused.data", ["Cu", "Ag"]).vector_to_ase
    np.testing.assert_allclose(rotate(forces)[copper], expected.forces, atol=1e-10)
    np.testing.assert_allclose(np.delete(forces, copper, axis=0), 0.0, atol=1e-10)
    difference = both.thermo()["PotEng"][0] - alone.thermo()["PotEng"][0]
    assert difference == pytest.approx(expected.energies.sum(), rel=1e-10)


@both_styles
def test_hybrid_splits_a_system_between_styles(lammps, potentials):
    name, style = potentials.metal(), potentials.style
    lammps.write(alloys()[0], "a.data", ["Cu", "Ag"])
    run = lammps.ok(
        HYBRID.format(
            name="hybrid",
            style=f"hybrid {style} lj/cut 5.0",
            coefficients=f"pair_coeff * * {style} {name} Cu NULL\n"
            "pair_coeff 1 2 lj/cut 0.02 2.3\npair_coeff 2 2 lj/cut 0.02 2.3\n",
        )
    )
    dump = run.dump("hybrid.dump")
    assert dump["c_pe"].sum() == pytest.approx(run.thermo()["PotEng"][0], rel=1e-10)
    assert abs(sum(dump[f].sum() for f in ("fx", "fy", "fz"))) < 1e-10


FIRST = """
units metal
read_data hot.data
pair_style {style}
pair_coeff * * {file} Cu
fix 1 all nve
thermo_style custom step pe ke
thermo_modify format float %.17g
run 20
write_restart r.restart
run 20
"""
SECOND = """
read_restart r.restart
{coefficients}
fix 1 all nve
dump d all custom 20 {dump} id x y z vx vy vz
dump_modify d sort id format float %.17g
thermo_style custom step pe ke
thermo_modify format float %.17g
run 20
"""


@pytest.mark.parametrize(
    ("potentials", "setting"),
    [("mtp", ""), ("mtp", " precision single"), ("bpnn", "")],
    indirect=["potentials"],
)
@pytest.mark.parametrize("again", [False, True])
def test_restart_goes_on_where_the_run_was(lammps, potentials, hot_copper, setting, again):
    name = potentials.metal()
    hot_copper(600)
    whole = lammps.ok(FIRST.format(style=potentials.style + setting, file=name)).thermo()
    text = SECOND.format(coefficients=f"pair_coeff * * {name} Cu" if again else "", dump="r.dump")
    rest = lammps.ok(text, ranks=2).thermo()
    accuracy = 1e-6 if "single" in setting else 1e-9
    for column in ("PotEng", "KinEng"):
        assert rest[column][-1] == pytest.approx(whole[column][-1], rel=accuracy)


@both_styles
def test_runs_from_one_restart_are_the_same_bit_by_bit(lammps, potentials, hot_copper):
    name = potentials.metal()
    hot_copper(600)
    lammps.ok(FIRST.format(style=potentials.style, file=name))
    for ranks in (1, 3):
        lammps.ok(SECOND.format(coefficients="", dump=f"{ranks}.dump"), ranks)
    assert (lammps.folder / "1.dump").read_bytes() == (lammps.folder / "3.dump").read_bytes()


@both_styles
def test_restart_without_the_potential_file_asks_for_pair_coeff(lammps, potentials, hot_copper):
    name = potentials.metal()
    hot_copper(600)
    lammps.ok(FIRST.format(style=potentials.style, file=name))
    (lammps.folder / name).rename(lammps.folder / "moved")
    run = lammps.run(SECOND.format(coefficients="", dump="r.dump"), ranks=2)
    assert run.code != 0
    assert f"{name}, which is not here: give pair_coeff" in run.output
    text = SECOND.format(coefficients="pair_coeff * * moved Cu", dump="r.dump")
    lammps.ok(text, ranks=2)


def test_a_changed_potential_file_is_noticed_at_restart(lammps, potentials, hot_copper):
    name = potentials.metal()
    hot_copper(600)
    lammps.ok(FIRST.format(style="mtp", file=name))
    potentials.read(name).with_active_set(None).write(lammps.folder / name)
    run = lammps.ok(SECOND.format(coefficients="", dump="r.dump"))
    assert "metal.almtp has changed since the restart was written" in run.output


def test_minimize_finds_the_crystal(lammps, potentials):
    potential = potentials.read(potentials.metal())
    atoms = bulk("Cu", cubic=True, a=3.65) * (3, 3, 3)
    perfect = evaluate(potential, atoms).energies.sum()
    atoms.rattle(0.05, seed=4)
    lammps.write(atoms, "a.data", ["Cu"])
    script = """
units metal
read_data a.data
pair_style mtp
pair_coeff * * metal.almtp Cu
thermo_style custom step pe
thermo_modify format float %.17g
minimize 0 1e-6 500 5000
"""
    assert lammps.ok(script, ranks=2).thermo()["PotEng"][-1] == pytest.approx(perfect, rel=1e-9)


SAME = """
units metal
atom_modify map array
read_data a.data
pair_style {style}
pair_coeff * * {file} Cu Ag
fix 1 all nve
timestep 0.002
dump d all custom 40 {name}.dump id x y z vx vy vz
dump_modify d sort id format float %.17g
run 160
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("potentials", "setting", "shape"),
    [
        ("mtp", "", "sheared"),
        ("mtp", " precision single", "orthogonal"),
        ("bpnn", "", "sheared"),
    ],
    indirect=["potentials"],
)
def test_trajectories_are_the_same_bit_by_bit_on_any_ranks_and_threads(
    lammps, potentials, setting, shape
):
    style, file = potentials.style + setting, potentials.alloy()
    atoms = bulk("Cu", cubic=True, a=3.7) * (2, 3, 3)
    rng = np.random.default_rng(8)
    atoms.symbols[rng.random(len(atoms)) < 0.4] = "Ag"
    if shape == "sheared":
        atoms.set_cell(
            atoms.cell.array + np.array([[0, 0, 0], [2, 0, 0], [1, -1, 0]]), scale_atoms=True
        )
    atoms.set_velocities(0.05 * rng.normal(size=(len(atoms), 3)))
    lammps.write(atoms, "a.data", ["Cu", "Ag"], velocities=True)
    trajectories = []
    for ranks, threads in ((1, 1), (2, 1), (3, 1), (1, 3)):
        lammps.ok(SAME.format(style=style, file=file, name="d"), ranks, threads)
        trajectories.append((lammps.folder / "d.dump").read_bytes())
    assert trajectories.count(trajectories[0]) == len(trajectories)


NVE = """
units metal
read_data hot.data
pair_style {style}
pair_coeff * * {file} Cu
fix 1 all nve
timestep 0.0005
run 1000
thermo 10
thermo_style custom step temp etotal
thermo_modify format float %.17g
run 2000
"""


@pytest.mark.slow
@both_styles
def test_energy_is_conserved_over_a_picosecond(lammps, potentials, hot_copper):
    text = NVE.format(style=potentials.style, file=potentials.metal())
    hot_copper(1200)  # settles near 600 K
    thermo = lammps.ok(text).thermo()
    energy = thermo["TotEng"] / 108
    drift = np.polyfit(np.linspace(0, 1, len(energy)), energy, 1)[0]
    assert 400 < thermo["Temp"].mean() < 800
    assert abs(drift) < 2e-6


@both_styles
def test_empty_ranks_and_lone_atoms_work(lammps, potentials):
    name = potentials.metal()
    potential = potentials.read(name)
    atoms = Atoms(
        "Cu3", positions=[(1, 1, 1), (3.4, 1, 1), (20, 20, 20)], cell=[60, 30, 30], pbc=True
    )
    for ranks in (1, 4):
        (result,) = lammps.evaluate(
            [atoms], name, ["Cu"], ranks, grades=True, style=potentials.style
        )
        expected = evaluate(potential, atoms)
        assert result.energy == pytest.approx(expected.energies.sum(), rel=1e-12)
        np.testing.assert_allclose(result.forces, expected.forces, atol=1e-12)
        np.testing.assert_allclose(result.energies, expected.energies, **EXACT)
