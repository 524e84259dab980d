"""The names that LAMMPS' Python looks up in ``pescape.lammps_style``, imported when it does."""

from __future__ import annotations

import importlib
import importlib.util
import sysconfig
from pathlib import Path

#: Name -> module that defines it.
NAMES = {
    "MTP": "pescape.lammps_style.python_pair",
    "pescape": "pescape.lammps_style.python_pair",
    "guard": "pescape.lammps_style.python_guard",
}


def load(name: str) -> object:
    """Import one of the names, or say which Python it needs."""
    _check_python()
    return getattr(importlib.import_module(NAMES[name]), name)


def _check_python() -> None:
    """Refuse a Python other than the one that pescape was installed with."""
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
