"""Dynamics, minimisation and whatever else a run may hold, with `pair_style python`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.build import bulk

from pescape.calculators.neighbors import neighbors

if TYPE_CHECKING:
    from ase import Atoms

RUN = """
units metal
atom_modify map array
read_data hot.data
{potential}
fix nve all nve
thermo_style custom step temp pe etotal press pxx pyz
thermo_modify format float %.17g
thermo 10
timestep 0.002
{commands}
"""


@pytest.fixture
def run(embedded, potentials, hot_copper):
    """Run commands on hot copper."""
    hot_copper(600.0)
    name = potentials.metal()

    def go(commands: str, ranks: int = 1):
        potential = embedded.handover(name, ["Cu"])
        return embedded.ok(RUN.format(potential=potential, commands=commands), ranks)

    return go


@pytest.mark.parametrize(
    ("potentials", "ranks"),
    [
        ("mtp", 1),
        ("mtp", 2),
        pytest.param("mtp", 4, marks=pytest.mark.slow),
        pytest.param("bpnn", 2, marks=pytest.mark.slow),
    ],
    indirect=["potentials"],
)
def test_dynamics_are_those_of_the_native_style(run, lammps, potentials, ranks):
    native = f"pair_style {potentials.style}\npair_coeff * * {potentials.metal()} Cu\n"
    done = run("run 100", ranks)
    wanted = lammps.ok(RUN.format(potential=native, commands="run 100")).thermo()
    for column in ("PotEng", "Press", "Pxx", "Pyz"):
        assert done.thermo(column) == pytest.approx(wanted[column], rel=1e-9, abs=1e-6)


@pytest.mark.slow
def test_energy_is_conserved_through_many_neighbor_lists(run):
    done = run("neighbor 0.3 bin\ntimestep 0.001\nvelocity all scale 3000\nrun 1000", ranks=2)
    total = done.thermo("TotEng") / 108
    assert np.abs(total - total[0]).max() < 1e-3
    builds = re.search(r"^Neighbor list builds = (\d+)", done.output, re.MULTILINE)
    assert int(builds.group(1)) > 5


@pytest.mark.slow
def test_runs_follow_one_another(run):
    straight = run("run 40").thermo("PotEng")[-1]
    done = run("run 20\nrun 0\nrun 10\nrun 10 pre no", ranks=2)
    assert done.thermo("PotEng")[-1] == pytest.approx(straight, rel=1e-12)
    assert done.thermo("PotEng", 1)[0] == done.thermo("PotEng", 0)[-1]


@pytest.mark.slow
def test_a_minimizer_finds_the_crystal(run, embedded):
    done = run("velocity all set 0 0 0\nmin_style cg\nminimize 0 1e-6 500 2000", ranks=2)
    perfect = bulk("Cu", cubic=True, a=3.65) * 3
    crystal = embedded.evaluate([perfect], "metal.almtp", ["Cu"])[0].energy
    assert done.thermo("PotEng")[-1] == pytest.approx(crystal, abs=1e-6)


@pytest.mark.slow
def test_the_box_may_change(run, lammps):
    commands = "unfix nve\nfix npt all npt temp 600 600 0.1 tri 0 0 1.0\nrun 50"
    box = "change_box all triclinic\n"
    native = "pair_style mtp\npair_coeff * * metal.almtp Cu\n"
    wanted = lammps.ok(RUN.format(potential=native, commands=box + commands)).thermo()
    done = run(box + commands, ranks=2)
    assert done.thermo("Press") == pytest.approx(wanted["Press"], rel=1e-8)


@pytest.mark.slow
def test_another_potential_takes_over(run, embedded, potentials):
    potentials.metal("other.almtp", level=10)
    other = embedded.handover("other.almtp", ["Cu"])
    done = run(f"run 1\n{other}run 0", ranks=2)
    # the crystal starts without forces, so the first step is the same for all potentials
    alone = embedded.ok(RUN.format(potential=other, commands="run 1"))
    assert done.thermo("PotEng")[-1] == pytest.approx(alone.thermo("PotEng")[-1], rel=1e-12)
    assert done.thermo("PotEng", 0)[-1] != pytest.approx(alone.thermo("PotEng")[-1], rel=1e-3)
    assert "leaked" not in done.output


@pytest.mark.slow
def test_atoms_of_null_types_are_left_to_others(embedded, potentials):
    potential = potentials.read(potentials.alloy("alloy.mtp"))
    atoms = bulk("Cu", cubic=True, a=3.65) * 3
    atoms.rattle(0.1, seed=1)
    atoms.symbols = np.random.default_rng(2).choice(["Cu", "Ag"], len(atoms))
    embedded.write(atoms, "0.data", ["Ag", "Cu"])
    lines = embedded.handover("alloy.mtp", ["NULL", "Cu"]).replace(
        "pair_style python 0.1", "pair_style hybrid/overlay python 0.1 zero 3.0"
    )
    lines = lines.replace("pair_coeff * * ", "pair_coeff * * zero\npair_coeff * * python ")
    script = f"units metal\nread_data 0.data\n{lines}\nthermo_style custom step pe\n"
    done = embedded.ok(f"{script}thermo_modify format float %.17g\nrun 0", ranks=2)
    copper: Atoms = atoms[atoms.symbols == "Cu"]
    species = np.full(len(copper), potential.species.index("Cu"), np.int32)
    lists = neighbors(copper, potential.cutoff).arrays
    energies, _, _ = potential.kernel().evaluate(copper.positions, species, *lists)
    assert done.thermo("PotEng")[0] == pytest.approx(energies.sum(), rel=1e-12)


@pytest.mark.slow
def test_elements_of_unnamed_files_go_by_appearance(embedded, potentials):
    alloy = potentials.read(potentials.alloy("alloy.mtp"))
    text = (potentials.folder / "alloy.mtp").read_text()
    tag = next(line for line in text.splitlines() if line.startswith("potential_tag"))
    (potentials.folder / "unnamed.mtp").write_text(text.replace(tag, "potential_tag = "))
    assert potentials.read("unnamed.mtp").species == ()
    atoms = bulk("Cu", cubic=True, a=3.65) * 2
    atoms.symbols[::3] = "Ag"
    named, unnamed = (
        embedded.evaluate([atoms], name, list(alloy.species))[0].energy
        for name in ("alloy.mtp", "unnamed.mtp")
    )
    assert unnamed == named
