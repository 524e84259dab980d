"""Runs of LAMMPS in which crystals melt, whole or by half."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pescape.validation.lammps import run_lammps
from pescape.validation.properties.dynamics import start, write_start

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

    from pescape.validation.lammps import LammpsModel

#: ps between samples.
SAMPLE = 0.1
# In units of the cube root of the volume per atom: what bonds are no longer than, the first shell
# of hcp and fcc and the first two of bcc, a little wider for the heat; and what common neighbours
# are looked for within, half-way between shells, of close-packed crystals and of bcc.
_BOND, _CLOSE_PACKED, _BCC = 1.45, 1.3548, 1.5209
# All in ps.
_TIMES = {
    "every": SAMPLE,
    "equilibrate": 1.5,
    "average": 1.5,
    "melt": 10.0,
    "cool": 1.0,
    "settle": 1.0,
    "blur": 0.2,
}
# ps: of thermostats, of barostats, of the thermostats while one half is molten.
_DAMPING = {"damping": 0.1, "pressure_damping": 0.5, "strong": 0.05}

# An atom is solid where most of its bonds join surroundings alike (P. R. ten Wolde,
# M. J. Ruiz-Montero, D. Frenkel, J. Chem. Phys. 104, 9932 (1996)).
_HEAD = """neighbor 1.0 bin
neigh_modify delay 5
comm_modify cutoff {ghosts}
timestep {timestep}
compute order all orientorder/atom nnn NULL degrees 1 6 components 6 cutoff {bond}
compute bonds all coord/atom orientorder order 0.5
variable solid atom c_bonds>=7
compute solid all reduce ave v_solid
variable fraction equal c_solid
thermo {every}
thermo_style custom step temp pe vol lz c_solid
"""

HEAT = """velocity all create {twice} {seed} mom yes rot no dist gaussian loop geom
fix move all npt temp {low} {high} {damping} {axes} 0 0 {pressure_damping}
fix melted all halt {every} v_fraction < 0.1 error continue message no
run {steps}
"""

_CRYSTAL = """velocity all create {twice} {seed} mom yes rot no dist gaussian loop geom
fix move all npt temp {temperature} {temperature} {damping} {axes} 0 0 {pressure_damping}
run {equilibrate}
"""

# Across the interfaces the cell is free; along them it has the crystal's lattice parameters.
PREPARE = (
    _CRYSTAL
    + """variable lx equal lx
variable ly equal ly
fix box all ave/time 10 {tenth} {average} v_lx v_ly
run {average}
variable wide equal f_box[1]
variable deep equal f_box[2]
change_box all x final 0 $(v_wide) y final 0 $(v_deep) remap units box
unfix box
unfix move
region middle block INF INF INF INF $(zlo+0.3*lz) $(zlo+0.7*lz) units box
group liquid region middle
group crystal subtract all liquid
fix move all nph z 0 0 {pressure_damping}
fix cold crystal langevin {temperature} {temperature} {strong} {seed}
fix hot liquid langevin {hot} {hot} {strong} {seed}
fix half all halt {every} v_fraction < 0.6 error continue message no
run {melt}
unfix half
fix hot liquid langevin {hot} {temperature} {strong} {seed}
run {cool}
unfix hot
unfix cold
unfix move
fix move all npt temp {temperature} {temperature} {damping} z 0 0 {pressure_damping}
run {settle}
write_data molten.data nocoeff
"""
)

# Crystal structures are told by positions averaged over a few vibrations.
COEXIST = """velocity all create {temperature} {seed} mom yes rot no dist gaussian loop geom
fix move all npt temp {temperature} {temperature} {damping} z 0 0 {pressure_damping}
run {settle}
fix molten all halt {every} v_fraction < 0.05 error continue message no
fix frozen all halt {every} v_fraction > {frozen} error continue message no
run {steps}
unfix molten
unfix frozen
reset_timestep 0
compute unwrapped all property/atom xu yu zu
fix mean all ave/atom 2 {samples} {blur} c_unwrapped[1] c_unwrapped[2] c_unwrapped[3]
run {blur}
variable x atom f_mean[1]
variable y atom f_mean[2]
variable z atom f_mean[3]
unfix move
set atom * x v_x y v_y z v_z
compute close all cna/atom {close}
compute open all cna/atom {open}
dump end all custom 1 end.dump id type x y z c_bonds c_close c_open
dump_modify end sort id
run 0
"""

FUSE = (
    _CRYSTAL
    + """run {long_average}
unfix move
fix move all nph iso 0 0 {pressure_damping}
fix hot all langevin {hot} {hot} {strong} {seed}
fix molten all halt {every} v_fraction < 0.05 error continue message no
run {melt}
unfix molten
fix hot all langevin {hot} {temperature} {strong} {seed}
run {cool}
unfix hot
unfix move
fix move all npt temp {temperature} {temperature} {damping} iso 0 0 {pressure_damping}
run {equilibrate}
run {long_average}
"""
)


@dataclass(frozen=True)
class Dynamics:
    """What all runs of one crystal have in common.

    Parameters
    ----------
    model
        The potential.
    hexagonal
        Whether the crystal has a c axis; otherwise it is cubic.
    volume
        Per atom, Å³, as a first guess.
    timestep
        ps.
    ranks
        MPI ranks of each run.
    """

    model: LammpsModel
    hexagonal: bool
    volume: float
    timestep: float
    ranks: int = 1

    def steps(self, time: float) -> int:
        """Count the steps of a time (ps), in tens."""
        return max(10, 10 * round(time / self.timestep / 10))

    def run(
        self, folder: Path, script: str, atoms: Atoms, *, data: str = "start.data", **values: float
    ) -> None:
        """Run one of the scripts of this module in a folder.

        Parameters
        ----------
        folder
            Where it runs.
        script
            The script.
        atoms
            What it runs.
        data
            File, seen from the folder, that they are read from; by default they are written.
        values
            What of the script is not common to all runs.
        """
        length = self.volume ** (1 / 3)
        common: dict[str, float | str] = {
            "timestep": self.timestep,
            "axes": "aniso" if self.hexagonal else "iso",
            "tenth": self.steps(_TIMES["average"]) // 10,
            "samples": self.steps(_TIMES["blur"]) // 2,
            "bond": _BOND * length,
            "close": _CLOSE_PACKED * length,
            "open": _BCC * length,
            "ghosts": 2.0 * _BCC * length + 2.0,
        }
        common |= {name: self.steps(time) for name, time in _TIMES.items()}
        common |= _DAMPING
        folder.mkdir(parents=True, exist_ok=True)
        if data == "start.data":
            write_start(folder, atoms)
        text = start(atoms, self.model, data) + (_HEAD + script).format(**(common | values))
        run_lammps(folder, text, ranks=self.ranks, what=folder.name)
