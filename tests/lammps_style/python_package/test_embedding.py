"""What LAMMPS' Python finds in `pescape.lammps_style`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pescape import lammps_style
from pescape.lammps_style import python


def test_the_names_of_the_input_lines_are_there():
    assert lammps_style.MTP.__name__ == "MTP"
    assert lammps_style.BPNN.__name__ == "BPNN"
    assert callable(lammps_style.pescape)
    assert callable(lammps_style.guard)
    with pytest.raises(AttributeError, match="no attribute 'EAM'"):
        _ = lammps_style.EAM


@pytest.mark.parametrize(
    "statement", ["import pescape.lammps_style", "from pescape.lammps_style import pescape, guard"]
)
def test_what_every_rank_imports_is_light(statement):
    heavy = "torch" if "from" in statement else "numpy"
    code = f"{statement}\nimport sys\nprint({heavy!r} in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"


def test_another_python_is_named(monkeypatch):
    monkeypatch.setattr(python.sysconfig, "get_config_var", lambda _: ".cpython-399-x.so")
    with pytest.raises(ImportError, match=r"another Python .* embeds \(.cpython-399-x.so\)"):
        python.load("MTP")
