"""`pair_style python` gives what the kernel gives, whatever the cell and the number of ranks."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.units import Bohr, Hartree

from pescape.calculators.bpnn.data import Units
from pescape.calculators.neighbors import neighbors

if TYPE_CHECKING:
    from pescape.calculators.bpnn import BPNNPotential
    from pescape.calculators.mtp import MTPotential

# LAMMPS' own conversion from eV/Å³ to bar in units metal.
BAR = 1.6021765e6


def kernel_says(potential: MTPotential | BPNNPotential, atoms: Atoms):
    species = np.array([potential.species.index(s) for s in atoms.symbols], np.int32)
    lists = neighbors(atoms, potential.cutoff).arrays
    return potential.kernel().evaluate(atoms.positions, species, *lists)


def alloy_of(atoms: Atoms, seed: int) -> Atoms:
    rng = np.random.default_rng(seed)
    atoms.symbols = rng.choice(["Cu", "Ag"], len(atoms))
    atoms.positions += rng.normal(scale=0.1, size=(len(atoms), 3))
    return atoms


def configurations() -> list[Atoms]:
    triclinic = bulk("Cu", "fcc", a=3.65) * (1, 1, 2)
    triclinic.set_cell(triclinic.cell.array @ (np.eye(3) + 0.1 * np.tri(3).T), scale_atoms=True)
    slab = bulk("Cu", cubic=True, a=3.65) * (3, 2, 2)
    slab.pbc = (True, True, False)
    slab.center(vacuum=6.0, axis=2)
    cluster = bulk("Cu", cubic=True, a=3.65) * 2
    cluster.pbc = False
    cluster.center(vacuum=8.0)
    lone = Atoms("Ag", positions=[[1.0, 2.0, 3.0]], cell=[20.0, 20.0, 20.0], pbc=True)
    pair = Atoms("CuAg", positions=[[0.5, 0.5, 0.5], [0.9, 0.7, 2.8]], cell=[30] * 3, pbc=True)
    return [
        alloy_of(bulk("Cu", cubic=True, a=3.65) * 3, 1),
        alloy_of(triclinic, 2),
        alloy_of(bulk("Cu", "fcc", a=3.65), 3),
        alloy_of(slab, 4),
        alloy_of(cluster, 5),
        lone,
        pair,
    ]


@pytest.mark.parametrize("potentials", ["mtp", "bpnn"], indirect=True)
@pytest.mark.parametrize("ranks", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_agrees_with_the_kernel_in_any_cell(embedded, potentials, ranks):
    name = potentials.alloy()
    potential = potentials.read(name)
    frames = configurations()
    results = embedded.evaluate(frames, name, ["Ag", "Cu"], ranks)
    for atoms, result in zip(frames, results, strict=True):
        energies, forces, virials = kernel_says(potential, atoms)
        assert result.energy == pytest.approx(energies.sum(), rel=1e-12, abs=1e-12)
        assert result.energies == pytest.approx(energies, rel=1e-12, abs=1e-12)
        assert result.forces == pytest.approx(forces, rel=1e-10, abs=1e-11)
        assert result.virial == pytest.approx(virials.sum(axis=0), rel=1e-10, abs=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("name", ["Mo_L08", "ZrO_L16_random", "Mo_L08_nbh"])
def test_agrees_with_other_programs(embedded, shared, name, ranks):
    folder = shared / "reference" / "mtp"
    reference = json.loads((folder / f"{name}.json").read_text())
    structures = reference["structures"]
    frames = [Atoms(s["symbols"], s["positions"], cell=s["cell"], pbc=s["pbc"]) for s in structures]
    graded = "grades_per_atom" in structures[0]
    results = embedded.evaluate(
        frames,
        str(folder / reference["potential"]),
        reference["species"],
        ranks,
        guard="1 select none break none" if graded else "",
    )
    for wanted, result in zip(structures, results, strict=True):
        assert result.energy == pytest.approx(wanted["energy"], rel=1e-9, abs=1e-8)
        assert result.forces == pytest.approx(np.array(wanted["forces"]), rel=1e-5, abs=2e-6)
        assert result.virial == pytest.approx(wanted["plus_stress_eV"], rel=1e-5, abs=2e-5)
        if graded:
            assert result.grade == pytest.approx(max(wanted["grades_per_atom"]), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_files_of_amp_are_read_as_they_are(embedded, shared, ranks):
    folder = shared / "reference" / "amp"
    structures = json.loads((folder / "ZrO_reference.json").read_text())["structures"]
    structures = [s for s in structures if "amp_forces" in s]
    frames = [Atoms(s["symbols"], s["positions"], cell=s["cell"], pbc=s["pbc"]) for s in structures]
    results = embedded.evaluate(frames, str(folder / "ZrO_checkpoint.amp"), ["Zr", "O"], ranks)
    for wanted, result in zip(structures, results, strict=True):
        assert result.energy == pytest.approx(wanted["amp_energy"], abs=1e-9)
        assert result.energies == pytest.approx(wanted["amp_atomic_energies"], abs=1e-9)
        assert result.forces == pytest.approx(np.array(wanted["amp_forces"]), abs=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("potentials", ["bpnn"], indirect=True)
def test_folders_of_n2p2_are_read_as_they_are(embedded, potentials, ranks):
    potential = potentials.read(potentials.alloy())
    units = Units(length=Bohr, energy=Hartree)
    replace(potential, units=units).write(potentials.folder / "nnp")
    frames = configurations()[:2]
    words = "nnp length_unit Bohr energy_unit Hartree"
    for atoms, result in zip(
        frames, embedded.evaluate(frames, words, ["Ag", "Cu"], ranks), strict=True
    ):
        energies, forces, _ = kernel_says(potential, atoms)
        assert result.energies == pytest.approx(energies, rel=1e-10, abs=1e-10)
        assert result.forces == pytest.approx(forces, rel=1e-9, abs=1e-9)


STRAINED = """
units metal
atom_modify map array
read_data hot.data
{handover}
compute virial all pressure NULL virial
thermo_style custom step pe c_virial vol
thermo_modify format float %.17g
run 0
change_box all x scale {up} y scale {up} z scale {up} remap units box
run 0
change_box all x scale {down} y scale {down} z scale {down} remap units box
run 0
"""


@pytest.mark.slow
def test_pressure_is_the_slope_of_the_energy(embedded, potentials, hot_copper):
    hot_copper(600.0)
    potentials.metal("metal.almtp")
    handover = embedded.handover("metal.almtp", ["Cu"])
    more, less = 1.0001, 0.9999
    done = embedded.ok(STRAINED.format(handover=handover, up=more, down=less / more), ranks=2)
    energy = [done.thermo("PotEng", n)[0] for n in range(3)]
    volume = [done.thermo("Volume", n)[0] for n in range(3)]
    slope = (energy[1] - energy[2]) / (volume[1] - volume[2])
    assert done.thermo("c_virial", 0)[0] == pytest.approx(-slope * BAR, rel=1e-6)
