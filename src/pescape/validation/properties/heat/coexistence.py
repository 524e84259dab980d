"""Runs of LAMMPS in which crystals melt, whole or by half."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.io import read, write

from pescape.files import write_json
from pescape.validation.properties.heat.dynamics import start, write_start
from pescape.validation.property import PropertyError
from pescape.validation.sources import run_lammps, thermo

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pescape.validation.property import Floats
    from pescape.validation.sources import LammpsModel


#: Lattices that common neighbors tell, by what LAMMPS calls them.
LATTICES = {"fcc": 1, "hcp": 2, "bcc": 3}
# K; heating begins here.
_HEATING_FROM = 300.0
# How much hotter than the crystal can be the half is made that has to melt.
_MELTING_FACTOR = 1.5
# Bonds of an atom of the solid, of those that join surroundings alike.
_SOLID_BONDS = 7
# Cells that grow by more than this do so into the vapour.
_EXPANDED = 1.3
# A crystal of which less than this is solid has melted.
_MOLTEN = 0.5
#: ps between samples.
_SAMPLE = 0.1
# In units of the cube root of the volume per atom: what bonds are no longer than, the first shell
# of hcp and fcc and the first two of bcc, a little wider for the heat; and what common neighbors
# are looked for within, half-way between shells, of close-packed crystals and of bcc.
_BOND, _CLOSE_PACKED, _BCC = 1.45, 1.3548, 1.5209
# All in ps.
_TIMES = {
    "every": _SAMPLE,
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

_HEAT = """velocity all create {twice} {seed} mom yes rot no dist gaussian loop geom
fix move all npt temp {low} {high} {damping} {axes} 0 0 {pressure_damping}
fix melted all halt {every} v_fraction < 0.1 error continue message no
run {steps}
"""

_CRYSTAL = """velocity all create {twice} {seed} mom yes rot no dist gaussian loop geom
fix move all npt temp {temperature} {temperature} {damping} {axes} 0 0 {pressure_damping}
run {equilibrate}
"""

# Across the interfaces the cell is free; along them it has the crystal's lattice parameters.
_PREPARE = (
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

# Crystal structures are recognized by positions averaged over a few vibrations.
_COEXIST = """velocity all create {temperature} {seed} mom yes rot no dist gaussian loop geom
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

