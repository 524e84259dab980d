"""How a crystal expands, how its atoms move and whether it stays what it is when it is hot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from ase.units import kB
from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from pescape.files import write_text
from pescape.validation.properties.heat.dynamics import (
    OrthogonalCrystal,
    block_error,
    box_axes,
    lattice_parameters,
    orthogonal_supercell,
    start,
    timestep_for,
    write_start,
)
from pescape.validation.properties.soundness.invariances import shortest_pairs
from pescape.validation.property import (
    Curve,
    Floats,
    PropertyConfig,
    PropertyError,
    PropertyResult,
    Value,
    register_property,
)
from pescape.validation.sources import run_lammps, thermo

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

    from pescape.validation.compounds import Solid
    from pescape.validation.sources import LammpsModel

# Steps between samples of the cell and of the positions.
_CELL_EVERY, _POSITIONS_EVERY = 10, 50
# An atom is still at home as long as the mean of its positions is nearer than this share of the
# nearest distance; hcp turns into bcc by moving its atoms a little farther.
_HOME_DISTANCE = 0.15
#: The folder of the crystal at rest.
_REST_FOLDER = "static"
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


def _label(temperature: float) -> str:
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
        """Choose a supercell and a time step.

        Parameters
        ----------
        model, crystal, folder, seed, ranks
            As the class holds them.
        atoms
            About how many the supercell has.
        timestep
            fs; by the lightest atoms if None.
        """
        supercell, cells = orthogonal_supercell(crystal, atoms)
        chosen = timestep or timestep_for(supercell)
        return cls(model, crystal, supercell, cells, folder, chosen, seed, ranks)

    def steps(self, time: float) -> int:
        """Count the steps of a time.

        Parameters
        ----------
        time
            ps.
        """
        return max(1, round(1e3 * time / self.timestep))

    def run(self, name: str, script: str, data: str = f"../{_REST_FOLDER}/relaxed.data") -> Path:
        """Run a script in a folder of its own, unless that has been done.

        Parameters
        ----------
        name
            Of the folder.
        script
            What follows on the crystal and the potential.
        data
            File, seen from the folder, that the crystal is read from.
        """
        here = self.folder / name
        if not (here / "finished").exists():
            here.mkdir(parents=True, exist_ok=True)
            write_start(here, self.atoms)
            head = start(self.atoms, self.model, data)
            run_lammps(here, head + script, ranks=self.ranks, what=name)
            write_text(here / "finished", "")
        return here


@dataclass(frozen=True, eq=False)
class _Averages:
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


def at_rest(bath: Bath) -> _Averages:
    """Relax the crystal, and leave it where runs at temperatures begin.

    Parameters
    ----------
    bath
        The crystal, and where it runs.
    """
    script = _STATIC.format(cell=box_axes(bath.crystal, "0.0"))
    last = thermo(bath.run(_REST_FOLDER, script, "start.data"))
    lengths = _cell(bath, np.array([[last[f"L{x}"][-1] for x in "xyz"]]))
    means = {name: (float(series[0]), 0.0) for name, series in lengths.items()}
    energy = float(last["PotEng"][-1]) / len(bath.atoms)
    return _Averages(0.0, means, energy, 0.0, 0.0, 1.0)


def _at_temperature(bath: Bath, temperature: float, config: ThermalConfig) -> _Averages:
    """Run a crystal that has been `at_rest` at constant pressure and a temperature (K)."""
    script = _HOT.format(
        timestep=1e-3 * bath.timestep,
        twice=2.0 * temperature,
        temperature=temperature,
        seed=bath.seed,
        cell=box_axes(bath.crystal, "0.0 0.0 0.5"),
        equilibrate=bath.steps(config.equilibration),
        steps=max(8 * _POSITIONS_EVERY, bath.steps(config.duration)),
        often=_CELL_EVERY,
        seldom=_POSITIONS_EVERY,
    )
    here = bath.run(_label(temperature), script)
    columns = thermo(here)
    edges = np.column_stack([columns[f"L{x}"] for x in "xyz"])
    lengths = _cell(bath, edges)
    # A short run is not quite as hot as asked for; to mend that, equipartition will do.
    energies = columns["Enthalpy"] / len(bath.atoms) - 3.0 * kB * (columns["Temp"] - temperature)
    msd, moved = _displacements(here, bath.atoms, edges.mean(axis=0))
    home = _HOME_DISTANCE * min(shortest_pairs(bath.crystal.primitive()).values())
    return _Averages(
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


# Less of the crystal than this is a crystal that has changed.
_INTACT_FRACTION = 0.98


class ThermalConfig(PropertyConfig):
    """Molecular dynamics of a crystal at constant pressure and some temperatures."""

    incidental: ClassVar[frozenset[str]] = frozenset({"ranks"})

    kind: Literal["thermal"] = "thermal"
    crystal: OrthogonalCrystal
    temperatures: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = (300.0, 600.0, 900.0)
    atoms: PositiveInt = Field(300, description="of the supercell, about")
    timestep: PositiveFloat | None = Field(
        None, description="fs; 2 and less for light atoms if unset"
    )
    equilibration: PositiveFloat = Field(3.0, description="ps")
    duration: PositiveFloat = Field(10.0, description="of averages, ps")
    seed: PositiveInt = 1
    ranks: PositiveInt = 1

    @field_validator("temperatures")
    @classmethod
    def _rising(cls, given: tuple[float, ...]) -> tuple[float, ...]:
        if list(given) != sorted(set(given)):
            raise ValueError("temperatures have to rise")
        return given

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives."""
        lengths = _lengths(self)
        each = (*lengths, "volume", "energy", "msd", "intact")
        names = [f"{_label(t)}.{name}" for t in self.temperatures for name in each]
        fits = ("expansion", *(f"expansion_{name}" for name in lengths), "heat_capacity")
        return (*names, *(part for name in fits for part in (name, f"{name}_error")))


