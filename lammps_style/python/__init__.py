"""``pair_style python``: potentials and their guard in any LAMMPS with the PYTHON package.

LAMMPS' Python looks the names below up in ``pescape.lammps_style``; each is imported when it does.
"""

from __future__ import annotations

import importlib
import importlib.util
import sysconfig
from pathlib import Path

#: Name -> module that defines it.
NAMES = {
    "BPNN": "pescape.lammps_style.python.pair",
    "MTP": "pescape.lammps_style.python.pair",
    "pescape": "pescape.lammps_style.python.pair",
    "guard": "pescape.lammps_style.python.guard",
}


def load(name: str) -> object:
    """Import one of the names.

    Parameters
    ----------
    name
        One of `NAMES`.

    Raises
    ------
    ImportError
        If LAMMPS embeds a Python other than the one that pescape was installed with.
    """
    package = importlib.util.find_spec("pescape")
    folders = list(package.submodule_search_locations or []) if package else []
    compiled = [file.name for folder in folders for file in Path(folder).glob("_kernels.*")]
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    if compiled and not {f"_kernels{suffix}", "_kernels.abi3.so"} & set(compiled):
        raise ImportError(
            f"pescape was installed with another Python ({', '.join(compiled)}) than the one "
            f"that LAMMPS embeds ({suffix}): install pescape with a Python "
            f"{sysconfig.get_python_version()}"
        )
    return getattr(importlib.import_module(NAMES[name]), name)