_FUSE = (
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
        """Count the steps of a time, in tens.

        Parameters
        ----------
        time
            ps.
        """
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


@dataclass(frozen=True, eq=False)
class Coexistence:
    """What a run with two interfaces has given.

    Parameters
    ----------
    temperature
        K.
    time
        Shape (n,), ps.
    solid
        Fraction of the cell that is solid, shape (n,).
    energy
        Potential energy per atom, eV, shape (n,).
    length
        Of the cell across the interfaces, Å, shape (n,).
    lattices
        How many of the solid atoms at the end have neighbors that tell a lattice.
    end
        The cell at the end; solid atoms have tag 1.
    """

    temperature: float
    time: Floats
    solid: Floats
    energy: Floats
    length: Floats
    lattices: dict[str, int]
    end: Atoms


def _kept(path: Path, compute: Callable[[], Any]) -> Any:  # noqa: ANN401 (what JSON can hold)
    """Read what was computed before, or compute and keep it."""
    if not path.exists():
        write_json(path, compute())
    return json.loads(path.read_text(encoding="utf-8"))


def superheating_limit(
    dynamics: Dynamics, folder: Path, crystal: Atoms, *, highest: float, rate: float, seed: int
) -> float:
    """Heat a crystal until it melts from within.

    Parameters
    ----------
    dynamics
        How.
    folder
        Keeps the result.
    crystal
        Some hundred atoms.
    highest
        K; where heating ends.
    rate
        K/ps.
    seed
        Of the velocities.

    Returns
    -------
    float
        K.

    Raises
    ------
    PropertyError
        It did not melt.
    """

    def compute() -> float:
        steps = dynamics.steps((highest - _HEATING_FROM) / rate)
        dynamics.run(
            folder,
            _HEAT,
            crystal,
            low=_HEATING_FROM,
            high=highest,
            twice=2.0 * _HEATING_FROM,
            steps=steps,
            seed=seed,
        )
        found = thermo(folder)
        molten = np.flatnonzero(found["c_solid"] < _MOLTEN)
        if not len(molten):
            raise PropertyError(f"the crystal did not melt up to {highest:g} K")
        return float(_HEATING_FROM + (highest - _HEATING_FROM) * found["Step"][molten[0]] / steps)

    return float(_kept(folder / "limit.json", compute))


def prepared(
    dynamics: Dynamics, folder: Path, crystal: Atoms, *, temperature: float, hot: float, seed: int
) -> float | None:
    """Melt one half of a crystal that has the lattice parameters of a temperature.

    Parameters
    ----------
    dynamics
        How.
    folder
        Keeps the result.
    crystal
        Long along z.
    temperature
        K.
    hot
        K; a temperature that no crystal stands.
    seed
        Of velocities and thermostats.

    Returns
    -------
    float or None
        Fraction of the crystal, before one half was molten, that was found to be solid; None if
        it melted as a whole.
    """

    def compute() -> float | None:
        dynamics.run(
            folder,
            _PREPARE,
            crystal,
            temperature=temperature,
            twice=2.0 * temperature,
            hot=_MELTING_FACTOR * hot,
            seed=seed,
        )
        whole = float(thermo(folder, 1)["c_solid"].mean())
        left = float(thermo(folder, -1)["c_solid"][-1])
        return whole if whole > _MOLTEN and left > _MOLTEN / 4 * whole else None

    found = _kept(folder / "prepared.json", compute)
    return None if found is None else float(found)


def coexistence(
    dynamics: Dynamics,
    folder: Path,
    crystal: Atoms,
    start: Path,
    *,
    temperature: float,
    time: float,
    seed: int,
) -> Coexistence:
    """Let solid and liquid grow into each other.

    Parameters
    ----------
    dynamics
        How.
    folder
        Keeps the result.
    crystal
        Of `prepared`.
    start
        The folder of `prepared`, beside this one.
    temperature
        K.
    time
        ps; less if one of the phases vanishes before.
    seed
        Of the velocities.

    Raises
    ------
    PropertyError
        There is more vapour than liquid.
    """
    whole = json.loads((start / "prepared.json").read_text(encoding="utf-8"))

    def compute() -> dict[str, Any]:
        steps = dynamics.steps(time)
        given = {"temperature": temperature, "steps": steps, "frozen": 0.95 * whole, "seed": seed}
        data = f"../{start.name}/molten.data"
        dynamics.run(folder, _COEXIST, crystal, data=data, **given)
        found = thermo(folder, 1)
        if found["Lz"].max() > _EXPANDED * found["Lz"][0]:
            raise PropertyError(f"it evaporates at {temperature:.0f} K")
        end, lattices = _end(folder, crystal.symbols[0])
        write(folder / "end.json", end, format="json")
        clock = dynamics.timestep * (found["Step"] - found["Step"][0])
        series = {
            "time": clock,
            "solid": found["c_solid"] / whole,
            "energy": found["PotEng"] / len(end),
            "length": found["Lz"],
        }
        return {"lattices": lattices} | {name: one.tolist() for name, one in series.items()}

    found = _kept(folder / "run.json", compute)
    lattices = found.pop("lattices")
    series = {name: np.array(one) for name, one in found.items()}
    end = read(folder / "end.json")
    assert isinstance(end, Atoms)
    return Coexistence(temperature, **series, lattices=lattices, end=end)


def fusion(
    dynamics: Dynamics,
    folder: Path,
    crystal: Atoms,
    *,
    temperature: float,
    hot: float,
    time: float,
    seed: int,
) -> tuple[float, float]:
    """Compare crystal and liquid at the melting temperature.

    Parameters
    ----------
    dynamics, folder, crystal, temperature, hot, seed
        As those of `prepared`; some hundred atoms will do.
    time
        For averages of either phase, ps.

    Returns
    -------
    tuple of float
        Heat of fusion, eV/atom, and increase of the volume, as a fraction of the crystal's.
    """

    def compute() -> list[float]:
        steps = dynamics.steps(time)
        dynamics.run(
            folder,
            _FUSE,
            crystal,
            temperature=temperature,
            twice=2.0 * temperature,
            hot=_MELTING_FACTOR * hot,
            long_average=steps,
            seed=seed,
        )
        solid, liquid = thermo(folder, 1), thermo(folder, -1)
        # At equal temperatures and without pressure, enthalpies differ as potential energies do.
        heat = (liquid["PotEng"].mean() - solid["PotEng"].mean()) / len(crystal)
        return [float(heat), float(liquid["Volume"].mean() / solid["Volume"].mean() - 1.0)]

    heat, volume = _kept(folder / "fusion.json", compute)
    return heat, volume


def _end(folder: Path, element: str) -> tuple[Atoms, dict[str, int]]:
    """Read the cell at the end of a run, and count the lattices of its solid."""
    end = read(folder / "end.dump", index=-1, format="lammps-dump-text", specorder=[element])
    assert isinstance(end, Atoms)
    solid = end.get_array("c_bonds") >= _SOLID_BONDS
    # Each of the two analyses knows lattices of its own.
    which = np.where(
        end.get_array("c_open") == LATTICES["bcc"], LATTICES["bcc"], end.get_array("c_close")
    )[solid]
    counts = {name: int(np.sum(which == number)) for name, number in LATTICES.items()}
    plain = Atoms(end.numbers, end.positions, cell=end.cell, pbc=True, tags=solid.astype(int))
    plain.wrap()
    return plain, counts
