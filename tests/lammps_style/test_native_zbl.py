"""A potential with a repulsion in LAMMPS: the same as without it beside LAMMPS' own zbl."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from pescape.calculators import MTP
from pescape.calculators.mtp import MTPotential
from pescape.calculators.neighbors import neighbors
from pescape.calculators.zbl import ZBL

# LAMMPS' own conversion from eV/Å³ to bar in units metal.
BAR = 1.6021765e6
INNER, OUTER = 2.2, 3.2
# Of the potentials here, Å: from there on the two are the same.
MIN_DIST = 1.9

INPUT = """
clear
units metal
atom_modify map array
box tilt large
read_data {data}
pair_style {style}
{coefficients}
compute virial all pressure NULL virial
compute pe all pe/atom
dump d all custom 1 {name}.dump id fx fy fz c_pe
dump_modify d sort id format float %.17g
thermo_style custom step pe c_virial[1] c_virial[2] c_virial[3] c_virial[6] c_virial[5] c_virial[4]
thermo_modify format float %.17g
run 0
"""
ZBL_STYLE = f"zbl {INNER} {OUTER}"
CHARGES = """pair_coeff 1 1 {zbl}29 29
pair_coeff 1 2 {zbl}29 47
pair_coeff 2 2 {zbl}47 47
"""


def crystal() -> Atoms:
    """A dense sheared alloy whose pairs lie below, within and beyond the switching."""
    atoms = bulk("Cu", cubic=True, a=3.3) * (2, 2, 2)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + np.diag([0.1, -0.05], k=1)), scale_atoms=True)
    atoms.rattle(0.1, seed=4)
    atoms.symbols[np.random.default_rng(4).random(len(atoms)) < 0.4] = "Ag"
    return atoms


def repulsive(lammps, potentials) -> MTPotential:
    """Write an alloy's potential without and with the repulsion."""
    bare = MTPotential.read(lammps.folder / potentials.alloy("bare.mtp"))
    potential = bare.with_repulsion(ZBL(INNER, OUTER))
    potential.write(lammps.folder / "zbl.mtp")
    return potential


def run(lammps, name: str, style: str, coefficients: str, ranks: int = 1):
    """Energies (eV), forces (eV/Å) in LAMMPS' axes and the virial's pressure (bar)."""
    done = lammps.ok(
        INPUT.format(data="a.data", name=name, style=style, coefficients=coefficients), ranks
    )
    dump, thermo = done.dump(f"{name}.dump"), done.thermo()
    forces = np.array([dump["fx"], dump["fy"], dump["fz"]]).T
    return dump["c_pe"], forces, np.array([thermo[f"c_virial[{k}]"][0] for k in (1, 2, 3, 6, 5, 4)])


