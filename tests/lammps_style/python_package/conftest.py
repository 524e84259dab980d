"""Runs of a LAMMPS that has the PYTHON package, such as Debian's, with pescape inside it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from ase.calculators.lammps import Prism
from ase.io.lammpsdata import write_lammps_data

# LAMMPS' own conversion from eV/Å³ to bar in units metal.
BAR = 1.6021765e6

HANDOVER = """
python pescape input 2 SELF "{potential}" format ps here &
    "from pescape.lammps_style import pescape, guard"
python pescape invoke
pair_style python 0.1
pair_coeff * * pescape.lammps_style.{name} {elements}
"""

SINGLE_POINT = """
clear
units metal
atom_modify map array
boundary {boundary}
box tilt large
read_data {n}.data
{handover}
compute virial all pressure NULL virial
compute pe all pe/atom
thermo_style custom step pe c_virial[1] c_virial[2] c_virial[3] c_virial[6] c_virial[5] &
    c_virial[4] {grade}
thermo_modify format float %.17g
dump d all custom 1 {n}.dump id fx fy fz c_pe
dump_modify d sort id format float %.17g
run 0
"""


@dataclass(frozen=True)
class Evaluation:
    """eV, Å; virial in ASE's order xx yy zz yz xz xy."""

    energy: float
    energies: np.ndarray
    forces: np.ndarray
    virial: np.ndarray
    grade: float


@dataclass(frozen=True)
class Finished:
    code: int
    output: str

    def _tables(self) -> list[list[list[str]]]:
        tables: list[list[list[str]]] = []
        inside = False
        for words in map(str.split, self.output.splitlines()):
            if words[:1] == ["Step"]:
                tables.append([words])
                inside = True
            elif words[:2] == ["Loop", "time"]:
                inside = False
            elif inside and words and words[0].isdigit():
                tables[-1].append(words)
        return tables

    def thermo(self, column: str, number: int = -1) -> np.ndarray:
        """A column of one of the thermo tables."""
        header, *rows = self._tables()[number]
        return np.array([float(row[header.index(column)]) for row in rows])

    def steps(self, number: int) -> int:
        """How many steps one of the runs took."""
        return int(
            re.findall(r"^Loop time of .* for (\d+) steps", self.output, re.MULTILINE)[number]
        )

    def row(self, number: int) -> np.ndarray:
        """The last row of one of the thermo tables."""
        return np.array(self._tables()[number][-1], float)


@dataclass(frozen=True)
class EmbeddedLammps:
    program: str
    launcher: tuple[str, ...]
    environment: dict[str, str]
    folder: Path

    def run(self, script: str, ranks: int = 1, timeout: float = 120.0, **more: str) -> Finished:
        if ranks > 1 and not self.launcher:
            pytest.skip("no mpirun that fits this LAMMPS; name one in PESCAPE_TEST_MPIRUN")
        (self.folder / "in.lmp").write_text(script)
        launcher = [*self.launcher, str(ranks)] if ranks > 1 else []
        done = subprocess.run(
            [*launcher, self.program, "-in", "in.lmp", "-log", "none"],
            cwd=self.folder,
            env=self.environment | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Finished(done.returncode, done.stdout)

    def ok(self, script: str, ranks: int = 1, **more: str) -> Finished:
        done = self.run(script, ranks, **more)
        assert done.code == 0, done.output
        assert "ERROR" not in done.output, done.output
        return done

    def handover(self, potential: str, elements, guard: str = "") -> str:
        """Input lines that make a potential act, after the box is there."""
        name = "MTP" if potential.endswith(("mtp", "almtp")) else "BPNN"
        lines = HANDOVER.format(potential=potential, name=name, elements=" ".join(elements))
        if guard:
            lines += f'python guard input 2 SELF "{guard}" format ps exists\npython guard invoke\n'
        return lines

    def write(self, atoms, name: str, elements) -> Prism:
        """Write a data file; directions that are not periodic get a wide enough box."""
        atoms = atoms.copy()
        if not atoms.cell.rank:
            atoms.center(vacuum=10.0)
        atoms.set_velocities(atoms.get_velocities())
        prism = Prism(atoms.cell, pbc=True)
        write_lammps_data(
            self.folder / name,
            atoms,
            specorder=list(elements),
            prismobj=prism,
            masses=True,
            velocities=bool(np.any(atoms.get_momenta())),
        )
        return prism

    def evaluate(self, configurations, potential: str, elements, ranks: int = 1, guard: str = ""):
        """Evaluate configurations one after the other, in one process."""
        script, prisms = "", []
        for n, atoms in enumerate(configurations):
            prisms.append(self.write(atoms, f"{n}.data", elements))
            script += SINGLE_POINT.format(
                n=n,
                boundary=" ".join("p" if p else "f" for p in atoms.pbc),
                handover=self.handover(potential, elements, guard),
                grade="f_pescape[1]" if guard else "",
            )
        done = self.ok(script, ranks)
        return [self._evaluation(n, done, prism) for n, prism in enumerate(prisms)]

    def _evaluation(self, n: int, done: Finished, prism: Prism) -> Evaluation:
        table = np.loadtxt(self.folder / f"{n}.dump", skiprows=9, ndmin=2)
        numbers = done.row(n)
        volume = abs(np.linalg.det(prism.lammps_cell))
        tensor = numbers[[2, 7, 6, 7, 3, 5, 6, 5, 4]].reshape(3, 3) * volume / BAR
        return Evaluation(
            energy=numbers[1],
            energies=table[:, 4],
            forces=prism.vector_to_ase(table[:, 1:4]),
            virial=prism.tensor2_to_ase(tensor)[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]],
            grade=numbers[-1],
        )


