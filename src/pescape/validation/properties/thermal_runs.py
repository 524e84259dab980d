"""Runs of a crystal at rest and at some temperature, and what they come to on average."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.units import kB

from pescape.files import write_text
from pescape.validation.lammps import run_lammps, thermo
from pescape.validation.properties.dynamics import (
    block_error,
    box_axes,
    lattice_parameters,
    orthogonal_supercell,
    start,
    timestep_for,
    write_start,
)
from pescape.validation.properties.invariances import shortest_pairs

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms
    from numpy.typing import NDArray

    from pescape.validation.compounds import Solid
    from pescape.validation.lammps import LammpsModel

    Floats = NDArray[np.float64]

# Steps between samples of the cell and of the positions.
_CELL, _POSITIONS = 10, 50
# An atom is still at home as long as the mean of its positions is nearer than this share of the
# nearest distance; hcp turns into bcc by moving its atoms a little farther.
_HOME = 0.15
#: The folder of the crystal at rest.
STATIC = "static"
_STATIC = """fix cell all box/relax {cell} vmax 0.002
minimize 0 1e-5 500 5000
unfix cell
thermo_style custom step pe lx ly lz
run 0
write_data relaxed.data nocoeff
"""
_HOT = """timestep {timestep}
velocity all create {twice} {seed} mom yes rot no dist gaussian loop geom
fix move all npt temp {temperature} {temperature} 0.1 {cell}
run {equilibrate}
reset_timestep 0
thermo {often}
thermo_style custom step temp enthalpy lx ly lz
thermo_modify format float %.12g
dump sites all custom {seldom} positions.dump xsu ysu zsu
dump_modify sites sort id format float %.7f
run {steps}
"""


def label(temperature: float) -> str:
    """Name a temperature (K) in values."""
    return f"{temperature:g}K".replace(".", "_")


@dataclass(frozen=True, eq=False)
class Bath:
    """A crystal and how its dynamics is run.

    Parameters
    ----------
    model
        The potential.
    crystal
        As it is guessed.
    atoms, cells
        Its supercell, as `orthogonal_supercell` gives it.
    folder
        Every run has a folder in here, and is not run again once it has finished.
    timestep
        fs.
    seed
        Of the velocities.
    ranks
        MPI ranks.
    """

    model: LammpsModel
    crystal: Solid
    atoms: Atoms
    cells: Floats
    folder: Path
    timestep: float
    seed: int
    ranks: int

    @classmethod
    def of(
        cls,
        model: LammpsModel,
        crystal: Solid,
        folder: Path,
        *,
        atoms: int,
        timestep: float | None,
        seed: int,
        ranks: int,
    ) -> Bath:
        """Choose a supercell of about so many atoms, and a time step if none is given."""
        supercell, cells = orthogonal_supercell(crystal, atoms)
        chosen = timestep or timestep_for(supercell)
        return cls(model, crystal, supercell, cells, folder, chosen, seed, ranks)

    def steps(self, time: float) -> int:
        """Count the steps of a time, ps."""
        return max(1, round(1e3 * time / self.timestep))

    def run(self, name: str, script: str, data: str = f"../{STATIC}/relaxed.data") -> Path:
        """Run a script in a folder of its own, unless that has been done."""
        here = self.folder / name
        if not (here / "finished").exists():
            here.mkdir(parents=True, exist_ok=True)
            write_start(here, self.atoms)
            head = start(self.atoms, self.model, data)
            run_lammps(here, head + script, ranks=self.ranks, what=name)
            write_text(here / "finished", "")
        return here


@dataclass(frozen=True, eq=False)
class Averages:
    """What a crystal is at one temperature.

    Parameters
    ----------
    temperature
        K.
    lengths
        Lattice parameters and ``volume`` (Å, Å³/atom), each with its standard error.
    energy, energy_error
        Enthalpy, eV/atom.
    msd
        Mean square displacement of an atom from the mean of its positions, Å².
    intact
        Share of the atoms whose mean position is that of their lattice site.
    """

    temperature: float
    lengths: dict[str, tuple[float, float]]
    energy: float
    energy_error: float
    msd: float
    intact: float


def at_rest(bath: Bath) -> Averages:
    """Relax the crystal, and leave it where runs at temperatures begin."""
    script = _STATIC.format(cell=box_axes(bath.crystal, "0.0"))
    last = thermo(bath.run(STATIC, script, "start.data"))
    lengths = _cell(bath, np.array([[last[f"L{x}"][-1] for x in "xyz"]]))
    means = {name: (float(series[0]), 0.0) for name, series in lengths.items()}
    energy = float(last["PotEng"][-1]) / len(bath.atoms)
    return Averages(0.0, means, energy, 0.0, 0.0, 1.0)


def at_temperature(
    bath: Bath, temperature: float, *, equilibration: float, duration: float
) -> Averages:
    """Run at constant pressure and a temperature, and average.

    Parameters
    ----------
    bath
        Of a crystal that has been `at_rest`.
    temperature
        K.
    equilibration, duration
        Before and of the averages, ps.
    """
    script = _HOT.format(
        timestep=1e-3 * bath.timestep,
        twice=2.0 * temperature,
        temperature=temperature,
        seed=bath.seed,
        cell=box_axes(bath.crystal, "0.0 0.0 0.5"),
        equilibrate=bath.steps(equilibration),
        steps=max(8 * _POSITIONS, bath.steps(duration)),
        often=_CELL,
        seldom=_POSITIONS,
    )
    here = bath.run(label(temperature), script)
    columns = thermo(here)
    edges = np.column_stack([columns[f"L{x}"] for x in "xyz"])
    lengths = _cell(bath, edges)
    # A short run is not quite as hot as asked for; to mend that, equipartition will do.
    energies = columns["Enthalpy"] / len(bath.atoms) - 3.0 * kB * (columns["Temp"] - temperature)
    msd, moved = _displacements(here, bath.atoms, edges.mean(axis=0))
    home = _HOME * min(shortest_pairs(bath.crystal.primitive()).values())
    return Averages(
        temperature,
        {name: (float(series.mean()), block_error(series)) for name, series in lengths.items()},
        float(energies.mean()),
        block_error(energies),
        msd,
        float(np.mean(moved < home)),
    )


def _cell(bath: Bath, edges: Floats) -> dict[str, Floats]:
    """Lattice parameters (Å) and volume per atom (Å³) along a run."""
    parameters = lattice_parameters(bath.crystal, edges, bath.cells)
    return parameters | {"volume": edges.prod(axis=1) / len(bath.atoms)}


def _displacements(folder: Path, atoms: Atoms, edges: Floats) -> tuple[float, Floats]:
    """Mean square displacement (Å²), and how far mean positions are from the sites (Å)."""
    text = (folder / "positions.dump").read_text()
    head = 9  # lines before each set of positions
    lines = text.splitlines()
    size = head + len(atoms)
    frames = np.array(
        [
            [line.split() for line in lines[start + head : start + size]]
            for start in range(0, len(lines) - size + 1, size)
        ],
        dtype=float,
    )
    frames -= frames.mean(axis=1, keepdims=True)
    sites = atoms.get_scaled_positions()
    mean = frames.mean(axis=0)
    msd = float((((frames - mean) * edges) ** 2).sum(axis=2).mean())
    away = mean - (sites - sites.mean(axis=0))
    away -= np.round(away)
    away -= away.mean(axis=0)
    return msd, np.linalg.norm(away * edges, axis=1)