def test_the_repulsion_of_pairs_is_that_of_lammps(lammps):
    distances = np.linspace(0.05, OUTER + 0.1, 40)
    pairs = Atoms(
        "CuAg" * len(distances),
        [(10.0 * n, 0, d) for n, r in enumerate(distances) for d in (0.0, r)],
        cell=[10.0 * len(distances), 10, 10],
        pbc=True,
    )
    lammps.write(pairs, "a.data", ["Cu", "Ag"])
    energies, forces, _ = run(lammps, "zbl", ZBL_STYLE, CHARGES.format(zbl=""))
    lists = neighbors(pairs, OUTER).arrays
    ours = (
        ZBL(INNER, OUTER)
        .kernel(["Cu", "Ag"])
        .evaluate(pairs.positions, (pairs.numbers == 47).astype(np.int32), *lists)
    )
    np.testing.assert_allclose(energies, ours[0], rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(forces, ours[1], rtol=1e-10, atol=1e-10)
    assert ours[0][0] > 1e4
    assert ours[0][-1] == 0.0


def test_the_repulsion_of_a_crystal_is_that_of_lammps(lammps):
    atoms = crystal()
    prism = lammps.write(atoms, "a.data", ["Cu", "Ag"])
    energies, forces, pressure = run(lammps, "zbl", ZBL_STYLE, CHARGES.format(zbl=""))
    lists = neighbors(atoms, OUTER).arrays
    ours = (
        ZBL(INNER, OUTER)
        .kernel(["Cu", "Ag"])
        .evaluate(atoms.positions, (atoms.numbers == 47).astype(np.int32), *lists)
    )
    np.testing.assert_allclose(energies, ours[0], rtol=1e-10)
    np.testing.assert_allclose(prism.vector_to_ase(forces), ours[1], atol=1e-10)
    virial = ours[2].sum(axis=0)
    assert pressure[:3].sum() * atoms.get_volume() / BAR == pytest.approx(
        virial[:3].sum(), rel=1e-9
    )


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_repulsive_file_is_the_bare_one_beside_zbl(lammps, potentials, ranks):
    repulsive(lammps, potentials)
    atoms = crystal()
    shortest = atoms.get_all_distances(mic=True)[~np.eye(len(atoms), dtype=bool)].min()
    assert MIN_DIST < shortest < INNER
    lammps.write(atoms, "a.data", ["Cu", "Ag"])
    ours = run(lammps, "ours", "mtp", "pair_coeff * * zbl.mtp Cu Ag", ranks)
    both = run(
        lammps,
        "both",
        f"hybrid/overlay mtp {ZBL_STYLE}",
        "pair_coeff * * mtp bare.mtp Cu Ag\n" + CHARGES.format(zbl="zbl "),
        ranks,
    )
    for a, b in zip(ours, both, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10 * np.abs(b).max())


def test_ase_and_lammps_agree_below_min_dist_too(lammps, potentials):
    potential = repulsive(lammps, potentials)
    close = crystal()
    close.positions[1] = close.positions[0] + [0.9, 0.3, 0.2]
    close.positions[5] = close.positions[4] + [0.0, 1.2, 1.45]
    results = lammps.evaluate([close], "zbl.mtp", ["Cu", "Ag"], ranks=2)
    close.calc = MTP(potential)
    assert results[0].energy == pytest.approx(close.get_potential_energy(), rel=1e-11)
    np.testing.assert_allclose(results[0].energies, close.get_potential_energies(), atol=1e-9)
    np.testing.assert_allclose(results[0].forces, close.get_forces(), rtol=1e-10, atol=1e-9)


def test_grades_change_no_forces_and_are_those_without_the_repulsion(lammps, potentials):
    bare = potentials.read(potentials.metal())
    bare.with_repulsion(ZBL(INNER, OUTER)).write(lammps.folder / "zbl.almtp")
    close = crystal()
    close.symbols[:] = "Cu"
    close.positions[1] = close.positions[0] + [0.9, 0.3, 0.2]
    (plain,) = lammps.evaluate([close], "zbl.almtp", ["Cu"])
    (graded,) = lammps.evaluate([close], "zbl.almtp", ["Cu"], grades=True)
    assert graded.energy == pytest.approx(plain.energy, rel=1e-13)
    np.testing.assert_array_equal(graded.forces, plain.forces)
    expected = MTP(bare).get_property("extrapolation_grades", close)
    np.testing.assert_allclose(graded.grades, expected, rtol=1e-6)
    assert graded.grade > 100.0


def test_precision_single_has_the_repulsion_in_double(lammps, potentials):
    repulsive(lammps, potentials)
    close = crystal()
    close.positions[1] = close.positions[0] + [0.1, 0.03, 0.02]
    double, single = (
        lammps.evaluate([close], "zbl.mtp", ["Cu", "Ag"], style=style)[0]
        for style in ("mtp", "mtp precision single")
    )
    assert double.energy > 1e4
    assert single.energy == pytest.approx(double.energy, abs=1e-3)
    np.testing.assert_allclose(single.forces, double.forces, rtol=0, atol=0.05)


def test_a_repulsion_beyond_the_cutoff_is_refused_with_its_line(lammps, potentials):
    repulsive(lammps, potentials)
    text = (lammps.folder / "zbl.mtp").read_text().replace(f"zbl: {INNER} {OUTER}", "zbl: 2.2 5.5")
    (lammps.folder / "zbl.mtp").write_text(text)
    lammps.write(crystal(), "a.data", ["Cu", "Ag"])
    style = {"style": "mtp", "coefficients": "pair_coeff * * zbl.mtp Cu Ag"}
    done = lammps.run(INPUT.format(data="a.data", name="x", **style))
    assert done.code != 0
    assert "line 6" in done.output
    assert "beyond max_dist 5" in done.output


def walled(lammps, potentials) -> MTPotential:
    """An alloy's potential that knows its data's extent, written as a file."""
    pairs = {("Ag", "Ag"): (1.5, 2.6), ("Cu", "Ag"): (1.2, 2.4), ("Cu", "Cu"): (1.1, 2.3)}
    bare = MTPotential.read(lammps.folder / potentials.alloy("bare.mtp"))
    assert set(bare.species) == {"Ag", "Cu"}
    nearest = np.full((2, 2), 2.35)
    densest = np.array([[2.0, 1.8], [1.7, 2.4]])
    potential = bare.with_repulsion(ZBL.of_pairs(pairs))
    potential = potential.with_extent(nearest, densest, np.array([-1.0, 0.5]))
    potential.write(lammps.folder / "walls.mtp")
    return potential


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_walls_of_pairs_and_fading_energies_act_as_in_ase(lammps, potentials, ranks):
    potential = walled(lammps, potentials)
    atoms = crystal()
    bare = atoms.copy()
    bare.calc = MTP(potential.with_extent(potential.nearest))
    atoms.calc = MTP(potential)
    (result,) = lammps.evaluate([atoms], "walls.mtp", ["Cu", "Ag"], ranks=ranks)
    assert atoms.get_potential_energy() > bare.get_potential_energy() + 1.0, (
        "some atoms are crowded"
    )
    assert result.energy == pytest.approx(atoms.get_potential_energy(), rel=1e-12)
    np.testing.assert_allclose(result.forces, atoms.get_forces(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("ranks", [1, 2])
def test_one_line_tells_of_pairs_nearer_than_the_data(lammps, potentials, ranks):
    walled(lammps, potentials)
    atoms = crystal()
    lammps.write(atoms, "a.data", ["Cu", "Ag"])
    coefficients = "pair_coeff * * walls.mtp Cu Ag"
    text = INPUT.format(data="a.data", name="near", style="mtp", coefficients=coefficients)
    done = lammps.ok(text + "run 0\nrun 0\n", ranks)
    assert done.output.count("nearer than any of the training data (2.350 Å)") == 1