def _found_program() -> tuple[str, str]:
    """Find a LAMMPS with PYTHON whose Python is ours: its path, or why there is none."""
    named = os.environ.get("PESCAPE_TEST_LMP")
    on_path = [str(Path(folder) / "lmp") for folder in os.get_exec_path()]
    reasons = []
    for program in [named] if named else dict.fromkeys([*on_path, "/usr/bin/lmp"]):
        if not shutil.which(program):
            continue
        told = subprocess.run([program, "-h"], capture_output=True, text=True, check=False)
        packages = told.stdout.partition("Installed packages:")[2].partition("List of")[0]
        if "PYTHON" not in packages.split():
            reasons.append(f"{program} has no PYTHON package")
            continue
        code = "import sys; print('version', sys.version_info[:2])"
        probe = f'python probe input 0 here "def probe(): {code}"\npython probe invoke\n'
        told = subprocess.run(
            [program, "-log", "none"], input=probe, capture_output=True, text=True, check=False
        )
        if f"version {sys.version_info[:2]}" in told.stdout:
            return program, ""
        reasons.append(f"{program} has another Python than {sysconfig.get_python_version()}")
    return "", "; ".join(reasons) or f"no {named or 'lmp'} that runs"


def _found_launcher(program: str) -> tuple[str, ...]:
    """Find the mpirun of the MPI that a LAMMPS is built with, up to the number of ranks."""
    named = os.environ.get("PESCAPE_TEST_MPIRUN")
    if named:
        return (*named.split(), "-n")
    folder = Path(shutil.which(program) or program).parent
    for launcher in (folder / "mpirun.openmpi", folder / "mpirun", folder / "mpiexec"):
        if launcher.exists():
            told = subprocess.run(
                [launcher, "-n", "2", program, "-log", "none", "-in", "/dev/null"],
                env=os.environ | _OPENMPI,
                capture_output=True,
                text=True,
                check=False,
            )
            if told.returncode == 0 and told.stdout.count("LAMMPS (") == 1:
                return str(launcher), "-n"
    return ()


# Open MPI 4 (OMPI) and 5 (PRTE): as root, more ranks than cores, no ssh needed.
_OPENMPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_plm": "isolated",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_mpi_yield_when_idle": "1",
    "PRTE_ALLOW_RUN_AS_ROOT": "1",
    "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}


@pytest.fixture(scope="session")
def _program(tmp_path_factory):
    program, reason = _found_program()
    if not program and os.environ.get("PESCAPE_TEST_LMP"):
        pytest.fail(f"PESCAPE_TEST_LMP is of no use: {reason}")
    if not program:
        pytest.skip(f"needs a LAMMPS with the PYTHON package ({reason})")
    # As PYTHONPATH=<site-packages> does for users; .pth files of editable installs are read too.
    # The system's own packages are left out: any of them may be an ASE or load itself into ours.
    hook = tmp_path_factory.mktemp("site") / "sitecustomize.py"
    folders = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    lines = [
        "import site, sys",
        "sys.path[:] = [folder for folder in sys.path if 'dist-packages' not in folder]",
        *(f"site.addsitedir({folder!r})" for folder in folders),
    ]
    hook.write_text("\n".join([*lines, ""]))
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PMI", "OMPI_", "PRTE_", "LAMMPS_", "PYTHON"))
    }
    environment |= {"PYTHONPATH": str(hook.parent), "OMP_NUM_THREADS": "1", **_OPENMPI}
    return program, _found_launcher(program), environment


@pytest.fixture
def embedded(_program, tmp_path) -> EmbeddedLammps:
    return EmbeddedLammps(*_program, tmp_path)


@pytest.fixture(scope="session")
def shared() -> Path:
    folder = Path(os.environ.get("PESCAPE_SHARED", Path(__file__).parents[4] / "shared"))
    if not folder.is_dir():
        pytest.skip("the folder with reference data is not there; name it in PESCAPE_SHARED")
    return folder