def _lengths(config: ThermalConfig) -> tuple[str, ...]:
    return tuple(name for name in config.crystal.parameter_names if name in "abc")


@register_property(
    ThermalConfig, heading="Thermal expansion and stability", engine="lammps", seconds=20.0
)
def thermal(model: LammpsModel, config: ThermalConfig, folder: Path) -> PropertyResult:
    """Heat a crystal to some temperatures and see how it expands.

    Parameters
    ----------
    model
        The potential.
    config
        The crystal and temperatures.
    folder
        Where runs are kept, each in a folder of its own.

    Returns
    -------
    PropertyResult
        At each temperature lattice parameters (Å), ``volume`` (Å³/atom), ``energy`` (enthalpy,
        eV/atom), ``msd`` (mean square displacement of an atom from the mean of its positions,
        Å²) and ``intact`` (share of the atoms that stay at their sites). Over all temperatures,
        as straight lines have it: ``expansion`` (of the volume, 1e-6/K), ``expansion_a`` and so
        on (of lattice parameters), relative to the lowest of the temperatures, and
        ``heat_capacity`` (kB per atom), each with its standard error. With one temperature they
        are those from absolute zero up to there.
    """
    bath = Bath.of(
        model,
        config.crystal,
        folder,
        atoms=config.atoms,
        timestep=config.timestep,
        seed=config.seed,
        ranks=config.ranks,
    )
    still = at_rest(bath)
    found, warnings = [], []
    for temperature in config.temperatures:
        try:
            found.append(_at_temperature(bath, temperature, config))
        except PropertyError as error:  # noqa: PERF203 (seconds each)
            warnings.append(str(error))
    if not found:
        raise PropertyError(warnings[0])
    warnings += [
        f"{_label(one.temperature)}: only {100 * one.intact:.0f} % of the atoms are still at their "
        "sites: it is no longer the same crystal, and not part of the fits"
        for one in found
        if one.intact < _INTACT_FRACTION
    ]
    values: dict[str, Value] = {}
    for one in found:
        values |= {f"{_label(one.temperature)}.{k}": v for k, v in _numbers(one).items()}
    whole = [one for one in found if one.intact >= _INTACT_FRACTION]
    if whole:
        values |= _fits(whole if len(whole) > 1 else [still, *whole])
    return config.result(values, curves=_curves([still, *found]), warnings=warnings)


def _numbers(one: _Averages) -> dict[str, Value]:
    units = {"volume": "Å³/atom"}
    return {
        **{name: Value(mean, units.get(name, "Å")) for name, (mean, _) in one.lengths.items()},
        "energy": Value(one.energy, "eV/atom"),
        "msd": Value(one.msd, "Å²"),
        "intact": Value(one.intact),
    }


def _fits(points: list[_Averages]) -> dict[str, Value]:
    """Fit straight lines through points."""
    temperatures = np.array([one.temperature for one in points])
    values: dict[str, Value] = {}
    for name in ("volume", *(name for name in points[0].lengths if name != "volume")):
        means, errors = np.array([one.lengths[name] for one in points]).T
        title = "expansion" if name == "volume" else f"expansion_{name}"
        slope, error = _slope(temperatures, 1e6 * means / means[0], 1e6 * errors / means[0])
        values |= _with_error(title, slope, error, "1e-6/K")
    means, errors = np.array([[one.energy, one.energy_error] for one in points]).T
    slope, error = _slope(temperatures, means / kB, errors / kB)
    return values | _with_error("heat_capacity", slope, error, "kB/atom")


def _slope(x: Floats, y: Floats, errors: Floats) -> tuple[float, float]:
    """Slope of the best straight line and its standard error, which grows with the misfit."""
    weights = 1.0 / np.maximum(errors, 1e-9 * np.abs(y))  # at rest there is no error
    line, covariance = np.polyfit(x, y, 1, w=weights, cov="unscaled")
    excess = 1.0
    if len(x) > 2:
        excess = max(1.0, float(np.sum((weights * (np.polyval(line, x) - y)) ** 2)) / (len(x) - 2))
    return float(line[0]), float((excess * covariance[0, 0]) ** 0.5)


def _with_error(name: str, value: float, error: float, unit: str) -> dict[str, Value]:
    return {name: Value(value, unit), f"{name}_error": Value(error, unit)}


def _curves(found: list[_Averages]) -> dict[str, Curve]:
    temperatures = np.array([one.temperature for one in found])
    labels = {"volume": "volume (Å³/atom)"}
    curves = {
        name: Curve(
            temperatures,
            np.array([one.lengths[name][0] for one in found]),
            "temperature (K)",
            labels.get(name, f"{name} (Å)"),
        )
        for name in found[0].lengths
    }
    for name, axis in (("energy", "energy (eV/atom)"), ("msd", "mean square displacement (Å²)")):
        numbers = np.array([getattr(one, name) for one in found])
        curves[name] = Curve(temperatures, numbers, "temperature (K)", axis)
    return curves
