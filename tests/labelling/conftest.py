"""Stand-ins for pw.x and VASP: small programs that write what the real ones would."""

import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

PW_OUTPUT = """
     Program PWSCF v.9.9test starts on  1Jan2020 at  1: 1: 1
     number of atoms/cell      =            2
     number of atomic types    =            1
     celldm(1)=   6.111375  celldm(2)=   0.000000  celldm(3)=   0.000000
     crystal axes: (cart. coord. in units of alat)
               a(1) = (   1.000000   0.000000   0.000000 )
               a(2) = (  -0.500000   0.866025   0.000000 )
               a(3) = (   0.000000   0.000000   1.598000 )
     site n.     atom                  positions (alat units)
         1           Zr  tau(   1) = (   0.0000000   0.0000000   0.0000000  )
         2           Zr  tau(   2) = (   0.0000000   0.5773503   0.7990000  )
!    total energy              =    -198.00000000 Ry
     smearing contrib. (-TS)   =      -0.00300000 Ry
     convergence has been achieved in  11 iterations
     Forces acting on atoms (cartesian axes, Ry/au):

     atom    1 type  1   force =     0.01000000    0.00000000    0.00000000
     atom    2 type  1   force =    -0.01000000    0.00000000    0.00000000

     Total force =     0.010000     Total SCF correction =     0.000000
     total   stress  (Ry/bohr**3)                   (kbar)     P=       14.71
   0.00010000   0.00000000   0.00000000           14.71        0.00        0.00
   0.00000000   0.00010000   0.00000000            0.00       14.71        0.00
   0.00000000   0.00000000   0.00010000            0.00        0.00       14.71
   JOB DONE.
"""

PW_UNCONVERGED = """
     Program PWSCF v.9.9test starts on  1Jan2020 at  1: 1: 1
     End of self-consistent calculation
     convergence NOT achieved after 200 iterations: stopping
"""

OUTCAR = """ vasp.6.9.9 01Jan20 (build 1) complex
   NBANDS=     20
   number of electron      24.0000000 magnetization
------------------------ aborting loop because EDIFF is reached ----------------------
  free  energy   TOTEN  =       -17.10000000 eV
  energy  without entropy=      -16.90000000  energy(sigma->0) =      -17.00000000
"""

VASPRUN = """<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <kpoints><varray name="kpointlist"><v>0 0 0</v></varray>
  <varray name="weights"><v>1</v></varray></kpoints>
 <atominfo><array name="atoms"><set>
  <rc><c>Zr</c><c>1</c></rc><rc><c>Zr</c><c>1</c></rc>
 </set></array></atominfo>
 <structure name="initialpos"><crystal><varray name="basis">
   <v>3.234 0.0 0.0</v><v>-1.617 2.800726 0.0</v><v>0.0 0.0 5.168</v></varray></crystal>
  <varray name="positions"><v>0 0 0</v><v>0.333333 0.666667 0.5</v></varray></structure>
 <calculation>
  <scstep><energy><i name="e_fr_energy">-17.1</i><i name="e_wo_entrp">-16.9</i>
   <i name="e_0_energy">-17.0</i></energy></scstep>
  <structure><crystal><varray name="basis">
   <v>3.234 0.0 0.0</v><v>-1.617 2.800726 0.0</v><v>0.0 0.0 5.168</v></varray></crystal>
   <varray name="positions"><v>0 0 0</v><v>0.333333 0.666667 0.5</v></varray></structure>
  <varray name="forces"><v>0.5 0.0 0.0</v><v>-0.5 0.0 0.0</v></varray>
  <varray name="stress"><v>16.02 0 0</v><v>0 16.02 0</v><v>0 0 16.02</v></varray>
  <energy><i name="e_fr_energy">-17.1</i><i name="e_wo_entrp">-16.9</i>
   <i name="e_0_energy">-17.0</i></energy>
 </calculation>
</modeling>
"""


@pytest.fixture
def zirconium():
    return bulk("Zr", "hcp", a=3.234, c=3.234 * 1.598)


@pytest.fixture
def program(tmp_path):
    """Make an executable out of the lines of a Python program."""

    def make(name, lines):
        path = Path(tmp_path) / name
        path.write_text(f"#!{sys.executable} -IS\nimport os, signal, sys, time\n{lines}\n")
        path.chmod(0o755)
        return path

    return make


@pytest.fixture
def pw(program):
    """A pw.x that writes a given output, after something else it may do."""

    def make(output=PW_OUTPUT, first="", last=""):
        return program("pw.x", f"{first}\nsys.stdout.write('''{output}''')\n{last}")

    return make


@pytest.fixture
def vasp(program):
    """A VASP that writes given files."""

    def make(outcar=OUTCAR, vasprun=VASPRUN, last=""):
        files = {"OUTCAR": outcar, "vasprun.xml": vasprun}
        writes = "\n".join(f"open({n!r}, 'w').write({text!r})" for n, text in files.items())
        return program("vasp_std", f"{writes}\n{last}")

    return make


@pytest.fixture
def espresso_config(tmp_path):
    """Write a configuration of the recipe for pw.x, with a pseudopotential file."""
    (tmp_path / "Zr.UPF").write_text("a pseudopotential")

    def write(command, table="", top=""):
        path = tmp_path / "reference.toml"
        path.write_text(
            f'{top}\n[espresso]\ncommand = "{command}"\n'
            f'pseudopotentials = {{ Zr = "Zr.UPF" }}\n{table}\n'
        )
        return str(path)

    return write


@pytest.fixture
def vasp_config(tmp_path):
    """Write a configuration of the recipe for VASP, with a POTCAR file."""
    potcar = tmp_path / "sets" / "potpaw_PBE" / "Zr_sv" / "POTCAR"
    potcar.parent.mkdir(parents=True)
    potcar.write_text("  PAW_PBE Zr_sv 04Jan2005\n   12.0\n")

    def write(command, table="", top=""):
        path = tmp_path / "reference.toml"
        path.write_text(
            f'{top}\n[vasp]\ncommand = "{command}"\npseudo_dir = "sets"\n'
            f'pseudopotentials = {{ Zr = "Zr_sv" }}\n{table}\n'
        )
        return str(path)

    return write


@pytest.fixture
def rattled(zirconium):
    zirconium.positions += 0.05 * np.random.default_rng(0).normal(size=(2, 3))
    return zirconium
